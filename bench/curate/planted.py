#!/usr/bin/env python3
"""Write images, near-duplicates of them, and the ground truth.

    python3 planted.py DIRECTORY [--photos 60] [--from IMAGE|DIRECTORY ...] [--without NAME ...] [--seed 0]

The originals are the given images, which should all be different (`--without` excludes some), and generated photos of
1600x1200. Each has six copies: `reencoded` (JPEG, quality 75) and `scaled` (to 80 %) are easy; `cropped` (3 % on each side),
`quality30` and `brighter` (by 25 %) are hard; `mirrored` counts as a different image. DIRECTORY/truth.json lists the kind and
the original of every file in DIRECTORY/images. DIRECTORY/degraded holds each original and three degraded versions: `blurred`
(by 1/170 of the longer side), `dark` (to 15 %) and `light` (97 % white). A complete directory is not written again.
"""

import argparse
import hashlib
import importlib.util
import json
import multiprocessing
import shutil
from pathlib import Path

from PIL import Image, ImageEnhance, ImageFilter, ImageOps, UnidentifiedImageError

# In smaller images, 3 % of a side is less than a pixel.
LEAST_SIDE = 64

generate = importlib.util.spec_from_file_location("generate", Path(__file__).parent.parent / "prepare/generate.py")
photos = importlib.util.module_from_spec(generate)
generate.loader.exec_module(photos)


def cropped(image):
    wide, high = round(0.03 * image.width), round(0.03 * image.height)
    return image.crop((wide, high, image.width - wide, image.height - high))


def scaled(image):
    return image.resize((image.width * 4 // 5, image.height * 4 // 5), Image.Resampling.LANCZOS)


# The change to an image, and its JPEG quality.
COPIES = {
    "reencoded": (lambda image: image, 75),
    "scaled": (scaled, 85),
    "cropped": (cropped, 90),
    "quality30": (lambda image: image, 30),
    "brighter": (lambda image: ImageEnhance.Brightness(image).enhance(1.25), 85),
    "mirrored": (ImageOps.mirror, 85),
}


# Six pixels of an image of 1,024, which makes small print illegible.
DEGRADED = {
    "fine": lambda image: image,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(max(image.size) / 170)),
    "dark": lambda image: ImageEnhance.Brightness(image).enhance(0.15),
    "light": lambda image: Image.blend(image, Image.new("RGB", image.size, "white"), 0.97),
}


def usable(path):
    """Whether a file is a still image that is large enough and has no EXIF rotation."""
    try:
        with Image.open(path) as image:
            still = getattr(image, "n_frames", 1) == 1
            unrotated = image.getexif().get(0x0112, 1) == 1
            return still and unrotated and min(image.size) >= LEAST_SIDE and image.mode in ("1", "L", "P", "RGB", "RGBA")
    except (UnidentifiedImageError, OSError):
        return False


def given(sources, without):
    """The images under the given paths, without duplicates, sorted by name."""
    seen = set()
    for source in map(Path, sources):
        for path in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if path.name in without:
                continue
            digest = hashlib.sha256(path.read_bytes()).digest() if path.is_file() and usable(path) else None
            if digest and digest not in seen:
                seen.add(digest)
                yield path


def on_white(image):
    layered = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered).convert("RGB")


def write(task):
    """Writes an original and its copies; returns what is true of each file."""
    number, source, seed, directory = task
    if source is None:
        original = directory / f"{number:04}-original.jpg"
        photos.photo(seed, number).save(original, "JPEG", quality=90)
    else:
        original = directory / f"{number:04}-original{source.suffix.lower()}"
        shutil.copyfile(source, original)
    files = {original.name: {"of": number, "kind": "original", "from": source.name if source else "generated"}}
    with Image.open(original) as opened:
        image = on_white(opened)
    for kind, (change, quality) in COPIES.items():
        copy = directory / f"{number:04}-{kind}.jpg"
        change(image).save(copy, "JPEG", quality=quality)
        files[copy.name] = {"of": number, "kind": kind}
    for kind, degrade in DEGRADED.items():
        degrade(image).save(directory.parent / "degraded" / f"{number:04}-{kind}.jpg", "JPEG", quality=90)
    return files


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--from", nargs="*", default=[], dest="sources")
    parser.add_argument("--without", nargs="*", default=[])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    sources = list(given(arguments.sources, arguments.without))
    made = {"photos": arguments.photos, "seed": arguments.seed, "from": [str(path) for path in sources]}
    truth = arguments.directory / "truth.json"
    if truth.exists() and json.loads(truth.read_text())["made"] == made:
        return
    truth.unlink(missing_ok=True)
    directory = arguments.directory / "images"
    for empty in (directory, arguments.directory / "degraded"):
        shutil.rmtree(empty, ignore_errors=True)
        empty.mkdir(parents=True)
    tasks = [(number, source, arguments.seed, directory) for number, source in enumerate([*sources, *[None] * arguments.photos])]
    with multiprocessing.Pool() as pool:
        files = {name: facts for written in pool.map(write, tasks, chunksize=1) for name, facts in written.items()}
    truth.write_text(json.dumps({"made": made, "files": files}, indent=1))
    print(f"{len(tasks)} originals, {len(files)} images in {directory}")


if __name__ == "__main__":
    main()
