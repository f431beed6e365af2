#!/usr/bin/env python3
"""Write the texts of the benchmark to a directory: `corpus.py DIRECTORY`. The same Python version writes the same files.

english: the language reference and the standard library's sources that come with Python, prose and code.
multi:   sentences in some fifty scripts and languages, from the reference vectors, in shuffled order.
texts:   both, ten times over, as JSON strings of 8,000 characters, one a line.
talks:   3,000 conversations with a system prompt, tools, calls and no images, which every version of the tokenizer lays out.
chats:   100 conversations about a 1024x1024 JPEG of about 250 kB each, with answers of 2 kB, in the format for training.
"""

import base64
import gzip
import io
import json
import random
import sys
import sysconfig
from pathlib import Path

import numpy
from PIL import Image
from pydoc_data.topics import topics

ROOT = Path(__file__).resolve().parent.parent.parent
SIZE = 4_000_000


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    code = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sources)
    prose = "\n".join(topics[key] for key in sorted(topics))
    english = prose + code[: SIZE - len(prose)]
    (directory / "english.txt").write_text(english, encoding="utf-8")

    with gzip.open(ROOT / "fixtures/vectors/text_tekken.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    sentences = sorted({row["text"] for row in rows if row["cat"].startswith("script_") and row["cat"] != "script_mix"})
    shuffled = random.Random(0)
    multi, size = [], 0
    while size < SIZE:
        multi.append(shuffled.choice(sentences))
        size += len(multi[-1].encode("utf-8", "replace")) + 1
    (directory / "multi.txt").write_text("\n".join(multi), encoding="utf-8", errors="replace")

    with (directory / "texts.jsonl").open("w", encoding="utf-8") as lines:
        pieces = []
        for text in (english, (directory / "multi.txt").read_text(encoding="utf-8")):
            for start in range(0, len(text), 8_000):
                pieces.append(json.dumps(text[start : start + 8_000], ensure_ascii=False) + "\n")
        lines.writelines(pieces * 10)

    with (directory / "talks.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(3000):
            lines.write(json.dumps(talk(index, prose)) + "\n")

    urls = [f"data:image/jpeg;base64,{base64.b64encode(photo(seed)).decode()}" for seed in range(10)]
    with (directory / "chats.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(100):
            user = [{"type": "text", "text": f"What is on page {index}?"}, {"type": "image_url", "image_url": urls[index % 10]}]
            answer = prose[index * 1000 : index * 1000 + 2000]
            messages = [{"role": "user", "content": user}, {"role": "assistant", "content": answer}]
            lines.write(json.dumps({"messages": messages}) + "\n")


def talk(index, prose):
    """A question, a call, its result and two answers."""
    piece = lambda part, size: prose[(index * 97 + part * 5000) % (len(prose) - size) :][:size]  # noqa: E731
    call = {"id": f"call{index:05}", "type": "function", "function": {"name": "find", "arguments": json.dumps({"text": piece(1, 60)})}}
    parameters = {"type": "object", "properties": {"text": {"type": "string"}}}
    return {
        "messages": [
            {"role": "system", "content": piece(2, 200)},
            {"role": "user", "content": piece(3, 300)},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": piece(4, 400)},
            {"role": "assistant", "content": piece(5, 500).rstrip() or "ok"},
            {"role": "user", "content": piece(6, 200)},
            {"role": "assistant", "content": piece(7, 600).rstrip() or "ok"},
        ],
        "tools": [{"type": "function", "function": {"name": "find", "description": piece(8, 80), "parameters": parameters}}],
    }


def photo(seed):
    """An image with shapes of different sizes and some noise, as a JPEG of about 250 kB."""
    random_numbers = numpy.random.default_rng(seed)
    sum_of_shapes = numpy.zeros((1024, 1024, 3))
    for cells, strength in [(4, 90), (16, 50), (64, 25), (256, 18), (1024, 14)]:
        noise = random_numbers.integers(0, 256, (cells, cells, 3), dtype=numpy.uint8)
        shapes = Image.fromarray(noise).resize((1024, 1024), Image.Resampling.BICUBIC)
        sum_of_shapes += (numpy.asarray(shapes) / 127.5 - 1) * strength
    jpeg = io.BytesIO()
    pixels = numpy.clip(sum_of_shapes + 128, 0, 255).astype(numpy.uint8)
    Image.fromarray(pixels).save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


if __name__ == "__main__":
    main()
