#!/usr/bin/env python3
"""Speed of the whole program with one thread and with two: `process.py PIXTUNE TEXTS.jsonl CHATS.jsonl`.

Prints `name<TAB>measure<TAB>number`: conversations per CPU-second including start and load, and the wall-clock speedup of two
threads over one, the best and the median of five pairs. The conversations are read ten times, so that the load of the
vocabulary has little weight. Other load on the machine disturbs wall-clock times; as root, `chrt -f 10` prevents that.
"""

import os
import statistics
import subprocess
import sys
import time


def run(*command):
    """CPU seconds and wall-clock seconds."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return cpu, time.perf_counter() - start


def main():
    pixtune, texts, chats = sys.argv[1:]
    with open(chats, encoding="utf-8") as lines:
        count = sum(1 for _ in lines)
    cpu = min(run(pixtune, "tokens", chats, "--ids", "--threads", "1")[0] for _ in range(5))
    print(f"pixtune, whole program\tconversations, ids and counts (1/s)\t{count / cpu:.0f}")
    for name, arguments in [("texts", ["--text", texts]), ("conversations", [chats] * 10 + ["--ids"])]:
        ratios = []
        for _ in range(5):
            seconds = [run(pixtune, "tokens", *arguments, "--threads", threads)[1] for threads in ("1", "2")]
            ratios.append(seconds[0] / seconds[1])
        print(f"pixtune, whole program\t{name}, two threads (times one)\t{max(ratios):.2f}, median {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
