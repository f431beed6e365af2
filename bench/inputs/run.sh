#!/usr/bin/env bash
# Measures how `prepare` reads Parquet, files, URLs and many rows, alternating with what people use for it, and prints tables.
# PHOTOS (600), ROUNDS (3), GIGABYTES (5), ROWS (100000 1000000 10000000). Needs about 15 GB of disk space.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment formats tests/peers/formats.txt)
img2dataset=$(environment img2dataset bench/inputs/img2dataset.txt || true)
photos=target/bench/prepare data=target/bench/inputs
[ -n "${PIXTUNE:-}" ] || cargo build --release --locked --bin pixtune
"$python" bench/prepare/generate.py $photos --photos "${PHOTOS:-600}"
"$python" bench/inputs/make.py $photos $data --gigabytes "${GIGABYTES:-5}" --rows ${ROWS:-100000 1000000 10000000}
"$python" bench/inputs/measure.py "${PIXTUNE:-target/release/pixtune}" $photos $data --rounds "${ROUNDS:-3}" \
    --img2dataset "$img2dataset" --rows ${ROWS:-100000 1000000 10000000}
