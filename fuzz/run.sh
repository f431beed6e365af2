#!/usr/bin/env bash
# Fuzzes all targets, or the given ones, for SECONDS_EACH (60) each; the first crash ends the run.
# Needs `cargo install --locked cargo-fuzz` and a C++ compiler. The address sanitizer needs an unstable compiler flag, which
# RUSTC_BOOTSTRAP enables on stable: no second toolchain is needed.
set -euo pipefail
cd "$(dirname "$0")/.."
export RUSTC_BOOTSTRAP=1
seconds=${SECONDS_EACH:-60}

# Seeds: images from the fixtures, texts from fuzz/seeds.
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
    # Inputs are short: tests cover large inputs.
    # A thread that has returned its result may still be running, and its memory would be reported as a leak.
    [ "$target" = shared_lines ] && leaks=0 || leaks=1
    cargo fuzz run --release --debug-assertions --target-dir target/fuzz "$target" "fuzz/corpus/$target" $(seeds "$target") -- \
        -max_total_time="$seconds" -timeout=20 -rss_limit_mb=4096 -print_final_stats=1 -detect_leaks=$leaks
done
