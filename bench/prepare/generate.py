#!/usr/bin/env python3
"""Makes photo-like JPEGs and a table of questions about them, the same on every machine with the same Pillow and numpy.

    python3 generate.py DIRECTORY [--photos 2000] [--seed 0]

Writes DIRECTORY/photos/*.jpg (1600x1200, mostly 370 to 450 kB), DIRECTORY/dataset.csv, and DIRECTORY/dataset-x10.csv with every
photo ten times under different questions. A complete directory is not written again.
"""

import argparse
import csv
import multiprocessing
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT = 1600, 1200
THINGS = "bicycle bottle bridge cat clock door fence flower house lamp mug park roof shelf sign spoon tree window".split()
COLORS = "red orange yellow green blue violet brown grey white black".split()


def field(random, cell, scale=1):
    """Smooth noise around zero whose waves are about `cell` pixels long, at a `scale`th of the size."""
    width, height = WIDTH // scale, HEIGHT // scale
    knots = random.standard_normal((HEIGHT // cell + 3, WIDTH // cell + 3)).astype(np.float32)
    return np.asarray(Image.fromarray(knots).resize((width, height), Image.Resampling.BICUBIC))


def enlarged(coarse):
    return np.asarray(Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))


def scene(random):
    """Shapes in flat colors with slightly blurred edges."""
    canvas = Image.new("RGB", (WIDTH, HEIGHT), tuple(int(c) for c in random.integers(70, 180, 3)))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(random.integers(12, 30))):
        x, y = int(random.integers(-100, WIDTH)), int(random.integers(-100, HEIGHT))
        wide, high = (int(side) for side in random.integers(30, 450, 2))
        color = tuple(int(c) for c in random.integers(20, 235, 3))
        match int(random.integers(0, 3)):
            case 0:
                draw.ellipse([x, y, x + wide, y + high], fill=color)
            case 1:
                draw.rectangle([x, y, x + wide, y + high], fill=color)
            case _:
                corners = [(x + int(dx), y + int(dy)) for dx, dy in random.integers(-300, 300, (4, 2))]
                draw.polygon(corners, fill=color)
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.2)), dtype=np.float32)


def photo(seed, number):
    random = np.random.default_rng([seed, number])
    coarse = sum(weight * field(random, cell, 4) for cell, weight in [(400, 18), (120, 12), (36, 8)])
    texture = enlarged(coarse) + 5 * field(random, 12) + 4 * field(random, 5)
    tint = np.stack([enlarged(6 * field(random, 250, 10)) for _ in range(3)], axis=-1)
    pixels = scene(random) + texture[..., None] + tint
    across, down = np.linspace(-1, 1, WIDTH) ** 2, np.linspace(-1, 1, HEIGHT)[:, None] ** 2
    pixels *= (1.06 - 0.14 * (across + down))[..., None]
    # A sensor's noise: mostly luma after its own processing, stronger where there is more light.
    grain = random.standard_normal((HEIGHT, WIDTH, 1), dtype=np.float32) * random.uniform(3.2, 4.2)
    pixels += grain * np.sqrt(np.clip(pixels, 16, 255) / 128)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def write_photo(task):
    path, seed, number = task
    photo(seed, number).save(path, "JPEG", quality=90)
    return path.stat().st_size


def row(seed, number, repetition):
    random = np.random.default_rng([seed, number, repetition, 1])
    words = [f"a {random.choice(COLORS)} {random.choice(THINGS)}" for _ in range(int(random.integers(5, 16)))]
    question = f'What stands beside the "{random.choice(THINGS)}" in picture {number}, look {repetition}?'
    return [f"photos/{number:05}.jpg", question, f"The picture shows {', '.join(words)} and a wall."]


def write_table(path, seed, photos, repetitions):
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image_path", "prompt", "completion"])
        table.writerows(row(seed, number, again) for again in range(repetitions) for number in range(photos))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    directory, seed, photos = arguments.directory, arguments.seed, arguments.photos
    done, made = directory / "done", f"{photos} photos, seed {seed}\n"
    if done.exists() and done.read_text() == made:
        return
    done.unlink(missing_ok=True)
    (directory / "photos").mkdir(parents=True, exist_ok=True)
    tasks = [(directory / f"photos/{number:05}.jpg", seed, number) for number in range(photos)]
    with multiprocessing.Pool() as pool:
        sizes = pool.map(write_photo, tasks, chunksize=8)
    write_table(directory / "dataset.csv", seed, photos, 1)
    write_table(directory / "dataset-x10.csv", seed, photos, 10)
    done.write_text(made)
    print(f"{photos} photos, median {int(np.median(sizes)) / 1000:.0f} kB, {min(sizes) / 1000:.0f} to {max(sizes) / 1000:.0f}")


if __name__ == "__main__":
    main()
