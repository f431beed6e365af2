"""Token ids, loss masks and counts of conversations in memory."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._results import Encoded, EncodedBatch, Refused
from ._words import Progress, StrPath, reporter

Layout = Literal["mistral-common", "mistral-finetune"]
OnRefused = Literal["raise", "keep"]

# What a batch of `datasets` may have beside a conversation is not looked at.
_KEYS = ("messages", "tools", "response_format", "reasoning_effort", "images")


@lru_cache(maxsize=16)
def _open(model: str, tokenizer: str | None, layout: str) -> _core.Encoder:
    # The vocabulary stays in memory as long as the process.
    return _core.Encoder(model, tokenizer, layout)


class Encoder:
    """The tokenizer and the image grid of a model.

    An encoder is also a function for ``datasets.Dataset.map(encoder, batched=True)``, and can be pickled.

    Args:
        model: a known name such as ``pixtral-12b``, or a model directory.
        tokenizer: a Tekken vocabulary (``tekken.json``), or ``pixtral-12b`` for the built-in one.
        layout: the chat layout.
        threads: threads to work on; all CPUs if not given.
    """

    def __init__(
        self,
        model: StrPath = "pixtral-12b",
        *,
        tokenizer: StrPath | None = None,
        layout: Layout = "mistral-common",
        threads: int | None = None,
    ) -> None:
        self._arguments = (os.fspath(model), None if tokenizer is None else os.fspath(tokenizer), layout)
        self._threads = threads
        # Errors are raised here, not at the first sample.
        _open(*self._arguments)

    def __repr__(self) -> str:
        model, tokenizer, layout = self._arguments
        return f"Encoder({model!r}, tokenizer={tokenizer!r}, layout={layout!r}, threads={self._threads!r})"

    @property
    def _core(self) -> _core.Encoder:
        return _open(*self._arguments)

    @property
    def context(self) -> int:
        """The most tokens of a sample that the model reads."""
        return self._core.context

    @property
    def vocabulary_size(self) -> int:
        """The number of tokens."""
        return self._core.vocabulary_size

    @property
    def special_tokens(self) -> str | None:
        """Where the special tokens come from, if not from a file of their version."""
        return self._core.special_tokens

    def sample(self, sample: Mapping[str, Any], *, directory: StrPath = "", ids: bool = True) -> Encoded:
        """Encode one conversation: a line of a training file as a dict.

        Images are data URIs, or paths relative to `directory`, as in a file; or, in a list ``images`` beside ``messages``, file bytes,
        ``{"bytes": …, "path": …}`` as ``datasets`` stores them, or Pillow images.

        Raises:
            Refused: the model's reference would reject the sample, or an image cannot be read.
        """
        return self.samples([sample], directory=directory, ids=ids)[0]

    def samples(
        self,
        samples: Iterable[Mapping[str, Any]],
        *,
        directory: StrPath = "",
        ids: bool = True,
        on_refused: OnRefused = "raise",
        progress: Progress | None = None,
    ) -> EncodedBatch:
        """Encode conversations on all CPUs.

        Args:
            ids: whether ids are wanted beside counts.
            on_refused: ``raise`` an exception with all findings, or ``keep`` the other samples and list `EncodedBatch.refused`.
            progress: a function of samples done and samples in total, or a bar of ``tqdm``.
        """
        rows = [_row(sample) for sample in samples]
        texts, images = [text for text, _ in rows], [files for _, files in rows]
        raw = self._core.samples(texts, images, os.fspath(directory), ids, self._threads, reporter(progress))
        return _judged(EncodedBatch._of(raw), on_refused)

    def table(
        self,
        table: Any,
        *,
        column: str | None = None,
        directory: StrPath = "",
        ids: bool = True,
        on_refused: OnRefused = "raise",
        progress: Progress | None = None,
    ) -> EncodedBatch:
        """Encode the rows of an Arrow table or record batch, which are read where they are.

        Args:
            table: anything with ``__arrow_c_stream__``, such as a ``pyarrow.Table`` or a frame of Polars. Its columns are ``messages``
                and, if there are such, ``tools``, ``response_format``, ``reasoning_effort`` and ``images``; others are not looked at.
            column: the column that holds each conversation as the text of a line of a training file, instead.
        """
        if not hasattr(table, "__arrow_c_stream__"):
            table = _table(table)
        raw = self._core.table(table, column, os.fspath(directory), ids, self._threads, reporter(progress))
        return _judged(EncodedBatch._of(raw), on_refused)

    def texts(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """The ids of texts, without control tokens."""
        raw, ends = self._core.texts(list(texts), self._threads)
        ids = np.frombuffer(raw, "<i4")
        return [ids[start:end] for start, end in zip([0, *ends], ends)]

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Encode a batch of ``datasets.Dataset.map(encoder, batched=True)``.

        Returns the columns ``input_ids``, ``labels`` (-100 where a token does not count in the loss), and ``tokens``,
        ``image_tokens``, ``trained_tokens``. A sample that is refused raises `Refused`: filter such samples with `check` before.
        """
        count = len(next(iter(batch.values()), ()))
        keys = [key for key in _KEYS if key in batch]
        rows = (_without_nulls({key: batch[key][index] for key in keys}) for index in range(count))
        found = self.samples(rows)
        encoded = [found[index] for index in range(count)]
        return {
            "input_ids": [one.ids for one in encoded],
            "labels": [one.labels for one in encoded],
            "tokens": found.tokens,
            "image_tokens": found.image_tokens,
            "trained_tokens": found.trained_tokens,
        }


def _table(batch: Any) -> Any:
    import pyarrow as pa

    if isinstance(batch, pa.RecordBatch):
        return pa.Table.from_batches([batch])
    raise TypeError(f"a table of Arrow is needed, not {type(batch).__name__}")


def _judged(found: EncodedBatch, on_refused: OnRefused) -> EncodedBatch:
    if on_refused not in ("raise", "keep"):
        raise ValueError(f"on_refused is `raise` or `keep`, not {on_refused!r}")
    if found.refused and on_refused == "raise":
        findings = tuple(found.refused.values())
        more = f"\n… and {len(findings) - 5} more" if len(findings) > 5 else ""
        raise Refused("\n".join(map(str, findings[:5])) + more, findings)
    return found


def _row(sample: Mapping[str, Any]) -> tuple[bytes, list[tuple[str, bytes]]]:
    """A sample as JSON, and the images that it holds as bytes, by the names that the JSON has for them."""
    files: list[tuple[str, bytes]] = []

    def named(image: Any) -> Any:
        if isinstance(image, Mapping) and set(image) == {"bytes", "path"}:
            image = image["path"] if image["bytes"] is None else image["bytes"]
        if isinstance(image, bytes | bytearray | memoryview):
            name = _core.image_name(bytes(image))
            files.append((name, bytes(image)))
            return name
        if hasattr(image, "save") and hasattr(image, "mode"):
            return named(_png(image))
        return os.fspath(image) if isinstance(image, os.PathLike) else image

    images = sample.get("images")
    if images is not None:
        sample = {**sample, "images": [named(image) for image in images]}
    elif "images" in sample:
        sample = {key: value for key, value in sample.items() if key != "images"}
    # Half of a surrogate pair in a text is for Rust to judge.
    return json.dumps(sample, ensure_ascii=True, default=_plain).encode("ascii"), files


def _without_nulls(value: Any) -> Any:
    """Without the keys that only other rows of a column have, which `datasets` gives as None. Images keep theirs."""
    if isinstance(value, Mapping):
        return {
            key: one if key == "images" else _without_nulls(one) for key, one in value.items() if one is not None
        }
    return [_without_nulls(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a conversation holds texts, numbers, lists and dicts, not {type(value).__name__}")


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


@overload
def tokens(
    samples: Mapping[str, Any],
    *,
    model: StrPath = ...,
    tokenizer: StrPath | None = ...,
    layout: Layout = ...,
    ids: bool = ...,
    directory: StrPath = ...,
    threads: int | None = ...,
) -> Encoded: ...


@overload
def tokens(
    samples: Any,
    *,
    model: StrPath = ...,
    tokenizer: StrPath | None = ...,
    layout: Layout = ...,
    ids: bool = ...,
    directory: StrPath = ...,
    column: str | None = ...,
    on_refused: OnRefused = ...,
    threads: int | None = ...,
    progress: Progress | None = ...,
) -> EncodedBatch: ...


def tokens(
    samples: Any,
    *,
    model: StrPath = "pixtral-12b",
    tokenizer: StrPath | None = None,
    layout: Layout = "mistral-common",
    ids: bool = True,
    directory: StrPath = "",
    column: str | None = None,
    on_refused: OnRefused = "raise",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Encoded | EncodedBatch:
    """Encode conversations exactly as the model's tokenizer does: ``pixtune tokens --ids``.

    Args:
        samples: one conversation (a dict), an iterable of them, or an Arrow table; for the latter see `Encoder.table`.
        directory: what relative paths of images are relative to.

    Returns:
        `Encoded` for one conversation, else `EncodedBatch`.

    Raises:
        Refused: samples that the model's reference would reject, with a finding for each.
    """
    encoder = Encoder(model, tokenizer=tokenizer, layout=layout, threads=threads)
    if isinstance(samples, Mapping):
        return encoder.sample(samples, directory=directory, ids=ids)
    if hasattr(samples, "__arrow_c_stream__") or hasattr(samples, "__arrow_c_array__"):
        return encoder.table(
            samples, column=column, directory=directory, ids=ids, on_refused=on_refused, progress=progress
        )
    return encoder.samples(samples, directory=directory, ids=ids, on_refused=on_refused, progress=progress)
