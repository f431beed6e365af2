"""Grids, sizes and pixels of images."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._encoder import _open, _png
from ._results import Finding, ImageGrid, Refused
from ._words import StrPath


def image_grid(width: int, height: int, *, model: StrPath = "pixtral-12b") -> ImageGrid:
    """How a model divides an image of this size: ``pixtune tokens --image WxH``."""
    columns, rows, tokens, pixel_width, pixel_height, is_too_thin = _core.image_grid(
        _open(os.fspath(model), None, "mistral-common"), width, height
    )
    return ImageGrid(width, height, columns, rows, tokens, pixel_width, pixel_height, is_too_thin)


def image_sizes(column: Any) -> NDArray[np.int64]:
    """The width and height of image files in an Arrow array, ``[images, 2]``, from their headers.

    The files are read where Arrow has them, without copies. They are bytes, or structs of ``bytes`` and ``path``.

    Raises:
        Refused: files that are not images, or that the model's reference cannot read, by their row from 1.
    """
    import pyarrow as pa

    raw, refused = _core.image_sizes(pa.table({"image": column}))
    _raise(refused)
    return np.frombuffer(raw, "<i8").reshape(-1, 2)


Image = bytes | bytearray | memoryview | str | os.PathLike[str]


@overload
def pixels(images: Image, *, model: StrPath = ..., threads: int | None = ...) -> NDArray[np.float32]: ...


@overload
def pixels(images: Iterable[Any], *, model: StrPath = ..., threads: int | None = ...) -> list[NDArray[np.float32]]: ...


def pixels(
    images: Any, *, model: StrPath = "pixtral-12b", threads: int | None = None
) -> NDArray[np.float32] | list[NDArray[np.float32]]:
    """The normalized values that a model is fed of an image, ``[3, height, width]``, as mistral-common computes them.

    Args:
        images: the bytes of a file, its path, or a Pillow image, which is not turned by its EXIF; or an iterable of them.

    Raises:
        Refused: files that cannot be decoded, by their index from 1.
    """
    is_one = isinstance(images, bytes | bytearray | memoryview | str | os.PathLike) or hasattr(images, "save")
    files = [_file(image) for image in ([images] if is_one else images)]
    found, refused = _core.pixels(_open(os.fspath(model), None, "mistral-common"), files, threads)
    _raise([] if refused is None else [refused])
    arrays = [np.frombuffer(raw, "<f4").reshape(3, height, width) for height, width, raw in found]
    return arrays[0] if is_one else arrays


def _file(image: Any) -> bytes | str:
    if isinstance(image, bytes):
        return image
    if isinstance(image, bytearray | memoryview):
        return bytes(image)
    if hasattr(image, "save") and hasattr(image, "mode"):
        return _png(image)
    path: str = os.fspath(image)
    return path


def _raise(refused: list[tuple[int, str]]) -> None:
    findings = tuple(
        Finding("image-unreadable", "error", "", index + 1, None, "", message, None, None) for index, message in refused
    )
    if findings:
        raise Refused("\n".join(f"image {finding.line}: {finding.message}" for finding in findings[:5]), findings)
