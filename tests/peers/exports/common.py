"""What the proofs of exports share: the samples that pixtune counted, and the comparison of a trainer's batch with them."""

import base64
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("WANDB_MODE", "disabled")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")


class Sample:
    """A prepared sample: where it is, its ids and labels, and the bytes of its images."""

    def __init__(self, file, counted, line):
        self.place = f"{file}:{counted['line']}"
        self.ids = counted["ids"]
        self.labels = []
        for trained, length in counted["trained_runs"]:
            start = len(self.labels)
            self.labels += self.ids[start : start + length] if trained else [-100] * length
        self.images = []
        for message in json.loads(line)["messages"]:
            for part in message.get("content") if isinstance(message.get("content"), list) else []:
                if part["type"] == "image_url":
                    url = part["image_url"]
                    self.images.append(base64.b64decode((url if isinstance(url, str) else url["url"]).split(",", 1)[1]))


class Proof:
    """usage: proof.py PIXTUNE PREPARED MODEL EXPORT, where EXPORT is what `pixtune export` wrote of PREPARED."""

    def __init__(self, trainer, version):
        self.pixtune, self.prepared, self.model, self.export = (pathlib.Path(word).resolve() for word in sys.argv[1:5])
        self.result = {"trainer": trainer, "version": version, "rows": 0, "of": 0}
        self.rows = 0
        self.equal = {"ids_equal": True, "labels_equal": True, "pixels_equal": True}
        self.failures = []
        self._encoder = None

    def samples(self, subset):
        """The samples of a file that are in the export, in order: all but those that it lists as rejected."""
        path = self.prepared / f"{subset}.jsonl"
        command = [self.pixtune, "tokens", path, "--model", self.model, "--ids", "--format", "json"]
        counted = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
        lines = path.read_text().removesuffix("\n").split("\n") if path.stat().st_size else []
        rejected = set()
        if (self.export / "rejected.jsonl").exists():
            for row in map(json.loads, (self.export / "rejected.jsonl").read_text().splitlines()):
                if pathlib.Path(row["file"]).name == path.name:
                    rejected.add(row["line"])
        self.result["of"] += len(lines)
        everything = [Sample(path.name, count, line) for count, line in zip(map(json.loads, counted), lines, strict=True)]
        return [sample for index, sample in enumerate(everything, 1) if index not in rejected]

    def pixels(self, image):
        """The pixels of a prepared image as mistral-common gives them to the model, and whether its size is on the grid.

        An image off the grid is resized before the trainer sees it, to bytes: with its values within half a level.
        """
        import torch
        from mistral_common.protocol.instruct.chunk import ImageChunk
        from mistral_common.tokens.tokenizers.image import ImageConfig, ImageEncoder, SpecialImageIDs
        from PIL import Image

        if self._encoder is None:
            vision = json.loads((self.model / "config.json").read_text())["vision_config"]
            merge = json.loads((self.model / "config.json").read_text()).get("spatial_merge_size", 1)
            self._encoder = ImageEncoder(ImageConfig(vision["patch_size"], vision["image_size"], merge), SpecialImageIDs(10, 12, 13))
        opened = Image.open(io.BytesIO(image))
        pixels = torch.tensor(self._encoder(ImageChunk(image=opened)).image)
        return pixels, tuple(pixels.shape[:0:-1]) == opened.size

    @staticmethod
    def same_pixels(given, expected, on_grid):
        import torch
        from mistral_common.tokens.tokenizers.image import DATASET_MEAN, DATASET_STD

        if given.shape != expected.shape:
            return False
        if on_grid:
            return torch.allclose(given, expected, rtol=0, atol=1e-5)
        mean, deviation = (torch.tensor(values)[:, None, None] for values in (DATASET_MEAN, DATASET_STD))
        levels = [(pixels * deviation + mean) * 255 for pixels in (given, expected)]
        return (levels[0] - levels[1].clamp(0, 255)).abs().max().item() <= 0.501

    def check(self, train, validation, collate, several=True):
        """Compare every sample of the datasets of a trainer, alone and in batches of three of any sizes."""
        for subset, dataset in (("train", train), ("validation", validation)):
            samples = self.samples(subset)
            dataset = [] if dataset is None else dataset
            assert len(dataset) == len(samples), f"{subset}: {len(dataset)} rows of {len(samples)}"
            for index, sample in enumerate(samples):
                self.compare(sample, collate([dataset[index]]))
            for start in range(0, len(samples) - 2, 3) if several else ():
                batch = collate([dataset[start + row] for row in range(3)])
                for row in range(3):
                    self.compare(samples[start + row], batch, row)
            self.rows += len(samples)

    def compare(self, sample, batch, row=0):
        """Compare one row of a batch with its sample. Padding may follow it, with no attention and no labels."""
        import torch

        ids, labels = batch["input_ids"][row].tolist(), batch["labels"][row].tolist()
        attention = batch["attention_mask"][row].tolist() if "attention_mask" in batch else [1] * len(ids)
        length = len(sample.ids)
        padded = any(attention[length:]) or any(label != -100 for label in labels[length:])
        self.judge("ids_equal", sample, ids[:length] == sample.ids and all(attention[:length]) and not padded, (ids, sample.ids))
        self.judge("labels_equal", sample, labels[:length] == sample.labels, (labels, sample.labels))
        expected = [self.pixels(image) for image in sample.images]
        if len(batch["input_ids"]) == 1:
            given = batch.get("pixel_values")
            given = [] if given is None else list(given)
            same = len(given) == len(expected)
            for have, (want, on_grid) in zip(given, expected):
                height, width = want.shape[1:]
                same = same and self.same_pixels(have[:, :height, :width].float(), want, on_grid)
                # What is beyond an image pads it to the largest of the batch.
                same = same and not have[:, height:].any() and not have[:, :, width:].any()
            if same and expected:
                same = [list(size) for size in batch["image_sizes"]] == [list(want.shape[1:]) for want, _ in expected]
            self.judge("pixels_equal", sample, same, (len(given), len(expected)))

    def judge(self, what, sample, same, detail):
        self.equal[what] = self.equal[what] and bool(same)
        if not same:
            self.failures.append(f"{sample.place}: {what}: {detail}")

    def adapter(self, directory):
        """The adapter that a step left is one that pixtune accepts and that PEFT loads, and it has changed."""
        import torch
        from peft import PeftModel
        from safetensors.torch import load_file
        from transformers import AutoModelForImageTextToText

        command = [self.pixtune, "adapter", "check", directory, "--base", self.model, "--server", "transformers", "--format", "json"]
        run = subprocess.run(command, capture_output=True, text=True)
        verdicts = [json.loads(line) for line in run.stdout.splitlines()]
        assert run.returncode == 0, f"pixtune adapter check ended with {run.returncode}: {run.stdout[-2000:]}{run.stderr[-2000:]}"
        applied = [line for line in verdicts if line.get("verdict") == "applied"]
        assert applied and len(applied) == len([line for line in verdicts if "verdict" in line and "module" in line]), verdicts[-1]
        tensors = load_file(f"{directory}/adapter_model.safetensors")
        changed = [name for name, tensor in tensors.items() if "lora_B" in name and tensor.abs().max() > 0]
        assert len(changed) == len(applied), f"{len(changed)} of {len(applied)} modules were trained"
        base = AutoModelForImageTextToText.from_pretrained(self.model, dtype=torch.float32)
        peft = PeftModel.from_pretrained(base, directory)
        stored = {name.replace(".weight", ".default.weight"): tensor for name, tensor in tensors.items()}
        loaded = dict(peft.named_parameters())
        assert all(torch.equal(loaded[name].float(), tensor.float()) for name, tensor in stored.items()), "PEFT loads other weights"
        self.result["modules"] = len(applied)

    def finish(self, step):
        self.result["rows"] = self.rows
        self.result |= {what: same and self.rows > 0 for what, same in self.equal.items()}
        self.result["step"] = step
        print(json.dumps(self.result))
        for failure in self.failures[:10]:
            print(failure[:1500], file=sys.stderr)
        sys.exit(0 if all(self.result[what] for what in self.equal) and step is not False else 1)


@contextlib.contextmanager
def quiet():
    """Trainers print much: it goes to standard error, so that standard output is the result."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)
