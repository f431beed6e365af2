"""Scores the same predictions with pixtune and with the published Python code, and compares the mean scores.

    measure.py PIXTUNE SCORE_SPEED DIRECTORY ROWS      needs lm-eval and lmms-eval, whose metrics tests/peers/scores.py loads

SCORE_SPEED is pixtune-core's example of this name: metrics alone, of answers that are in memory, as they are timed in Python.
"""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

from scores import METRICS

NAMES = ["relaxed_correctness", "explicit_prompt_relaxed_correctness", "anywhere_in_answer_relaxed_correctness"]


def generate(path, rows):
    """Answers as models give them: bare, after reasoning, in a sentence, wrong, empty."""
    dice = random.Random(0)
    with open(path, "w") as file:
        for number in range(rows):
            value = dice.choice([str(dice.randint(0, 9999)), f"{dice.randint(1, 99)}%", dice.choice(["Paris", "yes", "the left bar"])])
            forms = [value, f"The chart has {dice.randint(2, 9)} bars. " * 4 + f"\nFinal Answer: **{value}**", f"It is {value}.", "42", ""]
            line = {"id": str(number), "prompt": "What is the value?", "references": [value], "answer": dice.choice(forms)}
            file.write(json.dumps(line) + "\n")


def python(rows):
    """The mean of each metric by the published code, and its seconds of CPU time, for answers in memory."""
    means, seconds = {}, {}
    for name, metric in METRICS.items():
        start, total = time.process_time(), 0.0
        for answer, references in rows:
            total += metric(answer, references)
        means[name], seconds[name] = total / len(rows), time.process_time() - start
    return means, seconds


def metrics_alone(program, path, rows):
    """The same by pixtune-core."""
    output = subprocess.run([program, str(path), *METRICS], check=True, capture_output=True, text=True).stdout
    lines = [line.split("\t") for line in output.splitlines()]
    return {name: float(total) / rows for name, total, _ in lines}, {name: float(seconds) for name, _, seconds in lines}


def pixtune(program, path, out):
    """The mean scores by pixtune, its seconds of CPU time and of wall-clock time, and its peak memory in MB."""
    command = [program, "evaluate", "--predictions", str(path), "--metric", "relaxed", "--out", str(out), "--force", "--quiet"]
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, command
    wall, cpu = time.monotonic() - start, usage.ru_utime + usage.ru_stime
    phrasing = json.loads((out / "scores.json").read_text())["model"]["phrasings"][0]
    return phrasing["scores"], cpu, wall, usage.ru_maxrss / 1024


def main():
    program, speed, directory, count = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), int(sys.argv[4])
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "predictions.jsonl"
    generate(data, count)
    found, cpu, wall, memory = pixtune(program, data, directory / "out")
    alone, ours = metrics_alone(speed, data, count)
    start = time.process_time()
    with data.open() as file:
        rows = [(row["answer"], row["references"]) for row in map(json.loads, file)]
    reading = time.process_time() - start
    expected, theirs = python(rows)
    for name, mean in [*found.items(), *alone.items()]:
        assert abs(mean - expected[name]) < 1e-9, (name, mean, expected[name])
    print(f"{count} predictions; the mean scores are equal\n")
    print("| | pixtune, CPU seconds | Python, CPU seconds | ratio |\n|---|---:|---:|---:|")
    for name in METRICS:
        print(f"| {name} | {ours[name]:.2f} | {theirs[name]:.2f} | {theirs[name] / ours[name]:.0f} |")
    command = reading + sum(theirs[name] for name in NAMES)
    print(f"| the command with {len(NAMES)} metrics | {cpu:.1f} | {command:.1f} | {command / cpu:.1f} |")
    print(f"\nThe command writes predictions, scores and a report: {wall:.1f} s, {memory:.0f} MB. The loop in Python writes nothing.")


main()
