"""The libraries of a store read an export, and give back every prepared row with the same images.

usage: with_stores.py PIXTUNE PREPARED MODEL EXPORT hf-dataset|webdataset|mds

There is no step: a store is no trainer. The rows are put together again, and pixtune counts the same ids and masks in them.
"""

import base64
import io
import json
import pathlib
import subprocess
import sys
import tempfile

from common import Proof, quiet

STORE = sys.argv[5]


def from_datasets(proof, subset):
    """Rows with typed columns: nulls are keys that a row does not have, texts are always in parts."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        splits = datasets.load_dataset(str(proof.export), cache_dir=cache)
        if subset not in splits:
            return
        for image in splits[subset][0]["images"] if len(splits[subset]) else []:
            assert image.size[0] > 0, "images are decoded"
        for row in splits[subset].cast_column("images", datasets.List(datasets.Image(decode=False))):
            messages = [{key: value for key, value in message.items() if value is not None} for message in row["messages"]]
            sample = {"messages": messages} | ({"tools": json.loads(row["tools"])} if row["tools"] else {})
            yield sample, [image["bytes"] for image in row["images"]]


def from_webdataset(proof, subset):
    import webdataset

    shards = sorted(str(path) for path in proof.export.glob(f"{subset}-*.tar"))
    if not shards:
        return
    decoded = iter(webdataset.WebDataset(shards, shardshuffle=False).decode("pil"))
    for raw in webdataset.WebDataset(shards, shardshuffle=False):
        picture = next(decoded)
        names = sorted((name for name in raw if name[0].isdigit()), key=lambda name: int(name.split(".")[0]))
        assert [int(name.split(".")[0]) for name in names] == list(range(len(names))), names
        assert all(picture[name].size[0] > 0 for name in names), "images are decoded"
        assert picture["json"] == json.loads(raw["json"])
        yield picture["json"], [raw[name] for name in names]


def from_mds(proof, subset):
    import streaming
    from streaming.base.format.mds.encodings import JPEG

    if not (proof.export / subset / "index.json").exists():
        return
    dataset = streaming.StreamingDataset(local=str(proof.export), split=subset, shuffle=False, batch_size=1)
    pictures = [[image.size for image in dataset[index]["images"]] for index in range(len(dataset))]
    # Bytes instead of images: an image of PIL does not have those of its file.
    decode, JPEG.decode = JPEG.decode, lambda self, data: data
    rows = [dataset[index] for index in range(len(dataset))]
    JPEG.decode = decode
    for row, sizes in zip(rows, pictures, strict=True):
        assert len(row["images"]) == len(sizes)
        yield row["sample"], [bytes(image) for image in row["images"]]


def plain(message):
    """A message with its text in parts, so that both ways to write it are the same."""
    content = message.get("content")
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    parts = [{"type": "image"} if part["type"].startswith("image") else {"type": "text", "text": part["text"]} for part in content or []]
    message = {key: value for key, value in message.items() if value is not None} | {"content": parts}
    for call in message.get("tool_calls", []):
        arguments = call["function"]["arguments"]
        call["function"]["arguments"] = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return message


def whole(sample, images):
    """The row as `prepare` wrote it."""
    images = iter(images)
    for message in sample["messages"]:
        for part in message["content"] if isinstance(message.get("content"), list) else []:
            if part["type"] == "image":
                image = next(images)
                kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
                part |= {"type": "image_url", "image_url": f"data:image/{kind};base64,{base64.b64encode(image).decode()}"}
            for key in [key for key in part if part[key] is None]:
                del part[key]
    assert next(images, None) is None, "more images than places"
    return sample


with quiet():
    read = {"hf-dataset": from_datasets, "webdataset": from_webdataset, "mds": from_mds}[STORE]
    package = {"hf-dataset": "datasets", "webdataset": "webdataset", "mds": "streaming"}[STORE]
    version = __import__(package).__version__
    proof = Proof(STORE, version)
    for subset in ("train", "validation"):
        path = proof.prepared / f"{subset}.jsonl"
        lines = [json.loads(line) for line in path.read_text().removesuffix("\n").split("\n")] if path.stat().st_size else []
        samples = proof.samples(subset)
        with tempfile.TemporaryDirectory() as work:
            again = pathlib.Path(work) / f"{subset}.jsonl"
            stored = list(read(proof, subset))
            assert len(stored) == len(samples) == len(lines), f"{subset}: {len(stored)} rows of {len(samples)}"
            for (sample, images), expected, line in zip(stored, samples, lines):
                same = [plain(message) for message in sample["messages"]] == [plain(message) for message in line["messages"]]
                same = same and sample.get("tools") == line.get("tools")
                proof.judge("ids_equal", expected, same, (sample, line))
                proof.judge("pixels_equal", expected, images == expected.images, (len(images), len(expected.images)))
            again.write_text("".join(json.dumps(whole(*row), ensure_ascii=False) + "\n" for row in stored))
            command = [proof.pixtune, "tokens", again, "--model", proof.model, "--ids", "--format", "json"]
            counted = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines() if stored else []
            for count, expected in zip(map(json.loads, counted), samples, strict=True):
                proof.judge("ids_equal", expected, count["ids"] == expected.ids, count["ids"])
                labels = [trained for trained, length in count["trained_runs"] for _ in range(length)]
                proof.judge("labels_equal", expected, labels == [int(label != -100) for label in expected.labels], labels)
        proof.rows += len(samples)
proof.finish(step=None)
