#!/usr/bin/env python3
"""Pictures with planted near duplicates, and the truth about them.

    python3 planted.py FOLDER [--photos 60] [--from PICTURE|FOLDER ...] [--without NAME ...] [--seed 0]

The originals are the given pictures, which should all be different (`--without` leaves some out), and generated photos of 1600x1200. Each is written
six times more: `reencoded` (JPEG, quality 75) and `scaled` (to 80 %) are easy; `cropped` (3 % off every side),
`quality30` and `brighter` (by a quarter) are hard; `mirrored` is another picture. FOLDER/truth.json names the kind and
the original of every file in FOLDER/pictures. FOLDER/spoiled holds each original as it is and three bad ones: `blurred`
(by a 170th of its longer side), `dark` (to 15 %) and `light` (97 % white). A folder that is complete is left as it
is.
"""

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import shutil
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps, UnidentifiedImageError

# Smaller pictures show too little for 3 % of them to be a whole pixel.
LEAST_SIDE = 64

generate = importlib.util.spec_from_file_location("generate", Path(__file__).parent.parent / "prepare/generate.py")
photos = importlib.util.module_from_spec(generate)
generate.loader.exec_module(photos)


def cropped(picture):
    wide, high = round(0.03 * picture.width), round(0.03 * picture.height)
    return picture.crop((wide, high, picture.width - wide, picture.height - high))


def scaled(picture):
    return picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)


# What is done to a picture, and the quality of the JPEG that it becomes.
COPIES = {
    "reencoded": (lambda picture: picture, 75),
    "scaled": (scaled, 85),
    "cropped": (cropped, 90),
    "quality30": (lambda picture: picture, 30),
    "brighter": (lambda picture: ImageEnhance.Brightness(picture).enhance(1.25), 85),
    "mirrored": (ImageOps.mirror, 85),
}


# Six pixels of a picture of 1,024, which no small print survives.
SPOILED = {
    "fine": lambda picture: picture,
    "blurred": lambda picture: picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 170)),
    "dark": lambda picture: ImageEnhance.Brightness(picture).enhance(0.15),
    "light": lambda picture: Image.blend(picture, Image.new("RGB", picture.size, "white"), 0.97),
}


def usable(path):
    """Whether a file is a still picture that is large enough and upright."""
    try:
        with Image.open(path) as picture:
            still = getattr(picture, "n_frames", 1) == 1
            upright = picture.getexif().get(0x0112, 1) == 1
            return still and upright and min(picture.size) >= LEAST_SIDE and picture.mode in ("1", "L", "P", "RGB", "RGBA")
    except (UnidentifiedImageError, OSError):
        return False


def given(sources, without):
    """The pictures below the given paths, each once, in the order of their names."""
    seen = set()
    for source in map(Path, sources):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.name in without:
                continue
            digest = hashlib.sha256(path.read_bytes()).digest() if path.is_file() and usable(path) else None
            if digest and digest not in seen:
                seen.add(digest)
                yield path


def on_white(picture):
    layered = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def write(task):
    """Writes an original and its copies; returns what is true of each file."""
    number, source, seed, folder = task
    if source is None:
        original = folder / f"{number:04}-original.jpg"
        photos.photo(seed, number).save(original, "JPEG", quality=90)
    else:
        original = folder / f"{number:04}-original{source.suffix.lower()}"
        shutil.copyfile(source, original)
    files = {original.name: {"of": number, "kind": "original", "from": source.name if source else "generated"}}
    with Image.open(original) as opened:
        picture = on_white(opened)
    for kind, (change, quality) in COPIES.items():
        copy = folder / f"{number:04}-{kind}.jpg"
        change(picture).save(copy, "JPEG", quality=quality)
        files[copy.name] = {"of": number, "kind": kind}
    for kind, spoil in SPOILED.items():
        spoil(picture).save(folder.parent / "spoiled" / f"{number:04}-{kind}.jpg", "JPEG", quality=90)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--from", nargs="*", default=[], dest="sources")
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sources = list(given(arguments.sources, arguments.without))
    made = {"photos": arguments.photos, "seed": arguments.seed, "from": [str(path) for path in sources]}
    truth = arguments.folder / "truth.json"
    if truth.exists() and json.loads(truth.read_text())["made"] == made:
        return
    truth.unlink(missing_ok=True)
    folder = arguments.folder / "pictures"
    for empty in (folder, arguments.folder / "spoiled"):
        shutil.rmtree(empty, ignore_errors=True)
        empty.mkdir(parents=True)
    tasks = [(number, source, arguments.seed, folder) for number, source in enumerate([*sources, *[None] * arguments.photos])]
    with multiprocessing.Pool() as pool:
        files = {name: facts for written in pool.map(write, tasks, chunksize=1) for name, facts in written.items()}
    truth.write_text(json.dumps({"made": made, "files": files}, indent=1))
    print(f"{len(tasks)} originals, {len(files)} pictures in {folder}")


if __name__ == "__main__":
    main()
