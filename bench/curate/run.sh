#!/usr/bin/env bash
# Near duplicates and bad pictures against CleanVision and imagededup, what measuring adds to `prepare`, and the search
# among millions. PHOTOS (60) are generated beside real pictures, ROUNDS (3) may be fewer.
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=target/venvs/curate
data=target/bench/curate
if [ ! -x $venv/bin/python ]; then
    python3 -m venv $venv
fi
$venv/bin/pip install --quiet --disable-pip-version-check --requirement bench/curate/requirements.txt
$venv/bin/pip install --quiet --disable-pip-version-check --no-deps imagededup==0.3.3.post2
cargo build --release --locked --bin pixtune
packages=$($venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# What is left out shows the same as another of these.
$venv/bin/python bench/curate/planted.py $data --photos "${PHOTOS:-60}" \
    --from examples/visual-qa/images "$packages/skimage/data" "$packages/sklearn/datasets/images" \
    --without bricks-gray.gif chessboard_GRAY.png logo.png motorcycle_right.png
$venv/bin/python bench/curate/compare.py target/release/pixtune $data --rounds "${ROUNDS:-3}"
$venv/bin/python bench/prepare/generate.py target/bench/prepare --photos 300
$venv/bin/python bench/curate/measuring.py target/release/pixtune target/bench/prepare/dataset.csv --rounds "${ROUNDS:-3}"
bench/curate/near.sh
