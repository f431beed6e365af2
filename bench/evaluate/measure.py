"""Scores the same predictions with pixtune and with the published Python code, and compares the mean scores.

    measure.py PIXTUNE DIRECTORY ROWS      needs lm-eval and lmms-eval, whose metrics tests/peers/scores.py loads
"""

import json
import pathlib
import random
import resource
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


def python(path):
    """The mean scores by the published code, and its seconds of CPU time."""
    start = time.process_time()
    sums, rows = dict.fromkeys(NAMES, 0.0), 0
    with open(path) as file:
        for line in file:
            row = json.loads(line)
            rows += 1
            for name in NAMES:
                sums[name] += METRICS[name](row["answer"], row["references"])
    return {name: total / rows for name, total in sums.items()}, time.process_time() - start


def pixtune(program, path, out):
    """The mean scores by pixtune, its seconds of CPU time and of wall-clock time, and its peak memory in MB."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [program, "evaluate", "--predictions", str(path), "--metric", "relaxed", "--out", str(out), "--force", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    phrasing = json.loads((out / "scores.json").read_text())["model"]["phrasings"][0]
    return phrasing["scores"], cpu, wall, after.ru_maxrss / 1024


def main():
    program, directory, rows = sys.argv[1], pathlib.Path(sys.argv[2]), int(sys.argv[3])
    directory.mkdir(parents=True, exist_ok=True)
    data = directory / "predictions.jsonl"
    generate(data, rows)
    found, cpu, wall, memory = pixtune(program, data, directory / "out")
    expected, reference = python(data)
    for name in NAMES:
        assert abs(found[name] - expected[name]) < 1e-9, (name, found[name], expected[name])
    print(f"{rows} predictions, three metrics each; the mean scores are equal")
    print(f"pixtune  {cpu:8.1f} s of CPU time, {wall:.1f} s, {memory:.0f} MB, with predictions, scores and report written")
    print(f"Python   {reference:8.1f} s of CPU time, scores only")


main()
