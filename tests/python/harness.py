"""What the tests of the package share: the program of the same sources, the files of the repository, and a directory for each test.

The program is $PIXTUNE, target/release/pixtune if that is not set.
"""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

# A shell that starts tests in the background has them ignore Ctrl-C, and with them the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("PIXTUNE", str(ROOT / "target/release/pixtune"))
EXAMPLE = ROOT / "examples/visual-qa/dataset.csv"
MESSY = ROOT / "examples/messy/dataset.csv"


class Case(unittest.TestCase):
    """A test in a directory of its own."""

    maxDiff = 4000

    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = pathlib.Path(directory.name)

    def program(self, *words, code=0):
        """What the program prints to standard output and standard error."""
        run = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
        self.assertEqual(run.returncode, code, run.stderr)
        return run.stdout, run.stderr

    def prepared(self):
        """The example as the program prepares it."""
        self.program("prepare", EXAMPLE, "--out", self.path / "prepared", "--quiet")
        return self.path / "prepared"

    def assert_same_files(self, one, other):
        """Both directories have the same files with the same bytes."""
        names = lambda directory: {file.relative_to(directory) for file in directory.rglob("*") if file.is_file()}  # noqa: E731
        self.assertEqual(names(one), names(other))
        for name in names(one):
            self.assertEqual((one / name).read_bytes(), (other / name).read_bytes(), name)


def lines(text):
    """The values of lines of JSON."""
    return [json.loads(line) for line in text.splitlines()]
