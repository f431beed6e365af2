#!/usr/bin/env bash
# Measures scoring of a million predictions by pixtune and by lm-eval's code for ChartQA, which is that of mistral-evals.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
cargo build --release --quiet --locked -p pixtune
scores=$(overlay scores python3 tests/peers/scores-requirements.txt)
PYTHONPATH=$scores:tests/peers python3 bench/evaluate/measure.py target/release/pixtune target/bench/evaluate "${ROWS:-1000000}"
