"""Alternating runs of both programs: compare.py DIRECTORY PIXTUNE THREADS TOKENS…; prints a table."""

import json
import os
import pathlib
import statistics
import subprocess
import sys

directory, pixtune, threads, *lengths = sys.argv[1:]
directory = pathlib.Path(directory)
here = pathlib.Path(__file__).parent
STEPS = 4
# The speed of a host varies within minutes: the programs alternate this often, and the fastest run of each is shown.
ROUNDS = int(os.environ.get("ROUNDS", "1"))


def decoder_flops(tokens):
    """Operations of a step: forward pass and input gradients of the decoder's linear layers. Without attention, vision and
    adapters, so the share of the GEMM rate is a lower bound."""
    config = json.loads((directory / "model/config.json").read_text())["text_config"]
    queries = config["num_attention_heads"] * config["head_dim"]
    keys = config["num_key_value_heads"] * config["head_dim"]
    layer = config["hidden_size"] * (2 * queries + 2 * keys + 3 * config["intermediate_size"])
    return 4 * layer * config["num_hidden_layers"] * tokens


def rate(side):
    return side["tokens_per_s"]


def ours(tokens, more):
    out, data = directory / "run", directory / f"data-{tokens}.jsonl"
    command = ["/usr/bin/env", "python3", here / "peak.py", pixtune, "train", "--model", directory / "model", "--data", data, "--out",
               out, "--force", "--steps", STEPS, "--batch-tokens", 2 * int(tokens) + 64, "--threads", threads, "--quiet",
               "--warmup", "0", "--save-every", "1000", *more]
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["tokens"] / line["seconds"] for line in lines[1:]]
    return {"tokens_per_s": statistics.median(rates), "peak_mb": float(done.stderr.split()[-1]), "losses": [l["loss"] for l in lines],
            "tokens": lines[0]["tokens"]}


def theirs(tokens, more):
    data = directory / f"data-{tokens}.jsonl"
    ids = directory / f"ids-{tokens}.jsonl"
    with open(ids, "w") as out:
        subprocess.run([pixtune, "tokens", "--ids", "--model", directory / "model", data], check=True, stdout=out)
    command = [sys.executable, here / "rival.py", directory / "model", data, ids, threads, STEPS, *more]
    return json.loads(subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True).stdout)


print("| tokens | | tokens/s | ratio in each round | peak MB | ratio | first loss | share of f32 GEMM |")
print("|---|---|---|---|---|---|---|---|")
for tokens in lengths:
    for name, mine, other in (("all kept", [], []), ("recomputed", ["--activation-memory", "1MB"], ["--checkpointing"])):
        rounds = [(ours(tokens, mine), theirs(tokens, other)) for _ in range(ROUNDS)]
        assert all(we["tokens"] == they["tokens"] for we, they in rounds)
        ratios = ", ".join(f"{we['tokens_per_s'] / they['tokens_per_s']:.2f}" for we, they in rounds)
        we, they = max((we for we, _ in rounds), key=rate), max((they for _, they in rounds), key=rate)
        share = decoder_flops(they["tokens"]) / they["tokens"] / 1e9 / max(they["gemm_gflops"] for _, they in rounds)
        for who, side, each in ((f"pixtune, {name}", we, ratios), (f"transformers + peft, {name}", they, "")):
            print(f"| {side['tokens']} | {who} | {side['tokens_per_s']:.0f} | {each} | "
                  f"{side['peak_mb']:.0f} | {side['peak_mb'] / they['peak_mb']:.2f} | {side['losses'][0]:.4f} | "
                  f"{side['tokens_per_s'] * share:.0%} |", flush=True)
