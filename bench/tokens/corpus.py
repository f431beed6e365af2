#!/usr/bin/env python3
"""Writes the texts of the benchmark into a folder: `corpus.py FOLDER`. The same Python gives the same files.

english: the language reference and the standard library's sources that come with Python, prose and code.
multi:   sentences in some fifty scripts and languages, from the reference vectors, in shuffled order.
chats:   conversations about a 1024x1024 JPEG with long answers.
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
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    code = "".join(path.read_text(encoding="utf-8", errors="replace") for path in sources)
    prose = "\n".join(topics[key] for key in sorted(topics))
    english = prose + code[: SIZE - len(prose)]
    (folder / "english.txt").write_text(english, encoding="utf-8")

    with gzip.open(ROOT / "fixtures/vectors/text_tekken.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    sentences = sorted({row["text"] for row in rows if row["cat"].startswith("script_") and row["cat"] != "script_mix"})
    shuffled = random.Random(0)
    multi, size = [], 0
    while size < SIZE:
        multi.append(shuffled.choice(sentences))
        size += len(multi[-1].encode("utf-8", "replace")) + 1
    (folder / "multi.txt").write_text("\n".join(multi), encoding="utf-8", errors="replace")

    noise = numpy.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=numpy.uint8)
    jpeg = io.BytesIO()
    Image.fromarray(noise).resize((1024, 1024), Image.Resampling.BICUBIC).save(jpeg, "JPEG", quality=85)
    url = "data:image/jpeg;base64," + base64.b64encode(jpeg.getvalue()).decode()
    with (folder / "chats.jsonl").open("w", encoding="utf-8") as lines:
        for index in range(20):
            answer = prose[index * 1000 : index * 1000 + 2000]
            request = {"messages": [
                {"role": "user", "content": [{"type": "text", "text": f"What is on page {index}?"}, {"type": "image_url", "image_url": url}]},
                {"role": "assistant", "content": answer},
            ]}
            lines.write(json.dumps({"request": request, "sizes": [[1024, 1024]]}) + "\n")


if __name__ == "__main__":
    main()
