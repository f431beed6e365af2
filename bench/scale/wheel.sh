#!/usr/bin/env bash
# Measures the Python package: ids of an Arrow table, beside the program and beside mistral-common, all in one run.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
peers=$(environment peers tests/peers/requirements.txt)
arrow=$(overlay arrow "$peers" tests/peers/arrow.txt)
data=target/bench/tokens
[ -e $data/chats.jsonl ] || "$peers" bench/tokens/corpus.py $data
cargo build --release --quiet --locked -p pixtune
wheels=$(mktemp --directory)
trap 'rm -rf "$wheels"' EXIT
"$peers" -m pip install --quiet --disable-pip-version-check --no-deps --target "$wheels/package" "$(scripts/wheel "$wheels")"
PYTHONPATH=$wheels/package:$arrow "$peers" bench/scale/wheel.py target/release/pixtune $data/talks.jsonl $data/chats.jsonl
