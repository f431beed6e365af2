#!/usr/bin/env python3
"""A typical conversion loop: read a table, embed every image unchanged. `loop.py TABLE OUT.jsonl`"""

import base64
import json
import mimetypes
import sys
from pathlib import Path

import pandas


def main():
    table, out = Path(sys.argv[1]), sys.argv[2]
    with open(out, "w", encoding="utf-8") as file:
        for _, row in pandas.read_csv(table).iterrows():
            image = table.parent / row["image_path"]
            with open(image, "rb") as source:
                payload = base64.b64encode(source.read()).decode("ascii")
            url = f"data:{mimetypes.guess_type(image)[0]};base64,{payload}"
            user = [{"type": "text", "text": row["prompt"]}, {"type": "image_url", "image_url": url}]
            messages = [{"role": "user", "content": user}, {"role": "assistant", "content": row["completion"]}]
            file.write(json.dumps({"messages": messages}) + "\n")


if __name__ == "__main__":
    main()
