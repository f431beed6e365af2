"""From images and text to a fine-tuned, servable Pixtral.

The functions do what the commands of the program ``pixtune`` do, with the same options: ``--dedup near`` is ``dedup="near"``.
Their numbers, bytes and messages are those of the program. Work is done in Rust on all CPUs, without Python's lock.

>>> import pixtune
>>> pixtune.image_grid(1024, 768).tokens
3120
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._core import Error, __version__

# The program starts without NumPy: the other modules are read when something of them is used.
if TYPE_CHECKING:
    from ._commands import adapter_check, check, convert, fix, prepare
    from ._encoder import Encoder, tokens
    from ._images import image_grid, image_sizes, pixels
    from ._results import (
        AdapterCheck,
        Change,
        Checked,
        Counts,
        Encoded,
        EncodedBatch,
        Finding,
        Fixed,
        ImageCounts,
        ImageGrid,
        ModuleVerdict,
        OutputFile,
        Prepared,
        Refused,
        Source,
    )
    from ._score import score

__all__ = [
    "AdapterCheck",
    "Change",
    "Checked",
    "Counts",
    "Encoded",
    "EncodedBatch",
    "Encoder",
    "Error",
    "Finding",
    "Fixed",
    "ImageCounts",
    "ImageGrid",
    "ModuleVerdict",
    "OutputFile",
    "Prepared",
    "Refused",
    "Source",
    "__version__",
    "adapter_check",
    "check",
    "convert",
    "fix",
    "image_grid",
    "image_sizes",
    "pixels",
    "prepare",
    "score",
    "tokens",
]

_MODULES = ("_commands", "_encoder", "_images", "_results", "_score")


def __getattr__(name: str) -> object:
    if name in __all__:
        for module in _MODULES:
            found = import_module(f".{module}", __name__)
            if hasattr(found, name):
                value: object = getattr(found, name)
                globals()[name] = value
                return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
