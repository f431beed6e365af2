#!/bin/sh
# Measures `pixtune check` against json.loads and mistral-common's validation, per CPU-second, all in one run.
# Needs a Python with mistral-common==1.13.1, numpy, pillow: PYTHON=venv/bin/python SIZE=1000 bench/check/run.sh
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
FOLDER=${FOLDER:-target/bench-check}
"$PYTHON" bench/check/data.py "$FOLDER" "${SIZE:-1000}"
cargo build --release --quiet -p pixtune
ours() {
    echo "check $*:"
    # CPU-seconds of the user and the system, and the wall clock.
    ( time -p target/release/pixtune check "$@" --statistics ) 2>&1 | grep -v pictures
}
for file in "$FOLDER/text.jsonl" "$FOLDER/images.jsonl"; do
    ls -l "$file"
    cat "$file" > /dev/null
    ours "$file" --threads 1
    "$PYTHON" bench/check/rivals.py "$file"
done
ours "$FOLDER/images.jsonl" --threads 1 --verify full
