"""Writes the rows of a prepared file as Parquet with `datasets`: load, map, to_parquet, as a person would."""

import base64
import sys

from datasets import Features, Image, List, Value, load_dataset


def convert(row):
    messages, images = [], []
    for message in row["messages"]:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        converted = []
        for part in parts:
            if part["type"] == "image_url":
                images.append({"bytes": base64.b64decode(part["image_url"].split(",", 1)[1]), "path": None})
                converted.append({"type": "image", "text": None})
            else:
                converted.append({"type": "text", "text": part["text"]})
        messages.append({"role": message["role"], "content": converted})
    return {"messages": messages, "images": images}


def main():
    source, target = sys.argv[1:]
    parts = List({"type": Value("string"), "text": Value("string")})
    features = Features({"messages": List({"role": Value("string"), "content": parts}), "images": List(Image())})
    rows = load_dataset("json", data_files=source, split="train", cache_dir=target + ".cache")
    rows = rows.map(convert, remove_columns=rows.column_names, features=features)
    rows.to_parquet(target)


main()
