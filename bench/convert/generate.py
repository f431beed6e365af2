"""A random Pixtral in Hugging Face's format with the matrices of Pixtral-12B and a share of its layers and vocabulary, and
the same in NF4 and an adapter for it, from the standard library alone. `generate.py DIRECTORY [--gigabytes 4] [--rank 16]`

The share is the same for decoder, vision encoder and vocabulary, so every kind of tensor has the part of the bytes that it
has in the 12B; 8 % are rows of q and k that move. The same seed gives the same bytes.
"""

import argparse
import json
import random
import struct
from pathlib import Path

# Pixtral-12B: width, heads, heads of keys, their size, feed-forward, vocabulary; and the vision encoder's.
DIM, HEADS, KV_HEADS, HEAD_DIM, HIDDEN, VOCABULARY, LAYERS = 5120, 32, 8, 128, 14336, 131072, 40
VISION, VISION_HIDDEN, VISION_HEADS, PATCH, VISION_LAYERS = 1024, 4096, 16, 16, 24
BYTES_12B = 25.36e9
BLOCK = 4 << 20

# The upper byte of a bf16: a random sign and exponents around 2^-6, so that no value is infinite or no number.
UPPER = bytes((byte & 0x80) | 0x3C | (byte & 1) for byte in range(256))


# The values of NF4's codes (bitsandbytes 0.50.2).
NF4 = [
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
]  # fmt: skip


def linear(name, rows, columns):
    return (f"{name}.weight", [rows, columns])


def tensors(layers, vision_layers, vocabulary):
    text, vision = "language_model.model", "vision_tower"
    yield "language_model.lm_head.weight", [vocabulary, DIM]
    yield f"{text}.embed_tokens.weight", [vocabulary, DIM]
    for layer in range(layers):
        at = f"{text}.layers.{layer}"
        yield f"{at}.input_layernorm.weight", [DIM]
        for name, rows, columns in text_linears():
            yield linear(f"{at}.{name}", rows, columns)
        yield f"{at}.post_attention_layernorm.weight", [DIM]
    yield f"{text}.norm.weight", [DIM]
    yield "multi_modal_projector.linear_1.weight", [DIM, VISION]
    yield "multi_modal_projector.linear_1.bias", [DIM]
    yield "multi_modal_projector.linear_2.weight", [DIM, DIM]
    yield "multi_modal_projector.linear_2.bias", [DIM]
    yield f"{vision}.ln_pre.weight", [VISION]
    yield f"{vision}.patch_conv.weight", [VISION, 3, PATCH, PATCH]
    for layer in range(vision_layers):
        at = f"{vision}.transformer.layers.{layer}"
        for name in ["q_proj", "k_proj", "v_proj", "o_proj"]:
            yield linear(f"{at}.attention.{name}", VISION, VISION)
        yield f"{at}.attention_norm.weight", [VISION]
        yield linear(f"{at}.feed_forward.down_proj", VISION, VISION_HIDDEN)
        yield linear(f"{at}.feed_forward.gate_proj", VISION_HIDDEN, VISION)
        yield linear(f"{at}.feed_forward.up_proj", VISION_HIDDEN, VISION)
        yield f"{at}.ffn_norm.weight", [VISION]


def text_linears():
    queries, keys = HEADS * HEAD_DIM, KV_HEADS * HEAD_DIM
    yield "mlp.down_proj", DIM, HIDDEN
    yield "mlp.gate_proj", HIDDEN, DIM
    yield "mlp.up_proj", HIDDEN, DIM
    yield "self_attn.k_proj", keys, DIM
    yield "self_attn.o_proj", DIM, queries
    yield "self_attn.q_proj", queries, DIM
    yield "self_attn.v_proj", keys, DIM


def adapter_tensors(layers, rank):
    for layer in range(layers):
        for name, rows, columns in text_linears():
            at = f"base_model.model.model.language_model.layers.{layer}.{name}"
            yield f"{at}.lora_A.weight", [rank, columns]
            yield f"{at}.lora_B.weight", [rows, rank]


def count(shape):
    elements = 1
    for side in shape:
        elements *= side
    return elements


def write(path, specs):
    """bf16 tensors of random values, a few megabytes at a time. Returns the bytes of the tensors."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in specs:
        end = at + 2 * count(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in specs:
            noise = random.Random(name)
            left = 2 * count(shape)
            while left:
                block = bytearray(noise.randbytes(min(BLOCK, left)))
                block[1::2] = block[1::2].translate(UPPER)
                file.write(block)
                left -= len(block)
    return at


def nf4_tensors(specs):
    """Name, type, shape and bytes of the tensors of a model whose linears in layers are NF4 with double quantization."""
    codes = struct.pack("<256f", *((code - 127.5) / 127.5 for code in range(256)))
    values = struct.pack("<16f", *NF4)
    for name, shape in specs:
        noise = random.Random(name)
        if ".layers." not in name or len(shape) != 2:
            yield name, "BF16", shape, blocks(noise, 2 * count(shape), UPPER)
            continue
        scales = count(shape) // 64
        state = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": shape, "nested_blocksize": 256,
                 "nested_dtype": "float32", "nested_offset": 0.02}  # fmt: skip
        state = json.dumps(state).encode()
        nested = struct.pack("<f", 0.01) * -(-scales // 256)
        yield f"{name}.nested_absmax", "F32", [len(nested) // 4], [nested]
        yield f"{name}.nested_quant_map", "F32", [256], [codes]
        yield f"{name}.quant_map", "F32", [16], [values]
        yield name, "U8", [count(shape) // 2, 1], blocks(noise, count(shape) // 2)
        yield f"{name}.absmax", "U8", [scales], blocks(noise, scales)
        yield f"{name}.quant_state.bitsandbytes__nf4", "U8", [len(state)], [state]


def blocks(noise, size, upper=None):
    for start in range(0, size, BLOCK):
        block = bytearray(noise.randbytes(min(BLOCK, size - start)))
        if upper:
            block[1::2] = block[1::2].translate(upper)
        yield bytes(block)


def write_nf4(path, specs):
    widths = {"F32": 4, "BF16": 2, "U8": 1}
    stored = sorted(nf4_tensors(specs), key=lambda tensor: -widths[tensor[1]])
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, _ in stored:
        end = at + widths[dtype] * count(shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, _, _, parts in stored:
            file.writelines(parts)


def config(layers, vision_layers, vocabulary):
    text = {
        "model_type": "mistral", "hidden_size": DIM, "intermediate_size": HIDDEN, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": vocabulary,
        "hidden_act": "silu", "rms_norm_eps": 1e-05, "rope_theta": 1000000000.0, "sliding_window": None,
        "max_position_embeddings": 1024000, "tie_word_embeddings": False,
    }  # fmt: skip
    vision = {
        "model_type": "pixtral", "hidden_size": VISION, "intermediate_size": VISION_HIDDEN, "num_hidden_layers": vision_layers,
        "num_attention_heads": VISION_HEADS, "head_dim": VISION // VISION_HEADS, "num_channels": 3, "image_size": 1024,
        "patch_size": PATCH, "hidden_act": "silu", "rope_theta": 10000.0,
    }  # fmt: skip
    return {
        "architectures": ["LlavaForConditionalGeneration"], "model_type": "llava", "torch_dtype": "bfloat16",
        "image_token_index": 10, "image_seq_length": 1, "multimodal_projector_bias": True, "projector_hidden_act": "gelu",
        "tie_word_embeddings": False, "vision_feature_layer": -1, "vision_feature_select_strategy": "full",
        "text_config": text, "vision_config": vision,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--gigabytes", type=float, default=4.0)
    parser.add_argument("--rank", type=int, default=16)
    arguments = parser.parse_args()
    share = arguments.gigabytes * 1e9 / BYTES_12B
    layers, vision_layers = max(1, round(LAYERS * share)), max(1, round(VISION_LAYERS * share))
    vocabulary = max(64, round(VOCABULARY * share))
    model, adapter = arguments.directory / "model", arguments.directory / "adapter"
    model.mkdir(parents=True)
    adapter.mkdir()
    specs = list(tensors(layers, vision_layers, vocabulary))
    total = write(model / "model.safetensors", specs)
    (model / "config.json").write_text(json.dumps(config(layers, vision_layers, vocabulary), indent=2))
    quantized = arguments.directory / "nf4"
    quantized.mkdir()
    write_nf4(quantized / "model.safetensors", specs)
    declared = config(layers, vision_layers, vocabulary) | {"quantization_config": {"quant_method": "bitsandbytes"}}
    (quantized / "config.json").write_text(json.dumps(declared, indent=2))
    write(adapter / "adapter_model.safetensors", list(adapter_tensors(layers, arguments.rank)))
    targets = sorted(name.split(".")[1] for name, _, _ in text_linears())
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": arguments.rank, "lora_alpha": 2 * arguments.rank,
                "lora_dropout": 0.0, "bias": "none", "target_modules": r".*language_model.*\.(" + "|".join(targets) + ")"}  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings, indent=2))
    print(f"{total / 1e9:.2f} GB: {layers} layers of text, {vision_layers} of vision, a vocabulary of {vocabulary}")


if __name__ == "__main__":
    main()
