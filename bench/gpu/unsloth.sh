#!/usr/bin/env bash
# Runs what `pixtune export --to unsloth` writes on a GPU: `unsloth.sh PREPARED MODEL OUT`. It needs an environment with Unsloth.
# train.py trains as it was written; adapter check then shows what a server applies of the adapter.
set -euo pipefail
prepared=$1 model=$2 out=$3
pixtune=${PIXTUNE:-target/release/pixtune}
"$pixtune" export "$prepared" --to unsloth --model "$model" --out "$out"
pixtune=$(realpath "$pixtune") model=$(realpath "$model")
cd "$out"
python train.py
"$pixtune" adapter check output --base "$model" --server transformers
