#!/usr/bin/env bash
# Measures `pixtune serve`: small requests and an upload beside the same in FastAPI and SQLAlchemy, 1,000 streams of events and 1,000
# slow connections with the latency of a health check beside them, an upload of GIGABYTES (5), and the list of 10,000 files. Needs
# twice that space.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
cargo build --release --locked --bin pixtune
python3 bench/serve/requests.py target/release/pixtune "$(environment serve-rival bench/serve/rival.txt)"
python3 bench/serve/measure.py target/release/pixtune --gigabytes "${GIGABYTES:-5}"
