#!/usr/bin/env python3
"""Packs Mistral's SentencePiece vocabulary v7m1 into crates/pixtune-core/src/tokens/sentencepiece_v7m1.bin.

    pip download mistral-common==1.13.1 --no-deps -d /tmp/wheel
    python3 scripts/pack_sentencepiece.py /tmp/wheel/mistral_common-1.13.1-py3-none-any.whl

The vocabulary is published in the Apache-2.0 wheel of mistral-common (see NOTICE). Everything that the program does not
store is checked here: the kinds of the pieces by their ids, and that a piece is preferred to every later one, except
pieces of nothing but spaces, which are merged last.

The file holds the pieces in the order of their ids with a line feed between them, compressed (raw deflate).
"""

import argparse
import hashlib
import struct
import sys
import zipfile
import zlib
from pathlib import Path

MEMBER = "mistral_common/data/mistral_instruct_tokenizer_241114.model.v7m1"
SHA256 = "1b968b8dc352f42192367337c78ccc61e1eaddc6d641a579372d4f20694beb7a"
OUTPUT = Path(__file__).resolve().parent.parent / "crates/pixtune-core/src/tokens/sentencepiece_v7m1.bin"
SPACE = "\u2581"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6


def number(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """The fields of a protobuf message."""
    at = 0
    while at < len(data):
        tag, at = number(data, at)
        match tag & 7:
            case 0:
                value, at = number(data, at)
            case 2:
                size, at = number(data, at)
                value, at = data[at : at + size], at + size
            case 5:
                value, at = data[at : at + 4], at + 4
            case 1:
                value, at = data[at : at + 8], at + 8
            case other:
                sys.exit(f"wire type {other}")
        yield tag >> 3, value


def pieces(model):
    for field, value in fields(model):
        if field == 1:
            members = dict(fields(value))
            score = struct.unpack("<f", members.get(2, bytes(4)))[0]
            yield members[1].decode(), score, members.get(3, NORMAL)


def check(listed):
    kinds = [kind for _, _, kind in listed]
    assert kinds == [UNKNOWN] + [CONTROL] * 748 + [USER_DEFINED] * 22 + [BYTE] * 256 + [NORMAL] * 31741
    assert [piece for piece, _, _ in listed[771:1027]] == [f"<0x{byte:02X}>" for byte in range(256)]
    normal = [(piece, score) for piece, score, _ in listed[1027:]]
    scores = [score for piece, score in normal if set(piece) != {SPACE}]
    assert all(one > next for one, next in zip(scores, scores[1:]))
    assert all(score < scores[-1] for piece, score in normal if set(piece) == {SPACE})
    single = {piece for piece, _ in normal if len(piece) == 1}
    for piece, _ in normal:
        assert "\n" not in piece and " " not in piece
        assert set(piece) == {SPACE} or SPACE not in piece[1:]
        assert all(character in single for character in piece)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path, help="the mistral-common wheel")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    with zipfile.ZipFile(arguments.wheel) as wheel:
        model = wheel.read(MEMBER)
    found = hashlib.sha256(model).hexdigest()
    assert found == SHA256, f"not the v7m1 vocabulary: sha256 {found}"
    listed = list(pieces(model))
    check(listed)
    text = "\n".join(piece for piece, _, _ in listed).encode()
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15, 9)
    arguments.output.write_bytes(compressor.compress(text) + compressor.flush())
    print(f"{len(listed)} pieces, {arguments.output.stat().st_size} bytes, sha256 of the text {hashlib.sha256(text).hexdigest()}")


if __name__ == "__main__":
    main()
