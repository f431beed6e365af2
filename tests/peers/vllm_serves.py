"""vLLM computes what `pixtune adapter check` reports, and answers what `pixtune generate` answers with the directories and the
start commands of `pixtune deploy`.

    vllm_serves.py PIXTUNE OUT [--write]

1. For both formats, with and without `--enable-tower-connector-lora`: adapters of five target sets in four dialects, and adapters
   with unusual names, ranks, scalings and tensors. The verdicts of `adapter check` state which modules the server applies, so they
   decide a model: the base of transformers plus exactly those changes. vLLM's log-probabilities over the whole vocabulary have to
   be those of that model; where a verdict is `rejected`, vLLM has to refuse the adapter.
2. The directories of `deploy` are served by the printed commands, and asked with an image.

The table and the number in docs/serving.md have to be what was measured; `--write` writes them. OUT/table.json has every run.
"""

import base64
import hashlib
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

os.environ |= {
    "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_LOGGING_LEVEL": "WARNING", "TOKENIZERS_PARALLELISM": "false",
}

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
# Adapters that `adapter check` refuses to judge (exit code 2), and vLLM loads: pixtune is stricter.
STRICTER = {"extra-tensor"}
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


# Sides that are no multiples of 16: every server resizes this image in its own way. One more token row and column than fit.
RESIZED = ([1, 3, IMG, 150, 250, 4, 350], [(100, 50)])


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


def edges(work):
    """Adapters as people have them."""
    source = load_file(FIXTURE / "lora_all/adapter_model.safetensors")
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
        directory = work / "edges" / name
        write(directory, tensors, {**config, **change}, pickled=name == "pickled")
        adapters[name] = directory
    return adapters


# ---------------------------------------------------------------- what transformers computes


class Reference:
    """The base in transformers, and the same with the changes of some modules."""

    def __init__(self, directory):
        from transformers import LlavaForConditionalGeneration

        torch.set_num_threads(2)
        self.model = LlavaForConditionalGeneration.from_pretrained(
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

    def log_probabilities(self, key, changes):
        """For each prompt, those of every position but the last, then of GREEDY generated tokens, and these tokens."""
        if key not in self.known:
            self.model.load_state_dict({name: value + changes.get(name, 0) for name, value in self.base.items()})
            self.known[key] = {name: self.run(*prompt) for name, prompt in prompts().items()}
        return self.known[key]

    def run(self, ids, sizes):
        images = [self.pixels(picture(size, seed)) for seed, size in enumerate(sizes)]
        more = {}
        if images:
            height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
            batch = torch.zeros(len(images), 3, height, width)
            for index, image in enumerate(images):
                batch[index, :, : image.shape[1], : image.shape[2]] = image
            more = {"pixel_values": batch, "image_sizes": torch.tensor([[image.shape[1], image.shape[2]] for image in images])}
        ids, generated = expanded(ids, sizes), []
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


# ---------------------------------------------------------------- what vLLM computes


def serve(directory, server, tower, listed, out):
    """In a process of its own: loads every adapter and writes log-probabilities, or why it is refused."""
    from vllm import LLM, SamplingParams
    from vllm.lora.request import LoRARequest

    more = dict(tokenizer_mode="mistral", config_format="mistral", load_format="mistral") if server == "vllm-mistral" else {}
    if tower:
        more["enable_tower_connector_lora"] = True
    llm = LLM(
        model=str(directory), dtype="float32", max_model_len=1024, max_num_seqs=4, enforce_eager=True, max_logprobs=-1, seed=0,
        limit_mm_per_prompt={"image": 4}, enable_prefix_caching=False, enable_lora=True, max_lora_rank=16, max_loras=1, **more,
    )
    results = {}

    def run(tag, request, asked=prompts()):
        for name, (ids, sizes) in asked.items():
            given = {"prompt_token_ids": expanded(ids, sizes) if server == "vllm-mistral" else ids}
            if sizes:
                given["multi_modal_data"] = {"image": [picture(size, seed) for seed, size in enumerate(sizes)]}
            params = SamplingParams(temperature=0, max_tokens=GREEDY, prompt_logprobs=-1, logprobs=-1, ignore_eos=True, detokenize=False)
            [answer] = llm.generate([given], params, lora_request=request, use_tqdm=False)
            assert list(answer.prompt_token_ids) == expanded(ids, sizes), f"{name}: vLLM expands images differently"
            rows = list(answer.prompt_logprobs[1:]) + list(answer.outputs[0].logprobs)
            values = np.full((len(rows), 400), -np.inf, np.float32)
            for index, row in enumerate(rows):
                for token, entry in row.items():
                    if token < 400:
                        values[index, token] = entry.logprob
            results[f"{tag}|{name}"] = values
            results[f"{tag}|{name}|tokens"] = np.array(answer.outputs[0].token_ids)

    run("base", None)
    run("resized", None, {"image": RESIZED})
    for index, (name, path) in enumerate(json.loads(pathlib.Path(listed).read_text()).items()):
        try:
            request = LoRARequest(name.replace(" ", "-"), index + 1, path)
            llm.llm_engine.add_lora(request)
            run(name, request)
        except Exception as error:
            results[f"{name}|refused"] = np.array(f"{type(error).__name__}: {error}"[:300])
    np.savez(out, **results)
    # vLLM's threads would keep the process alive.
    os._exit(0)


def compare(pixtune, work, reference, adapters):
    listed = work / "adapters.json"
    listed.write_text(json.dumps({name: str(path) for name, path in adapters.items()}))
    table, failures, resized = [], [], {}
    for server, directory in (("vllm-hf", work / "hf"), ("vllm-mistral", work / "mistral")):
        for tower in (False, True):
            began, out = time.time(), work / f"{server}-{tower}.npz"
            log = work / f"{server}-{tower}.log"
            command = [sys.executable, __file__, "--serve", str(directory), server, str(int(tower)), str(listed), str(out)]
            with log.open("w") as file:
                code = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
            assert out.exists(), f"vLLM ended with {code}:\n{log.read_text()[-4000:]}"
            found = np.load(out)
            check_base(found, reference, server)
            resized[server] = found["resized|image"]
            rows = [judge(pixtune, found, reference, server, tower, name, path, directory) for name, path in adapters.items()]
            table += rows
            failures += [row for row in rows if row["problem"]]
            print(f"{server}{' --enable-tower-connector-lora' if tower else ''}: {len(rows)} adapters, "
                  f"log-probabilities within {max(row['error'] for row in rows):.1e}, {time.time() - began:.0f} s", flush=True)
    for row in failures:
        print(f"{row['server']} tower={row['tower']} {row['adapter']}: {row['problem']}")
    assert not failures, f"{len(failures)} verdicts are wrong"
    rows = len(expanded(*RESIZED))
    effect = float(np.abs(resized["vllm-hf"][:rows] - resized["vllm-mistral"][:rows]).max())
    print(f"an image of {RESIZED[1][0]} pixels: log-probabilities of the two formats differ by {effect:.2f}")
    assert effect > TOLERANCE, "both formats resize alike: docs/serving.md states that they do not"
    return table, effect


def distance(found, tag, expected):
    """The largest difference of log-probabilities, and whether all greedy tokens are the same."""
    worst, same = 0.0, True
    for name, (values, tokens) in expected.items():
        rows = len(found[f"{tag}|{name}"]) - GREEDY + 1
        worst = max(worst, float(np.abs(found[f"{tag}|{name}"][:rows] - values[:rows]).max()))
        same &= found[f"{tag}|{name}|tokens"].tolist() == tokens
    return worst, same


def check_base(found, reference, server):
    worst, same = distance(found, "base", reference.log_probabilities("base", {}))
    assert worst < TOLERANCE and same, f"{server} without an adapter: log-probabilities differ by {worst}"


def judge(pixtune, found, reference, server, tower, name, path, base):
    command = [pixtune, "adapter", "check", path, "--base", base, "--server", f"{server}@0.32", "--format", "json"]
    run = subprocess.run(command + ["--enable-tower-connector-lora"] * tower, capture_output=True, text=True)
    row = {"server": server, "tower": tower, "adapter": name, "verdicts": {}, "error": 0.0, "problem": None}
    refused = str(found[f"{name}|refused"]) if f"{name}|refused" in found.files else None
    if run.returncode == 2:
        row["verdicts"] = {"refused by pixtune": 1}
        if name not in STRICTER:
            row["problem"] = f"`adapter check` fails: {run.stderr.strip()}"
        return row
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    verdicts = [line for line in lines if "module" in line]
    for line in verdicts:
        row["verdicts"][line["verdict"]] = row["verdicts"].get(line["verdict"], 0) + 1
    if "rejected" in row["verdicts"]:
        if refused is None:
            row["problem"] = "`adapter check` reports that vLLM rejects it, and vLLM loads it"
        return row
    if refused is not None:
        row["problem"] = f"vLLM refuses it ({refused}), and the verdicts are {row['verdicts']}"
        return row
    changes = reference.changes(path, verdicts, server)
    key = tuple(sorted((name, hashlib.sha256(change.numpy().tobytes()).digest()) for name, change in changes.items()))
    row["error"], same = distance(found, name, reference.log_probabilities(key, changes))
    if row["error"] > TOLERANCE or not same:
        row["problem"] = f"log-probabilities differ by {row['error']:.1e} from what the verdicts {row['verdicts']} state"
    return row


# ---------------------------------------------------------------- what the start commands serve


def ask(port, model, question, image):
    uri = "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode()
    content = [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": question}]
    body = {"model": model, "temperature": 0, "max_tokens": 24, "messages": [{"role": "user", "content": content}]}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


def started(command, port, log):
    """The server of a printed command. The wheel for CPUs has no `vllm` program, and its module takes the same options."""
    words = shlex.split(command)
    assert words[:2] == ["vllm", "serve"], command
    module = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", words[2], *words[3:]]
    # Only what a small machine needs is added, and f32 to compare exact answers.
    module += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "1024", "--max-num-seqs", "4", "--dtype", "float32", "--enforce-eager"]
    process = subprocess.Popen(module, stdout=log.open("w"), stderr=subprocess.STDOUT)
    # 40 s on an idle machine.
    for _ in range(900):
        assert process.poll() is None, f"`{command}` ended:\n{log.read_text()[-4000:]}"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
            return process
        except OSError:
            time.sleep(1)
    process.kill()
    raise AssertionError(f"`{command}` does not answer:\n{log.read_text()[-4000:]}")


def chat(pixtune, work):
    image, question = ROOT / "fixtures/images/grad_64x48.png", "what is it"
    toy = work / "toy.jsonl"
    subprocess.run([sys.executable, ROOT / "tests/peers/toy_data.py", toy], check=True)
    train = ["train", "--model", work / "hf", "--data", toy, "--out", work / "run", "--lora-rank", "4", "--lora-alpha", "8", "--targets", "all",
             "--steps", "120", "--learning-rate", "1e-2", "--batch-tokens", "512", "--validation", toy, "--quiet"]
    tool(pixtune, *train)
    generate = ["generate", "--model", work / "hf", "--image", image, "--prompt", question, "--max-tokens", "24", "--temperature", "0"]
    expected = tool(pixtune, *generate, "--adapter", work / "run/adapter").strip()
    base = tool(pixtune, *generate).strip()
    assert expected != base, f"training changes nothing: {expected!r}"
    rows = []
    for index, (target, more, model) in enumerate((
        ("vllm", ["--adapter", "merge"], work / "hf"), ("vllm", ["--adapter", "beside"], work / "hf"),
        ("vllm-mistral", ["--adapter", "merge"], work / "hf"), ("vllm-mistral", ["--adapter", "beside"], work / "mistral"),
    )):
        out = work / f"served-{index}"
        report = json.loads(tool(pixtune, "deploy", model, work / "run", "--for", target, *more, "--out", out, "--base", work / "native", "--format", "json", "--quiet"))
        [command] = report["start"]
        began = time.time()
        process = started(command, 18431 + index, work / f"served-{index}.log")
        try:
            answer = ask(18431 + index, out.name, question, image).strip()
        finally:
            process.terminate()
            process.wait(60)
        assert answer == expected, f"`{command}` answers {answer!r}, and `pixtune generate` {expected!r}"
        shown = command.replace(str(work) + "/", "")
        print(f"`{shown}`: {answer!r}, as `pixtune generate`, {time.time() - began:.0f} s", flush=True)
        rows.append({"command": shown, "answer": answer})
    return rows


# ---------------------------------------------------------------- the page


def page_table(rows):
    """What became of the unusual adapters, which are those without a dialect in their names."""
    columns = [(server, tower) for server in ("vllm-hf", "vllm-mistral") for tower in (False, True)]
    names = [f"`{server}`{' with the flag' if tower else ''}" for server, tower in columns]
    lines = [f"| adapter | {' | '.join(names)} |", "|---" * (len(columns) + 1) + "|"]
    found = {(row["adapter"], row["server"], row["tower"]): row["verdicts"] for row in rows}
    for adapter in dict.fromkeys(row["adapter"] for row in rows if " as " not in row["adapter"]):
        cells = []
        for server, tower in columns:
            verdicts = found[adapter, server, tower]
            counted = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
            cells.append(next(iter(verdicts)) if len(verdicts) == 1 else counted)
        lines.append(f"| {adapter.replace('-', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def check_page(rows, effect, write):
    path = ROOT / "docs/serving.md"
    page = path.read_text()
    start, end = "<!-- measured with vLLM -->\n", "<!-- end -->"
    before, rest = page.split(start)
    written = f"{before}{start}\n{page_table(rows)}\n{end}{rest.split(end, 1)[1]}"
    written = re.sub(r"(<!-- resized -->)[ 0-9.]*", rf"\1 {effect:.1f} ", written)
    if write:
        path.write_text(written)
    assert written == path.read_text(), "docs/serving.md is not what was measured: run this script with --write"


def tool(pixtune, *args):
    run = subprocess.run([pixtune, *map(str, args)], capture_output=True, text=True)
    assert run.returncode == 0, f"pixtune {' '.join(map(str, args))} ended with {run.returncode}:\n{run.stderr}{run.stdout}"
    return run.stdout


def main():
    pixtune, work = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    work.mkdir(parents=True)
    shutil.copytree(FIXTURE / "native_bf16", work / "native")
    shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", work / "native")
    for target, name in (("vllm", "hf"), ("vllm-mistral", "mistral")):
        tool(pixtune, "deploy", work / "native", "--for", target, "--dtype", "f32", "--out", work / name, "--quiet")
    import vllm

    print(f"vLLM {vllm.__version__}", flush=True)
    answers = chat(pixtune, work)
    adapters = matrix(pixtune, work) | edges(work)
    table, effect = compare(pixtune, work, Reference(work / "hf"), adapters)
    measured = {"vllm": vllm.__version__, "resized": effect, "adapters": table, "answers": answers}
    (work / "table.json").write_text(json.dumps(measured, indent=1))
    check_page(table, effect, "--write" in sys.argv)


if sys.argv[1] == "--serve":
    serve(pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4] == "1", sys.argv[5], sys.argv[6])
else:
    main()
