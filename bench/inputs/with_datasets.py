#!/usr/bin/env python3
"""The same work with datasets and Pillow: read rows of Parquet, downscale to 1024 pixels, write JPEGs at quality 85 as lines.
`with_datasets.py FILE.parquet OUT.jsonl`"""

import base64
import io
import json
import sys

import datasets
from PIL import Image

rows = datasets.load_dataset("parquet", data_files=sys.argv[1], split="train", streaming=True)
rows = rows.cast_column("image", datasets.Image())
with open(sys.argv[2], "w", encoding="utf-8") as file:
    for row in rows:
        image = row["image"].convert("RGB")
        scale = 1024 / max(image.size)
        if scale < 1:
            image = image.resize(tuple(max(1, round(side * scale)) for side in image.size), Image.Resampling.BICUBIC)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=85)
        url = f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode('ascii')}"
        user = [{"type": "text", "text": row["question"]}, {"type": "image_url", "image_url": url}]
        messages = [{"role": "user", "content": user}, {"role": "assistant", "content": row["answer"]}]
        file.write(json.dumps({"messages": messages}) + "\n")
