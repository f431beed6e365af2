#!/usr/bin/env python3
"""Writes fresh datasets with the libraries of formats.txt in every format, and compares what `prepare` makes of them with what
it makes of plain JSON Lines.

    python3 tests/peers/formats.py target/release/pixtune [--seeds 4]

Prints the files with differences and exits with 1 if there are any.
"""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import datasets
import pyarrow
import pyarrow.parquet

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent / "scripts"))
import format_fixtures  # noqa: E402


def prepared(pixtune, path, out):
    """The training file of an input, or why there is none."""
    run = subprocess.run(
        [pixtune, "prepare", path, "--out", out, "--validation", "0", "--force", "--quiet"],
        capture_output=True, text=True)
    if run.returncode != 0:
        return f"exit code {run.returncode}: {run.stderr}"
    return (out / "train.jsonl").read_bytes()


def classes(pixtune, directory):
    """Differences between the names of classes that `datasets` stores as numbers and the responses made of them."""
    features = datasets.Features({
        "question": datasets.Value("string"),
        "label": datasets.ClassLabel(names=["a cat", "a dog"]),
    })
    rows = datasets.Dataset.from_dict({"question": ["q1", "q2", "q3"], "label": [1, 0, 1]}, features=features)
    rows.to_parquet(directory / "classes.parquet")
    rows.save_to_disk(directory / "classes")
    expected = [features["label"].int2str(label) for label in rows["label"]]
    for name in ("classes.parquet", "classes"):
        lines = prepared(pixtune, directory / name, directory / "out")
        found = lines if isinstance(lines, str) else [
            json.loads(line)["messages"][-1]["content"] for line in lines.splitlines()]
        if found != expected:
            yield f"{name}: {found!r} instead of {expected}"


def unusable(pixtune, directory):
    """Differences between what columns of unsuitable types give and what they have to give: an error, or rejected rows."""
    texts = pyarrow.array(["a", "b", "c"])
    nulls, image = pyarrow.nulls(3), pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    for name, columns, rejected in [
        ("null prompts", {"prompt": nulls, "completion": texts}, 3),
        ("null completions", {"prompt": texts, "completion": nulls}, 3),
        ("everything null", {"prompt": nulls, "completion": nulls, "image": pyarrow.nulls(3, image)}, 3),
        ("null texts and images", {"prompt": pyarrow.nulls(3, pyarrow.string()), "completion": texts,
                                   "image": pyarrow.nulls(3, image)}, 3),
        ("durations", {"prompt": pyarrow.array([1, 2, 3], pyarrow.duration("s")), "completion": texts}, 3),
        ("maps", {"prompt": pyarrow.array([[("a", 1)]] * 3, pyarrow.map_(pyarrow.string(), pyarrow.int64())), "completion": texts}, 3),
        ("bytes as prompts", {"prompt": pyarrow.array([b"\xff\xfe"] * 3), "completion": texts}, 3),
        ("numbers as images", {"image": pyarrow.array([1, 2, 3]), "prompt": texts, "completion": texts}, 3),
        ("an image with null bytes", {"image": pyarrow.array([{"bytes": None, "path": None}] * 3, image), "prompt": texts,
                                      "completion": texts}, None),
    ]:
        pyarrow.parquet.write_table(pyarrow.table(columns), directory / "rows.parquet")
        run = subprocess.run(
            [pixtune, "prepare", directory / "rows.parquet", "--out", directory / "out", "--validation", "0", "--force",
             "--dedup", "off"], capture_output=True, text=True)
        lines = (directory / "out" / "rejected.jsonl").read_text().count("\n") if run.returncode == 1 else None
        is_right = run.returncode == 2 or (run.returncode == 1 and lines == rejected) or (rejected is None and run.returncode == 0)
        if not is_right or "defect" in run.stderr:
            yield f"{name}: exit code {run.returncode}, {lines} rejected: {run.stderr[-1500:]}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pixtune")
    parser.add_argument("--seeds", type=int, default=4)
    arguments = parser.parse_args()
    compared = failed = 0
    for seed in random.sample(range(10**9), arguments.seeds):
        with tempfile.TemporaryDirectory() as directory:
            data, out = pathlib.Path(directory) / "data", pathlib.Path(directory) / "out"
            format_fixtures.write(data, seed)
            plain = {path.stem: prepared(arguments.pixtune, path, out) for path in data.glob("*.jsonl")}
            for path in sorted(data.glob("*-*")):
                expected, found = plain[path.name.split("-")[0]], prepared(arguments.pixtune, path, out)
                compared += 1
                if found != expected or not isinstance(expected, bytes):
                    failed += 1
                    print(f"seed {seed}: {path.name}: {found[:2000]!r}")
    with tempfile.TemporaryDirectory() as directory:
        differences = list(classes(arguments.pixtune, pathlib.Path(directory)))
        print(*differences, sep="\n", end="\n" if differences else "")
        compared, failed = compared + 2, failed + len(differences)
    with tempfile.TemporaryDirectory() as directory:
        differences = list(unusable(arguments.pixtune, pathlib.Path(directory)))
        print(*differences, sep="\n", end="\n" if differences else "")
        compared, failed = compared + 9, failed + len(differences)
    print(f"{compared - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
