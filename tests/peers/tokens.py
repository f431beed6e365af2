#!/usr/bin/env python3
"""Compares token ids, image grids and refusals with mistral-common 1.13.1 on inputs made at random, for every version of the
tokenizer.

    pip install -r tests/peers/requirements.txt
    cargo build --release -p pixtune-core --example tokens_lines
    python3 tests/peers/tokens.py [--seed 0] [--texts 20000] [--sizes 20000] [--chats 10000] [--requests 20000] [--schemas 20000]
                                  [--family-texts 10000] [--family-chats 3000] [--family-requests 6000]

The tokenizer files of the newer Tekken versions are made here, of the vocabulary in the package and the special tokens in
fixtures/vectors_family. Prints the disagreements and exits with 1 if there are any. Pixel work of the reference is skipped; images are
real PNG files whose size it reads.
"""

import argparse
import base64
import copy
import io
import json
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata
import warnings
import zlib
from pathlib import Path

import mistral_common
import numpy
from jsonschema import Draft7Validator
from mistral_common.protocol.instruct.messages import FinetuningMessage
from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers import image as reference_image
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

ROOT = Path(__file__).resolve().parent.parent.parent
OURS = ROOT / "target/release/tokens_lines"
warnings.filterwarnings("ignore")

reference_image.transform_image = lambda image, size: numpy.zeros((3, 1, 1), dtype=numpy.float32)


def png(width, height):
    """A black one-bit PNG, small however large the image."""
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    rows = zlib.compress(b"\0" * ((width + 7) // 8 + 1) * height)
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Peer:
    def __init__(self, tekken):
        self.tokenizer = MistralTokenizer.from_file(str(tekken), mode=ValidationMode.finetuning)
        self.instruct = self.tokenizer.instruct_tokenizer
        self.tekken = self.tokenizer.instruct_tokenizer.tokenizer
        self.encoder = self.tokenizer.instruct_tokenizer.image_encoder

    def text(self, text):
        return self.tekken.encode(text, bos=False, eos=False)

    def grid(self, width, height):
        class Sized:
            size = (width, height)
        return list(self.encoder._image_to_num_tokens(Sized))

    def chat(self, request):
        """Ids, or the class of what was raised."""
        try:
            request = ChatCompletionRequest[FinetuningMessage].model_validate(copy.deepcopy(request))
            return self.tokenizer.encode_chat_completion(request).tokens, None
        except Exception as error:  # whatever stops the reference is a refusal
            return None, f"{type(error).__name__}: {str(error)[:200]}"


def ask(questions):
    lines = "\n".join(json.dumps(question) for question in questions) + "\n"
    run = subprocess.run([OURS], input=lines.encode("utf-8", "surrogatepass"), stdout=subprocess.PIPE, check=True)
    return [json.loads(line) for line in run.stdout.decode().splitlines()]


# ---- inputs -------------------------------------------------------------------------------------------------

WORDS = (
    "the The THE don't I'll it's HTTPServer camelCase snake_case kebab-case über Ärger naïve café straße ФИО привет "
    "Москва 你好 世界 图片 写真 カタカナ ひらがな 한국어 हिन्दी தமிழ் ไทย العربية עברית Ελληνικά ǅungla ʰaspirated ªº ⅷ Ⅷ ½ ٣ 4 42 1234567 "
    "3.14 1e-5 0xFF {} [] () :: -> => != == // /* */ </s> <s> [INST] [/INST] [IMG] [TOOL_CALLS] <SPECIAL_20> <pad> "
    "👍🏽 👨‍👩‍👧‍👦 🇫🇷 e\u0301 A\u0308b n\u0303 \u0301 \u200d \ufeff \ufffd \0 \x7f \x1b ﬁ ß İ ı ŉ Ǆ … — “quoted” http://a.b/c?d=e#f C:\\x\\y"
).split()
SPACES = [" ", " ", " ", " ", "", "  ", "   ", "\n", "\n\n", "\r\n", "\t", " \n", "\n ", "\u00a0", "\u2028", "\u3000", "\x85", "\x0b", "/", "\n/"]
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
BY_CATEGORY = {}
for code in CODES:
    BY_CATEGORY.setdefault(unicodedata.category(chr(code)), []).append(code)
CATEGORIES = sorted(BY_CATEGORY)


def any_text(random):
    kind = random.random()
    if kind < 0.35:
        return "".join(random.choice(WORDS) + random.choice(SPACES) for _ in range(random.randint(0, 30)))
    if kind < 0.6:
        picked = random.choices(CATEGORIES, k=random.randint(1, 4))
        return "".join(chr(random.choice(BY_CATEGORY[random.choice(picked)])) for _ in range(random.randint(0, 40)))
    if kind < 0.7:
        return "".join(chr(random.choice(CODES)) for _ in range(random.randint(0, 30)))
    if kind < 0.8:
        return "".join(random.choice("aAbB1 \n\r\t.,/'\u0301ʰ中é") for _ in range(random.randint(0, 40)))
    if kind < 0.9:
        start = random.randrange(0, 0x3000)
        return "".join(chr(random.randint(start, start + 80)) for _ in range(random.randint(0, 40)))
    return random.choice(WORDS + SPACES) * random.randint(1, 200)


SHORT = ["", " ", "   ", "\n", "ok", "Hello", " leading", "trailing  ", "\nhello", "x\n\n", "\u00a0", "a\0b", "[INST] x [/INST]", "图片里有什么?", "</s>", "1 2", '"q"']
JSON_TEXTS = [
    "", "{}", "[]", "null", "true", "12", "-0", "-0.0", "1e5", "1E400", "-1E400", "NaN", "Infinity", "-Infinity", "0.1", "1e16", "1e15", "123456789012345678901234567890",
    '"a"', '"\\u00e9\\ud83d\\ude00"', '"\\ud800"', '"\\u0001\\b\\f\x7f\u2028"', '{"a": 1, "a": 2}', '{"b":{"c":[1,{"d":null}]}}', " { \"sp\" : [ 1 , 2 ] } ", "not { json", "{'a':1}",
    "[1,]", "01", "1.", ".5", "+1", "\ufeff{}", "{} x", '"a\nb"', '{"x": 1.0, "y": 1e-7, "z": 5e-324}', "nul", "[" * 60 + "]" * 60, "2.50", "100000000000000000000.0", "1.7976931348623157e308",
    "9007199254740993.0", "0.30000000000000004", "1e22", "1e21", "123456789.123456789", "-1.5e-10", '{"é": "ü"}', "1" * 4300, "1" * 4301,
]


DATA = Path(mistral_common.__file__).parent / "data"
# A model of each version after v3, whose tokenizer pixtune has.
MODELS = {"v7": "mistral-small-3.1", "v7m1": "pixtral-large", "v11": "mistral-small-3.2", "v13": "ministral-3-8b", "v15": "mistral-small-4"}


def tokenizer_file(version, directory):
    """The tokenizer of a version: SentencePiece's from the package, Tekken's made of its vocabulary."""
    if version == "v7m1":
        return DATA / "mistral_instruct_tokenizer_241114.model.v7m1"
    changes = json.loads((ROOT / f"fixtures/vectors_family/special_tokens_{version}.json").read_text())
    made = json.loads((DATA / "tekken_240911.json").read_text())
    made.pop("image", None)
    made.pop("multimodal", None)
    made["config"]["version"] = version
    made[changes["image_key"]] = changes["image"]
    for key in ("special_tokens", "model_settings_builder"):
        if key in changes:
            made[key] = changes[key]
    path = Path(directory) / f"tekken_{version}.json"
    path.write_text(json.dumps(made))
    return path


class Chats:
    def __init__(self, random, version="v3"):
        self.random = random
        self.version = version
        sizes = [(1, 1), (16, 16), (17, 16), (31, 33), (32, 32), (100, 37), (256, 256), (640, 480), (33, 1500), (1, 4000), (2048, 100), (1025, 1024)]
        self.images = {"data:image/png;base64," + base64.b64encode(png(*size)).decode(): size for size in sizes}

    def sizes(self, request):
        """Sizes of the images, in the order of the request."""
        found = []
        for message in request.get("messages") if isinstance(request.get("messages"), list) else []:
            content = message.get("content") if isinstance(message, dict) else None
            for part in content if isinstance(content, list) else []:
                if not isinstance(part, dict):
                    continue
                url = part.get("image_url", part.get("image"))
                url = url.get("url") if isinstance(url, dict) else url
                if isinstance(url, str) and url in self.images:
                    found.append(list(self.images[url]))
        return found

    def text(self):
        return self.random.choice(SHORT) if self.random.random() < 0.7 else any_text(self.random)

    def image(self):
        url = self.random.choice(list(self.images))
        form = self.random.random()
        if form < 0.5:
            return {"type": "image_url", "image_url": url}
        if form < 0.9:
            return {"type": "image_url", "image_url": {"url": url} | ({"detail": "high"} if form > 0.8 else {})}
        return {"type": "image", "image": url}

    def thinking(self):
        chunk = {"type": "thinking", "thinking": self.text()}
        if self.random.random() < 0.2:
            chunk["closed"] = self.random.choice([True, False])
        return chunk

    def content(self, images, thinking=False):
        if self.random.random() < 0.55:
            return self.text()
        parts = []
        for _ in range(self.random.choice([0, 1, 1, 2, 2, 2, 3, 4])):
            if thinking and self.random.random() < 0.3:
                parts.append(self.thinking())
                continue
            parts.append(self.image() if images and self.random.random() < 0.45 else {"type": "text", "text": self.text()})
        return parts

    def call_id(self):
        if self.version in ("v13", "v15") and self.random.random() < 0.5:
            return self.random.choice(["call_", "", "é ", "0"]) + str(self.random.randrange(10**6))
        return "".join(self.random.choice("abcXYZ019") for _ in range(9))

    def call(self, last):
        arguments = self.random.choice(JSON_TEXTS)
        if self.random.random() < 0.25:
            arguments = self.random.choice([{}, None, {"é": "😀", "l": [1, None, True], "f": 1e16, "n": {"a": -0.0}}, {"x": 12.5, "big": 10**25}])
        call = {"id": self.call_id(), "type": "function", "function": {"name": self.random.choice(["f", "get_weather", "search-web_2"]), "arguments": arguments}}
        if last and self.random.random() < 0.4:
            call["id"] = "null"
            if self.random.random() < 0.5:
                del call["id"]
        if self.random.random() < 0.2:
            del call["type"]
        return call

    def request(self):
        """A conversation that follows the rules, mostly."""
        random = self.random
        messages = []
        while random.random() < 0.25:
            messages.append({"role": "system", "content": self.content(False)})
        turns = random.choice([1, 1, 1, 2, 2, 3])
        for turn in range(turns):
            is_last = turn == turns - 1
            while random.random() < 0.9 if not messages or messages[-1]["role"] != "user" else random.random() < 0.15:
                messages.append({"role": "user", "content": self.content(True)})
                if random.random() < 0.06:
                    messages.append({"role": "system", "content": self.content(False)})
            while random.random() < 0.25:
                calls = [self.call(False) for _ in range(random.choice([1, 1, 2, 3]))]
                more = [{}, {"content": ""}, {"content": None}]
                if self.version != "v3":
                    more += [{"content": self.content(False, self.thinks())}] * 2
                messages.append({"role": "assistant", "tool_calls": calls} | random.choice(more))
                for call in calls:
                    if random.random() < 0.98:
                        content = random.choice(JSON_TEXTS) if random.random() < 0.8 else self.content(self.version == "v15" and random.random() < 0.7)
                        result = {"role": "tool", "content": content, "tool_call_id": call.get("id", "abcdefghi")}
                        messages.append(result | ({"name": call["function"]["name"]} if random.random() < 0.5 else {}))
                if self.version != "v3" and random.random() < 0.4:
                    results = len(calls)
                    shuffled = messages[-results:]
                    random.shuffle(shuffled)
                    messages[-results:] = shuffled
                if random.random() < 0.2:
                    messages.append({"role": "user", "content": self.content(True)})
            answers = random.choice([1, 1, 1, 1, 2, 3])
            for _ in range(answers):
                answer = {"role": "assistant", "content": self.content(False, self.thinks()) or "ok"}
                if random.random() < 0.25:
                    answer["weight"] = random.choice([0, 1, 1.0, None])
                messages.append(answer)
            if is_last and random.random() < 0.1:
                messages[-1] = {"role": "assistant", "tool_calls": [self.call(True)]}
        request = {"messages": messages}
        if random.random() < 0.3:
            request["tools"] = [self.tool() for _ in range(random.choice([0, 1, 1, 2, 3]))]
        if self.version == "v15" and random.random() < 0.4:
            request["reasoning_effort"] = random.choice(["none", "high", "high", "low", None])
        return request

    def thinks(self):
        return self.version in ("v13", "v15") or self.version != "v3" and self.random.random() < 0.03

    def tool(self):
        function = {
            "name": self.random.choice(["f", "get_weather", "a" * 64]),
            "parameters": self.random.choice([
                {}, {"type": "object", "properties": {"x": {"type": "number", "minimum": -1.5, "maximum": 1e16, "default": 1.0}}},
                {"type": "object", "properties": {"é": {"enum": ["ü", None, 1e-7, 10**22]}}, "required": ["é"], "additionalProperties": False},
                {"$ref": "#/x", "description": "back\\slash \"q\"\n"},
            ]),
        }
        if self.random.random() < 0.7:
            function["description"] = self.text()
        if self.random.random() < 0.2:
            function["strict"] = self.random.choice([True, False])
        return self.random.choice([{"type": "function", "function": function}, {"function": function}])

    VALUES = [None, True, False, 0, 1, 2, -1, 0.5, 1.0, "", "x", "1", "yes", "null", "abcdefgh1", "abcdefgh1\n", "abcdefgh", "é", "function", "text", "assistant", "user", "tool", "system", "image_url", [], {}, [""], ["x"], {"a": 1}, "a" * 64, "a" * 65, "data:image/png;base64,", "http://x.invalid/y"]
    SETTINGS = ["model", "temperature", "top_p", "max_tokens", "random_seed", "parallel_tool_calls", "truncate_for_context_length", "continue_final_message", "reasoning_effort", "tool_choice", "response_format", "stream"]
    SETTING_VALUES = VALUES + [
        0.7, 1.5, 5, 5.0, 5.5, "5", "0.5", "auto", "none", "any", "required", "high", "off", "TRUE", {"type": "text"}, {"type": "json_object"}, {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}, {"json_schema": {"name": "n", "schema": {"type": 5}}}, {"json_schema": {"name": "n"}},
        {"type": "function", "function": {"name": "f"}}, {"function": {"name": "f"}}, {"type": "function", "function": {"name": "f", "x": 1}}, {"function": {}},
    ]
    KEYS = ["role", "content", "tool_calls", "weight", "prefix", "name", "tool_call_id", "id", "type", "function", "text", "index", "strict", "description", "parameters", "arguments", "foo", "url", "detail", "thinking", "closed"]

    def mutated(self):
        """A conversation with something changed somewhere."""
        request = copy.deepcopy(self.request())
        for _ in range(self.random.choice([1, 1, 1, 2])):
            places = []
            def walk(value):
                if isinstance(value, dict):
                    places.append(value)
                    for inner in value.values():
                        walk(inner)
                elif isinstance(value, list):
                    places.append(value)
                    for inner in value:
                        walk(inner)
            walk(request)
            place = self.random.choice(places)
            value = copy.deepcopy(self.random.choice(self.VALUES))
            if isinstance(place, dict):
                key = self.random.choice(list(place) + [self.random.choice(self.KEYS)])
                if self.random.random() < 0.35:
                    place.pop(key, None)
                else:
                    place[key] = value
            elif place and self.random.random() < 0.6:
                index = self.random.randrange(len(place))
                action = self.random.random()
                if action < 0.4:
                    del place[index]
                elif action < 0.6:
                    place.insert(index, copy.deepcopy(place[index]))
                elif action < 0.8:
                    other = self.random.randrange(len(place))
                    place[index], place[other] = place[other], place[index]
                else:
                    place[index] = value
            else:
                place.append(value)
        if self.random.random() < 0.15:
            request[self.random.choice(self.SETTINGS)] = copy.deepcopy(self.random.choice(self.SETTING_VALUES))
        return request


SCHEMA_VALUES = [None, True, False, 0, 1, -1, 1.0, 1.5, 2, "", "object", "string", "str", ["string"], ["string", "string"], ["string", "null"], [], {}, [{}], [True], [5], [""], ["a", "a"], ["a", "b"], {"a": {}}, {"a": 5}, {"a": ["b"]}, {"a": True}, {"(": {}}, "^a+$", "[", 1e400, -0.0]
SCHEMA_KEYS = sorted(Draft7Validator.META_SCHEMA["properties"]) + ["$defs", "x-any", "nullable"]
# Patterns that pixtune judges as Python does; of others it only rejects what Python rejects.
PATTERNS = ["", "^[a-z]+$", "\\d{3}", "(?P<n>a)", "(?=a)b", "[", "(", ")", "*a", "\\p{L}", "(?<n>a)"]
REGEX_PARTS = ["a", "b", "(", ")", "(?:", "(?=", "(?!", "(?<=", "(?<!", "(?P<n>", "(?P=n)", "(?P<m>", "(?P>", "(?<n>", "(?i)", "(?i:", "(?-i:", "(?x)", "(?#", "(?>", "(?(1)", "(?(n)", "|", "*", "+", "?", "{2}", "{2,}", "{,3}", "{3,2}", "{", "}", "{a", "[", "]", "[^", "a-z", "z-a", "-", "\\d", "\\w-", "\\b", "\\B", "\\A", "\\Z", "\\p{L}", "\\1", "\\2", "\\07", "\\8", "\\377", "\\400", "\\x41", "\\x4", "\\u00e9", "\\u12", "\\U0001F600", "\\/", "\\-", "\\_", "\\é", "\\", "^", "$", ".", "é", " ", "#", "\n", "\\N{DIGIT ONE}", "\\z", "\\Q"]


def schema(random, depth=0):
    made = {}
    for _ in range(random.choice([0, 1, 1, 2, 3])):
        value = copy.deepcopy(random.choice(SCHEMA_VALUES))
        if depth < 3 and random.random() < 0.4:
            inner = schema(random, depth + 1)
            value = random.choice([inner, {"a/b~c": inner}, [inner]])
        if random.random() < 0.2:
            made["pattern"] = random.choice(PATTERNS)
        made[random.choice(SCHEMA_KEYS)] = value
    return made


# ---- comparisons --------------------------------------------------------------------------------------------

class Report:
    def __init__(self):
        self.wrong = 0

    def compare(self, what, cases, ours, theirs):
        wrong = [(case, one, other) for case, one, other in zip(cases, ours, theirs, strict=True) if one != other]
        print(f"{what}: {len(cases)} compared, {len(wrong)} differ")
        for case, one, other in wrong[:10]:
            print("  ", json.dumps(case)[:600], "\n     ours  ", str(one)[:300], "\n     theirs", str(other)[:300])
        self.wrong += len(wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    for name, count in [("texts", 20000), ("sizes", 20000), ("chats", 10000), ("requests", 20000), ("schemas", 20000),
                        ("family-texts", 10000), ("family-chats", 3000), ("family-requests", 6000)]:
        parser.add_argument(f"--{name}", type=int, default=count)
    arguments = parser.parse_args()
    peer = Peer(Path(mistral_common.__file__).parent / "data/tekken_240911.json")
    report = Report()

    source = random.Random(arguments.seed)
    texts = [any_text(source) for _ in range(arguments.texts)]
    ours = [answer["ids"] for answer in ask({"text": text} for text in texts)]
    report.compare("texts", texts, ours, [peer.text(text) for text in texts])

    sides = [lambda: source.randint(1, 64), lambda: source.randint(1, 3000), lambda: source.randint(1000, 1100), lambda: source.randint(1, 100000)]
    sizes = [[source.choice(sides)(), source.choice(sides)()] for _ in range(arguments.sizes)]
    ours = [answer["grid"][:2] for answer in ask({"size": size} for size in sizes)]
    report.compare("sizes", sizes, ours, [peer.grid(*size) for size in sizes])

    chats = Chats(source)
    def judged(what, requests, peer=peer, model="pixtral-12b"):
        answers = ask({"request": request, "sizes": chats.sizes(request), "model": model} for request in requests)
        theirs = [peer.chat(request) for request in requests]
        for one, (_, why) in zip(answers, theirs):
            one["why"] = why
        ours = [one.get("ids", "refused") for one in answers]
        expected = [ids if why is None else "refused" for ids, why in theirs]
        shown = [{"request": request, "ours": one.get("refused"), "theirs": why} for request, one, (_, why) in zip(requests, answers, theirs)]
        accepted = sum(why is None for _, why in theirs)
        report.compare(f"{what} ({accepted} accepted)", shown, ours, expected)

    judged("chats", [chats.request() for _ in range(arguments.chats)])
    judged("requests", [chats.mutated() for _ in range(arguments.requests)])

    with tempfile.TemporaryDirectory() as directory:
        for version, model in MODELS.items():
            peer_of_version = Peer(tokenizer_file(version, directory))
            texts = [any_text(source) for _ in range(arguments.family_texts if version == "v7m1" else arguments.family_texts // 20)]
            ours = [answer["ids"] for answer in ask({"text": text, "model": model} for text in texts)]
            report.compare(f"{version} texts", texts, ours, [peer_of_version.text(text) for text in texts])
            of_version = Chats(source, version)
            judged(f"{version} chats", [of_version.request() for _ in range(arguments.family_chats)], peer_of_version, model)
            judged(f"{version} requests", [of_version.mutated() for _ in range(arguments.family_requests)], peer_of_version, model)

    schemas = [schema(source) for _ in range(arguments.schemas)]
    patterns = [{"pattern": "".join(source.choices(REGEX_PARTS, k=source.randint(1, 7)))} for _ in range(2 * arguments.schemas)]
    def accepted(schemas):
        question = [{"request": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
                                 "tools": [{"function": {"name": "f", "parameters": made}}]}} for made in schemas]
        return ["refused" not in answer for answer in ask(question)]
    def valid(made):
        try:
            Draft7Validator.check_schema(made)
            return True
        except Exception:
            return False
    report.compare("schemas", schemas, accepted(schemas), [valid(made) for made in schemas])
    wrongly_rejected = [valid(made) and not ours for made, ours in zip(patterns, accepted(patterns))]
    report.compare("patterns", patterns, wrongly_rejected, [False] * len(patterns))
    sys.exit(1 if report.wrong else 0)


if __name__ == "__main__":
    main()
