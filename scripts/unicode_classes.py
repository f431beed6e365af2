#!/usr/bin/env python3
"""Writes crates/pixtune-core/src/tokens/classes.rs: what every code point is to Tekken's pre-tokeniser.

    pip install tiktoken==0.14.0 && python3 scripts/unicode_classes.py

The classes are asked of tiktoken itself, the regex engine the reference runs on, so that both have the same
Unicode version: a class is used as the whole pattern, and what comes out of encoding every code point belongs to it.
"""

from pathlib import Path

import tiktoken

OUTPUT = Path(__file__).resolve().parent.parent / "crates/pixtune-core/src/tokens/classes.rs"
UPPER, LOWER, LETTER, NUMBER, SPACE, NEWLINE = 1, 2, 4, 8, 16, 32
CLASSES = [
    (UPPER, r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"),
    (LOWER, r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"),
    (LETTER, r"\p{L}"),
    (NUMBER, r"\p{N}"),
    (SPACE, r"\s"),
    (NEWLINE, r"[\r\n]"),
]
BLOCK = 128


def members(pattern, text):
    encoding = tiktoken.Encoding(
        "probe", pat_str=pattern, mergeable_ranks={bytes([b]): b for b in range(256)}, special_tokens={}
    )
    return encoding.decode(encoding.encode_ordinary(text))


def rows(values, width, form):
    for start in range(0, len(values), width):
        yield "    " + " ".join(form(value) + "," for value in values[start : start + width])


def main():
    text = "".join(chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000)
    classes = bytearray(0x110000)
    for bit, pattern in CLASSES:
        for character in members(pattern, text):
            classes[ord(character)] |= bit

    blocks, numbers = [], {}
    index = []
    for start in range(0, len(classes), BLOCK):
        block = bytes(classes[start : start + BLOCK])
        if block not in numbers:
            numbers[block] = len(blocks)
            blocks.append(block)
        index.append(numbers[block])
    # The last plane that says anything ends the index; everything behind it is the last block's class (none).
    while len(index) > 1 and index[-1] == index[-2]:
        index.pop()
    assert len(blocks) <= 256 and not any(blocks[index[-1]])

    lines = [
        f"//! What every code point is to Tekken's pre-tokeniser. Written by `scripts/unicode_classes.py` with tiktoken {tiktoken.__version__}.",
        "",
        "/// The block of 128 code points a code point's class is found in; code points behind the end have none.",
        f"pub(super) static INDEX: [u8; {len(index)}] = [",
        *rows(index, 32, str),
        "];",
        "",
        "/// Bits: 1 upper run, 2 lower run, 4 letter, 8 number, 16 white space, 32 line end.",
        f"pub(super) static BLOCKS: [[u8; {BLOCK}]; {len(blocks)}] = [",
    ]
    for block in blocks:
        lines += ["    [", *("    " + row for row in rows(block, 32, str)), "    ],"]
    lines += ["];", ""]
    OUTPUT.write_text("\n".join(lines))
    print(len(index), "index entries,", len(blocks), "blocks")


if __name__ == "__main__":
    main()
