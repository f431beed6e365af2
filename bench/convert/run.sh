#!/usr/bin/env bash
# bench/convert/run.sh [GIGABYTES]: pixtune convert and adapter merge against cp and the usual script; see README.md.
# FOLDER chooses the disk: four times the checkpoint has to fit there. ROUNDS, CACHE=warm|cold.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked -p pixtune
[ -x target/venvs/bench-convert/bin/python ] || python3 -m venv target/venvs/bench-convert
target/venvs/bench-convert/bin/pip install --quiet --disable-pip-version-check --requirement bench/convert/requirements.txt
folder=$(mktemp -d -p "${FOLDER:-${TMPDIR:-/tmp}}")
trap 'rm -rf "$folder"' EXIT
python3 bench/convert/generate.py "$folder/data" --gigabytes "${1:-4}"
target/venvs/bench-convert/bin/python bench/convert/measure.py target/release/pixtune "$folder/data" \
    --rounds "${ROUNDS:-3}" --cache "${CACHE:-warm}"
