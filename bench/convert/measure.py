#!/usr/bin/env python3
"""Run the programs alternately on one disk and print a table. `measure.py PIXTUNE DATA [--rounds 3] [--cache warm|cold]`

Every run ends when its output is on the disk: pixtune flushes itself, what the others wrote is flushed as part of their time.
Before each run the output of the one before is removed, the disk is flushed and left alone for a few seconds, and the source
is read (warm) or dropped from the page cache (cold). Memory is the peak of resident pages, mapped files included.
"""

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
TEKKEN = HERE.parents[1] / "fixtures/tiny_tekken"


@dataclass
class Cost:
    wall: float
    user: float
    system: float
    megabytes: float


def run(command, outputs, flush):
    """One run from start until the files it wrote are on the disk."""
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    # The process is gone already; Popen must not wait for it again.
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{complaints.decode()}")
    before = os.times()
    if flush:
        for path in files(outputs):
            with open(path, "rb+") as file:
                os.fsync(file)
    after = os.times()
    wall = time.perf_counter() - start
    user, system = usage.ru_utime + after.user - before.user, usage.ru_stime + after.system - before.system
    return Cost(wall, user, system, usage.ru_maxrss / 1024)


def files(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def settle(directories, cache, seconds):
    """The same state before every run."""
    os.sync()
    for directory in directories:
        for path in files(directory):
            with open(path, "rb") as file:
                if cache == "cold":
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                else:
                    while file.read(1 << 20):
                        pass
    time.sleep(seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pixtune")
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cache", choices=["warm", "cold"], default="warm")
    parser.add_argument("--pause", type=float, default=5.0)
    parser.add_argument("--only", nargs="*", help="run only these rows, beside cp")
    arguments = parser.parse_args()
    model, adapter = arguments.data / "model", arguments.data / "adapter"
    native, out, nf4 = arguments.data / "native", arguments.data / "out", arguments.data / "nf4"
    gigabytes = (model / "model.safetensors").stat().st_size / 1e9
    convert = [arguments.pixtune, "convert", "--quiet"]
    if not native.exists():
        run([*convert, model, native, "--to", "mistral"], native, False)
    # Each with what it reads, and whether its output still has to be flushed.
    contenders = {
        "cp -r": (["cp", "-r", model, out], [model], True),
        "pixtune convert --to mistral": ([*convert, model, out, "--to", "mistral"], [model], False),
        "pixtune convert --to hf": ([*convert, native, out, "--to", "hf"], [native], False),
        "pixtune convert --verify": ([*convert, model, out, "--to", "mistral", "--verify"], [model], False),
        "pixtune adapter merge": (
            [arguments.pixtune, "adapter", "merge", "--quiet", model, adapter, out], [model, adapter], False,
        ),
        # The copy beside these two is of the model that has as many bytes as their output.
        "pixtune convert of NF4": ([*convert, nf4, out, "--to", "mistral"], [model, nf4], False),
        "pixtune adapter merge into NF4": (
            [arguments.pixtune, "adapter", "merge", "--quiet", nf4, adapter, out], [model, nf4, adapter], False,
        ),
        # The vocabulary is small: rows without a token get one.
        "pixtune convert --to gguf": ([*convert, model, out, "--to", "gguf", "--base", TEKKEN], [model], False),
        "pixtune convert --to gguf, Q8_0": (
            [*convert, model, out, "--to", "gguf", "--dtype", "q8_0", "--base", TEKKEN], [model], False,
        ),
        "usual.py": ([sys.executable, HERE / "usual.py", model, out], [model], True),
    }  # fmt: skip
    if arguments.only is not None:
        contenders = {name: one for name, one in contenders.items() if name == "cp -r" or any(part in name for part in arguments.only)}
    copies = {name: [] for name in contenders}
    costs = {name: [] for name in contenders}
    for iteration in range(arguments.rounds):
        for name, (command, reads, flush) in contenders.items():
            if name == "cp -r":
                continue
            # A copy of the same bytes from the same directory immediately before or after each run, alternating.
            pair = [("cp -r", (["cp", "-r", reads[0], out], reads, True)), (name, (command, reads, flush))]
            for which, (command, reads, flush) in pair if iteration % 2 == 0 else reversed(pair):
                settle(reads, arguments.cache, arguments.pause)
                cost = run(command, out, flush)
                (copies if which == "cp -r" else costs)[name].append(cost)
                print(f"{iteration + 1} {which}: {cost.wall:.2f} s, {cost.user:.2f} user, {cost.system:.2f} system, {cost.megabytes:.0f} MB", file=sys.stderr)
                shutil.rmtree(out)
    costs["cp -r"] = [cost for all in copies.values() for cost in all]

    def median(name, of):
        return statistics.median(map(of, costs[name]))

    print(f"\n{gigabytes:.2f} GB, {arguments.cache} page cache, {arguments.rounds} rounds, medians\n")
    print("| | seconds | GB/s | throughput against cp | user | system | peak MB |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name in contenders:
        wall = median(name, lambda cost: cost.wall)
        ratios = [copy.wall / cost.wall for copy, cost in zip(copies[name], costs[name])]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "1.00"
        user, system = median(name, lambda cost: cost.user), median(name, lambda cost: cost.system)
        memory = max(cost.megabytes for cost in costs[name])
        print(f"| {name} | {wall:.2f} | {gigabytes / wall:.2f} | {ratio} | {user:.2f} | {system:.2f} | {memory:.0f} |")


if __name__ == "__main__":
    main()
