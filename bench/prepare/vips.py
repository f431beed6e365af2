#!/usr/bin/env python3
"""The fastest known way to downscale images in Python: libvips downscales during decoding. `vips.py TABLE OUT.jsonl`

It averages blocks of pixels inside the JPEG decoder, which is less work than decoding all of them; the result is close
to, not the same as, what the model's own preprocessing makes. VIPS_CONCURRENCY sets the number of threads.
"""

import base64
import csv
import json
import sys
from pathlib import Path

import pyvips

SIDE = 1024


def main():
    table, out = Path(sys.argv[1]), sys.argv[2]
    with open(table, newline="", encoding="utf-8") as rows, open(out, "w", encoding="utf-8") as file:
        for row in csv.DictReader(rows):
            image = pyvips.Image.thumbnail(str(table.parent / row["image_path"]), SIDE, height=SIDE, size="down")
            payload = base64.b64encode(image.jpegsave_buffer(Q=85, keep="none")).decode("ascii")
            url = f"data:image/jpeg;base64,{payload}"
            user = [{"type": "text", "text": row["prompt"]}, {"type": "image_url", "image_url": url}]
            messages = [{"role": "user", "content": user}, {"role": "assistant", "content": row["completion"]}]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
