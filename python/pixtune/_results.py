"""What functions return."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ._core import Error

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Source:
    """The row of a dataset that `prepare` made a line of."""

    file: str
    row: int
    images: tuple[str | None, ...]


@dataclass(frozen=True)
class Finding:
    """Something wrong, or worth knowing, in a row of data."""

    rule: str
    severity: Severity
    file: str
    """The file as it was named; empty for data in memory."""
    line: int
    """The line or row, from 1."""
    column: int | None
    """The character of the line, from 1, if known."""
    pointer: str
    """JSON pointer into the row; of a table row, ``/COLUMN``."""
    message: str
    hint: str | None
    """What to do about it."""
    fix: Literal["safe", "unsafe"] | None
    """How `pixtune.fix` repairs it."""
    source: Source | None = None

    @classmethod
    def _parse(cls, text: str) -> Finding:
        fields = json.loads(text)
        source = fields.get("source")
        fields["source"] = source and Source(source["file"], source["row"], tuple(source["images"]))
        fields.setdefault("column", None)
        return cls(**fields)

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.file else f"row {self.line}"
        column = f":{self.column}" if self.column is not None else ""
        source = f" ({self.source.file}:{self.source.row})" if self.source else ""
        pointer = f" {self.pointer}" if self.pointer else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{self.severity}[{self.rule}]: {place}{column}{source}{pointer}: {self.message}{hint}"


class Refused(Error):
    """Samples or images that cannot be used. `findings` has the reason of each."""

    findings: tuple[Finding, ...]
    hint: str | None

    def __init__(self, message: str, findings: tuple[Finding, ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings
        self.hint = None

    def __reduce__(self) -> tuple[Any, ...]:
        return (Refused, (str(self), self.findings))


@dataclass(frozen=True)
class Change:
    """A change that `fix` made."""

    rule: str
    fixed: Literal["safe", "unsafe"]
    file: str
    line: int
    pointer: str
    message: str


@dataclass(frozen=True)
class OutputFile:
    """A file that was written."""

    path: str
    """Relative to the output directory."""
    bytes: int
    lines: int


@dataclass(frozen=True)
class Prepared:
    """What `prepare` wrote."""

    rows: int
    train: int
    validation: int
    test: int
    rejected: int
    """Rows in ``rejected.jsonl``, duplicates among them."""
    duplicates: int
    images: int
    shrunk: int
    """Images that were downscaled."""
    tokens: dict[str, int]
    """``total``, ``image``, ``trained``, and ``max_sample``."""
    outputs: tuple[OutputFile, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """What the program prints beside findings, such as guessed columns."""
    downloads: dict[str, Any] | None = None


@dataclass(frozen=True)
class Checked:
    """What `check` found."""

    files: int
    samples: int
    bad_samples: int
    """Samples with an error."""
    images: int
    errors: int
    warnings: int
    safe_fixes: int
    unsafe_fixes: int
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Fixed:
    """What `fix` wrote, and what is left."""

    samples: int
    changes: tuple[Change, ...]
    changed_lines: int
    dropped: int
    errors: int
    bad_samples: int
    warnings: int
    fixable_errors: int
    findings: tuple[Finding, ...]
    """The errors that are left."""


@dataclass(frozen=True)
class ModuleVerdict:
    """What a server does with a module of an adapter."""

    module: str
    area: str
    verdict: Literal["applied", "ignored", "wrong", "rejected", "not tested"]
    reason: str
    evidence: str
    source: str


@dataclass(frozen=True)
class AdapterCheck:
    """What a server does with an adapter."""

    modules: tuple[ModuleVerdict, ...]
    server: str
    version: str
    applied: int
    problems: tuple[str, ...]
    """What keeps the adapter from being the trained model on any server."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def all_applied(self) -> bool:
        """Whether the server computes with every module as it was trained."""
        return self.applied == len(self.modules) and not self.problems


@dataclass(frozen=True)
class ImageGrid:
    """How a model divides an image of a size."""

    width: int
    height: int
    columns: int
    rows: int
    tokens: int
    """Tokens of the image, breaks and end included."""
    pixel_width: int
    """Width of the image that the model sees."""
    pixel_height: int
    is_too_thin: bool
    """Whether older servers refuse it, because a side is resized to less than a pixel."""


@dataclass(frozen=True)
class ImageCounts:
    """An image of a sample."""

    width: int
    height: int
    columns: int
    rows: int
    tokens: int


@dataclass(frozen=True)
class Counts:
    """The token counts of a sample."""

    tokens: int
    text_tokens: int
    image_tokens: int
    trained_tokens: int
    images: tuple[ImageCounts, ...]


@dataclass(frozen=True)
class Encoded:
    """A sample as a model is trained on it."""

    ids: NDArray[np.int32]
    """The token ids, ``[tokens]``; empty unless ids were asked for."""
    mask: NDArray[np.bool_]
    """Whether each token counts in the loss, ``[tokens]``."""
    counts: Counts
    warnings: tuple[Finding, ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """The ids where tokens count in the loss, and -100 elsewhere, as PyTorch's cross-entropy takes them."""
        return np.where(self.mask, self.ids, -100).astype(np.int64)


@dataclass(frozen=True)
class EncodedBatch:
    """Many samples, column by column."""

    ids: NDArray[np.int32]
    """The ids of all samples, one after the other."""
    mask: NDArray[np.bool_]
    """Whether each token counts in the loss."""
    ends: NDArray[np.int64]
    """The index in `ids` after the last id of each sample."""
    tokens: NDArray[np.int64]
    text_tokens: NDArray[np.int64]
    image_tokens: NDArray[np.int64]
    trained_tokens: NDArray[np.int64]
    refused: dict[int, Finding] = field(default_factory=dict)
    """Samples without ids and with counts of 0, by index, and why."""
    warnings: dict[int, tuple[Finding, ...]] = field(default_factory=dict)
    _images: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 5), np.int64), repr=False)
    _image_ends: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64), repr=False)

    @classmethod
    def _of(cls, raw: dict[str, Any]) -> EncodedBatch:
        counts = np.frombuffer(raw["counts"], "<i8").reshape(-1, 4)
        warnings: dict[int, list[Finding]] = {}
        for index, text in raw["warnings"]:
            warnings.setdefault(index, []).append(Finding._parse(text))
        return cls(
            np.frombuffer(raw["ids"], "<i4"),
            np.frombuffer(raw["mask"], np.bool_),
            np.frombuffer(raw["ends"], "<i8"),
            tokens=counts[:, 0],
            text_tokens=counts[:, 1],
            image_tokens=counts[:, 2],
            trained_tokens=counts[:, 3],
            refused={index: Finding._parse(text) for index, text in raw["refused"]},
            warnings={index: tuple(found) for index, found in warnings.items()},
            _images=np.frombuffer(raw["images"], "<i8").reshape(-1, 5),
            _image_ends=np.frombuffer(raw["image_ends"], "<i8"),
        )

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> Encoded:
        """A sample. One that was refused raises `Refused`."""
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no sample {index}: there are {len(self)}")
        index %= len(self)
        if index in self.refused:
            raise Refused(str(self.refused[index]), (self.refused[index],))
        # Without ids, the ends are all 0.
        ids, images = (slice(ends[index - 1] if index else 0, ends[index]) for ends in (self.ends, self._image_ends))
        counts = Counts(
            int(self.tokens[index]),
            int(self.text_tokens[index]),
            int(self.image_tokens[index]),
            int(self.trained_tokens[index]),
            tuple(ImageCounts(*map(int, image)) for image in self._images[images]),
        )
        return Encoded(self.ids[ids], self.mask[ids], counts, self.warnings.get(index, ()))

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table`` with a row for each sample: ``ids``, ``mask`` and the counts. Ids are not copied.

        The ids of a refused sample are null, and ``refused`` is the reason.
        """
        import pyarrow as pa

        offsets = np.concatenate([[0], self.ends])
        nulls = np.zeros(len(self), np.bool_)
        nulls[list(self.refused)] = True
        columns: dict[str, Any] = {}
        if len(self.ids) or not self.tokens.any():
            for name, values in (("ids", self.ids), ("mask", self.mask)):
                columns[name] = pa.LargeListArray.from_arrays(offsets, pa.array(values), mask=pa.array(nulls))
        for name in ("tokens", "text_tokens", "image_tokens", "trained_tokens"):
            columns[name] = pa.array(getattr(self, name), mask=nulls)
        reasons = [str(self.refused[index]) if index in self.refused else None for index in range(len(self))]
        columns["refused"] = pa.array(reasons, pa.string())
        return pa.table(columns)
