#!/bin/sh
# Measures `pixtune check` against json.loads, mistral-common's validation, and reading and mapping alone, all in one run.
# Needs a Python with mistral-common==1.13.1, numpy, pillow: PYTHON=venv/bin/python SIZE=1000 bench/check/run.sh
# FIRST is put before every command, as in FIRST="chrt -f 10" on a machine that does other things too.
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
FOLDER=${FOLDER:-target/bench-check}
FIRST=${FIRST:-}
OURS=${OURS:-target/release/pixtune}
"$PYTHON" bench/check/data.py "$FOLDER" "${SIZE:-1000}"
[ "$OURS" != target/release/pixtune ] || cargo build --release --quiet -p pixtune
row() {
    name=$1 rounds=$2
    shift 2
    # The words of FIRST are meant to be split.
    "$PYTHON" bench/check/measure.py "$name" "$file" "$rounds" $FIRST "$@"
}
for kind in text images; do
    file=$FOLDER/$kind.jsonl
    cat "$file" > /dev/null
    printf '\n%s\n\n| | MB per CPU-second | MB per second | peak MB |\n|---|---|---|---|\n' "$kind"
    row "check, 1 thread" 5 "$OURS" check "$file" --statistics --threads 1
    row "check, 2 threads" 5 "$OURS" check "$file" --statistics --threads 2
    [ $kind = text ] || row "check --verify full, 1 thread" 1 "$OURS" check "$file" --statistics --threads 1 --verify full
    [ $kind = text ] || row "check --verify full, 2 threads" 1 "$OURS" check "$file" --statistics --threads 2 --verify full
    row "json.loads" 1 "$PYTHON" bench/check/rivals.py json.loads "$file"
    row "mistral-common validation" 1 "$PYTHON" bench/check/rivals.py mistral-common "$file"
    row "read, nothing looked at" 5 "$PYTHON" bench/check/rivals.py read "$file"
    row "mapped and looked at" 5 "$PYTHON" bench/check/rivals.py mapped "$file"
done
