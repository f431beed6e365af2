#!/usr/bin/env bash
# [ARCHITECTURE=ministral3] bench/train/run.sh [TOKENS...]: measures pixtune train and transformers + peft on the CPU; see README.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment torch tests/peers/torch.txt)
cargo build --release --locked -p pixtune
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
threads=${THREADS:-$(nproc)}
lengths=("${@:-1000}")
"$python" bench/train/model.py "$directory" --architecture "${ARCHITECTURE:-pixtral}" --tokens "${lengths[@]}"
OMP_NUM_THREADS=$threads "$python" bench/train/compare.py "$directory" target/release/pixtune "$threads" "${lengths[@]}"
