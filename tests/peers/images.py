#!/usr/bin/env python3
"""Compares the verdict on damaged images, and their pixels, with Pillow, which the reference opens images with.

    pip install -r tests/peers/images-requirements.txt
    cargo build --release -p pixtune --bin pixtune -p pixtune-io --example pixels
    python3 tests/peers/images.py target/release/pixtune [--seed 0] [--images 24000] [--show 20]

Damages small images of every format at random, gives them to `prepare` and `check`, and opens what they keep as the
reference does: `Image.open`, `load`, colors over white; and as transformers does, which auto-orients with
`ImageOps.exif_transpose`. Exits with 1 if Pillow refuses an image that was kept, or decodes other pixels.
"""

import argparse
import base64
import collections
import io
import json
import multiprocessing
import os
import random
import re
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

from PIL import Image, ImageOps

import images_damage

# Larger images take long to decode and have the same headers.
LARGEST_SIDE = 2000


def quiet():
    """Keeps libtiff from printing what it thinks of damaged files."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


# Damages that can reach the compressed data: lossy decoders may make different pixels of impossible coefficients.
DEEP = {"flip_bit", "set_byte", "remove_bytes", "insert_bytes", "repeat", "zero", "scan", "field", "shorten", "bitstream", "cut"}
# The decoder of lossless WebP accepts a few Huffman codes that have more symbols than they can.
TOLERATED = {("webp", "bitstream"): 3}


def must_be_equal(kind, how, data):
    """Whether the README promises the pixels of Pillow."""
    if kind == "tiff":
        # What tags mean that contradict each other is anyone's guess; JPEG data have another decoder.
        return how == "undamaged" and not images_damage.is_jpeg_tiff(data)
    return kind not in ("jpeg", "webp") or how not in DEEP


def as_reference(image):
    """RGB as mistral-common 1.13.1 makes it."""
    if image.mode == "RGB":
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "WHITE")
    white.paste(image, (0, 0), image)
    return white.convert("RGB")


def open_with_pillow(case):
    """Why Pillow refuses an image at which stage, and its pixels: (stage, reason, size, checksum, notes)."""
    data, wanted = case
    notes = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stage = "open"
        try:
            image = Image.open(io.BytesIO(data))
            if max(image.size) > LARGEST_SIDE and not wanted:
                return "size", "not compared", image.size, None, notes
            stage = "load"
            image.load()
            stage = "convert"
            rgb = as_reference(image)
            stage = "orient"
            with Image.open(io.BytesIO(data)) as again:
                ImageOps.exif_transpose(again).convert("RGB")
        except Exception as error:  # whatever stops the reference is a refusal
            if stage == "orient":
                notes.append(f"{type(error).__name__}: {error}"[:120])
            else:
                return stage, re.sub("at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}")[:120], None, None, notes
    notes += sorted({warning.category.__name__ for warning in caught})
    return None, None, rgb.size, zlib.crc32(rgb.tobytes()), notes


def row(number, kind, data):
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    content = [{"type": "image_url", "image_url": url}, {"type": "text", "text": f"image {number}"}]
    messages = [{"role": "user", "content": content}, {"role": "assistant", "content": f"answer {number}"}]
    return json.dumps({"messages": messages}) + "\n"


def run(*command, codes=(0, 1)):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode not in codes:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}\n{done.stderr.decode()[-2000:]}")
    return done.stdout.decode()


def checked(program, rows, count, verify):
    """Of each image the rules of its errors and of its warnings."""
    errors, remarks = [set() for _ in range(count)], [set() for _ in range(count)]
    printed = run(program, "check", rows, "--target", "hf", "--verify", verify, "--no-measure", "--no-config",
                  "--select", "image", "--format", "json")
    for line in printed.splitlines():
        finding = json.loads(line)
        if 0 < finding.get("line", 0) <= count and "rule" in finding:
            (errors if finding["severity"] == "error" else remarks)[finding["line"] - 1].add(finding["rule"])
    return errors, remarks


def prepared(program, rows, directory, mode):
    """The images that `prepare --images MODE` writes, by number."""
    run(program, "prepare", rows, "--out", directory, "--target", "mistral", "--dedup", "off", "--no-measure",
        "--no-config", "--max-image-side", str(LARGEST_SIDE), "--validation", "0", "--images", mode, "-q")
    images = {}
    with open(directory / "train.jsonl", encoding="utf-8") as lines:
        for line in lines:
            content = json.loads(line)["messages"][0]["content"]
            url = next(part for part in content if part["type"] == "image_url")["image_url"]
            text = next(part for part in content if part["type"] == "text")["text"]
            images[int(text.split()[-1])] = base64.b64decode(url.partition(",")[2])
    return images


def decoded(pixels, images):
    """What our decoders make of each image as the reference reads it: (size, checksum), or None."""
    framed = b"".join(struct.pack("<I", len(data)) + data for data in images)
    answers = []
    for line in subprocess.run([pixels], input=framed, stdout=subprocess.PIPE, check=True).stdout.splitlines():
        words = line.split()
        if words and words[0] in (b"ok", b"error"):
            answers.append(((int(words[1]), int(words[2])), int(words[3])) if words[0] == b"ok" else None)
    return answers


def counts_as_failure(what, found):
    if what.startswith("("):
        return False
    kinds = collections.Counter(tuple(label.split("/")) for label, _, _ in found)
    return any(count > TOLERATED.get(kind, 0) for kind, count in kinds.items())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, default=24000)
    parser.add_argument("--show", type=int, default=20)
    args = parser.parse_args()
    cases = images_damage.cases(random.Random(args.seed), args.images)
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        rows = directory / "rows.jsonl"
        with open(rows, "w", encoding="utf-8") as out:
            out.writelines(row(number, kind, data) for number, (kind, _, data) in enumerate(cases))
        full, remarked = checked(args.program, rows, len(cases), "full")
        header, _ = checked(args.program, rows, len(cases), "header")
        written = prepared(args.program, rows, directory / "fit", "fit")
        kept_unchanged = prepared(args.program, rows, directory / "keep", "keep")
    ours = decoded(args.program.parent / "pixels", [data for _, _, data in cases])

    with multiprocessing.Pool(2, quiet) as pool:
        wanted = [not errors or number in written or number in kept_unchanged for number, errors in enumerate(full)]
        inputs = [(data, keep) for (_, _, data), keep in zip(cases, wanted)]
        theirs = pool.map(open_with_pillow, inputs, chunksize=100)
        numbers = sorted(written)
        outputs = pool.map(open_with_pillow, [(written[number], True) for number in numbers], chunksize=100)

    failures = collections.defaultdict(list)
    counts = collections.defaultdict(collections.Counter)
    for number, ((kind, how, data), (stage, why, size, checksum, notes)) in enumerate(zip(cases, theirs)):
        label = f"{kind}/{how}"
        counts[kind]["images"] += 1
        kept = not full[number]
        counts[kind]["kept by check"] += kept
        counts[kind]["refused by Pillow"] += stage not in (None, "size")
        if kept and stage not in (None, "size"):
            failures["kept by check --verify full, refused by Pillow"].append((label, why, number))
        if number in kept_unchanged and stage:
            failures["written by prepare --images keep, refused by Pillow"].append((label, why, number))
        # What is wrong with the data of the pixels shows only when they are decoded.
        if not header[number] and stage == "open":
            failures["kept by check --verify header, not opened by Pillow"].append((label, why, number))
        if kept and any(":" in note for note in notes) and not remarked[number]:
            failures["kept by check without a warning, refused by exif_transpose"].append((label, notes[0], number))
        if not kept and stage is None:
            counts[kind]["refused, read by Pillow"] += 1
            failures["(not a failure) refused by check, read by Pillow"].append(
                (label, "+".join(sorted(full[number])), number))
        differs = stage is None and kept and not remarked[number] & {"image-structure"} and ours[number] and ours[number] != (size, checksum)
        if differs and must_be_equal(kind, how, data):
            failures["other pixels than Pillow's"].append((label, f"{ours[number]} {(size, checksum)}", number))
    for number, (stage, why, _, _, notes) in zip(numbers, outputs):
        kind, how, data = cases[number]
        counts[kind]["written by prepare"] += 1
        counts[kind]["written unchanged"] += written[number] == data
        if stage:
            failures["written by prepare, refused by Pillow"].append((f"{kind}/{how}", why, number))
        elif any(":" in note for note in notes):
            failures["written by prepare, refused by exif_transpose"].append((f"{kind}/{how}", notes[0], number))

    columns = ["images", "written by prepare", "written unchanged", "kept by check", "refused by Pillow",
               "refused, read by Pillow"]
    print(f"{'format':8}" + "".join(f"{column:>25}" for column in columns))
    for kind, count in sorted(counts.items()):
        print(f"{kind:8}" + "".join(f"{count[column]:>25}" for column in columns))
    for what, found in failures.items():
        print(f"\n{what}: {len(found)}")
        reasons = collections.Counter((label, str(why)[:100]) for label, why, _ in found)
        for (label, why), count in reasons.most_common(args.show):
            example = next(number for other, reason, number in found if (other, str(reason)[:100]) == (label, why))
            print(f"  {count:5} {label}: {why} (image {example})")
    sys.exit(any(counts_as_failure(what, found) for what, found in failures.items()))


if __name__ == "__main__":
    main()
