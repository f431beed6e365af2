#!/usr/bin/env python3
"""Packs Mistral's tekken_240911 vocabulary into crates/pixtune-core/src/tokens/tekken_240911.bin.

    pip download mistral-common==1.13.1 --no-deps -d /tmp/wheel
    python3 scripts/pack_tekken.py /tmp/wheel/mistral_common-1.13.1-py3-none-any.whl

The vocabulary is published in the Apache-2.0 wheel of mistral-common (see NOTICE). Only the ranks a model can
use are kept: default_vocab_size - default_num_special_tokens = 130,072. The first 256 are the single bytes;
every later one is two earlier ones joined, so it is stored as that pair, and joining them again rebuilds it.

Layout of the file before compression (raw deflate), all counts for n = 130,072 - 256 tokens:
    6 planes of n bytes: left low, left middle, left high, right low, right middle, right high.
"""

import argparse
import base64
import hashlib
import json
import sys
import zipfile
import zlib
from pathlib import Path

MEMBER = "mistral_common/data/tekken_240911.json"
SHA256 = "1948e2d48b0e7377f1bb5f1210f1ae5f984934e75713fc07e2452729b8365316"
OUTPUT = Path(__file__).resolve().parent.parent / "crates/pixtune-core/src/tokens/tekken_240911.bin"


def ranks(document):
    config = document["config"]
    usable = config["default_vocab_size"] - config["default_num_special_tokens"]
    tokens = [base64.b64decode(entry["token_bytes"]) for entry in document["vocab"][:usable]]
    assert [entry["rank"] for entry in document["vocab"][:usable]] == list(range(usable))
    assert tokens[:256] == [bytes([value]) for value in range(256)]
    assert len(set(tokens)) == usable
    return tokens


def merge(token, below, rank_of):
    """The two parts byte-pair encoding is left with when only ranks lower than the token's own are allowed."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while True:
        best = min(
            ((rank_of.get(parts[i] + parts[i + 1], below), i) for i in range(len(parts) - 1)),
            default=(below, 0),
        )
        if best[0] >= below:
            break
        parts[best[1] : best[1] + 2] = [parts[best[1]] + parts[best[1] + 1]]
    assert len(parts) == 2, (token, parts)
    return rank_of[parts[0]], rank_of[parts[1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the mistral-common wheel, or a tekken_240911.json")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    if arguments.wheel.suffix == ".json":
        text = arguments.wheel.read_bytes()
    else:
        with zipfile.ZipFile(arguments.wheel) as wheel:
            text = wheel.read(MEMBER)
    found = hashlib.sha256(text).hexdigest()
    assert found == SHA256, f"not the tekken_240911 vocabulary: sha256 {found}"

    tokens = ranks(json.loads(text))
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    pairs = [merge(token, rank, rank_of) for rank, token in enumerate(tokens) if rank >= 256]
    planes = b"".join(
        bytes((pair[side] >> shift) & 255 for pair in pairs) for side in (0, 1) for shift in (0, 8, 16)
    )
    # Z_FILTERED finds fewer matches and spends more on entropy coding, which suits planes of near-random bytes.
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    packed = compressor.compress(planes) + compressor.flush()
    arguments.output.write_bytes(packed)

    lengths = b"".join(len(token).to_bytes(4, "little") + token for token in tokens)
    print(f"{found}  {MEMBER}", file=sys.stderr)
    print(f"{hashlib.sha256(lengths).hexdigest()}  every rank as u32 length and bytes", file=sys.stderr)
    print(f"{len(tokens)} ranks, {len(planes)} bytes of planes, {len(packed)} packed", file=sys.stderr)


if __name__ == "__main__":
    main()
