#!/bin/sh
# Measures ids per CPU-second against mistral-common, tiktoken and tiktoken-rs, all in one run.
# Needs a Python with mistral-common==1.13.1, opencv-python-headless, pillow: PYTHON=venv/bin/python bench/tokens/run.sh
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
FOLDER=${FOLDER:-target/bench-tokens}
TEKKEN=$("$PYTHON" -c 'import mistral_common, pathlib; print(pathlib.Path(mistral_common.__file__).parent / "data/tekken_240911.json")')
"$PYTHON" bench/tokens/corpus.py "$FOLDER"
cargo build --release --quiet -p pixtune -p pixtune-core -p pixtune-io --bins --examples
cargo build --release --quiet --manifest-path bench/tokens/rivals/Cargo.toml --target-dir "$FOLDER/rivals"
target/release/examples/tokens_speed "$FOLDER/english.txt" "$FOLDER/multi.txt"
target/release/examples/conversations_speed "$FOLDER/chats.jsonl"
"$PYTHON" bench/tokens/process.py target/release/pixtune "$FOLDER/texts.jsonl" "$FOLDER/chats.jsonl"
"$FOLDER/rivals/release/token-rivals" "$TEKKEN" "$FOLDER/english.txt" "$FOLDER/multi.txt"
"$PYTHON" bench/tokens/rivals.py "$FOLDER/english.txt" "$FOLDER/multi.txt" "$FOLDER/chats.jsonl"
