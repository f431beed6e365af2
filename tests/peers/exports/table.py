"""Compare the table of proofs in a document with results: table.py RESULTS DOCUMENT [--write]"""

import json
import pathlib
import sys

FIRST, LAST = "<!-- proof -->\n", "<!-- end of proof -->\n"
results, document = (pathlib.Path(word) for word in sys.argv[1:3])

lines = {}
for result in map(json.loads, results.read_text().splitlines()):
    line = lines.setdefault((result["trainer"], result["version"]), {"rows": [], "step": set()})
    line["rows"].append(f"{result['rows']} of {result['of']}")
    line["step"].add(result["step"])
    assert result["ids_equal"] and result["labels_equal"] and result["pixels_equal"], result
table = "| target | version | rows of the two sets | ids, labels and pixels equal | step |\n|---|---|---|---|---|\n"
for (trainer, version), line in lines.items():
    step = "–" if line["step"] == {None} else "yes"
    table += f"| `{trainer}` | {version} | {', '.join(line['rows'])} | yes | {step} |\n"

text = document.read_text()
before, rest = text.split(FIRST)
written, after = rest.split(LAST)
if "--write" in sys.argv:
    document.write_text(before + FIRST + table + LAST + after)
elif written != table:
    sys.exit(f"{document}: the table of proofs is not that of this run:\n{table}")
