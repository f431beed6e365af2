#!/usr/bin/env python3
"""Writes the photos of bench/prepare as Parquet, the same photos many times as a large file, and tables of text.

    python3 make.py PHOTOS DIRECTORY --gigabytes 5 --rows 100000 1000000

PHOTOS is a directory of bench/prepare/generate.py. Files that are there already are kept.
"""

import argparse
import csv
from pathlib import Path

import pyarrow
import pyarrow.parquet

IMAGE = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
SCHEMA = pyarrow.schema([("image", IMAGE), ("question", pyarrow.string()), ("answer", pyarrow.string())])


def batch(photos, rows, number=None):
    """Rows of a group; with a number, their questions differ from those of other groups."""
    images = [{"bytes": (photos / row["image_path"]).read_bytes(), "path": row["image_path"]} for row in rows]
    questions = [row["prompt"] if number is None else f"{row['prompt']} ({number})" for row in rows]
    answers = [row["completion"] for row in rows]
    return pyarrow.record_batch([pyarrow.array(images, IMAGE), questions, answers], schema=SCHEMA)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gigabytes", type=float, required=True)
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    directory = arguments.directory
    directory.mkdir(parents=True, exist_ok=True)
    with open(arguments.photos / "dataset.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    groups = [rows[at : at + 100] for at in range(0, len(rows), 100)]

    def write(name, batches):
        if not (directory / name).exists():
            with pyarrow.parquet.ParquetWriter(directory / "unfinished", SCHEMA, compression="none") as writer:
                for each in batches:
                    writer.write_batch(each)
            (directory / "unfinished").rename(directory / name)

    write("photos.parquet", (batch(arguments.photos, group) for group in groups))
    once = (directory / "photos.parquet").stat().st_size
    times = max(1, round(arguments.gigabytes * 1e9 / once))
    write("large.parquet", (batch(arguments.photos, group, number) for number in range(times) for group in groups))
    for count in arguments.rows:
        path = directory / f"texts-{count}.csv"
        if not path.exists():
            with open(directory / "unfinished", "w", encoding="utf-8") as file:
                file.write("question,answer\n")
                for row in range(count):
                    file.write(f"What is the total of invoice {row * 7919 % 1000003} from {row}?,{row * 31 % 9973}.{row % 100:02} EUR\n")
            (directory / "unfinished").rename(path)


if __name__ == "__main__":
    main()
