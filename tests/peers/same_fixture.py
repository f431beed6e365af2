#!/usr/bin/env python3
"""Compares a fixture that was made again with the one in the repository.

    same_fixture.py FIXTURE AGAIN [--within 2e-5]

Files are equal byte by byte, apart from floating-point numbers: PyTorch chooses its matrix kernels by the machine, and
they add in different orders. Tensors may differ by `within` of their largest magnitude, numbers of a JSON file by
`within` of themselves. Names, shapes, types and whole numbers are equal. Prints the largest difference of each file and
exits with 1 if a file differs or is missing.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from safetensors import safe_open

NOT_MADE = {"make.py", "README.md"}


def files(directory):
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()} - NOT_MADE


def tensors(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}


def of_tensors(left, right):
    """The largest difference, relative to the largest magnitude of its tensor; infinite where more than numbers differ."""
    (metadata, left), (again, right) = tensors(left), tensors(right)
    if metadata != again or left.keys() != right.keys():
        return math.inf
    worst = 0.0
    for name, tensor in left.items():
        other = right[name]
        if tensor.shape != other.shape or tensor.dtype != other.dtype:
            return math.inf
        if tensor.dtype.is_floating_point:
            scale = tensor.double().abs().max().item()
            difference = (tensor.double() - other.double()).abs().max().item()
            worst = max(worst, difference / scale if scale else difference)
        elif not torch.equal(tensor, other):
            return math.inf
    return worst


def of_values(left, right):
    if isinstance(left, float) and isinstance(right, float):
        return abs(left - right) / abs(left) if left else abs(right)
    if type(left) is not type(right):
        return math.inf
    if isinstance(left, dict):
        return of_values(list(left.items()), list(right.items()))
    if isinstance(left, (list, tuple)):
        return max(map(of_values, left, right), default=0.0) if len(left) == len(right) else math.inf
    return 0.0 if left == right else math.inf


def difference(left, right):
    if left.read_bytes() == right.read_bytes():
        return 0.0
    if left.suffix == ".safetensors":
        return of_tensors(left, right)
    if left.suffix == ".json":
        return of_values(json.loads(left.read_text()), json.loads(right.read_text()))
    return math.inf


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("fixture", type=Path)
    parser.add_argument("again", type=Path)
    parser.add_argument("--within", type=float, default=2e-5)
    args = parser.parse_args()
    names = files(args.fixture) | files(args.again)
    failed = False
    for name in sorted(names):
        left, right = args.fixture / name, args.again / name
        if not (left.is_file() and right.is_file()):
            print(f"{name}: only in one of both")
            failed = True
            continue
        found = difference(left, right)
        # A difference that is not a number is no small one.
        good = found <= args.within
        failed |= not good
        print(f"{name}: {'the same' if found == 0 else f'differs by {found:.1e}'}")
    if not names or failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
