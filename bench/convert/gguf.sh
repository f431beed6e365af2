#!/usr/bin/env bash
# bench/convert/gguf.sh LLAMA_CPP [GIGABYTES]: CPU seconds of Q8_0 GGUF files, by pixtune and by llama.cpp's own converter.
#
# LLAMA_CPP is a source tree of llama.cpp (b11434 in the README); its converter runs twice, for the text decoder and for the vision
# encoder, and pixtune writes both files at once. The tensors are compared bit by bit. FOLDER selects the disk.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
llama=$(realpath "$1")
torch=$(environment torch tests/peers/torch.txt)
gguf=$(environment gguf tests/peers/gguf.txt)
cargo build --release --locked --bin pixtune
directory=$(mktemp --directory --tmpdir="${FOLDER:-${TMPDIR:-/tmp}}")
trap 'rm -rf "$directory"' EXIT
python3 bench/convert/generate.py "$directory/data" --gigabytes "${2:-2.6}"
# The vocabulary of the model has a share of the rows of Pixtral's; so many tokens of Pixtral's tokenizer fit.
"$torch" - "$directory/data/model/config.json" "$directory/tekken.json" <<'PYTHON'
import json, pathlib, sys
import mistral_common

rows = json.loads(pathlib.Path(sys.argv[1]).read_text())["text_config"]["vocab_size"]
tekken = json.loads((pathlib.Path(mistral_common.__file__).parent / "data/tekken_240911.json").read_text())
specials = tekken["config"]["default_num_special_tokens"]
tekken["config"] |= {"default_vocab_size": rows, "num_vocab_tokens": rows - specials}
tekken["vocab"] = tekken["vocab"][: rows - specials]
pathlib.Path(sys.argv[2]).write_text(json.dumps(tekken))
PYTHON
target/release/pixtune convert "$directory/data/model" "$directory/native" --to mistral --base "$directory" --quiet >"$directory/log"
rm -rf "$directory/data"
TIMEFORMAT='%U user, %S system, %R s by the clock'
for part in "" --mmproj; do
    echo "convert_hf_to_gguf.py $part"
    time PYTHONPATH=$llama/gguf-py "$torch" "$llama/convert_hf_to_gguf.py" "$directory/native" --mistral-format $part --outtype q8_0 \
        --outfile "$directory/theirs$part.gguf" 2>"$directory/log"
done
echo "pixtune convert --to gguf --dtype q8_0"
time target/release/pixtune convert "$directory/native" "$directory/ours" --to gguf --dtype q8_0 --quiet >"$directory/log"
"$gguf" - "$directory" <<'PYTHON'
import pathlib, sys
import numpy as np
from gguf import GGUFReader

directory = pathlib.Path(sys.argv[1])
pairs = {"theirs.gguf": "native-Q8_0.gguf", "theirs--mmproj.gguf": "mmproj-native-Q8_0.gguf"}
for theirs, ours in pairs.items():
    one, other = ({tensor.name: tensor for tensor in GGUFReader(path).tensors} for path in (directory / theirs, directory / "ours" / ours))
    assert one.keys() == other.keys(), one.keys() ^ other.keys()
    for name, tensor in one.items():
        assert tensor.tensor_type == other[name].tensor_type and np.array_equal(tensor.data, other[name].data), name
    print(f"{ours}: {len(one)} tensors are bit-equal")
PYTHON
