#!/usr/bin/env bash
# Measures the decision of `prepare` (duplicates, near-duplicates, split) over made-up facts about rows, and the search among hashes,
# beside FAISS. SIZES (default: 1000000 10000000 100000000) are the numbers of rows, BUDGET (250000000) the bytes of each sorter.
# Scratch files are in target/bench/scale: 170 bytes per row at most.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
cargo build --release --quiet --locked -p pixtune-core --example scale
directory=target/bench/scale
mkdir -p $directory
trap 'rm -rf "$directory"' EXIT
for rows in ${SIZES:-1000000 10000000 100000000}; do
    target/release/examples/scale records "$rows" $directory "${BUDGET:-250000000}"
    target/release/examples/scale hashes "$rows" 2
done
rival=$(environment scale bench/scale/records.txt)
"$rival" bench/scale/hashes.py 1000000 5000
