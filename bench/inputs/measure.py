#!/usr/bin/env python3
"""Runs the programs in turns and prints tables. Programs that form a ratio are adjacent.

    measure.py PIXTUNE PHOTOS DATA [--rounds 3] [--rows 100000 …] [--img2dataset PYTHON]
"""

import argparse
import csv
import os
import resource
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


def remove(path):
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def run(command, code=0):
    """One run from start to exit; the CPU time of its children counts too."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    complaints = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}:\n{complaints.decode()[-3000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall, cpu, usage.ru_maxrss / 1024)


class Turns:
    """Programs in turns, and the medians of their costs."""

    def __init__(self, out, rounds):
        self.out, self.rounds, self.costs = out, rounds, {}

    def measure(self, programs, code=0, each=lambda: None):
        for _ in range(self.rounds):
            for name, command in programs.items():
                remove(self.out)
                each()
                self.costs.setdefault(name, []).append(run(command, code if "prepare" in map(str, command) else 0))
        remove(self.out)

    def cpu(self, name):
        return statistics.median(cost.cpu for cost in self.costs[name])

    def wall(self, name):
        return statistics.median(cost.wall for cost in self.costs[name])

    def memory(self, name):
        return max(cost.megabytes for cost in self.costs[name])

    def ratio(self, ours, theirs):
        pairs = zip(self.costs[theirs], self.costs[ours], strict=True)
        return statistics.median(their.cpu / our.cpu for their, our in pairs)


def images(arguments, turns, photos):
    pixtune, data, out = arguments.pixtune, arguments.data, turns.out

    def prepare(source, *options):
        return [pixtune, "prepare", source, "--out", out, "--threads", 1, "--validation", 0, "--dedup", "off", "--quiet", *options]

    table, parquet = arguments.photos / "dataset.csv", data / "photos.parquet"
    keep = ["--images", "keep", "--verify", "header"]
    loop = [sys.executable, HERE.parent / "prepare" / "loop.py", table, out]
    turns.measure({
        "files": prepare(table), "parquet": prepare(parquet),
        "datasets": [sys.executable, HERE / "with_datasets.py", parquet, out],
        "keep": prepare(table, *keep), "loop": loop, "keep parquet": prepare(parquet, *keep),
    })
    print(f"\n{photos} photos, median of {turns.rounds}\n")
    print("| | images per CPU-second | peak memory |\n|---|---:|---:|")
    for name, what in [
        ("files", "**pixtune** `prepare`, files"), ("parquet", "**pixtune** `prepare`, Parquet"),
        ("datasets", "`datasets` and Pillow, Parquet"),
        ("keep", "**pixtune** `--images keep --verify header`, files"), ("loop", "loop.py: pandas, base64, json, files"),
        ("keep parquet", "**pixtune** `--images keep --verify header`, Parquet"),
    ]:
        print(f"| {what} | {photos / turns.cpu(name):.1f} | {turns.memory(name):.0f} MB |")
    print(f"\nParquet costs {1 / turns.ratio('parquet', 'files'):.3f} of the CPU time of files; pixtune has "
          f"{turns.ratio('parquet', 'datasets'):.1f} times the images per CPU-second of datasets, and "
          f"{turns.ratio('keep', 'loop'):.1f} times those of loop.py.")


def large(arguments, turns):
    path = arguments.data / "large.parquet"
    command = [arguments.pixtune, "prepare", path, "--out", turns.out, "--images", "keep", "--verify", "header",
               "--validation", 0, "--quiet", "--dedup", "off"]
    cost = run(command)
    remove(turns.out)
    print(f"\nParquet of {path.stat().st_size / 1e9:.1f} GB: {cost.cpu:.0f} CPU-seconds, {cost.megabytes:.0f} MB")


def texts(arguments, turns):
    print("\n| rows | `prepare` | bytes per row | `check` | `stats` |\n|---:|---:|---:|---:|---:|")
    base = None
    for count in arguments.rows:
        prepare = [arguments.pixtune, "prepare", arguments.data / f"texts-{count}.csv", "--out", turns.out, "--quiet"]
        costs = [run(prepare)]
        # A target limits the size of a file, so many rows are in several.
        train = sorted(turns.out.glob("train*.jsonl"))
        costs += [run([arguments.pixtune, command, *train, *(["--quiet"] if command == "check" else [])])
                  for command in ("check", "stats")]
        base = base or (count, costs[0].megabytes)
        grown = (costs[0].megabytes - base[1]) * 1e6 / (count - base[0]) if count > base[0] else 0
        shown = [f"{cost.cpu:.1f} s, {cost.megabytes:.0f} MB" for cost in costs]
        print(f"| {count:,} | {shown[0]} | {grown:.0f} | {shown[1]} | {shown[2]} |", flush=True)
        remove(turns.out)


def urls(arguments, turns, photos):
    server = subprocess.Popen([sys.executable, HERE / "server.py", arguments.photos], stdout=subprocess.PIPE, text=True)
    base = f"http://127.0.0.1:{server.stdout.readline().strip()}"
    with open(arguments.photos / "dataset.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    table = arguments.data / "urls.csv"
    with open(table, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["url", "caption", "completion"])
        for number, row in enumerate(rows):
            writer.writerow([f"{base}/{number}/{row['image_path']}", row["prompt"], row["completion"]])
    cache, out = arguments.data / "cache", turns.out
    ours = [arguments.pixtune, "prepare", table, "--columns", "image=url,prompt=caption,completion=completion", "--out", out, "--fetch",
            "--fetch-private", "--fetch-cache", cache, "--fetch-per-host", 64, "--images", "keep", "--verify", "header",
            "--validation", 0, "--dedup", "off", "--quiet"]
    programs = {"fetch": ours}
    if arguments.img2dataset:
        programs["img2dataset"] = [
            arguments.img2dataset, "-c", "import fire; from img2dataset import download; fire.Fire(download)", "--url_list", table, "--input_format", "csv", "--url_col", "url",
            "--caption_col", "caption", "--output_folder", out, "--output_format", "webdataset", "--processes_count", 2,
            "--thread_count", 32, "--resize_mode", "no", "--retries", 2, "--enable_wandb", "False"]
    try:
        turns.measure(programs, code=1, each=lambda: remove(cache))
    finally:
        server.kill()
    print(f"\n{photos} URLs, 20 ms latency, 2 % with status 404\n")
    print("| | images per CPU-second | images per second |\n|---|---:|---:|")
    for name in programs:
        print(f"| {name} | {photos / turns.cpu(name):.0f} | {photos / turns.wall(name):.0f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pixtune", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    parser.add_argument("--img2dataset")
    arguments = parser.parse_args()
    turns = Turns(arguments.data / "out", arguments.rounds)
    photos = len((arguments.photos / "dataset.csv").read_text(encoding="utf-8").splitlines()) - 1
    images(arguments, turns, photos)
    urls(arguments, turns, photos)
    large(arguments, turns)
    texts(arguments, turns)


if __name__ == "__main__":
    main()
