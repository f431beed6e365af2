#!/usr/bin/env bash
# Measures `pixtune prepare` against two Python programs that make the same file, in turns, and prints a table.
# PHOTOS (2000) and ROUNDS (5) may be smaller. Needs python3, some 2 GB for the photos and 6 GB for what is written.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/venvs/bench
data=target/bench/prepare
if [ ! -x $venv/bin/python ]; then
    python3 -m venv $venv
fi
$venv/bin/pip install --quiet --disable-pip-version-check --requirement bench/prepare/requirements.txt
cargo build --release --locked --bin pixtune
$venv/bin/python bench/prepare/generate.py $data --photos "${PHOTOS:-2000}"
$venv/bin/python bench/prepare/measure.py target/release/pixtune $data --rounds "${ROUNDS:-5}"
