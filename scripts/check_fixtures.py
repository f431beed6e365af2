#!/usr/bin/env python3
"""Write fixtures/check: for each rule that `pixtune check` can report, a file that breaks it.

Run from the root of the repository. Images come from fixtures/images."""
import base64
import json
import pathlib

OUT = pathlib.Path("fixtures/check")
IMAGES = pathlib.Path("fixtures/images")
# One image, encoded with different chroma subsampling.
JPEGS = [pathlib.Path("fixtures/jpeg") / name for name in ("410.jpg", "441.jpg")]


def line(value):
    return json.dumps(value, ensure_ascii=False).encode()


def user(content="What is shown?"):
    return {"role": "user", "content": content}


def assistant(content="A cat.", **more):
    return {"role": "assistant", "content": content, **more}


def sample(*messages, **more):
    return {"messages": list(messages), **more}


def uri(data, mime):
    return f"data:{mime};base64," + base64.b64encode(data).decode()


def image_question(url, text="What is shown?"):
    return user([{"type": "text", "text": text}, {"type": "image_url", "image_url": url}])


def image(name, mime="image/png"):
    return uri((IMAGES / name).read_bytes(), mime)


def shown(url, **more):
    return line(sample(image_question(url, **more), assistant()))


def wide_png(width, height):
    """A black image of a given size."""
    import struct
    import zlib

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    pixels = zlib.compress(b"".join(b"\0" + bytes((width + 7) // 8) for _ in range(height)), 9)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def two_pages():
    """A TIFF of two pages, one pixel each."""
    import struct

    def page(at, following):
        fields = [(256, 1), (257, 1), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1), (279, 1)]
        entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
        return struct.pack("<H", len(fields)) + entries + struct.pack("<I", following)

    length = len(page(0, 0))
    return b"II*\0" + struct.pack("<I", 10) + b"\x80\0" + page(10, 10 + length) + page(10 + length, 0)


def call(id="abcdefghi", name="look", arguments="{}"):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made, **more):
    return {"role": "assistant", "tool_calls": list(made), **more}


def result(id="abcdefghi", content="{}"):
    return {"role": "tool", "content": content, "tool_call_id": id}


def tool(name="look", parameters=None):
    parameters = {"type": "object"} if parameters is None else parameters
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = {"tools": [tool()]}
GOOD = line(sample(user(), assistant()))
PNG = image("px2x2.png")

files = {
    "answer-refusal": [line(sample(user(), assistant("I\u2019m sorry, but I can\u2019t identify people in pictures.")))],
    "answer-placeholder": [line(sample(user(), assistant("N/A"))), line(sample(user(), assistant("[insert answer here]")))],
    "answer-cut-off": [
        line(sample(user(), assistant("The picture shows a man who stands in front of a"))),
        line(sample(user(), assistant('{"items": [{"name": "bread", "price": 2.5'))),
    ],
    "answer-echo": [line(sample(user("What is the colour of the car?"), assistant("What is the colour of the car? It is red.")))],
    "json-syntax": [b'{"messages": [{"role": "user", "content": "What is shown?"},]}', b"{'messages': []}"],
    "json-not-object": [b'["messages"]'],
    "json-duplicate-key": [b'{"messages": [{"role": "user", "content": "a", "content": "b"}, {"role": "assistant", "content": "c"}]}'],
    "json-nan": [line(sample(user(), assistant(), temperature=float("nan")))],
    "json-lone-surrogate": [b'{"messages": [{"role": "user", "content": "half \\ud83d"}, {"role": "assistant", "content": "c"}]}'],
    "json-bom": [b"\xef\xbb\xbf" + GOOD],
    "json-blank-line": [GOOD, b"", line(sample(user("And here?"), assistant()))],
    "invalid-utf8": ['{"messages": [{"role": "user", "content": "café"}, {"role": "assistant", "content": "c"}]}'.encode("latin-1")],
    "missing-field": [line({"conversation": []}), line({"instruction": "What is a cat?", "input": "", "output": "An animal."}), line(sample({"role": "user"}, assistant()))],
    "wrong-type": [line(sample(user(5), assistant())), line(sample(user(["What is shown?"]), assistant(), temperature=5))],
    "unknown-key": [line(sample({**user(), "name": "bob"}, assistant(), source="web"))],
    "null-key": [line(sample({**user(), "name": None}, assistant()))],
    "unknown-role": [line(sample({"role": "human", "content": "hi"}, assistant())), line(sample({"role": "narrator", "content": "hi"}, assistant()))],
    "part-without-type": [line(sample(user([{"text": "hi"}]), assistant()))],
    "part-kind": [line(sample(user([{"type": "input_text", "text": "What is shown?"}]), assistant())), line(sample(user([{"type": "input_audio", "input_audio": "x"}]), assistant()))],
    "model-setting": [line(sample(user(), assistant(), reasoning_effort="high"))],
    "no-messages": [line(sample())],
    "empty-prompt": [line(sample(user(""), assistant())), line(sample(user([]), assistant()))],
    "last-not-assistant": [line(sample(user(), assistant(), user("And here?")))],
    "role-order": [line(sample(user(), assistant(), {"role": "system", "content": "Be brief."}, assistant()))],
    "assistant-first": [line(sample(assistant("Hello!"), user(), assistant()))],
    "consecutive-roles": [line(sample(user("Look."), user(), assistant("A cat."), assistant("A grey one.")))],
    "system-place": [line(sample({"role": "system", "content": "a"}, {"role": "system", "content": "b"}, user(), assistant()))],
    "answer-prefix": [line(sample(user(), assistant("A c", prefix=True)))],
    "empty-answer": [line(sample(user(), assistant("")))],
    "answer-and-calls": [line(sample(user(), calls(call(), ), result(), assistant("ok"), user(), calls(call("bbbbbbbbb"), content="ok"), **TOOLS))],
    "answer-list": [line(sample(user(), assistant([{"type": "text", "text": "A cat."}])))],
    "answer-weight": [line(sample(user(), assistant(weight=0.5)))],
    "tool-call": [line(sample(user(), calls(call()), assistant("after the call"), **TOOLS)), line(sample(user(), assistant("an answer"), calls(call()), **TOOLS))],
    "tool-id": [line(sample(user(), calls(call("call_1")), result("call_1"), assistant(), **TOOLS))],
    "tool-id-repeated": [line(sample(user(), calls(call(), call()), result(), result(), assistant(), **TOOLS))],
    "tool-id-unmatched": [line(sample(user(), calls(call()), result("zzzzzzzzz"), assistant(), **TOOLS))],
    "tool-undeclared": [line(sample(user(), calls(call(name="measure")), result(), assistant(), **TOOLS))],
    "tool-name": [line(sample(user(), calls(call(name="look around")), result(), assistant(), tools=[tool("look around")]))],
    "tool-results": [line(sample(user(), calls(call(), call("bbbbbbbbb")), result(), assistant(), **TOOLS))],
    "tool-pattern": [line(sample(user(), assistant(), tools=[tool(parameters={"type": "object", "properties": {"name": {"type": "string", "pattern": "^\\N{EM DASH}?[a-z]+$"}}})]))],
    "tool-schema": [line(sample(user(), assistant(), tools=[tool(parameters={"type": "objekt"})]))],
    "tool-arguments": [line(sample(user(), calls(call(arguments="{'angle': 5}")), result(), assistant(), **TOOLS))],
    "tool-json": [line(sample(user(), calls(call(arguments='{"n": ' + "9" * 5000 + "}")), result(), assistant(), **TOOLS))],
    "image-bad-data-uri": [shown("photos/cat.png"), shown(PNG[:-1])],
    "image-loose-base64": [shown(PNG[:60] + "\n" + PNG[60:])],
    "image-mime-mismatch": [shown(image("px2x2.png", "image/jpeg"))],
    "image-missing": [shown("file:///nonexistent/cat.png")],
    "image-unreadable": [shown(uri(b"<html><body>Sign in</body></html>", "image/png")), shown(uri((IMAGES / "gray_75x41.png").read_bytes()[:900], "image/png"))],
    "image-unsupported": [shown(uri(b"%PDF-1.7\n", "application/pdf")), shown(uri((IMAGES / "shapes_210x297.bmp").read_bytes()[:2000], "image/bmp"))],
    "image-animated": [shown(image("anim_50x40.gif", "image/gif"))],
    "image-too-large": [shown(uri(wide_png(10001, 8), "image/png"))],
    "image-too-thin": [shown(uri(wide_png(4000, 1), "image/png"))],
    "image-sideways": [shown(image("exif6_90x60.png"))],
    "image-structure": [shown(uri((IMAGES / "px2x2.png").read_bytes() + b"behind the image", "image/png"))],
    "image-alpha": [shown(image("alpha_full_transparent_20x20.png"))],
    "image-role": [line(sample(user(), assistant([{"type": "image_url", "image_url": PNG}])))],
    "image-url": [shown("https://example.com/cat.png")],
    "image-form": [shown({"url": PNG, "detail": "low"}), line(sample(user([{"type": "image", "image": PNG}]), assistant()))],
    "image-pages": [shown(uri(two_pages(), "image/tiff"))],
    "too-many-images": [line(sample(user([{"type": "image_url", "image_url": PNG}] * 9), assistant()))],
    "control-token": [line(sample(user("Ignore [/INST] and </s>"), assistant("<image> is no picture here")))],
    "mojibake": [line(sample(user("A cafÃ© in Ð\x9cÐ¾ÑÐºÐ²Ð°"), assistant("itâ€™s lost: \ufffd")))],
    "blank-text": [line(sample(user("  \n"), assistant()))],
    "nothing-to-train": [line(sample(user(), assistant(weight=0)))],
    "duplicate": [GOOD, GOOD],
    "contradiction": [GOOD, line(sample(user(), assistant("A dog.")))],
    "shared-sample": [GOOD],
    "shared-sample.validation": [GOOD],
    "shared-image": [shown(PNG)],
    "shared-image.validation": [shown(PNG, text="How large is it?")],
    "shared-near-image": [shown(uri(JPEGS[0].read_bytes(), "image/jpeg"))],
    "shared-near-image.validation": [shown(uri(JPEGS[1].read_bytes(), "image/jpeg"), text="How large is it?")],
    "file-empty": [],
    "too-few-samples": [GOOD],
}

if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    for name, lines in files.items():
        (OUT / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
