#!/usr/bin/env python3
"""Cost and accuracy of near-duplicate detection: `compare.py PIXTUNE DIRECTORY [--rounds 3]`

DIRECTORY was written by planted.py. Runs pixtune, CleanVision and imagededup alternately, each on one thread, and
prints tables: images per CPU-second, recall by kind of copy, precision, and the images on which pixtune and CleanVision
differ.
"""

import argparse
import collections
import csv
import itertools
import json
import re
import shutil
import statistics
import sys
from pathlib import Path

from cost import run

HERE = Path(__file__).resolve().parent
EASY, HARD = ("reencoded", "scaled"), ("cropped", "quality30", "brighter")
# What CleanVision calls the issues, and the rules of pixtune.
ISSUES = {
    "dark": "image-dark",
    "light": "image-light",
    "low_information": "image-low-information",
    "blurry": "image-blurry",
    "odd_aspect_ratio": "image-odd-aspect-ratio",
    "odd_size": "image-odd-size",
    "grayscale": "image-grayscale",
}


def found_by_pixtune(pixtune, directory, within="images"):
    """Pairs of near and exact duplicates and the issues of each image, as `pixtune prepare` reports them."""
    names = sorted(path.name for path in (directory / within).iterdir())
    table, out = directory / "images.csv", directory / "prepared"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "prompt", "completion"])
        rows.writerows([f"{within}/{name}", "What is this?", "A picture."] for name in names)
    shutil.rmtree(out, ignore_errors=True)
    options = ["--dedup", "near", "--dedup-by", "image", "--validation", "0", "--max-reject", "100%", "--format", "json"]
    output, _, _ = run([pixtune, "prepare", table, "--out", out, *options])
    shutil.rmtree(out, ignore_errors=True)
    group = {name: {name} for name in names}
    issues = collections.defaultdict(set)
    for finding in map(json.loads, output.splitlines()):
        if "rule" not in finding:
            continue
        # The table has a line before its rows, and lines count from 1.
        name = names[finding["line"] - 2]
        issues[name].add(finding["rule"])
        if finding["rule"] in ("duplicate", "near-duplicate"):
            kept = names[int(re.search(r"images\.csv:(\d+)", finding["message"])[1]) - 2]
            merged = group[name] | group[kept]
            group.update((member, merged) for member in merged)
    pairs = {pair for members in group.values() for pair in itertools.combinations(sorted(members), 2)}
    return {"pairs": pairs, "issues": issues}


def score(pairs, files):
    """Recall by kind of copy, and precision: the share of reported pairs that are true duplicates."""
    originals = {facts["of"]: name for name, facts in files.items() if facts["kind"] == "original"}
    shows = {name: (facts["of"], facts["kind"] == "mirrored") for name, facts in files.items()}
    pairs = {tuple(sorted(pair)) for pair in pairs}
    recall = {}
    for kind in (*EASY, *HARD):
        copies = [name for name, facts in files.items() if facts["kind"] == kind]
        hits = [name for name in copies if tuple(sorted((name, originals[files[name]["of"]]))) in pairs]
        recall[kind] = len(hits) / len(copies)
    true = sum(shows[one] == shows[other] for one, other in pairs)
    return recall, true / max(len(pairs), 1), len(pairs) - true


def print_verdicts(ours, theirs, files):
    # CleanVision reads fewer formats.
    files = {name: facts for name, facts in files.items() if name in theirs}
    sources = {facts["of"]: facts["from"] for facts in files.values() if "from" in facts}
    print("\n| issue | both | pixtune alone | CleanVision alone |\n|---|---:|---:|---:|")
    for theirs_called, rule in ISSUES.items():
        reported = {name for name in files if rule in ours[name]}
        reported_by_theirs = {name for name in files if theirs_called in theirs[name]}
        print(f"| {theirs_called} | {len(reported & reported_by_theirs)} | {len(reported - reported_by_theirs)} | {len(reported_by_theirs - reported)} |")
        for who, names in (("pixtune", reported - reported_by_theirs), ("CleanVision", reported_by_theirs - reported)):
            if names:
                of = collections.Counter(sources.get(files[name]["of"], "another format") for name in names)
                sources = ", ".join(f"{source} ({count})" for source, count in of.most_common())
                print(f"{theirs_called}, {who} alone: {sources}", file=sys.stderr)


def print_degraded(pixtune, directory, rival):
    """How many of the degraded images each program reports, and how many of the unmodified ones."""
    names = sorted(path.name for path in (directory / "degraded").iterdir())
    ours = found_by_pixtune(pixtune, directory, "degraded")["issues"]
    theirs = json.loads(run([*rival, directory / "degraded"])[0])["issues"]
    print("\n| issue | reported of degraded images: pixtune | CleanVision | reported of other images: pixtune | CleanVision |")
    print("|---|---:|---:|---:|---:|")
    for kind, called in (("blurred", "blurry"), ("dark", "dark"), ("light", "light")):
        reported = [{name for name in names if ISSUES[called] in ours[name]}, {name for name in names if called in theirs[name]}]
        cells = []
        for of in (kind, "fine"):
            wanted = {name for name in names if name.endswith(f"-{of}.jpg")}
            cells += [f"{len(wanted & found)} of {len(wanted)}" for found in reported]
        print(f"| {called} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pixtune")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = json.loads((arguments.directory / "truth.json").read_text())["files"]
    images = arguments.directory / "images"
    rival = lambda tool: [sys.executable, HERE / "rival.py", tool, images]
    contenders = {
        "pixtune": [arguments.pixtune, "stats", images, "--threads", "1", "--format", "json", "--quiet"],
        "imagededup": rival("phash"),
        "CleanVision": rival("cleanvision"),
    }
    costs, outputs, megabytes = collections.defaultdict(list), {}, {}
    for iteration in range(arguments.rounds):
        for name, command in contenders.items():
            outputs[name], cpu, megabytes[name] = run(command)
            costs[name].append(cpu)
            print(f"{iteration + 1} {name}: {cpu:.1f} s CPU", file=sys.stderr)
    found = {name: json.loads(outputs[name]) for name in ("imagededup", "CleanVision")}
    found["pixtune"] = found_by_pixtune(arguments.pixtune, arguments.directory)

    print(f"{len(files)} images, median of {arguments.rounds} runs, one thread\n")
    print("| | images per CPU-second | speedup of pixtune | peak memory |\n|---|---:|---:|---:|")
    for name in contenders:
        ratio = statistics.median(theirs / ours for theirs, ours in zip(costs[name], costs["pixtune"], strict=True))
        cpu = len(files) / statistics.median(costs[name])
        print(f"| {name} | {cpu:.0f} | {ratio:.1f} | {megabytes[name]:.0f} MB |")
    print(f"\n| recall | {' | '.join((*EASY, *HARD))} | precision | false pairs |\n|---|{'---:|' * 7}")
    for name in contenders:
        recall, precision, false = score(found[name]["pairs"], files)
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in recall.values())} | {precision:.4f} | {false} |")
    print_verdicts(found["pixtune"]["issues"], found["CleanVision"]["issues"], files)
    print_degraded(arguments.pixtune, arguments.directory, rival("cleanvision")[:-1])


if __name__ == "__main__":
    main()
