#!/usr/bin/env python3
"""Near-duplicates in a directory of images, by CleanVision or imagededup: `rival.py cleanvision|phash DIRECTORY`

Prints one JSON object: `pairs` of names that are reported as near or exact duplicates and, for CleanVision, the `issues` of
each name.
"""

import contextlib
import importlib.util
import itertools
import json
import sys
import types
from pathlib import Path


def cleanvision(directory):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(directory))
    lab.find_issues(n_jobs=1, verbose=False)
    name = lambda path: Path(path).name
    kinds = ("exact_duplicates", "near_duplicates")
    groups = [group for kind in kinds for group in lab.info.get(kind, {}).get("sets", [])]
    pairs = [pair for group in groups for pair in itertools.combinations(map(name, group), 2)]
    issue_columns = [column for column in lab.issues.columns if column.startswith("is_")]
    issues = {name(path): [column[3:-6] for column in issue_columns if row[column]] for path, row in lab.issues.iterrows()}
    return {"pairs": pairs, "issues": issues}


def phash(directory):
    # The package's own __init__ files load its networks, and PyTorch with them, which costs seconds that its hashes
    # do not need. They are skipped, in favor of imagededup.
    root = Path(importlib.util.find_spec("imagededup").submodule_search_locations[0])
    for part in ("methods", "utils"):
        package = types.ModuleType(f"imagededup.{part}")
        package.__path__ = [str(root / part)]
        sys.modules[package.__name__] = package
    from imagededup.methods.hashing import PHash

    method = PHash(verbose=False)
    hashes = method.encode_images(image_dir=str(directory), num_enc_workers=0)
    found = method.find_duplicates(encoding_map=hashes, num_dist_workers=0)
    return {"pairs": sorted({tuple(sorted((one, other))) for one, others in found.items() for other in others})}


def main():
    tool, directory = {"cleanvision": cleanvision, "phash": phash}[sys.argv[1]], Path(sys.argv[2])
    with contextlib.redirect_stdout(sys.stderr):
        found = tool(directory)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
