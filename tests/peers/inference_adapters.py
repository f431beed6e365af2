"""mistral-inference computes what `pixtune adapter check --server mistral-inference` reports.

    inference_adapters.py PIXTUNE OUT

Its attention is xformers', which has no operator for CPUs; PyTorch's takes its place here, with the same masks. Everything else is
mistral-inference's own code. Adapters of five target sets in four dialects and adapters with unusual names, scalings and types, as
for vLLM: the log-probabilities of a text and of an image have to be those of transformers with exactly the modules that are reported
as applied; where the verdict is `rejected`, the program has to refuse the adapter. Two images are not compared: version 1.6.0 lets
their patches attend to each other, which `adapter check` warns of, and which is shown here.
"""

import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

import numpy as np
import torch
import xformers.ops.fmha
from safetensors.torch import load_file

import serving
from serving import FIXTURE, PREFIX, ROOT, TOLERANCE, expanded, picture, prompts, tool


def attention(query, key, value, attn_bias=None, **more):
    """What xformers computes, by PyTorch."""
    mask = attn_bias.materialize((1, 1, query.shape[1], key.shape[1]), dtype=query.dtype) if attn_bias is not None else None
    heads = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    return torch.nn.functional.scaled_dot_product_attention(*heads, attn_mask=mask).transpose(1, 2)


xformers.ops.fmha.memory_efficient_attention = attention

import mistral_inference.transformer_layers

mistral_inference.transformer_layers.memory_efficient_attention = attention
# Keys of params.json that newer models have.
logging.getLogger("simple_parsing").setLevel(logging.ERROR)

from mistral_inference.cache import BufferCache
from mistral_inference.transformer import Transformer

# Names in the text decoder of Mistral's format.
LINEARS = {
    "attention.wq": "self_attn.q_proj", "attention.wk": "self_attn.k_proj", "attention.wv": "self_attn.v_proj",
    "attention.wo": "self_attn.o_proj", "feed_forward.w1": "mlp.gate_proj", "feed_forward.w2": "mlp.down_proj", "feed_forward.w3": "mlp.up_proj",
}


class Program:
    """mistral-inference with the base, and with an adapter."""

    def __init__(self, directory, reference):
        self.directory, self.pixels = directory, reference.pixels
        settings = json.loads((directory / "params.json").read_text())
        self.sizes = [settings[name] for name in ("n_layers", "n_kv_heads", "head_dim")]

    def model(self, adapter=None):
        model = Transformer.from_folder(self.directory, max_batch_size=1, device="cpu", dtype=torch.float32)
        if adapter is not None:
            model.load_lora(next(path for path in map(adapter.joinpath, ("lora.safetensors", "adapter_model.safetensors")) if path.exists()))
        return model

    def run(self, model, name):
        """Log-probabilities of every position of a prompt."""
        ids, sizes = prompts()[name]
        ids = expanded(ids, sizes)
        layers, heads, width = self.sizes
        cache = BufferCache(layers, 1, len(ids) + 8, heads, width)
        cache.to(device="cpu", dtype=torch.float32)
        cache.reset()
        images = [self.pixels(picture(size, seed)) for seed, size in enumerate(sizes)]
        with torch.no_grad():
            logits = model.forward(torch.tensor(ids), seqlens=[len(ids)], images=images, cache=cache)
        return torch.log_softmax(logits.float(), -1).numpy()


def distance(program, model, expected, name):
    values, _ = expected[name]
    found = program.run(model, name)
    return float(np.abs(found - values[: len(found)]).max())


def hf_path(module):
    """The path in transformers of a module in Mistral's names."""
    layer, part = re.fullmatch(r"layers\.(\d+)\.(.*)", module).groups()
    return f"model.language_model.layers.{layer}.{LINEARS[part]}"


def changes(name, verdicts, adapters):
    """What the program adds to the weights, if the verdicts are true: of an adapter in Mistral's dialect, what peft's original says."""
    applied = [line["module"] for line in verdicts if line["verdict"] == "applied"]
    if not applied:
        return {}
    source = adapters[name.replace("as mistral", "as peft")]
    tensors, config = load_file(source / "adapter_model.safetensors"), json.loads((source / "adapter_config.json").read_text())
    out = {}
    for path in map(hf_path, applied):
        a, b = (tensors[f"{PREFIX}{path}.{part}.weight"] for part in ("lora_A", "lora_B"))
        out[f"{path}.weight"] = config["lora_alpha"] / config["r"] * b @ a
    return out


def judged(pixtune, base, path):
    command = [pixtune, "adapter", "check", path, "--base", base, "--server", "mistral-inference@1.6", "--format", "json"]
    run = subprocess.run(command, capture_output=True, text=True)
    return [line for line in map(json.loads, run.stdout.splitlines()) if "module" in line], run.returncode


def compare(pixtune, program, reference, adapters):
    worst, counts, problems = 0.0, {}, []
    for name, path in adapters.items():
        verdicts, code = judged(pixtune, program.directory, path)
        if code == 2 or not (path / "adapter_model.safetensors").exists() and not (path / "lora.safetensors").exists():
            # The program reads no pickled files; pixtune judges the adapter, whatever its file.
            counts["not compared"] = counts.get("not compared", 0) + 1
            continue
        kinds = sorted({line["verdict"] for line in verdicts})
        counts[", ".join(kinds)] = counts.get(", ".join(kinds), 0) + 1
        try:
            model = program.model(path)
        except AssertionError as error:
            if kinds != ["rejected"]:
                problems.append(f"{name}: mistral-inference refuses it ({error}), and the verdicts are {kinds}")
            continue
        if "rejected" in kinds:
            problems.append(f"{name}: `adapter check` reports that it is rejected, and mistral-inference loads it")
            continue
        expected = reference.log_probabilities(changes(name, verdicts, adapters))
        found = max(distance(program, model, expected, prompt) for prompt in ("text", "one"))
        worst = max(worst, found)
        if found > TOLERANCE:
            problems.append(f"{name}: log-probabilities differ by {found:.1e} from what the verdicts {kinds} state")
    print(f"{len(adapters)} adapters, log-probabilities within {worst:.1e}: {counts}")
    assert not problems, "\n".join(problems)


def main():
    pixtune, work = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2]).resolve()
    work.mkdir(parents=True)
    torch.set_num_threads(2)
    shutil.copytree(FIXTURE / "native_bf16", work / "native")
    shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", work / "native")
    for target, name in (("vllm", "hf"), ("mistral-inference", "mistral")):
        tool(pixtune, "deploy", work / "native", "--for", target, "--dtype", "f32", "--out", work / name, "--quiet")
    reference = serving.Reference(work / "hf")
    program = Program(work / "mistral", reference)
    base = reference.log_probabilities({})
    model = program.model()
    found = {name: distance(program, model, base, name) for name in prompts()}
    print("the base: " + ", ".join(f"{name} within {value:.1e}" for name, value in found.items()))
    assert max(found["text"], found["one"]) < TOLERANCE, found
    assert found["two"] > 0.1, "images no longer attend to each other: `adapter check` and docs/serving.md state that they do"
    compare(pixtune, program, reference, serving.matrix(pixtune, work) | serving.edges(work))


main()
