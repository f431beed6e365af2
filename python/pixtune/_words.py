"""From keywords to the words of a command line, and from progress to what is heard of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol, TypeAlias

StrPath: TypeAlias = str | os.PathLike[str]
Names: TypeAlias = str | Iterable[str] | None


class Bar(Protocol):
    """A progress bar, as ``tqdm`` makes them."""

    n: Any
    total: Any

    def update(self, n: Any = 1) -> Any: ...


Progress: TypeAlias = Callable[[int, int], object] | Bar
"""A function of what is done and of how much, in bytes or rows; or a bar of ``tqdm``."""


def words(positional: Iterable[StrPath], options: Mapping[str, object]) -> list[str]:
    """The words of a command: options that are not None, then what follows them."""
    found = []
    for name, value in options.items():
        flag = "--" + name.rstrip("_").replace("_", "-")
        if value is None or value is False:
            continue
        if value is True:
            found.append(flag)
        else:
            found.append(f"{flag}={_text(value)}")
    return [*found, "--", *(os.fspath(path) for path in positional)]


def _text(value: object) -> str:
    if isinstance(value, os.PathLike):
        return str(os.fspath(value))
    if isinstance(value, Mapping):
        pairs = [(key, one) for key, some in value.items() for one in ([some] if isinstance(some, str) else some)]
        return ",".join(f"{key}={one}" for key, one in pairs)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return ",".join(map(str, value))
    return str(value)


def paths(given: StrPath | Iterable[StrPath]) -> list[StrPath]:
    """One path, or several."""
    return [given] if isinstance(given, str | os.PathLike) else list(given)


def reporter(progress: Progress | None) -> Callable[[int, int], object] | None:
    """A function of progress. A bar of ``tqdm`` gets its total and moves."""
    if progress is None or not (hasattr(progress, "update") and hasattr(progress, "n")):
        return progress
    bar: Any = progress

    def move(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return move
