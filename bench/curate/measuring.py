#!/usr/bin/env python3
"""Cost of measuring images in `pixtune prepare`: `measuring.py PIXTUNE TABLE [--rounds 5]`

Runs alternately with and without measuring, on one thread. The ratio is of CPU-seconds per pair of runs.
"""

import argparse
import shutil
import statistics
import sys
from pathlib import Path

from cost import run


def cpu(command, out):
    _, seconds, _ = run([*command, "--out", out])
    shutil.rmtree(out)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pixtune")
    parser.add_argument("table", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    out = arguments.table.parent / "measuring"
    shutil.rmtree(out, ignore_errors=True)
    command = [arguments.pixtune, "prepare", arguments.table, "--threads", "1", "--quiet"]
    pairs = []
    for iteration in range(arguments.rounds):
        pair = cpu(command, out), cpu([*command, "--no-measure"], out)
        pairs.append(pair)
        print(f"{iteration + 1}: {pair[0]:.2f} s with, {pair[1]:.2f} s without", file=sys.stderr)
    more = [with_it / without - 1 for with_it, without in pairs]
    print(f"measuring adds {statistics.median(more):.1%} of CPU, {min(more):.1%} to {max(more):.1%} in {len(more)} pairs")


if __name__ == "__main__":
    main()
