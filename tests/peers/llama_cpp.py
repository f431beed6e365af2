"""llama.cpp computes what pixtune's GGUF files hold: text, images and adapters of every model that is converted, and chats.

    llama_cpp.py PIXTUNE LLAMA_SERVER OUT

For Pixtral, Mistral Small 3 and Ministral 3 (tiny models with random weights, in f32): the log-probabilities of the whole vocabulary
for eight greedy tokens after a text and after images are those of transformers; so are those with every adapter that `adapter
check --server llama.cpp` reports as applied, loaded with `--lora`. Where it reports anything else, `adapter convert --to gguf` has to
refuse the adapter. What llama.cpp makes of texts is what pixtune makes of them. The directory of `deploy --for llama.cpp` is served by
the printed command, and answers an image as `pixtune generate` does.
"""

import base64
import io
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

import numpy as np
import torch
from PIL import Image

import serving
from serving import GREEDY, ROOT, picture, tool

TEXT, ADAPTERS = 1e-4, 1e-4
# Of images: llama.cpp rounds pixels to f16 (ggml_conv_2d), and its GELU of the projector is a table in f16 of the approximation with
# tanh (mtmd/models/pixtral.cpp, ggml-cpu/vec.h). transformers with both computes what llama.cpp does, and without them nearly so.
IMAGES, IMAGES_ROUNDED = 5e-2, 5e-4
PORT = 18531
# The end of a text, and "a" after the special tokens of both tokenizers.
END, LETTER = 2, 200
VERSIONS = {"tiny_pixtral": "v3", "tiny_mistral3": "v7", "tiny_ministral3": "v13", "tiny_ministral3_tied": "v13"}
TEXTS = [
    "what is it", "Invoice 12345: total 1,234.56 HelloWorld", "  two  spaces\n\nand lines\t", "Größe naïve café", "日本語のテキスト", "e\u0301 a\u200db",
    "नमस्ते", "x" * 300, "[INST] no token [/INST]"[1:], "🙂👍🏽", "don't I'll we've", "a\r\nb",
]


def post(path, body):
    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}{path}", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


class Server:
    """llama-server with a command's options, and with those that make its numbers exact and fit a small machine."""

    def __init__(self, program, options, log):
        self.log = log
        exact = ["--cache-type-k", "f32", "--cache-type-v", "f32", "--flash-attn", "off", "--parallel", "1", "--threads", "2", "--ctx-size", "4096"]
        command = [program, *options, *exact, "--offline", "--no-warmup", "--host", "127.0.0.1", "--port", str(PORT)]
        self.process = subprocess.Popen(list(map(str, command)), stdout=log.open("w"), stderr=subprocess.STDOUT)

    def __enter__(self):
        for _ in range(600):
            if self.process.poll() is not None:
                break
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=2)
                return self
            except OSError:
                time.sleep(0.2)
        self.process.kill()
        raise AssertionError(f"llama-server does not start:\n{self.log.read_text()[-4000:]}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)


def completion(prompt, vocabulary, adapter=None):
    """Log-probabilities over the vocabulary before each token, the tokens, and the length of the prompt.

    The server leaves out the probabilities of a token that is a part of a character. So each is asked for by itself, with a bias
    for a letter, which the probabilities do not have. Only a prompt of ids can go on; one with images has the first alone.
    """
    more = {"lora": [{"id": adapter or 0, "scale": 0.0 if adapter is None else 1.0}]}
    more |= {"temperature": 0, "cache_prompt": False, "return_tokens": True, "post_sampling_probs": False}
    answer = post("/completion", {"prompt": prompt, "n_predict": GREEDY, **more})
    tokens, rows = answer["tokens"], []
    for step in range(len(tokens) if isinstance(prompt, list) else 1):
        so_far = prompt + tokens[:step] if step else prompt
        asked = {"prompt": so_far, "n_predict": 1, "n_probs": vocabulary, "logit_bias": [[LETTER, 1000.0]], **more}
        [row] = post("/completion", asked)["completion_probabilities"]
        values = np.full(vocabulary, np.nan, np.float32)
        for entry in row["top_logprobs"]:
            values[entry["id"]] = entry["logprob"]
        rows.append(values)
    return np.array(rows), tokens, answer["tokens_evaluated"]


def compared(found, reference, ids, what, tolerance):
    """The largest difference; llama.cpp stops at an end token, and so the comparison does."""
    values, tokens, length = found
    expected, generated = reference
    assert length == len(ids), f"{what}: llama.cpp has {length} tokens in the prompt, pixtune {len(ids)}"
    generated = generated[: generated.index(END) if END in generated else None]
    # Where rounding differs, two tokens can be equally likely.
    assert tolerance == IMAGES or tokens[: len(generated)] == generated, f"{what}: llama.cpp generates {tokens}, transformers {generated}"
    worst = float(np.abs(values - expected[len(ids) - 1 :][: len(values)]).max())
    assert worst < tolerance, f"{what}: log-probabilities differ by {worst:.1e}"
    return worst


def tokenizer(version, size, vision):
    """The tiny tokenizer with a size and the special tokens of a version."""
    tekken = json.loads((ROOT / "fixtures/tiny_tekken/tekken.json").read_text())
    if version == "v3":
        return tekken
    # 60 special tokens leave enough for one token per byte.
    tekken["config"] |= {"version": version, "default_vocab_size": size, "default_num_special_tokens": 60}
    changes = json.loads((ROOT / f"fixtures/vectors_family/special_tokens_{version}.json").read_text())
    tekken.pop("multimodal")
    tekken[changes["image_key"]] = {
        "image_patch_size": vision["patch_size"], "max_image_size": vision["image_size"], "spatial_merge_size": 2,
    }
    if "special_tokens" in changes:
        tekken["special_tokens"] = changes["special_tokens"][:60]
    return tekken


class Model:
    """A tiny model with its files: the directory in f32, GGUF, and what transformers computes."""

    def __init__(self, pixtune, fixture, work):
        self.pixtune, self.work, self.name = pixtune, work / fixture, fixture
        self.work.mkdir()
        raw = self.work / "raw"
        shutil.copytree(ROOT / "fixtures" / fixture / "hf_bf16", raw)
        config = json.loads((raw / "config.json").read_text())
        self.vocabulary = config["text_config"]["vocab_size"]
        self.patch = config["vision_config"]["patch_size"] * config.get("spatial_merge_size", 1)
        (raw / "tekken.json").write_text(json.dumps(tokenizer(VERSIONS[fixture], self.vocabulary, config["vision_config"])))
        self.base = self.work / "base"
        tool(pixtune, "deploy", raw, "--for", "vllm", "--dtype", "f32", "--out", self.base, "--quiet")
        tool(pixtune, "convert", self.base, self.work / "gguf", "--to", "gguf", "--dtype", "f32", "--quiet")
        self.reference = serving.Reference(self.base)
        self.projector = self.reference.model.model.multi_modal_projector

    def options(self):
        [vision] = (self.work / "gguf").glob("mmproj-*.gguf")
        [text] = [path for path in (self.work / "gguf").glob("*.gguf") if path != vision]
        return ["-m", text, "--mmproj", vision, "--image-min-tokens", "1", "--image-max-tokens", "4096"]

    def prompts(self):
        """Ids as pixtune has them, and the images, whose sides are multiples of the patch."""
        draw = np.random.default_rng(5)
        words = lambda count: [int(word) for word in draw.integers(self.vocabulary // 3, self.vocabulary - 20, count)]
        side = self.patch
        return {
            "text": ([1, 3, *words(40), 4, *words(6)], []),
            "one": (None, [(4 * side, 3 * side)]),
            "wide": (None, [(5 * side, side)]),
            "two": (None, [(2 * side, side), (3 * side, 3 * side)]),
        }

    def ids(self, sizes):
        """Those of a user's message with images and a question, as pixtune counts them."""
        content = []
        for seed, size in enumerate(sizes):
            content.append({"type": "image_url", "image_url": "data:image/png;base64," + png(smooth(size, seed))})
        content.append({"type": "text", "text": serving.QUESTION})
        rows = self.work / "row.jsonl"
        messages = [{"role": "user", "content": content}, {"role": "assistant", "content": "a"}]
        rows.write_text(json.dumps({"messages": messages}) + "\n")
        line, *_ = tool(self.pixtune, "tokens", rows, "--model", self.base, "--ids", "--format", "json", "--quiet").splitlines()
        ids = json.loads(line)["ids"]
        return ids[: ids.index(4) + 1]

    def ask(self, name, adapter=None):
        ids, sizes = self.prompts()[name]
        if not sizes:
            return completion(ids, self.vocabulary, adapter), ids
        marker = json.load(urllib.request.urlopen(f"http://127.0.0.1:{PORT}/props", timeout=60)).get("media_marker", "<__media__>")
        prompt = {
            "prompt_string": f"[INST]{marker * len(sizes)}{serving.QUESTION}[/INST]",
            "multimodal_data": [png(smooth(size, seed)) for seed, size in enumerate(sizes)],
        }
        return completion(prompt, self.vocabulary, adapter), self.ids(sizes)

    def check_base(self):
        worst = {}
        for name, (_, sizes) in self.prompts().items():
            found, ids = self.ask(name)
            expected = self.reference.generate(ids, [smooth(size, seed) for seed, size in enumerate(sizes)])
            worst[name] = compared(found, expected, ids, f"{self.name}, {name}", IMAGES if sizes else TEXT)
            if sizes:
                exact = self.projector.act, self.reference.pixels
                self.projector.act, self.reference.pixels = GeluOfATable(), lambda image: exact[1](image).half().float()
                expected = self.reference.generate(ids, [smooth(size, seed) for seed, size in enumerate(sizes)])
                self.projector.act, self.reference.pixels = exact
                what = f"{name} with its rounding"
                worst[what] = compared(found, expected, ids, f"{self.name}, {what}", IMAGES_ROUNDED)
        print(f"{self.name}: " + ", ".join(f"{name} within {value:.1e}" for name, value in worst.items()), flush=True)

    def check_texts(self):
        for text in TEXTS:
            rows = self.work / "text.jsonl"
            rows.write_text(json.dumps({"messages": [{"role": "user", "content": text}, {"role": "assistant", "content": "a"}]}) + "\n")
            line, *_ = tool(self.pixtune, "tokens", rows, "--model", self.base, "--ids", "--format", "json", "--quiet").splitlines()
            ids = json.loads(line)["ids"]
            own = post("/tokenize", {"content": text, "add_special": False, "parse_special": False})["tokens"]
            assert own == ids[2 : 2 + len(own)] and ids[2 + len(own)] == 4, f"{self.name}: {text!r} is {own} for llama.cpp, {ids} for pixtune"

    def check_adapters(self, adapters):
        """Those that can be loaded, by name."""
        for index, (name, path) in enumerate(adapters.items()):
            # Of an adapter in another dialect, the tensors are those of peft's original.
            path = adapters.get(re.sub(" as .*", " as peft", name), path)
            changes = self.reference.changes(path, verdicts(self.pixtune, path, self.base)[0], "llama.cpp")
            ids, _ = self.prompts()["text"]
            self.reference.load(changes)
            expected = self.reference.generate(ids, [])
            compared(completion(ids, self.vocabulary, index), expected, ids, f"{self.name} with {name}", ADAPTERS)
        print(f"{self.name}: {len(adapters)} adapters", flush=True)


class GeluOfATable(torch.nn.Module):
    def forward(self, values):
        approximate = torch.nn.functional.gelu(values.half().float(), approximate="tanh").half().float()
        return torch.where(values <= -10, torch.zeros_like(values), torch.where(values >= 10, values, approximate))


def smooth(size, seed):
    return picture((4, 4), seed).resize(size, Image.Resampling.BILINEAR)


def png(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def verdicts(pixtune, adapter, base):
    command = [pixtune, "adapter", "check", adapter, "--base", base, "--server", "llama.cpp@b11434", "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    return [line for line in lines if "module" in line], run.returncode


def loadable(pixtune, adapters, base, work):
    """Converts what `adapter check` reports as applied, and sees that the rest is refused: names to GGUF files."""
    files, refused = {}, 0
    for name, path in adapters.items():
        _, code = verdicts(pixtune, path, base)
        out = work / "converted" / name.replace(",", "").replace(" ", "-")
        run = subprocess.run(
            [pixtune, "adapter", "convert", path, out, "--to", "gguf", "--base", base], capture_output=True, text=True
        )
        assert (run.returncode == 0) == (code == 0), f"{name}: check exits with {code}, and the conversion with {run.returncode}: {run.stderr}"
        if code == 0:
            files[name] = out / "adapter.gguf"
        refused += code != 0
    print(f"{base.parent.name}: {len(files)} adapters are converted, {refused} are refused as `adapter check` reports", flush=True)
    return files


def check_model(pixtune, program, model, adapters):
    files = loadable(pixtune, adapters, model.base, model.work)
    options = [*model.options(), "--lora", ",".join(map(str, files.values()))]
    with Server(program, options, model.work / "server.log"):
        model.check_texts()
        model.check_base()
        model.check_adapters({name: adapters[name] for name in files})


def check_deployed(pixtune, program, model, work):
    """The printed command, for a merged model in the format that people use and for one in f32."""
    expected = serving.tuned(pixtune, work, model.base)
    report = json.loads(tool(pixtune, "deploy", model.base, work / "run", "--for", "llama.cpp", "--dtype", "f32", "--out", work / "served",
                             "--format", "json", "--quiet"))
    [command] = report["start"]
    words = shlex.split(command)
    assert words[0] == "llama-server", command
    with Server(program, words[1:], work / "served.log"):
        answer = serving.ask(PORT, "served")
    assert answer == expected, f"`{command}` answers {answer!r}, and `pixtune generate` {expected!r}"
    # K-quants are llama.cpp's own.
    text = pathlib.Path(words[words.index("-m") + 1])
    smaller = text.with_name("Q4_K_M.gguf")
    quantize = pathlib.Path(program).with_name("llama-quantize")
    quantized = subprocess.run([quantize, text, smaller, "Q4_K_M"], capture_output=True, text=True)
    assert quantized.returncode == 0 and smaller.stat().st_size < text.stat().st_size, quantized.stderr[-2000:]
    with Server(program, [str(smaller) if word == str(text) else word for word in words[1:]], work / "quantized.log"):
        assert serving.ask(PORT, "served"), "the quantized model answers nothing"
    print(f"`{command.replace(str(work) + '/', '')}`: {answer!r}, as `pixtune generate`", flush=True)


def main():
    pixtune, program = (str(pathlib.Path(path).resolve()) for path in sys.argv[1:3])
    work = pathlib.Path(sys.argv[3]).resolve()
    work.mkdir(parents=True)
    models = {name: Model(pixtune, name, work) for name in VERSIONS}
    pixtral = models["tiny_pixtral"]
    (work / "hf").symlink_to(pixtral.base)
    text = serving.edges(work, serving.is_text)
    adapters = serving.matrix(pixtune, work) | serving.edges(work) | {f"{name}, text alone": path for name, path in text.items()}
    check_model(pixtune, program, pixtral, adapters)
    for name in list(VERSIONS)[1:]:
        own = ROOT / "fixtures" / name
        check_model(pixtune, program, models[name], {"text": own / "lora_text", "all": own / "lora_all"})
    check_deployed(pixtune, program, pixtral, work)


main()
