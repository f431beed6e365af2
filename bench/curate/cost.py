"""CPU time and memory of a program; used by compare.py and measuring.py."""

import os
import subprocess
import sys


def run(command):
    """The output of a program, and the CPU-seconds and peak megabytes of it and its children."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    # pixtune exits with 1 if the data has errors.
    if process.returncode not in (0, 1):
        sys.exit(f"{' '.join(map(str, command))} ended with {process.returncode}")
    return output, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024
