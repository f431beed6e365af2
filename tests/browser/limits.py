"""A report stays below 5 MB and its memory bounded for extreme datasets: a line of 200 MB, 100,000 samples with 10,000
findings, very long names and keys, images of noise.

    limits.py PIXTUNE
"""

import base64
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile

from report import Checks, line, png

MOST = 5_000_000


def long_line(directory):
    words = "the quick brown fox jumps over 13 lazy dogs; "
    with open(directory / "data.jsonl", "w") as out:
        out.write(line("What follows?", "It is short."))
        out.write(line("What follows? " + words * (200_000_000 // len(words)), "Words."))
        out.write(line("<i>" * 200_000, "<b>" * 200_000))


def many_samples(directory):
    chance = random.Random(2)
    hostile = "<\"'&>\u202e"
    with open(directory / f"{'name' * 40}.jsonl", "w") as out:
        for number in range(100_000):
            answer = f"It is {number}, as the bill of {chance.randrange(10**6)} says."
            if number % 10 == 0:
                answer = f"I'm sorry, but I can't help with {hostile * 100} {number}."
            out.write(line(f"What is the total of bill {number % 90_000}? {hostile * 20}", answer))
        for number in range(10_000):
            out.write(json.dumps({"messages": [{"role": hostile * 50 + str(number), "content": "x"}]}) + "\n")


def noise(directory):
    chance = random.Random(3)
    uris = []
    for number in range(64):
        bytes_ = png(600, 400, lambda y: chance.randbytes(1800))
        uris.append("data:image/png;base64," + base64.b64encode(bytes_).decode())
    with open(directory / "data.jsonl", "w") as out:
        for number in range(96):
            parts = [{"type": "image_url", "image_url": uris[(number + at) % 64]} for at in range(1 + number % 3)]
            parts.append({"type": "text", "text": f"What is in picture {number}?"})
            out.write(json.dumps({"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": "Noise."}]}) + "\n")


def main():
    pixtune = str(pathlib.Path(sys.argv[1]).resolve())
    check = Checks()
    for make, megabytes, codes in [(many_samples, 150, (1,)), (noise, 200, (0,)), (long_line, 1200, (0,))]:
        with tempfile.TemporaryDirectory() as name:
            directory = pathlib.Path(name)
            (directory / "data").mkdir()
            make(directory / "data")
            before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            done = subprocess.run([pixtune, "report", "data", "--samples", "200", "--quiet"], cwd=directory, capture_output=True, text=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
            check(done.returncode in codes, f"{make.__name__}: ends with {codes}", (done.returncode, done.stderr[:300]))
            page = (directory / "report.html").read_text() if done.returncode in (0, 1) else ""
            size = len(page.encode())
            print(f"{make.__name__}: {size:,} bytes, peak {peak // 1024:,} MB{' (or less)' if peak == before else ''}", flush=True)
            check(0 < size < MOST, f"{make.__name__}: bytes", size)
            check(peak // 1024 < megabytes, f"{make.__name__}: peak memory in MB", peak // 1024)
            check("more" in page, f"{make.__name__}: omitted items are counted")
    if check.failed:
        sys.exit(f"{len(check.failed)} of {check.done} checks failed")
    print(f"{check.done} checks hold")


if __name__ == "__main__":
    main()
