#!/usr/bin/env bash
# Fuzzes every target, or those named, for SECONDS_EACH (60) each; the first crash ends the run.
# Needs `cargo install --locked cargo-fuzz` and a C++ compiler. The address sanitizer is behind a flag that only nightly
# compilers take, or the stable one when it is told to: no second toolchain is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1
seconds=${SECONDS_EACH:-60}

# Pictures come from the fixtures, texts from fuzz/seeds.
seeds() {
    case $1 in
        image | prepare_image) echo fixtures/images fixtures/jpeg ;;
        jpeg) echo fixtures/jpeg ;;
        *) echo "fuzz/seeds/$1" ;;
    esac
}

if [ $# -eq 0 ]; then
    set -- $(cargo fuzz list)
fi
for target in "$@"; do
    mkdir -p "fuzz/corpus/$target"
    echo "== $target, $seconds seconds"
    # Cases are short: tests cover size, fuzzing covers shape.
    # A thread that has given its result may still be ending, and what it then holds passes for a leak.
    [ "$target" = shared_lines ] && leaks=0 || leaks=1
    cargo fuzz run --release --debug-assertions --target-dir target/fuzz "$target" "fuzz/corpus/$target" $(seeds "$target") -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -detect_leaks=$leaks
done
