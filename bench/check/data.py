"""Write text chats and image chats of about SIZE megabytes each: data.py DIRECTORY SIZE"""
import base64
import io
import json
import pathlib
import random
import sys

import numpy
from PIL import Image

directory, size = pathlib.Path(sys.argv[1]), int(sys.argv[2]) * 1_000_000
directory.mkdir(parents=True, exist_ok=True)
draw = random.Random(0)
WORDS = "the picture shows a small grey cat beside an open window while rain falls on the street and people wait".split()


def words(count):
    return " ".join(draw.choice(WORDS) for _ in range(count)) + "."


def photo(index):
    noise = numpy.random.default_rng(index)
    coarse = Image.fromarray(noise.integers(0, 256, (24, 32, 3), dtype="uint8")).resize((1024, 768), Image.BICUBIC)
    pixels = numpy.asarray(coarse).astype("int16") + noise.integers(-12, 13, (768, 1024, 3))
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(out, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(out.getvalue()).decode()


def write(name, sample):
    path = directory / name
    if path.exists() and path.stat().st_size >= size:
        return
    with path.open("w") as out:
        while out.tell() < size:
            out.write(json.dumps({"messages": sample()}) + "\n")


def text_chat():
    messages = [{"role": "system", "content": words(20)}]
    for _ in range(draw.randint(1, 4)):
        messages += [{"role": "user", "content": words(60)}, {"role": "assistant", "content": words(150)}]
    return messages


PHOTOS = [photo(index) for index in range(40)]


def image_chat():
    parts = [{"type": "text", "text": words(15)}, {"type": "image_url", "image_url": draw.choice(PHOTOS)}]
    return [{"role": "user", "content": parts}, {"role": "assistant", "content": words(30)}]


write("text.jsonl", text_chat)
write("images.jsonl", image_chat)
