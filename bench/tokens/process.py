#!/usr/bin/env python3
"""The whole program with one thread and with two: `process.py PIXTUNE TEXTS.jsonl CHATS.jsonl`.

Prints `name<TAB>what<TAB>number`: conversations per CPU-second with everything from start to end in it, and how many
times faster two threads are than one by the clock, the best and the median of five pairs, on the conversations ten
times over, so that the load of the vocabulary does not decide. The clock is what other work on the machine disturbs
most: as root, `chrt -f 10` before the command keeps it away.
"""

import os
import statistics
import subprocess
import sys
import time


def run(*command):
    """CPU seconds and seconds by the clock."""
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
