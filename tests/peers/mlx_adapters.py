#!/usr/bin/env python3
"""Compares adapters with mlx-lm, in both directions, on the CPU.

    python tests/peers/mlx_adapters.py target/release/pixtune

An adapter that `pixtune adapter convert --to mlx` writes gives the logits of the merged model in mlx-lm. Adapters that mlx-lm
makes, LoRA and DoRA, are merged by pixtune to models with the logits of mlx-lm with the adapter attached.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.tuner.utils import linear_to_lora_layers, load_adapters
from mlx_lm.utils import load_model
from safetensors.numpy import load_file, save_file

mx.set_default_device(mx.cpu)
PIXTUNE = sys.argv[1]
FIXTURE = Path(__file__).resolve().parents[2] / "fixtures/tiny_pixtral"
BASE = FIXTURE / "hf_bf16"
IDS = mx.array([json.loads((FIXTURE / "inputs.json").read_text())["text"]["ids"]])


def pixtune(*args):
    subprocess.run([PIXTUNE, *map(str, args), "--quiet"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def load(directory):
    model, _ = load_model(directory)
    model.set_dtype(mx.float32)
    return model


def logits(model):
    model.eval()
    return np.array(model(IDS).astype(mx.float32))


def compare(what, adapter, merged):
    base, attached, whole = logits(load(BASE)), logits(load_adapters(load(BASE), str(adapter))), logits(load(merged))
    effect, error, largest = (abs(one).max() for one in (attached - base, attached - whole, whole))
    assert effect > 1000 * error, f"{what}: the adapter changes the logits by {effect}, the difference is {error}"
    assert error < 1e-5 * largest, f"{what}: logits, up to {largest}, differ by {error}"
    print(f"{what}: logits of mlx-lm within {error / largest:.1e} of the merged model's")


def written(work):
    source = work / "text"
    source.mkdir()
    tensors = load_file(FIXTURE / "lora_text_proj/adapter_model.safetensors")
    save_file({name: value for name, value in tensors.items() if "language_model.layers" in name}, source / "adapter_model.safetensors")
    shutil.copy(FIXTURE / "lora_text_proj/adapter_config.json", source)
    pixtune("adapter", "convert", source, work / "mlx", "--to", "mlx", "--base", BASE)
    pixtune("adapter", "merge", BASE, source, work / "merged", "--dtype", "f32")
    compare("an adapter that pixtune writes", work / "mlx", work / "merged")


def read(work, kind):
    # Before the layers are made: they draw their A matrix.
    mx.random.seed(1)
    model = load(BASE)
    model.freeze()
    parameters = {"rank": 4, "scale": 3.0, "dropout": 0.0, "keys": ["self_attn.q_proj", "mlp.down_proj"]}
    linear_to_lora_layers(model, 2, parameters, use_dora=kind == "dora")
    tensors = {name: value + 0.05 * mx.random.normal(value.shape) for name, value in tree_flatten(model.trainable_parameters())}
    source = work / kind
    source.mkdir()
    mx.save_safetensors(str(source / "adapters.safetensors"), tensors)
    config = {"fine_tune_type": kind, "num_layers": 2, "lora_parameters": parameters}
    (source / "adapter_config.json").write_text(json.dumps(config))
    pixtune("adapter", "merge", BASE, source, work / f"merged-{kind}", "--dtype", "f32")
    compare(f"an adapter that mlx-lm writes ({kind})", source, work / f"merged-{kind}")


def main():
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        written(work)
        read(work, "lora")
        read(work, "dora")


main()
