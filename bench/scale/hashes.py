#!/usr/bin/env python3
"""All pairs of random 64-bit hashes within 10 bits, by FAISS: `hashes.py N QUERIES`.

`IndexBinaryFlat` compares every query with every hash. `IndexBinaryMultiHash` with 3 tables of 21 bits and 3 flips finds every pair that
differs in at most 10 bits: beyond 3 flips in each table are 12 bits. Prints for each the seconds and CPU seconds of the queries, and of
N queries in proportion.
"""

import sys
import time

import faiss
import numpy as np


def main():
    count, queries = int(sys.argv[1]), int(sys.argv[2])
    faiss.omp_set_num_threads(2)
    hashes = np.random.default_rng(1).integers(0, 256, (count, 8), dtype=np.uint8)
    for name, index in (
        ("IndexBinaryFlat", faiss.IndexBinaryFlat(64)),
        ("IndexBinaryMultiHash", faiss.IndexBinaryMultiHash(64, 3, 21)),
    ):
        if hasattr(index, "nflip"):
            index.nflip = 3
        index.add(hashes)
        start, cpu = time.perf_counter(), time.process_time()
        limits, _, found = index.range_search(hashes[:queries], 11)
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        pairs = len(found) - queries
        print(f"{name}: {queries} of {count} queries: {seconds:.1f} seconds, {cpu:.1f} CPU seconds, {pairs} other hashes found")
        print(f"  all queries, in proportion: {cpu * count / queries:.0f} CPU seconds")


if __name__ == "__main__":
    main()
