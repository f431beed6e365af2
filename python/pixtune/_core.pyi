"""The compiled part, for the package's own use: plain values, of which the package makes objects and arrays."""

from collections.abc import Callable, Sequence
from typing import Any, final

__version__: str

_Event = Callable[[str, str], object] | None
_Progress = Callable[[int, int], object] | None

class Error(Exception):
    """A run that could not be done. The text is that of the program; `hint` is what to do about it, or None."""

    hint: str | None

def run_program(words: Sequence[str], program: Sequence[str]) -> int: ...
def prepare(words: Sequence[str], event: _Event = None, progress: _Progress = None) -> str: ...
def check(words: Sequence[str], event: _Event = None, progress: _Progress = None) -> str: ...
def fix(words: Sequence[str], event: _Event = None, progress: _Progress = None) -> str: ...
def convert(words: Sequence[str], event: _Event = None, progress: _Progress = None) -> str: ...
def adapter_check(words: Sequence[str], event: _Event = None, progress: _Progress = None) -> str: ...
def flags(command: str) -> list[str]: ...
def addresses(table: Any) -> list[int]: ...
def image_grid(encoder: Encoder, width: int, height: int) -> tuple[int, int, int, int, int, bool]: ...
def image_name(bytes: bytes) -> str: ...
def image_sizes(table: Any) -> tuple[bytearray, list[tuple[int, str]]]: ...
def pixels(
    encoder: Encoder, images: Sequence[bytes | str], threads: int | None = None
) -> tuple[list[tuple[int, int, bytearray]], tuple[int, str] | None]: ...
def score(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    options: Sequence[Sequence[str]],
    metric: str,
    variant: str | None = None,
    part: str = "whole",
    tolerance: float | None = None,
) -> list[float]: ...

@final
class Encoder:
    def __new__(cls, model: str, tokenizer: str | None = None, layout: str = "mistral-common") -> Encoder: ...
    @property
    def model(self) -> str: ...
    @property
    def context(self) -> int: ...
    @property
    def vocabulary_size(self) -> int: ...
    @property
    def special_tokens(self) -> str | None: ...
    def samples(
        self,
        rows: Sequence[bytes],
        images: Sequence[Sequence[tuple[str, bytes]]],
        directory: str,
        ids: bool = True,
        threads: int | None = None,
        progress: _Progress = None,
    ) -> dict[str, Any]: ...
    def table(
        self,
        table: Any,
        column: str | None = None,
        directory: str = ...,
        ids: bool = True,
        threads: int | None = None,
        progress: _Progress = None,
    ) -> dict[str, Any]: ...
    def texts(self, texts: Sequence[str], threads: int | None = None) -> tuple[bytearray, list[int]]: ...

@final
class Prepared:
    def __new__(
        cls,
        data: str,
        split: str,
        model: str,
        tokenizer: str | None = None,
        max_tokens: int | None = None,
        threads: int | None = None,
        event: _Event = None,
        progress: _Progress = None,
    ) -> Prepared: ...
    def __len__(self) -> int: ...
    def counts(self) -> list[tuple[int, int, int]]: ...
    def place(self, index: int) -> tuple[str, int]: ...
    def load(self, index: int) -> tuple[bytearray, bytearray, list[tuple[int, int, bytearray]]]: ...
