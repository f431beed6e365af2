"""The program: ``pixtune`` and ``python -m pixtune``."""

from __future__ import annotations

import signal
import sys

from . import _core


def main() -> None:
    """Run the program with the arguments of this process, and exit with its code."""
    # Python raises KeyboardInterrupt at Ctrl-C and ignores SIGXFSZ; the program has its own ways. What the parent process ignores
    # stays ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGXFSZ"):
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    # `-P`: a directory `pixtune` where the program runs is not the package.
    program = [sys.executable, "-P", "-m", "pixtune"]
    sys.exit(_core.run_program(["pixtune", *sys.argv[1:]], program))


if __name__ == "__main__":
    main()
