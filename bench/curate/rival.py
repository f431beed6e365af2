#!/usr/bin/env python3
"""Near duplicates in a folder of pictures, by CleanVision or by imagededup: `rival.py cleanvision|phash FOLDER`

Prints one JSON object: `pairs` of names that are told to be near or exact duplicates and, of CleanVision, the `issues` of
each name.
"""

import contextlib
import importlib.util
import itertools
import json
import sys
import types
from pathlib import Path


def cleanvision(folder):
    from cleanvision import Imagelab

    lab = Imagelab(data_path=str(folder))
    lab.find_issues(n_jobs=1, verbose=False)
    name = lambda path: Path(path).name
    kinds = ("exact_duplicates", "near_duplicates")
    sets = [group for kind in kinds for group in lab.info.get(kind, {}).get("sets", [])]
    pairs = [pair for group in sets for pair in itertools.combinations(map(name, group), 2)]
    told = [column for column in lab.issues.columns if column.startswith("is_")]
    issues = {name(path): [column[3:-6] for column in told if row[column]] for path, row in lab.issues.iterrows()}
    return {"pairs": pairs, "issues": issues}


def phash(folder):
    # The package's own __init__ files load its networks, and PyTorch with them, which costs seconds that its hashes
    # do not need: in favour of imagededup they are passed over.
    root = Path(importlib.util.find_spec("imagededup").submodule_search_locations[0])
    for part in ("methods", "utils"):
        package = types.ModuleType(f"imagededup.{part}")
        package.__path__ = [str(root / part)]
        sys.modules[package.__name__] = package
    from imagededup.methods.hashing import PHash

    method = PHash(verbose=False)
    hashes = method.encode_images(image_dir=str(folder), num_enc_workers=0)
    found = method.find_duplicates(encoding_map=hashes, num_dist_workers=0)
    return {"pairs": sorted({tuple(sorted((one, other))) for one, others in found.items() for other in others})}


def main():
    tool, folder = {"cleanvision": cleanvision, "phash": phash}[sys.argv[1]], Path(sys.argv[2])
    with contextlib.redirect_stdout(sys.stderr):
        found = tool(folder)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
