#!/usr/bin/env python3
"""`pixtune train` on one GPU: are its kernels right there, and how fast is it? Needs the built program, and nothing but Python beside it.

First the operations of the network are compared with float64 on the GPU, then the losses of a tiny model with those of the CPU. Then
a random model with the sizes of Pixtral 12B is trained for some steps at every length: with all activations kept, with all recomputed,
and with a base in 4 bits. Rows that were not reached, did not fit or failed are in the table with the reason.

    cargo build --release -p pixtune
    cargo test --release -p pixtune-emulator --test kernels --no-run     # prints the path of the test program
    python3 bench/gpu/measure.py --kernels target/release/deps/kernels-... --json rows.jsonl
    python3 bench/gpu/measure.py --device cpu --tiny                     # the same code with a tiny model

The model is written to memory (/dev/shm: 25 GB for Pixtral 12B) or to --directory, and removed at the end.
"""

import argparse
import base64
import json
import math
import os
import pathlib
import random
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib

START = time.monotonic()
ROOT = pathlib.Path(__file__).resolve().parents[2]

# Pixtral-12B: params.json of mistralai/Pixtral-12B-2409.
TEXT = dict(hidden_size=5120, intermediate_size=14336, num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8,
            head_dim=128, vocab_size=131072)
VISION = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, head_dim=64)
TINY_TEXT = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
                 vocab_size=400)
TINY_VISION = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, head_dim=16)
PATCH = 16
WAYS = {"kept": ["--activation-memory", "1000GB"], "recomputed": ["--activation-memory", "1B"], "4 bits": ["--load-in-4bit"],
        "4 bits, recomputed": ["--load-in-4bit", "--activation-memory", "1B"]}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pixtune", type=pathlib.Path, default=ROOT / "target/release/pixtune")
    parser.add_argument("--kernels", type=pathlib.Path, help="the test program with the conformance suite of devices")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit of the whole run")
    parser.add_argument("--tokens", type=int, nargs="+", help="tokens per batch [default: 2048 4096 8192]")
    parser.add_argument("--steps", type=int, default=5, help="measured steps per row, after the first")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--directory", type=pathlib.Path, help="where the model is written [default: /dev/shm]")
    parser.add_argument("--tiny", action="store_true", help="use a tiny model and short sequences")
    parser.add_argument("--json", type=pathlib.Path, help="also write every row to this file, one JSON object per line")
    args = parser.parse_args()
    args.tokens = args.tokens or ([128, 192] if args.tiny else [2048, 4096, 8192])
    return args


def tensors(text, vision):
    """Name and shape of every tensor, in transformers' spelling."""
    def layer(prefix, sizes, attention, mlp, norms):
        hidden, wide, heads = sizes["hidden_size"], sizes["intermediate_size"], sizes["num_attention_heads"] * sizes["head_dim"]
        keys = sizes.get("num_key_value_heads", sizes["num_attention_heads"]) * sizes["head_dim"]
        yield f"{prefix}.{attention}.q_proj.weight", [heads, hidden]
        yield f"{prefix}.{attention}.k_proj.weight", [keys, hidden]
        yield f"{prefix}.{attention}.v_proj.weight", [keys, hidden]
        yield f"{prefix}.{attention}.o_proj.weight", [hidden, heads]
        yield f"{prefix}.{mlp}.gate_proj.weight", [wide, hidden]
        yield f"{prefix}.{mlp}.up_proj.weight", [wide, hidden]
        yield f"{prefix}.{mlp}.down_proj.weight", [hidden, wide]
        for norm in norms:
            yield f"{prefix}.{norm}.weight", [hidden]

    hidden, seen = text["hidden_size"], vision["hidden_size"]
    table = [text["vocab_size"], hidden]
    yield "language_model.model.embed_tokens.weight", table
    yield "language_model.lm_head.weight", table
    yield "language_model.model.norm.weight", [hidden]
    for index in range(text["num_hidden_layers"]):
        yield from layer(f"language_model.model.layers.{index}", text, "self_attn", "mlp", ["input_layernorm", "post_attention_layernorm"])
    yield "vision_tower.patch_conv.weight", [seen, 3, PATCH, PATCH]
    yield "vision_tower.ln_pre.weight", [seen]
    for index in range(vision["num_hidden_layers"]):
        yield from layer(f"vision_tower.transformer.layers.{index}", vision, "attention", "feed_forward", ["attention_norm", "ffn_norm"])
    for name, shape in (("linear_1", [hidden, seen]), ("linear_2", [hidden, hidden])):
        yield f"multi_modal_projector.{name}.weight", shape
        yield f"multi_modal_projector.{name}.bias", shape[:1]


def bf16(value):
    return struct.pack("<f", value)[2:]


def write_model(directory, tiny):
    """Matrices with a deviation of 0.02, norms 1, biases 0. A million random numbers are repeated, from another one on in each tensor."""
    text, vision = (TINY_TEXT, TINY_VISION) if tiny else (TEXT, VISION)
    directory.mkdir()
    rng = random.Random(0)
    block = b"".join(bf16(rng.gauss(0.0, 0.02)) for _ in range(1 << 20))
    header, at = {}, 0
    for name, shape in tensors(text, vision):
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with open(directory / "model.safetensors", "wb") as out:
        out.write(struct.pack("<Q", len(head)) + head)
        for name, entry in header.items():
            left = entry["data_offsets"][1] - entry["data_offsets"][0]
            if len(entry["shape"]) == 1:
                out.write(bf16(0.0 if name.endswith("bias") else 1.0) * (left // 2))
                continue
            start = 2 * rng.randrange(len(block) // 2)
            while left > 0:
                part = block[start:start + left]
                out.write(part)
                left -= len(part)
                start = 0
    image_size = 128 if tiny else 1024
    config = {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "dtype": "bfloat16", "image_token_index": 10,
        "projector_hidden_act": "gelu", "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
        "multimodal_projector_bias": True, "tie_word_embeddings": False,
        "text_config": {**text, "model_type": "mistral", "rms_norm_eps": 1e-5, "rope_theta": 1e9, "hidden_act": "silu",
                        "max_position_embeddings": 131072, "tie_word_embeddings": False},
        "vision_config": {**vision, "model_type": "pixtral", "image_size": image_size, "patch_size": PATCH, "num_channels": 3,
                          "rope_theta": 1e4, "hidden_act": "silu"},
    }
    (directory / "config.json").write_text(json.dumps(config, indent=1))
    if tiny:
        shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", directory)
    return at


def png(side, rng):
    rows = b"".join(b"\0" + rng.randbytes(3 * side) for _ in range(side))
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def write_data(path, tokens, tiny):
    """Two samples of about `tokens` tokens: an image of half of them, a prompt, and a response of a quarter. A digit is a token."""
    rng = random.Random(tokens)
    side = min(int((tokens / 2) ** 0.5), 8 if tiny else 64)
    digits = lambda count: "".join(rng.choice("0123456789") for _ in range(max(count, 1)))  # noqa: E731
    with open(path, "w") as out:
        for _ in range(2):
            image = base64.b64encode(png(PATCH * side, rng)).decode()
            answer = tokens // 4
            content = [{"type": "image_url", "image_url": f"data:image/png;base64,{image}"},
                       {"type": "text", "text": digits(tokens - side * (side + 1) - answer - 8)}]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": digits(answer)}]
            out.write(json.dumps({"messages": messages}) + "\n")


class Memory(threading.Thread):
    """The most memory of the GPU that was in use, of all processes on it, in steps of a fifth of a second."""

    def __init__(self, device):
        super().__init__(daemon=True)
        self.device, self.peak, self.done = device, 0, threading.Event()

    def run(self):
        index = self.device.partition(":")[2] or "0"
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "-i", index]
        while self.device.startswith("cuda") and not self.done.wait(0.2):
            found = subprocess.run(command, capture_output=True, text=True)
            if found.returncode == 0:
                self.peak = max(self.peak, int(found.stdout.split()[0]) << 20)


class Bench:
    def __init__(self, args, directory):
        self.args, self.directory, self.rows = args, directory, []
        self.out = open(args.json, "w") if args.json else None

    def left(self):
        return 60 * self.args.minutes - (time.monotonic() - START)

    def note(self, **row):
        self.rows.append(row)
        if self.out:
            print(json.dumps(row), file=self.out, flush=True)
        print("  ".join(f"{key}={value}" for key, value in row.items()), file=sys.stderr, flush=True)

    def machine(self):
        command = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        try:
            gpu = subprocess.run(command, capture_output=True, text=True).stdout.strip() or "no GPU"
        except OSError:
            gpu = "no GPU"
        version = subprocess.run([self.args.pixtune, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        self.note(kind="machine", gpu=gpu, version=version, cores=os.cpu_count())

    def kernels(self):
        """The conformance suite on the GPU."""
        if not self.args.kernels:
            return self.note(kind="kernels", result="not run: --kernels was not given")
        ask = ["gpu::", "--ignored", "--test-threads=1"] if self.args.device != "cpu" else ["cpu", "--list"]
        done = self.command([self.args.kernels, *ask], 0.5 * self.left())
        if done is None:
            return self.note(kind="kernels", result="did not end in time")
        lines = [line for line in done.stdout.splitlines() if line.startswith("test ") and line.endswith("FAILED")]
        self.note(kind="kernels", result="pass" if done.returncode == 0 else "FAILED", failed=[line.split()[1] for line in lines])

    def parity(self):
        """Losses of a tiny model on this device and on the CPU, which is exact to single precision."""
        model, data = self.directory / "parity", self.directory / "parity.jsonl"
        write_model(model, True)
        write_data(data, 128, True)
        losses = {}
        for device in dict.fromkeys(["cpu", self.args.device]):
            out = self.directory / f"parity-{device.replace(':', '-')}"
            done, lines = self.train(model, data, out, device, 128, ["--learning-rate", "1e-3"])
            if lines is None:
                return self.note(kind="parity", device=device, result="FAILED", why=last_line(done))
            losses[device] = [line["loss"] for line in lines]
        apart = max(abs(a / b - 1) for a, b in zip(losses[self.args.device], losses["cpu"]))
        self.note(kind="parity", steps=len(losses["cpu"]), largest_relative_difference=round(apart, 6),
                  result="pass" if apart < 0.02 else "FAILED")

    def train(self, model, data, out, device, tokens, more):
        command = [self.args.pixtune, "train", "--model", model, "--data", data, "--out", out, "--device", device, "--steps",
                   self.args.steps + 1, "--batch-tokens", tokens + 64, "--warmup", "0", "--save-every", "1000", "--lora-rank",
                   self.args.rank, "--quiet", *more]
        if not (model / "tekken.json").exists():
            command += ["--tokenizer", "pixtral-12b"]
        done = self.command(command, self.left())
        metrics = out / "metrics.jsonl"
        if done is None or done.returncode != 0 or not metrics.exists():
            return done, None
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        shutil.rmtree(out)
        return done, [line for line in lines if "loss" in line]

    def row(self, tokens, way):
        row = dict(kind="train", tokens=tokens, way=way)
        if self.left() < (60 if not self.args.tiny else 5):
            return self.note(**row, why="no time left")
        data = self.directory / f"data-{tokens}.jsonl"
        memory = Memory(self.args.device)
        memory.start()
        start = time.monotonic()
        done, lines = self.train(self.directory / "model", data, self.directory / "run", self.args.device, tokens, WAYS[way])
        memory.done.set()
        if lines is None:
            return self.note(**row, why=last_line(done) if done else "no time left")
        times = [line["seconds"] for line in lines[1:]]
        median = statistics.median(times)
        self.note(**row, batch=lines[-1]["tokens"], tokens_per_s=round(lines[-1]["tokens"] / median, 1), step_ms=round(1000 * median, 1),
                  spread=round((max(times) - min(times)) / median, 3), peak_gb=round(memory.peak / 1e9, 2),
                  loss=round(lines[-1]["loss"], 4), whole_s=round(time.monotonic() - start, 1))

    def command(self, words, seconds):
        try:
            return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=max(seconds, 1), cwd=ROOT)
        except subprocess.TimeoutExpired:
            return None

    def table(self):
        machine = next(row for row in self.rows if row["kind"] == "machine")
        print(f"\n{machine['gpu']}, {machine['version']}, {time.monotonic() - START:.0f} s in all")
        for row in self.rows:
            if row["kind"] in ("kernels", "parity"):
                rest = ", ".join(f"{key} {value}" for key, value in row.items() if key not in ("kind", "result"))
                print(f"{row['kind']}: {row['result']} ({rest})")
        print("\n| tokens | | tokens/s | step ms | spread | peak GB | loss | remark |\n|---|---|---|---|---|---|---|---|")
        for row in (row for row in self.rows if row["kind"] == "train"):
            if "why" in row:
                print(f"| {row['tokens']} | {row['way']} | - | - | - | - | - | {row['why']} |")
            else:
                print(f"| {row['batch']} | {row['way']} | {row['tokens_per_s']} | {row['step_ms']} | {row['spread']:.1%} | {row['peak_gb']} | "
                      f"{row['loss']} | |")


def last_line(done):
    if done is None:
        return "no time left"
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")] or done.stderr.splitlines() or ["no message"]
    return lines[-1][:200]


def main():
    args = arguments()
    # A run that is stopped removes what it has written.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    shared = pathlib.Path("/dev/shm")
    parent = args.directory or (shared if shared.is_dir() and not args.tiny else None)
    with tempfile.TemporaryDirectory(dir=parent) as directory:
        bench = Bench(args, pathlib.Path(directory))
        bench.machine()
        bench.kernels()
        bench.parity()
        start = time.monotonic()
        size = write_model(bench.directory / "model", args.tiny)
        bench.note(kind="model", gigabytes=round(size / 1e9, 2), seconds=round(time.monotonic() - start, 1))
        for tokens in args.tokens:
            write_data(bench.directory / f"data-{tokens}.jsonl", tokens, args.tiny)
        for way in WAYS:
            for tokens in args.tokens:
                bench.row(tokens, way)
        bench.table()
        if any(row.get("result") == "FAILED" for row in bench.rows):
            sys.exit(1)


main()
