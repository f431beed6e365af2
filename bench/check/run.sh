#!/usr/bin/env bash
# Measures `pixtune check`, json.loads, mistral-common's validation, and reading and mapping the file, all in one run.
# SIZE (1000) is in MB. FIRST is a prefix of every command, such as FIRST="chrt -f 10" on a machine with other load.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/environments.sh
python=$(environment peers tests/peers/requirements.txt)
data=${DATA:-target/bench/check}
program=${PROGRAM:-target/release/pixtune}
"$python" bench/check/data.py "$data" "${SIZE:-1000}"
[ "$program" != target/release/pixtune ] || cargo build --release --quiet --locked -p pixtune
row() {
    local name=$1 rounds=$2
    shift 2
    # FIRST is split into words.
    "$python" bench/check/measure.py "$name" "$file" "$rounds" ${FIRST:-} "$@"
}
for kind in text images; do
    file=$data/$kind.jsonl
    cat "$file" >/dev/null
    printf '\n%s\n\n| | MB per CPU-second | MB per second | peak MB |\n|---|---|---|---|\n' "$kind"
    row "check, 1 thread" 5 "$program" check "$file" --statistics --threads 1
    row "check, 2 threads" 5 "$program" check "$file" --statistics --threads 2
    [ $kind = text ] || row "check --verify full, 1 thread" 1 "$program" check "$file" --statistics --threads 1 --verify full
    [ $kind = text ] || row "check --verify full, 2 threads" 1 "$program" check "$file" --statistics --threads 2 --verify full
    row "json.loads" 1 "$python" bench/check/rivals.py json.loads "$file"
    row "mistral-common validation" 1 "$python" bench/check/rivals.py mistral-common "$file"
    row "read only" 5 "$python" bench/check/rivals.py read "$file"
    row "mapped and scanned" 5 "$python" bench/check/rivals.py mapped "$file"
done
