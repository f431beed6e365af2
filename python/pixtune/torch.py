"""Prepared data for PyTorch: exact ids, labels and pixels, for training with transformers as it is.

>>> from pixtune.torch import Collator, PreparedDataset          # doctest: +SKIP
>>> data = PreparedDataset("prepared", model="pixtral-12b-hf")   # doctest: +SKIP
>>> loader = torch.utils.data.DataLoader(data, batch_size=2, shuffle=True, collate_fn=Collator())  # doctest: +SKIP
>>> loss = model(**next(iter(loader))).loss                      # doctest: +SKIP
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, TypedDict

import numpy as np
import torch
from torch import Tensor

from . import _core
from ._commands import _Heard
from ._results import Finding, Refused
from ._words import Progress, StrPath, reporter

__all__ = ["Collator", "PreparedDataset", "Sample"]


class Sample(TypedDict):
    """A sample of `PreparedDataset`."""

    input_ids: Tensor
    """The ids, ``[tokens]`` of int64."""
    labels: Tensor
    """The ids where tokens count in the loss, and -100 elsewhere."""
    pixel_values: list[Tensor]
    """The images in the order of their tokens, ``[3, height, width]`` of float32."""


class PreparedDataset(torch.utils.data.Dataset[Sample]):
    """The samples of a split that ``pixtune train`` would train on, in the order of the files.

    Nothing is truncated, and nothing is decoded before it is asked for: an index in memory has 28 bytes per sample. It can be used by
    several workers of a ``DataLoader``.

    Args:
        data: a directory that `prepare` wrote, or a JSON Lines file.
        model: a model directory or a known name, whose tokenizer and image grid apply.
        split: ``train`` or ``validation``; of a file, ``train``.
        max_tokens: samples with more tokens cannot be trained on; the model's context if not given.
        invalid_samples: ``stop`` raises `Refused` for samples that cannot be trained on; ``skip`` goes on with the others, and lists
            the reasons in `findings`.

    Raises:
        Error: the data or the model could not be read.
        Refused: there are samples that cannot be trained on.
    """

    findings: tuple[Finding, ...]
    """Warnings, and why samples were skipped."""

    def __init__(
        self,
        data: StrPath,
        *,
        model: StrPath = "pixtral-12b",
        tokenizer: StrPath | None = None,
        split: Literal["train", "validation"] = "train",
        max_tokens: int | None = None,
        invalid_samples: Literal["stop", "skip"] = "stop",
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        tokenizer = None if tokenizer is None else os.fspath(tokenizer)
        self._arguments = (os.fspath(data), split, os.fspath(model), tokenizer, max_tokens, threads)
        self._open(progress)
        refused = tuple(finding for finding in self.findings if finding.severity == "error")
        if refused and invalid_samples == "stop":
            more = f"\n… and {len(refused) - 5} more" if len(refused) > 5 else ""
            raise Refused("\n".join(map(str, refused[:5])) + more, refused)

    def _open(self, progress: Progress | None = None) -> None:
        heard = _Heard()
        self._prepared = _core.Prepared(*self._arguments, heard, reporter(progress))
        self.findings = tuple(heard.findings)

    def __getstate__(self) -> dict[str, Any]:
        return {"_arguments": self._arguments}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._arguments = state["_arguments"]
        self._open()

    def __len__(self) -> int:
        return len(self._prepared)

    def __getitem__(self, index: int) -> Sample:
        if index < 0:
            index += len(self)
        ids, mask, images = self._prepared.load(index)
        input_ids = torch.from_numpy(np.frombuffer(ids, "<i8"))
        trained = torch.from_numpy(np.frombuffer(mask, np.bool_))
        pixels = (np.frombuffer(raw, "<f4").reshape(3, height, width) for height, width, raw in images)
        return {
            "input_ids": input_ids,
            "labels": torch.where(trained, input_ids, -100),
            "pixel_values": [torch.from_numpy(image) for image in pixels],
        }

    def place(self, index: int) -> tuple[str, int]:
        """The file and the line of a sample."""
        return self._prepared.place(index)

    @property
    def lengths(self) -> list[int]:
        """The tokens of each sample, for batches of similar lengths."""
        return [tokens for tokens, _, _ in self._prepared.counts()]


class Collator:
    """Makes a batch of samples, for ``LlavaForConditionalGeneration`` and other models of transformers with Pixtral's images.

    Ids are padded on the right, where they get no attention and no label; images are padded with zeros to the largest of the batch,
    and ``image_sizes`` has the size of each, so that the padding is not seen.

    Args:
        pad_token_id: the id of the padding; any id of the vocabulary.
        dtype: the type of ``pixel_values``.
    """

    def __init__(self, *, pad_token_id: int = 11, dtype: torch.dtype = torch.float32) -> None:
        self.pad_token_id = pad_token_id
        self.dtype = dtype

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Tensor]:
        """The batch: ``input_ids``, ``attention_mask``, ``labels``, and with images ``pixel_values`` and ``image_sizes``."""
        pad = torch.nn.utils.rnn.pad_sequence
        ids = [sample["input_ids"] for sample in samples]
        batch = {
            "input_ids": pad(ids, batch_first=True, padding_value=self.pad_token_id),
            "attention_mask": pad([torch.ones_like(one) for one in ids], batch_first=True),
            "labels": pad([sample["labels"] for sample in samples], batch_first=True, padding_value=-100),
        }
        images = [image for sample in samples for image in sample["pixel_values"]]
        if images:
            height, width = (max(image.shape[side] for image in images) for side in (1, 2))
            pixels = torch.zeros(len(images), 3, height, width, dtype=self.dtype)
            for to, image in zip(pixels, images):
                to[:, : image.shape[1], : image.shape[2]] = image
            batch["pixel_values"] = pixels
            batch["image_sizes"] = torch.tensor([image.shape[1:] for image in images])
        return batch
