"""The examples of the documentation give what it shows. Blocks that need a library that is missing are skipped, which is printed."""

import contextlib
import doctest
import importlib.util
import os
import re
import shutil
import unittest

from harness import ROOT, Case

LIBRARIES = ("pyarrow", "datasets", "torch")


def blocks(document):
    """The examples of Python in a document, each with its line."""
    for block in re.finditer(r"^```python\n(.*?)^```$", document, re.DOTALL | re.MULTILINE):
        yield document[: block.start()].count("\n") + 1, block[1]


class Documents(Case):
    def test_examples(self):
        shutil.copytree(ROOT / "examples/visual-qa", self.path, dirs_exist_ok=True)
        document = (ROOT / "docs/python.md").read_text()
        names, ran = {}, 0
        parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
        with contextlib.chdir(self.path):
            os.environ["HF_HUB_OFFLINE"] = "1"
            for line, block in blocks(document):
                wanted = [name for name in LIBRARIES if re.search(rf"import {name}|from pixtune\.{name}", block)]
                missing = [name for name in wanted if importlib.util.find_spec(name) is None]
                if missing:
                    print(f"docs/python.md:{line}: skipped without {', '.join(missing)}")
                    continue
                test = parser.get_doctest(block, names, "docs/python.md", "docs/python.md", line)
                runner.run(test, clear_globs=False)
                names.update(test.globs)
                ran += 1
        self.assertEqual(runner.failures if hasattr(runner, "failures") else runner.summarize().failed, 0)
        self.assertGreater(ran, 5)


if __name__ == "__main__":
    unittest.main()
