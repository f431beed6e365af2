#!/usr/bin/env bash
# Measures `pixtune export` of prepared photos to each layout, copying the prepared file, and `datasets` writing Parquet from it.
# PHOTOS (2000), ROUNDS (3). Needs about 2 GB for the photos and 3 GB for prepared data and exports.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment prepare bench/prepare/requirements.txt)
formats=$(environment formats tests/peers/formats.txt)
data=target/bench/prepare
cargo build --release --locked --bin pixtune
"$python" bench/prepare/generate.py $data --photos "${PHOTOS:-2000}"
HF_HUB_OFFLINE=1 "$formats" bench/export/measure.py target/release/pixtune $data target/bench/export --rounds "${ROUNDS:-3}"
