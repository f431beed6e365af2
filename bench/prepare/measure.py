#!/usr/bin/env python3
"""Run the programs alternately and print a table. `measure.py PIXTUNE DATA [--rounds 5]`"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass
class Cost:
    wall: float
    cpu: float
    megabytes: float


def run(command, out):
    """One run from start to exit; its children count too. What it wrote is removed afterwards."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ, "VIPS_CONCURRENCY": "1"})
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    # The process is gone already; Popen must not wait for it again.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or not out.exists():
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{complaints.decode()}")
    shutil.rmtree(out) if out.is_dir() else out.unlink()
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pixtune")
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    data = arguments.data
    table, table_x10, out = data / "dataset.csv", data / "dataset-x10.csv", data / "out"
    photos = len(table.read_text(encoding="utf-8").splitlines()) - 1

    def ours(*options, of=table):
        return [arguments.pixtune, "prepare", of, "--out", out, "--quiet", *options]

    def theirs(script):
        return [sys.executable, HERE / script, table, out]

    keep, one, two = "pixtune, keep", "pixtune, 1 thread", "pixtune, 2 threads"
    contenders = {
        keep: ours("--images", "keep", "--verify", "header", "--threads", "1"),
        "loop.py": theirs("loop.py"),
        one: ours("--threads", "1"),
        "vips.py": theirs("vips.py"),
        two: ours("--threads", "2"),
    }
    costs = {name: [] for name in contenders}
    for iteration in range(arguments.rounds):
        for name, command in contenders.items():
            cost = run(command, out)
            costs[name].append(cost)
            print(f"{iteration + 1} {name}: {cost.cpu:.1f} s CPU, {cost.wall:.1f} s, {cost.megabytes:.0f} MB", file=sys.stderr)

    def median(name, of):
        return statistics.median(of(cost) for cost in costs[name])

    def ratio(name, base, of):
        """The ratio of two runs of the same round, so that a slow phase of the machine affects both."""
        return statistics.median(of(one) / of(other) for one, other in zip(costs[base], costs[name], strict=True))

    def line(name, base, what):
        cpu, wall = photos / median(name, lambda cost: cost.cpu), photos / median(name, lambda cost: cost.wall)
        times = ratio(name, base, lambda cost: cost.cpu)
        memory = max(cost.megabytes for cost in costs[name])
        print(f"| {what} | {cpu:.1f} | {times:.2f} | {wall:.1f} | {memory:.0f} MB |")

    print(f"{photos} photos, median of {arguments.rounds} alternating runs each\n")
    print("| | images per CPU-second | times ours | images per second | peak memory |\n|---|---:|---:|---:|---:|")
    line(keep, keep, "**pixtune** `--images keep --verify header --threads 1`")
    line("loop.py", keep, "loop.py: pandas, base64, json")
    line(one, one, "**pixtune** `--threads 1`")
    line("vips.py", one, "vips.py: pyvips, one thread")
    line(two, one, "**pixtune** `--threads 2`")
    print(f"\nTwo threads are {ratio(two, one, lambda cost: cost.wall):.2f} times as fast as one.\n")
    if table_x10.exists():
        cost = run(ours("--threads", "2", of=table_x10), out)
        memory = max(cost.megabytes for cost in costs[two])
        print("| `--threads 2` | peak memory |\n|---|---:|")
        print(f"| {photos} rows | {memory:.0f} MB |\n| {10 * photos} rows | {cost.megabytes:.0f} MB |")


if __name__ == "__main__":
    main()
