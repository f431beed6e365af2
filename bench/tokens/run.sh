#!/usr/bin/env bash
# Measures ids per CPU-second of pixtune, mistral-common, tiktoken and tiktoken-rs, all in one run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment peers tests/peers/requirements.txt)
data=target/bench/tokens
tekken=$("$python" -c 'import mistral_common, pathlib; print(pathlib.Path(mistral_common.__file__).parent / "data/tekken_240911.json")')
"$python" bench/tokens/corpus.py $data
cargo build --release --quiet --locked -p pixtune -p pixtune-core -p pixtune-io --bins --examples
cargo build --release --quiet --locked --manifest-path bench/tokens/rivals/Cargo.toml --target-dir $data/rivals
target/release/examples/tokens_speed $data/english.txt $data/multi.txt
target/release/examples/conversations_speed $data/chats.jsonl $data/talks.jsonl
"$python" bench/tokens/process.py target/release/pixtune $data/texts.jsonl $data/chats.jsonl
$data/rivals/release/token-rivals "$tekken" $data/english.txt $data/multi.txt
"$python" bench/tokens/rivals.py $data/english.txt $data/multi.txt $data/chats.jsonl $data/talks.jsonl
