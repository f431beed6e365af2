"""Measures `prepare` on a Ray cluster of one head and two nodes with a CPU each, beside the program with two threads.

    PYTHONPATH=PACKAGE cluster.py target/release/pixtune DATA [--rounds 3]

DATA is a directory of bench/prepare/generate.py. Prints wall and CPU seconds of both, alternating, and compares the bytes. The CPU
time of Ray is that of all its processes while the run lasts.
"""

import argparse
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")
TICKS = os.sysconf("SC_CLK_TCK")


def of_ray():
    """CPU seconds of the processes of Ray that live, and of those that they waited for."""
    total = 0
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, fields = stat.read_text().rsplit(")", 1)
            command = (stat.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if b"ray" in command and (b"raylet" in command or b"gcs_server" in command or b"ray::" in command or b"ray/" in command):
            total += sum(map(int, fields.split()[11:15]))
    return total / TICKS


def measured(command):
    """Wall and CPU seconds of a command and its children."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--fragment-rows", type=int, default=100)
    arguments = parser.parse_args()
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 300 << 20})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=300 << 20)
    images = sum(1 for _ in open(arguments.data / "dataset.csv")) - 1
    results = {"threads": [], "ray": []}
    with tempfile.TemporaryDirectory(dir=arguments.data) as name:
        out = pathlib.Path(name)
        words = [arguments.program, "prepare", arguments.data / "dataset.csv", "--quiet", "--out"]
        for _ in range(arguments.rounds):
            results["threads"].append(measured([*words, out / "threads", "--threads", "2"]))
            before = of_ray()
            engine = ["--engine", "ray", "--address", cluster.address, "--python", sys.executable]
            rows = ["--fragment-rows", arguments.fragment_rows]
            wall, cpu = measured([*words, out / "ray", *engine, *rows])
            results["ray"].append((wall, cpu + of_ray() - before))
            for file in (out / "threads").iterdir():
                assert file.read_bytes() == (out / "ray" / file.name).read_bytes(), file.name
            shutil.rmtree(out / "threads")
            shutil.rmtree(out / "ray")
    cluster.shutdown()
    for engine, rounds in results.items():
        wall, cpu = (statistics.median(values) for values in zip(*rounds))
        print(f"{engine:8} {wall:7.1f} s  {cpu:7.1f} CPU s  {images / wall:7.1f} images/s  {images / cpu:7.1f} images/CPU s")
    wall = {engine: statistics.median(wall for wall, _ in rounds) for engine, rounds in results.items()}
    print(f"speed of Ray: {wall['threads'] / wall['ray']:.2f} of the program's")


if __name__ == "__main__":
    main()
