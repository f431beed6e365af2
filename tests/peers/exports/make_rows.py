"""Write 30 seeded conversations for exports: make_rows.py OUT.jsonl [VERSION]

Several images, images between texts, several turns, consecutive messages of one role, system prompts, tools, untrained
answers, text-only rows, Unicode, texts that begin and end with spaces, and texts that look like control tokens. With the version of a tokenizer, four more that it
adds: system prompts in the middle, texts beside calls, results in another order, and for v13 thinking.
"""

import base64
import io
import json
import random
import sys

from PIL import Image

random.seed(20261129)
WORDS = "a the model reads chart label total price of 12 3.5% naïve 漢字 שלום 🙂 e\u0301 café\u00a0noir x² tab\tin line\nbreak".split(" ")
MARKERS = ["[IMG]", "<image>", "[INST] hi [/INST]", "</s>", "<s>", "[IMG_END]", "<video>", "<audio>", "[TOOL_CALLS]", "<pad>", "<unk>"]


SIZES = [(16, 16), (17, 40), (64, 48), (128, 128), (200, 90), (33, 300), (5, 7)]
if sys.argv[2:]:
    # transformers 5.23.0 fails where the only image of a batch has one token (modeling_mistral3.py:241).
    SIZES[0], SIZES[-1] = (30, 16), (5, 40)


def image():
    size = random.choice(SIZES)
    mode = random.choice(["RGB", "RGB", "L", "RGBA"])
    kind = "PNG" if mode == "RGBA" else random.choice(["PNG", "JPEG"])
    small = Image.frombytes(mode, (4, 4), random.randbytes(16 * len(mode)))
    buffer = io.BytesIO()
    small.resize(size, Image.Resampling.BILINEAR).save(buffer, kind)
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "image_url", "image_url": f"data:image/{kind.lower()};base64,{data}"}


def text(least=2, most=12):
    return " ".join(random.choice(WORDS) for _ in range(random.randint(least, most)))


def part(value):
    return {"type": "text", "text": value}


def user(*parts):
    return {"role": "user", "content": list(parts) if len(parts) != 1 or isinstance(parts[0], dict) else parts[0]}


def answer(value=None, **more):
    return {"role": "assistant", "content": value or text(), **more}


def system(value=None):
    return {"role": "system", "content": text() if value is None else value}


TOOL = {
    "type": "function",
    "function": {
        "name": "read_sign",
        "description": "Read a sign: “text” & <more>",
        "parameters": {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
    },
}


def tool_row(later=False):
    call = {"id": "abcDEF123", "type": "function", "function": {"name": "read_sign", "arguments": '{"number": 2, "é": "ü"}'}}
    messages = [
        user(image(), part("What is on the second sign?")),
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcDEF123", "name": "read_sign", "content": '{"text": "Exit ✓", "n": 1.50}'},
        answer("It reads Exit."),
    ]
    if later:
        messages += [user("Thanks, and the first?"), answer()]
    return {"messages": messages, "tools": [TOOL]}


ROWS = [
    [user(image(), part(text())), answer()],
    [user(part(text()), image()), answer()],
    [user(part(text()), image(), part(text())), answer()],
    [user(image(), image(), image(), part(text())), answer()],
    [user(image(), part(text()), image(), part(text()), image()), answer()],
    [user(part(text()), image(), image()), answer()],
    [user(image()), answer()],
    [system("Be brief."), user(image(), part(text())), answer(), user(part(text()), image()), answer()],
    [system("Be brief."), user(part(text()), image()), answer()],
    [system("Be brief."), user(image()), answer()],
    [system("Be brief."), user(part("\n  begins with space"), image(), part(text())), answer()],
    [system("Be brief.\n"), user("\n\nbegins with lines"), answer()],
    [system(), user(text()), answer()],
    [user(text()), answer()],
    [user(text()), answer(), user(image(), part(text())), answer(), user(text()), answer()],
    [user(text()), user(image(), part(text())), answer()],
    [user(text()), user(text()), answer(), user(text()), answer()],
    [user(image(), part(text()), part("  and more  "), part(text())), answer()],
    [user(text()), answer(weight=0), user(image(), part(text())), answer()],
    [user(image(), part(text())), answer(), user(text()), answer(weight=0), user(text()), answer(weight=1)],
    [user(text()), answer("  spaces around   ")],
    [user(" " + text() + " \n"), answer("\n" + text() + "\n\n")],
    [user(image(), part("{% raw %} {{ bos_token }} &lt; \\n \u2028 \x7f")), answer('{"a": [1, 2.0], "b": "\\u00e9"}')],
    tool_row(),
    tool_row(later=True),
    [user(image(), part("What is written? " + " ".join(MARKERS[:2]))), answer()],
    [user(image(), part(text())), answer("It reads " + MARKERS[1])],
    [user(text() + MARKERS[2]), answer()],
    [user(text()), answer("ends " + MARKERS[3] + " early")],
    [user(image(), part(" ".join(MARKERS[4:]))), answer()],
]
assert len(ROWS) == 30


def call(name, number):
    return {"id": f"abcDEF12{number}", "type": "function", "function": {"name": name, "arguments": {"number": number}}}


def result(number):
    return {"role": "tool", "tool_call_id": f"abcDEF12{number}", "name": "read_sign", "content": f"sign {number}"}


def thinking(value, **more):
    return {"type": "thinking", "thinking": value, **more}


if sys.argv[2:]:
    ROWS += [
        [user(text()), system("Now in French."), user(image(), part(text())), answer()],
        {
            "messages": [user(image(), part(text())), answer("I look.  ", tool_calls=[call("read_sign", 1), call("read_sign", 2)]), result(2), result(1), answer()],
            "tools": [TOOL],
        },
        [system(""), user(text()), answer()],
        [system("One."), system("Two."), user(image()), answer()],
    ]
if sys.argv[2:] == ["v13"]:
    ROWS += [
        [user(image(), part(text())), {"role": "assistant", "content": [thinking("It is small. "), part("A chart. ")]}],
        [system([part("Think."), thinking("like this")]), user(text()), {"role": "assistant", "content": [thinking(text(), closed=False)]}],
    ]

with open(sys.argv[1], "w") as out:
    for row in ROWS:
        row = row if isinstance(row, dict) else {"messages": row}
        out.write(json.dumps(row, ensure_ascii=False) + "\n")
