#!/usr/bin/env bash
# bench/train/run.sh [TOKENS…]: pixtune train against transformers + peft on the processor; see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked -p pixtune
[ -x target/venvs/torch/bin/python ] || python3 -m venv target/venvs/torch
target/venvs/torch/bin/pip install --quiet --requirement tests/peers/torch.txt
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
threads=${THREADS:-$(nproc)}
lengths=("${@:-1000}")
target/venvs/torch/bin/python bench/train/model.py "$folder" --tokens "${lengths[@]}"
OMP_NUM_THREADS=$threads target/venvs/torch/bin/python bench/train/compare.py "$folder" target/release/pixtune "$threads" "${lengths[@]}"
