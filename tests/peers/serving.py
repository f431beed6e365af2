"""For the tests of servers: adapters as people have them, what transformers computes with the changes that a server makes, and a
tuned model with its answer.
"""

import base64
import hashlib
import json
import math
import pathlib
import re
import subprocess
import sys
import urllib.request

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "fixtures/tiny_pixtral"
PREFIX = "base_model.model."
GREEDY = 8
# Log-probabilities in f32, over the whole vocabulary: rounding is 2e-5, and an adapter moves them by more than 0.1.
TOLERANCE = 1e-4
IMG, BREAK, END = 10, 12, 13


def prompts():
    """Token ids with one [IMG] for each image, and the sides of the images: multiples of 16 are not resized by anyone."""
    draw = np.random.default_rng(5)
    words = lambda count: [int(word) for word in draw.integers(100, 400, count)]
    return {
        "text": ([1, 3, *words(14), 4, *words(6)], []),
        "one": ([1, 3, IMG, *words(5), 4, *words(6)], [(96, 64)]),
        "two": ([1, 3, *words(3), IMG, IMG, *words(4), 4, *words(3)], [(48, 32), (64, 64)]),
    }

def picture(size, seed):
    draw = np.random.default_rng(seed)
    return Image.fromarray(draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def expanded(ids, sizes):
    """The ids with the tokens of every image, as Mistral counts them."""
    sizes, out = iter(sizes), []
    for token in ids:
        if token != IMG:
            out.append(token)
            continue
        width, height = (-(-side // 16) for side in next(sizes))
        for row in range(height):
            out += [IMG] * width + [BREAK if row + 1 < height else END]
    return out


# ---------------------------------------------------------------- the adapters


def write(directory, tensors, config, pickled=False):
    directory.mkdir(parents=True)
    tensors = {name: value.contiguous().clone() for name, value in tensors.items()}
    if pickled:
        torch.save(tensors, directory / "adapter_model.bin")
    else:
        save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
    (directory / "adapter_config.json").write_text(json.dumps(config))


def is_text(name):
    return "language_model" in name


def is_vision(name):
    return "vision_tower" in name


def is_projector(name):
    return "multi_modal_projector" in name


def padded(tensors, rank, which=lambda name: True):
    """The same product with more rows in A and columns in B."""
    out = {}
    for name, value in tensors.items():
        if which(name):
            more = rank - min(value.shape) if "lora_A" in name else rank - value.shape[1]
            zeros = torch.zeros(more, value.shape[1]) if "lora_A" in name else torch.zeros(value.shape[0], more)
            value = torch.cat([value, zeros], 0 if "lora_A" in name else 1)
        out[name] = value
    return out


def matrix(pixtune, work):
    """Five target sets in four dialects: name to directory."""
    source = load_file(FIXTURE / "lora_all/adapter_model.safetensors")
    config = json.loads((FIXTURE / "lora_all/adapter_config.json").read_text())
    linear = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    sets = {
        "all": (lambda name: True, config["target_modules"]),
        "text": (is_text, linear),
        "vision": (is_vision, linear),
        "projector": (is_projector, ["linear_1", "linear_2"]),
        "text-projector": (lambda name: is_text(name) or is_projector(name), config["target_modules"]),
    }
    adapters = {}
    for name, (which, targets) in sets.items():
        directory = work / "adapters" / name
        tensors = {key: value for key, value in source.items() if which(key)}
        if "vision" not in name and name != "all":
            targets = r".*language_model.*\.(%s)" % "|".join(linear) if name == "text" else targets
        write(directory / "peft", tensors, {**config, "target_modules": targets})
        adapters[f"{name} as peft"] = directory / "peft"
        for dialect in ("peft-legacy", "vllm-consolidated", "mistral"):
            run = subprocess.run(
                [pixtune, "adapter", "convert", directory / "peft", directory / dialect, "--to", dialect, "--base", work / "hf"],
                capture_output=True, text=True,
            )
            assert run.returncode == 0, run.stderr
            adapters[f"{name} as {dialect}"] = directory / dialect
    return adapters


def edges(work, which=lambda name: True):
    """Adapters as people have them, each of the modules that are chosen."""
    source = {name: value for name, value in load_file(FIXTURE / "lora_all/adapter_model.safetensors").items() if which(name)}
    config = json.loads((FIXTURE / "lora_all/adapter_config.json").read_text())
    targets = config["target_modules"]
    torch.manual_seed(7)
    random = lambda *shape: torch.randn(*shape) * 0.1
    query = lambda name: "q_proj" in name
    text = {name: value for name, value in source.items() if is_text(name)}
    head = {PREFIX + "lm_head.lora_A.weight": random(4, 64), PREFIX + "lm_head.lora_B.weight": random(400, 4)}
    embedding = {
        PREFIX + "model.language_model.embed_tokens.lora_embedding_A": random(4, 400),
        PREFIX + "model.language_model.embed_tokens.lora_embedding_B": random(64, 4),
    }
    patches = {
        PREFIX + "model.vision_tower.patch_conv.lora_A.weight": random(4, 3, 16, 16),
        PREFIX + "model.vision_tower.patch_conv.lora_B.weight": random(64, 4, 1, 1),
    }
    magnitudes = {
        name.replace("lora_A.weight", "lora_magnitude_vector"): torch.ones(source[name.replace("lora_A", "lora_B")].shape[0])
        for name in source if "lora_A" in name
    }
    layer = lambda number, module, rows: {
        f"{PREFIX}model.language_model.layers.{number}.{module}.lora_A.weight": torch.zeros(4, 64),
        f"{PREFIX}model.language_model.layers.{number}.{module}.lora_B.weight": torch.zeros(rows, 4),
    }
    only = lambda *parts: {name: value for name, value in source.items() if any(part in name for part in parts)}
    renamed = lambda change: {change(name): value for name, value in source.items()}
    halved = {name: value * 0.5 if query(name) and "lora_B" in name else value for name, value in source.items()}
    cases = {
        "rank-32": (padded(source, 32), {"r": 32, "lora_alpha": 48}),
        "alpha-pattern": (halved, {"alpha_pattern": {"q_proj": 12}}),
        "rank-pattern": (padded(source, 8, query), {"rank_pattern": {"q_proj": 8}, "alpha_pattern": {"q_proj": 12}}),
        "rank-pattern-20": (padded(source, 20, query), {"rank_pattern": {"q_proj": 20}, "alpha_pattern": {"q_proj": 30}}),
        "rslora": (source, {"use_rslora": True, "lora_alpha": 3}),
        "text-decoder-alone": (
            {name.replace("model.model.language_model.", "model.model."): value for name, value in text.items()},
            {"target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]},
        ),
        "head": ({**source, **head}, {"target_modules": [*targets, "lm_head"]}),
        "embedding": ({**source, **embedding}, {"target_modules": [*targets, "embed_tokens"]}),
        "dora": ({**source, **magnitudes}, {"use_dora": True}),
        "whole-head": ({**source, PREFIX + "lm_head.weight": random(400, 64)}, {"modules_to_save": ["lm_head"]}),
        "bias": (source, {"bias": "lora_only"}),
        "pissa": (source, {"init_lora_weights": "pissa"}),
        "gaussian": (source, {"init_lora_weights": "gaussian"}),
        "name-in-tensors": (renamed(lambda name: name.replace(".weight", ".default.weight")), {}),
        "no-prefix": (renamed(lambda name: name.removeprefix(PREFIX)), {}),
        "targets-of-another": (source, {"target_modules": ["q_proj"]}),
        "bf16": ({name: value.bfloat16() for name, value in source.items()}, {}),
        "pickled": (source, {}),
        "q-and-v": (only("q_proj", "v_proj"), {"target_modules": ["q_proj", "v_proj"]}),
        "one-layer": (only(".layers.0."), {"layers_to_transform": [0]}),
        "gate-and-k": (only("gate_proj", "k_proj"), {"target_modules": ["gate_proj", "k_proj"]}),
        "patches": ({**source, **patches}, {"target_modules": [*targets, "patch_conv"]}),
        "float-alpha": (source, {"lora_alpha": 6.0}),
        "layer-that-the-base-lacks": ({**source, **layer(9, "self_attn.q_proj", 128)}, {}),
        "extra-tensor": ({**source, **layer(0, "self_attn.rotary", 64)}, {}),
    }
    adapters = {}
    for name, (tensors, change) in cases.items():
        directory = work / f"edges-{len(source)}" / name
        write(directory, tensors, {**config, **change}, pickled=name == "pickled")
        adapters[name] = directory
    return adapters


# ---------------------------------------------------------------- what transformers computes


class Reference:
    """The base in transformers, and the same with the changes of some modules."""

    def __init__(self, directory):
        from transformers import AutoModelForImageTextToText

        torch.set_num_threads(2)
        self.model = AutoModelForImageTextToText.from_pretrained(
            directory, dtype=torch.float32, attn_implementation="eager"
        ).eval()
        self.base = {name: value.clone() for name, value in self.model.state_dict().items()}
        settings = json.loads((directory / "preprocessor_config.json").read_text())
        mean, deviation = (np.array(settings[key], np.float32).reshape(3, 1, 1) for key in ("image_mean", "image_std"))
        self.pixels = lambda image: torch.from_numpy(
            (np.asarray(image, np.float32).transpose(2, 0, 1) / np.float32(255) - mean) / deviation
        )
        config = json.loads((directory / "config.json").read_text())
        self.vision_heads = config["vision_config"]["num_attention_heads"]
        self.known = {}

    def log_probabilities(self, changes):
        """For each prompt, those of every position but the last, then of GREEDY generated tokens, and these tokens."""
        key = tuple(sorted((name, hashlib.sha256(change.numpy().tobytes()).digest()) for name, change in changes.items()))
        if key not in self.known:
            self.load(changes)
            self.known[key] = {name: self.run(*prompt) for name, prompt in prompts().items()}
        return self.known[key]

    def load(self, changes):
        """Makes the model the base with these changes of its weights."""
        self.model.load_state_dict({name: value + changes.get(name, 0) for name, value in self.base.items()})

    def run(self, ids, sizes):
        return self.generate(expanded(ids, sizes), [picture(size, seed) for seed, size in enumerate(sizes)])

    def generate(self, ids, images):
        """Of ids that have the tokens of every image."""
        images, more = [self.pixels(image) for image in images], {}
        if images:
            height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
            batch = torch.zeros(len(images), 3, height, width)
            for index, image in enumerate(images):
                batch[index, :, : image.shape[1], : image.shape[2]] = image
            more = {"pixel_values": batch, "image_sizes": torch.tensor([[image.shape[1], image.shape[2]] for image in images])}
        ids, generated = list(ids), []
        for _ in range(GREEDY):
            given = torch.tensor([ids])
            with torch.no_grad():
                logits = self.model(input_ids=given, attention_mask=torch.ones_like(given), use_cache=False, **more).logits[0]
            generated.append(int(logits[-1].argmax()))
            ids.append(generated[-1])
        return torch.log_softmax(logits.float(), -1).numpy(), generated

    def changes(self, adapter, verdicts, server):
        """What the server adds to the weights, if the verdicts are true."""
        tensors = stored(adapter)
        config = json.loads((adapter / "adapter_config.json").read_text())
        out = {}
        for line in verdicts:
            if line["verdict"] not in ("applied", "wrong"):
                continue
            name = hf_name(line["module"])
            a, b = (tensors[path_of(tensors, line["module"], part)].float() for part in ("lora_A", "lora_B"))
            alpha = next((
                value for pattern, value in (config.get("alpha_pattern") or {}).items()
                if re.fullmatch(rf"(.*\.)?({pattern})", line["module"])
            ), config["lora_alpha"])
            change = alpha / (math.sqrt(len(a)) if config.get("use_rslora") else len(a)) * b @ a
            if server == "vllm-mistral" and is_vision(name) and name.split(".")[-2] in ("q_proj", "k_proj"):
                # Added to rows in Mistral's order.
                change = change.view(self.vision_heads, -1, 2, change.shape[1]).transpose(1, 2).reshape(change.shape)
            out[name] = out.get(name, 0) + change
        return out


def stored(adapter):
    pickled = adapter / "adapter_model.bin"
    return torch.load(pickled, weights_only=True) if pickled.exists() else load_file(adapter / "adapter_model.safetensors")


def path_of(tensors, module, part):
    found = [name for name in tensors if f"{module}.{part}" in name and name.removeprefix(PREFIX).startswith(module)]
    assert len(found) == 1, (module, part, found)
    return found[0]


def hf_name(module):
    """The name in transformers 5 of a module of any dialect of peft."""
    module = re.sub(r"^language_model\.model\.", "model.language_model.", module)
    module = re.sub(r"^(vision_tower|multi_modal_projector)\.", r"model.\1.", module)
    module = re.sub(r"^model\.layers\.", "model.language_model.layers.", module)
    return f"{module}.weight"


# ---------------------------------------------------------------- a tuned model and its answer

IMAGE, QUESTION = ROOT / "fixtures/images/grad_64x48.png", "what is it"


def tool(pixtune, *args):
    run = subprocess.run([pixtune, *map(str, args)], capture_output=True, text=True)
    assert run.returncode == 0, f"pixtune {' '.join(map(str, args))} ended with {run.returncode}:\n{run.stderr}{run.stdout}"
    return run.stdout


def tuned(pixtune, work, model):
    """Trains an adapter in work/run, and returns what `pixtune generate` answers to IMAGE and QUESTION."""
    toy = work / "toy.jsonl"
    subprocess.run([sys.executable, ROOT / "tests/peers/toy_data.py", toy], check=True)
    train = ["train", "--model", model, "--data", toy, "--out", work / "run", "--lora-rank", "4", "--lora-alpha", "8", "--targets", "all",
             "--steps", "120", "--learning-rate", "1e-2", "--batch-tokens", "512", "--validation", toy, "--quiet"]
    tool(pixtune, *train)
    generate = ["generate", "--model", model, "--image", IMAGE, "--prompt", QUESTION, "--max-tokens", "24", "--temperature", "0"]
    expected = tool(pixtune, *generate, "--adapter", work / "run/adapter").strip()
    base = tool(pixtune, *generate).strip()
    assert expected != base, f"training changes nothing: {expected!r}"
    return expected


def ask(port, model):
    """What a server of chat completions answers to IMAGE and QUESTION."""
    uri = "data:image/png;base64," + base64.b64encode(IMAGE.read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": QUESTION}]
    body = {"model": model, "temperature": 0, "max_tokens": 24, "messages": [{"role": "user", "content": content}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"].strip()
