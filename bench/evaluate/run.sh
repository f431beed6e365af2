#!/usr/bin/env bash
# Measures scoring of a million predictions by pixtune and by the code of lm-eval (that of mistral-evals) and lmms-eval, and asking
# a local endpoint by pixtune and by OpenAI's asynchronous client. ROWS (1000000), REQUESTS (4000), ROUNDS (3).
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
cargo build --release --quiet --locked --bin pixtune
cargo build --release --quiet --locked -p pixtune-core --example score_speed
scores=$(overlay scores python3 tests/peers/scores-requirements.txt)
PYTHONPATH=$scores:tests/peers python3 bench/evaluate/measure.py target/release/pixtune target/release/examples/score_speed target/bench/evaluate "${ROWS:-1000000}"
openai=$(environment openai-3.51.0 tests/peers/clients/openai-3.51.0.txt)
python3 bench/evaluate/endpoint.py target/release/pixtune "$openai" target/bench/evaluate "${REQUESTS:-4000}" "${ROUNDS:-3}"
