#!/usr/bin/env bash
# Measures the near-duplicate search at three sizes: 64-bit hashes at the default distance, and texts by MinHash. Two threads.
# MOST (10000000) limits the number of hashes.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked -p pixtune-core --example near_speed
for count in 100000 1000000 "${MOST:-10000000}"; do
    target/release/examples/near_speed hashes "$count"
done
for count in 10000 100000 1000000; do
    target/release/examples/near_speed texts "$count"
done
