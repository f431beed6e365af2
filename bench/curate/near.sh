#!/usr/bin/env bash
# The search for near duplicates at three sizes: 64-bit hashes at the default distance, and texts by MinHash. Two threads.
# MOST (10000000) hashes at most.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo build --release --locked -p pixtune-core --example near_speed
for count in 100000 1000000 "${MOST:-10000000}"; do
    target/release/examples/near_speed hashes "$count"
done
for count in 10000 100000 1000000; do
    target/release/examples/near_speed texts "$count"
done
