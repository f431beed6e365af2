#!/usr/bin/env bash
# Measures `prepare` on a Ray cluster of this machine beside the program, on the same two CPUs. PHOTOS (2000), ROUNDS (3).
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
ray=$(environment ray tests/peers/ray.txt)
photos=$(environment prepare bench/prepare/requirements.txt)
data=target/bench/prepare
"$photos" bench/prepare/generate.py $data --photos "${PHOTOS:-2000}"
cargo build --release --quiet --locked -p pixtune
package=$(mktemp --directory)
trap 'rm -rf "$package"' EXIT
"$ray" -m pip install --quiet --disable-pip-version-check --no-deps --target "$package/package" "$(scripts/wheel "$package")"
PYTHONPATH=$package/package taskset --cpu-list 0,1 "$ray" bench/scale/cluster.py target/release/pixtune $data --rounds "${ROUNDS:-3}"
