"""Writes a random Pixtral of about 100 million parameters with the 12B's proportions, or a Ministral 3, and data for it.

model.py DIRECTORY [--architecture ministral3] [--tokens 1000 2000 4000]: DIRECTORY/model in Hugging Face's format with a tekken.json, DIRECTORY/data-N.jsonl with
two samples of about N tokens, half of them image tokens.
"""

import argparse
import base64
import json
import pathlib
import random
import shutil
import struct
import sys
import zlib

import torch
from transformers import (
    LlavaConfig, LlavaForConditionalGeneration, Ministral3Config, Mistral3Config, Mistral3ForConditionalGeneration, MistralConfig,
    PixtralVisionConfig,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/peers"))
from ministral3 import write_tokenizer  # noqa: E402
# Of Pixtral 12B's sizes: hidden a seventh, as many heads for each width, the feed-forward 2.8 times as wide.
TEXT = dict(hidden_size=768, intermediate_size=2176, num_hidden_layers=12, num_attention_heads=8, num_key_value_heads=2,
            head_dim=96, vocab_size=400, rms_norm_eps=1e-5, max_position_embeddings=131072, sliding_window=None)
VISION = dict(hidden_size=320, intermediate_size=1280, num_hidden_layers=8, num_attention_heads=5, head_dim=64,
              hidden_act="silu", image_size=1024, patch_size=16)


# Of Ministral 3 3B's: the embedding is the output, and positions are stretched from 16,384.
STRETCHED = {"rope_type": "yarn", "type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384,
             "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1}


def make_ministral3(directory):
    text = TEXT | dict(max_position_embeddings=262144, tie_word_embeddings=True)
    config = Mistral3Config(
        vision_config=PixtralVisionConfig(**VISION | dict(image_size=1540, patch_size=14)),
        text_config=Ministral3Config(**text, rope_parameters=STRETCHED),
        image_token_index=10, projector_hidden_act="gelu", vision_feature_layer=-1, multimodal_projector_bias=False,
        spatial_merge_size=2, tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    model = Mistral3ForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(directory)
    write_tokenizer(directory, 14, 1540, 2)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


def make_model(directory):
    config = LlavaConfig(
        vision_config=PixtralVisionConfig(**VISION, rope_parameters={"rope_type": "default", "rope_theta": 1e4}),
        text_config=MistralConfig(**TEXT, rope_parameters={"rope_type": "default", "rope_theta": 1e9}),
        image_token_index=10, projector_hidden_act="gelu", vision_feature_select_strategy="full", vision_feature_layer=-1,
        multimodal_projector_bias=True, tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(config).to(torch.bfloat16)
    model.save_pretrained(directory)
    path = directory / "config.json"
    config = json.loads(path.read_text())
    for part in ("text_config", "vision_config"):
        config[part]["rope_theta"] = config[part]["rope_parameters"]["rope_theta"]
    path.write_text(json.dumps(config, indent=1))
    shutil.copy(ROOT / "fixtures/tiny_tekken/tekken.json", directory / "tekken.json")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters")


def png(width, height, rng):
    rows = b"".join(b"\0" + rng.randbytes(3 * width) for _ in range(height))
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # noqa: E731
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b"")


def make_data(path, tokens, unit):
    """`unit` is the side of an image token in pixels."""
    rng = random.Random(tokens)
    side = int((tokens / 2) ** 0.5)
    with open(path, "w") as out:
        for _ in range(2):
            image = base64.b64encode(png(unit * side, unit * side, rng)).decode()
            # A letter outside the pairs of the vocabulary is a token of its own.
            text = lambda count: "".join(rng.choice("QXZJKVWY") for _ in range(count))  # noqa: E731
            rest = tokens - side * (side + 1) - 5
            content = [
                {"type": "image_url", "image_url": f"data:image/png;base64,{image}"},
                {"type": "text", "text": text(rest // 2)},
            ]
            messages = [{"role": "user", "content": content}, {"role": "assistant", "content": text(rest - rest // 2)}]
            out.write(json.dumps({"messages": messages}) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, nargs="+", default=[1000, 2000, 4000])
    parser.add_argument("--architecture", choices=["pixtral", "ministral3"], default="pixtral")
    args = parser.parse_args()
    args.directory.mkdir(parents=True, exist_ok=True)
    make, unit = {"pixtral": (make_model, 16), "ministral3": (make_ministral3, 28)}[args.architecture]
    make(args.directory / "model")
    for tokens in args.tokens:
        make_data(args.directory / f"data-{tokens}.jsonl", tokens, unit)


if __name__ == "__main__":
    main()
