#!/usr/bin/env bash
# Measures `pixtune prepare` and two Python programs that write the same file, alternating, and prints a table.
# PHOTOS (2000), ROUNDS (5). Needs about 2 GB for the photos and 6 GB for the output.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment prepare bench/prepare/requirements.txt)
data=target/bench/prepare
cargo build --release --locked --bin pixtune
"$python" bench/prepare/generate.py $data --photos "${PHOTOS:-2000}"
"$python" bench/prepare/measure.py target/release/pixtune $data --rounds "${ROUNDS:-5}"
