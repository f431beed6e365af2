"""Runs exports, a copy and `datasets` one after the other and prints CPU seconds, the ratio to a copy, and peak memory."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

TARGETS = ["trl", "axolotl", "llama-factory", "ms-swift", "hf-dataset", "webdataset", "mds", "together"]


def run(command):
    """CPU seconds and peak memory in MB of a command."""
    pid = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, command
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("photos", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    prepared = args.work / "prepared"
    if not prepared.exists():
        options = ["--validation", "0", "--quiet", "--dedup", "off"]
        subprocess.run([args.pixtune, "prepare", str(args.photos / "dataset.csv"), "--out", str(prepared), *options], check=False)
    source = sorted(prepared.glob("train*.jsonl"))[0]
    merged = args.work / "train.jsonl"
    if not merged.exists():
        with merged.open("wb") as out:
            for part in sorted(prepared.glob("train*.jsonl")):
                # In pieces: a child's peak memory starts at that of this process.
                with part.open("rb") as data:
                    shutil.copyfileobj(data, out)
    source = merged
    script = str(Path(__file__).with_name("with_datasets.py"))
    commands = {"cp": lambda out: ["cp", str(source), out]}
    for target in TARGETS:
        commands[target] = lambda out, target=target: [
            args.pixtune, "export", str(source), "--to", target, "--out", out, "--threads", "1", "--quiet", "--model", "pixtral-12b",
        ]
    commands["datasets: map, to_parquet"] = lambda out: [sys.executable, script, str(source), out]
    measured = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            out = args.work / "out"
            for path in (out, args.work / "out.cache"):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            measured[name].append(run(command(str(out))))
    copied = statistics.median(cpu for cpu, _ in measured["cp"])
    print(f"{source.stat().st_size / 1e6:.0f} MB\n")
    print("| | CPU seconds | relative to cp | peak memory |\n|---|---:|---:|---:|")
    for name, runs in measured.items():
        cpu, memory = statistics.median(cpu for cpu, _ in runs), max(memory for _, memory in runs)
        print(f"| {name} | {cpu:.2f} | {cpu / copied:.1f} | {memory:.0f} MB |")


main()
