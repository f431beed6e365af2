#!/usr/bin/env python3
"""What finding near duplicates costs, and which are found: `compare.py PIXTUNE FOLDER [--rounds 3]`

FOLDER is one that planted.py has written. Runs pixtune, CleanVision and imagededup in turns, each on one thread, and
prints tables: pictures per CPU-second, recall by kind of copy, precision, and where pixtune and CleanVision judge a
picture differently.
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


def found_by_pixtune(pixtune, folder, within="pictures"):
    """Pairs of near and exact duplicates and the issues of each picture, as `pixtune prepare` tells them."""
    names = sorted(path.name for path in (folder / within).iterdir())
    table, out = folder / "pictures.csv", folder / "prepared"
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
            kept = names[int(re.search(r"pictures\.csv:(\d+)", finding["message"])[1]) - 2]
            merged = group[name] | group[kept]
            group.update((member, merged) for member in merged)
    pairs = {pair for members in group.values() for pair in itertools.combinations(sorted(members), 2)}
    return {"pairs": pairs, "issues": issues}


def score(pairs, files):
    """Recall by kind of copy, and precision: of the pairs that are told, the share that shows the same."""
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
        told = {name for name in files if rule in ours[name]}
        said = {name for name in files if theirs_called in theirs[name]}
        print(f"| {theirs_called} | {len(told & said)} | {len(told - said)} | {len(said - told)} |")
        for who, names in (("pixtune", told - said), ("CleanVision", said - told)):
            if names:
                of = collections.Counter(sources.get(files[name]["of"], "another format") for name in names)
                told_of = ", ".join(f"{source} ({count})" for source, count in of.most_common())
                print(f"{theirs_called}, {who} alone: {told_of}", file=sys.stderr)


def print_spoiled(pixtune, folder, rival):
    """How many of the spoiled pictures each finds, and how many of those that nothing was done to."""
    names = sorted(path.name for path in (folder / "spoiled").iterdir())
    ours = found_by_pixtune(pixtune, folder, "spoiled")["issues"]
    theirs = json.loads(run([*rival, folder / "spoiled"])[0])["issues"]
    print("\n| told | of what was spoiled so: pixtune | CleanVision | of what was not spoiled: pixtune | CleanVision |")
    print("|---|---:|---:|---:|---:|")
    for kind, called in (("blurred", "blurry"), ("dark", "dark"), ("light", "light")):
        told = [{name for name in names if ISSUES[called] in ours[name]}, {name for name in names if called in theirs[name]}]
        cells = []
        for of in (kind, "fine"):
            wanted = {name for name in names if name.endswith(f"-{of}.jpg")}
            cells += [f"{len(wanted & found)} of {len(wanted)}" for found in told]
        print(f"| {called} | {' | '.join(cells)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pixtune")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    files = json.loads((arguments.folder / "truth.json").read_text())["files"]
    pictures = arguments.folder / "pictures"
    rival = lambda tool: [sys.executable, HERE / "rival.py", tool, pictures]
    contenders = {
        "pixtune": [arguments.pixtune, "stats", pictures, "--threads", "1", "--format", "json", "--quiet"],
        "imagededup": rival("phash"),
        "CleanVision": rival("cleanvision"),
    }
    costs, outputs, megabytes = collections.defaultdict(list), {}, {}
    for turn in range(arguments.rounds):
        for name, command in contenders.items():
            outputs[name], cpu, megabytes[name] = run(command)
            costs[name].append(cpu)
            print(f"{turn + 1} {name}: {cpu:.1f} s CPU", file=sys.stderr)
    found = {name: json.loads(outputs[name]) for name in ("imagededup", "CleanVision")}
    found["pixtune"] = found_by_pixtune(arguments.pixtune, arguments.folder)

    print(f"{len(files)} pictures, median of {arguments.rounds} runs, one thread\n")
    print("| | pictures per CPU-second | pixtune is faster by | peak memory |\n|---|---:|---:|---:|")
    for name in contenders:
        ratio = statistics.median(theirs / ours for theirs, ours in zip(costs[name], costs["pixtune"], strict=True))
        cpu = len(files) / statistics.median(costs[name])
        print(f"| {name} | {cpu:.0f} | {ratio:.1f} | {megabytes[name]:.0f} MB |")
    print(f"\n| recall | {' | '.join((*EASY, *HARD))} | precision | false pairs |\n|---|{'---:|' * 7}")
    for name in contenders:
        recall, precision, false = score(found[name]["pairs"], files)
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in recall.values())} | {precision:.4f} | {false} |")
    print_verdicts(found["pixtune"]["issues"], found["CleanVision"]["issues"], files)
    print_spoiled(arguments.pixtune, arguments.folder, rival("cleanvision")[:-1])


if __name__ == "__main__":
    main()
