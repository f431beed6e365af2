#!/usr/bin/env bash
# Measures near-duplicate and image quality detection against CleanVision and imagededup, the cost of measuring in
# `prepare`, and the search among millions of hashes. PHOTOS (60) are generated in addition to real images; ROUNDS (3).
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment curate bench/curate/requirements.txt)
PYTHONPATH=$(overlay imagededup "$python" bench/curate/imagededup.txt)
export PYTHONPATH
data=target/bench/curate
cargo build --release --locked --bin pixtune
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Each excluded image is a duplicate of an included one.
"$python" bench/curate/planted.py $data --photos "${PHOTOS:-60}" \
    --from examples/visual-qa/images "$packages/skimage/data" "$packages/sklearn/datasets/images" \
    --without bricks-gray.gif chessboard_GRAY.png logo.png motorcycle_right.png
"$python" bench/curate/compare.py target/release/pixtune $data --rounds "${ROUNDS:-3}"
"$python" bench/prepare/generate.py target/bench/prepare --photos 300
"$python" bench/curate/measuring.py target/release/pixtune target/bench/prepare/dataset.csv --rounds "${ROUNDS:-3}"
bench/curate/near.sh
