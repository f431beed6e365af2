"""Write a few conversations with fixture images for the tiny model: toy_data.py OUT.jsonl"""

import base64
import json
import pathlib
import sys

IMAGES = pathlib.Path(__file__).resolve().parents[2] / "fixtures/images"
ROWS = [
    (["grad_64x48.png"], "what is it", "a gradient"),
    (["noise_32x32.png"], "what is it", "noise"),
    (["noise_32x32.png", "grad_64x48.png"], "and these", "noise and a gradient"),
    ([], "say hello", "hello there"),
    ([], "the end", "of the line"),
]

with open(sys.argv[1], "w") as out:
    for images, question, answer in ROWS:
        parts = [
            {"type": "image_url", "image_url": "data:image/png;base64," + base64.b64encode((IMAGES / name).read_bytes()).decode()}
            for name in images
        ]
        parts.append({"type": "text", "text": question})
        messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
        out.write(json.dumps({"messages": messages}) + "\n")
