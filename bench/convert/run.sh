#!/usr/bin/env bash
# bench/convert/run.sh [GIGABYTES]: measures pixtune convert and adapter merge, cp, and a typical script; see README.md.
# FOLDER selects the disk, which needs space for four times the checkpoint. ROUNDS, CACHE=warm|cold.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment convert bench/convert/requirements.txt)
cargo build --release --locked -p pixtune
directory=$(mktemp -d -p "${FOLDER:-${TMPDIR:-/tmp}}")
trap 'rm -rf "$directory"' EXIT
python3 bench/convert/generate.py "$directory/data" --gigabytes "${1:-4}"
"$python" bench/convert/measure.py target/release/pixtune "$directory/data" --rounds "${ROUNDS:-3}" --cache "${CACHE:-warm}"
