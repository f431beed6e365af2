"""Run a command on a file ROUNDS times and print the best result: measure.py NAME FILE ROUNDS COMMAND...

If the command prints `loop CPU WALL`, these times are used instead, so that the start of Python is not counted. Prints NAME, MB per
CPU-second (user and system), MB per second, and peak memory in MB.
"""
import os
import subprocess
import sys
import time

name, path, rounds, command = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4:]
megabytes = os.path.getsize(path) / 1e6
cpu, wall, peak = [], [], []
for _ in range(rounds):
    start = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    printed = child.stdout.read().split()
    _, status, used = os.wait4(child.pid, 0)
    seconds = [used.ru_utime + used.ru_stime, time.perf_counter() - start]
    if printed[:1] == ["loop"]:
        seconds = [float(second) for second in printed[1:3]]
    if os.waitstatus_to_exitcode(status) not in (0, 1):
        sys.exit(f"{name} failed")
    cpu.append(seconds[0])
    wall.append(seconds[1])
    peak.append(used.ru_maxrss / 1e3)
print(f"| {name} | {megabytes / min(cpu):.0f} | {megabytes / min(wall):.0f} | {max(peak):.0f} |", flush=True)
