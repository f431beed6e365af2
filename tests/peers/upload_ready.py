#!/usr/bin/env python3
"""Read prepared data with mistral-common 1.13.1 and compare with the manifest.

    pip install mistral-common==1.13.1 opencv-python-headless pillow
    pixtune prepare examples/visual-qa/dataset.csv --out prepared --format json > report.json
    python3 tests/peers/upload_ready.py prepared report.json

Every line of train*.jsonl and validation*.jsonl has to be a request that the validator takes for fine-tuning; every
image in it a data URI that Pillow decodes, no side longer than 1024 pixels. As many images as the report counts as
resized have to pass through Pixtral's preprocessing at their size. Together the lines have to be as many,
with as many tokens, as in manifest.json. Prints the differences and exits with 1 if there are any.
"""

import base64
import io
import json
import sys
import warnings
from pathlib import Path

import mistral_common
from mistral_common.protocol.instruct.messages import FinetuningMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
from PIL import Image

warnings.filterwarnings("ignore")
TEKKEN = Path(mistral_common.__file__).parent / "data/tekken_240911.json"
MAX_SIDE = 1024
# [IMG], [IMG_BREAK], [IMG_END]
IMAGE_TOKENS = {10, 12, 13}


def urls(request):
    """The images of a request, in order, in either spelling."""
    for message in request["messages"]:
        parts = message.get("content")
        for part in parts if isinstance(parts, list) else []:
            if part["type"] == "image_url":
                url = part["image_url"]
                yield url["url"] if isinstance(url, dict) else url


def decoded(uri):
    """The image of a data URI, decoded to the last pixel, and what the URI says it is."""
    head, payload = uri.split(",", 1)
    assert head.startswith("data:image/") and head.endswith(";base64"), f"not a data URI of an image: {head[:60]}"
    image = Image.open(io.BytesIO(base64.b64decode(payload, validate=True)))
    image.load()
    mime = head.removeprefix("data:").removesuffix(";base64")
    assert Image.MIME[image.format] == mime, f"{image.format} under the name {mime}"
    return image


class Checks:
    def __init__(self):
        self.tokenizer = MistralTokenizer.from_file(str(TEKKEN), mode=ValidationMode.finetuning)
        self.lines = self.tokens = self.image_tokens = self.images = self.kept_at_largest = 0
        self.wrong = []

    def equal(self, what, ours, theirs):
        if ours != theirs:
            self.wrong.append(f"{what}: {ours} by our word, {theirs} in truth")

    def file(self, path):
        for number, text in enumerate(path.open(encoding="utf-8"), 1):
            self.lines += 1
            try:
                self.line(text)
            except Exception as problem:
                self.wrong.append(f"{path.name}:{number}: {type(problem).__name__}: {str(problem)[:300]}")

    def line(self, text):
        """Checks one line; the first thing wrong with it is an exception."""
        request = json.loads(text)
        chat = ChatCompletionRequest[FinetuningMessage].model_validate(request)
        encoded = self.tokenizer.encode_chat_completion(chat)
        self.tokens += len(encoded.tokens)
        self.image_tokens += sum(token in IMAGE_TOKENS for token in encoded.tokens)
        images = [decoded(uri) for uri in urls(request)]
        assert len(images) == len(encoded.images), f"{len(images)} images, {len(encoded.images)} for the model"
        for image, pixels in zip(images, encoded.images, strict=True):
            self.image(image.size, (pixels.shape[2], pixels.shape[1]))

    def image(self, size, seen):
        """`seen` is the size of the image in the model's input, always whole patches."""
        self.images += 1
        assert max(size) <= MAX_SIDE, f"{size}: a side is longer than {MAX_SIDE} pixels"
        if max(size) == MAX_SIDE and size == seen:
            self.kept_at_largest += 1


def main():
    directory, report = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    checks = Checks()
    for path in sorted([*directory.glob("train*.jsonl"), *directory.glob("validation*.jsonl")]):
        checks.file(path)
    counts, tokens = manifest["counts"], manifest["tokens"]
    checks.equal("rows kept", counts["train"] + counts["validation"], checks.lines)
    checks.equal("tokens.total", tokens["total"], checks.tokens)
    checks.equal("tokens.image", tokens["image"], checks.image_tokens)
    checks.equal("images", report["images"], checks.images)
    if report["shrunk"] > checks.kept_at_largest:
        checks.wrong.append(f"{report['shrunk']} images resized, {checks.kept_at_largest} keep their size")
    print(f"{checks.lines} lines, {checks.images} images, {checks.tokens} tokens: {len(checks.wrong)} problems")
    for problem in checks.wrong[:20]:
        print(" ", problem)
    sys.exit(1 if checks.wrong or not checks.lines else 0)


if __name__ == "__main__":
    main()
