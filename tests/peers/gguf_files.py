"""llama.cpp's own package reads the GGUF files of pixtune: every tensor has the values of the checkpoint in Mistral's format, in the
type that the file states, Q8_0 as the package quantizes it, and the adapter is the one of peft.

    gguf_files.py PIXTUNE FIXTURES OUT
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, MODEL_ARCH, MODEL_TENSORS, TENSOR_NAMES, dequantize, quantize

PARTS = {
    "attention_norm": ("attn_norm", "ln1"), "attention.wq": ("attn_q", "attn_q"), "attention.wk": ("attn_k", "attn_k"),
    "attention.wv": ("attn_v", "attn_v"), "attention.wo": ("attn_output", "attn_out"), "ffn_norm": ("ffn_norm", "ln2"),
    "feed_forward.w1": ("ffn_gate", "ffn_gate"), "feed_forward.w2": ("ffn_down", "ffn_down"), "feed_forward.w3": ("ffn_up", "ffn_up"),
}
SINGLE = {
    "tok_embeddings": "token_embd", "norm": "output_norm", "output": "output", "vision_encoder.patch_conv": "v.patch_embd",
    "vision_encoder.ln_pre": "v.pre_ln", "pre_mm_projector_norm": "mm.input_norm", "patch_merger.merging_layer": "mm.patch_merger", "vision_language_adapter.w_in": "mm.1", "vision_language_adapter.w_out": "mm.2",
}


def safetensors(path):
    """The tensors of a file as arrays of float32."""
    data = Path(path).read_bytes()
    length = int.from_bytes(data[:8], "little")
    tensors = {}
    for name, about in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        start, end = (8 + length + offset for offset in about["data_offsets"])
        raw = data[start:end]
        values = {
            "BF16": lambda raw: (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4"),
            "F16": lambda raw: np.frombuffer(raw, "<f2").astype("<f4"),
            "F32": lambda raw: np.frombuffer(raw, "<f4"),
        }[about["dtype"]](raw)
        tensors[name] = values.reshape(about["shape"])
    return tensors


def renamed(native):
    module, kind = native.rsplit(".", 1)
    for prefix, own, column in [("layers.", "blk", 0), ("vision_encoder.transformer.layers.", "v.blk", 1)]:
        if module.startswith(prefix):
            layer, part = module.removeprefix(prefix).split(".", 1)
            return f"{own}.{layer}.{PARTS[part][column]}.{kind}"
    return f"{SINGLE[module]}.{kind}"


def bits(values):
    return values.astype("<f4").view("<u4")


def expected(values, kind):
    """What a file of a type holds of some values."""
    if kind == GGMLQuantizationType.F32:
        return values
    return dequantize(quantize(values, kind), kind)


def check_model(pixtune, source, weights, out, dtype):
    subprocess.run([pixtune, "convert", source, out, "--to", "gguf", "--dtype", dtype, "--verify", "--quiet"], check=True, stdout=subprocess.DEVNULL)
    files = sorted(Path(out).glob("*.gguf"))
    readers = [GGUFReader(path) for path in files]
    found = {tensor.name: tensor for reader in readers for tensor in reader.tensors}
    for native, values in weights.items():
        tensor = found.pop(renamed(native))
        shape = tuple(int(side) for side in reversed(tensor.shape))
        assert shape == values.shape, (native, shape, values.shape)
        got = dequantize(tensor.data, tensor.tensor_type).reshape(shape)
        assert (bits(got) == bits(expected(values, tensor.tensor_type).reshape(shape))).all(), (dtype, native)
    row = found.pop("v.token_embd.img_break")
    assert (bits(row.data) == bits(weights["tok_embeddings.weight"][12])).all()
    assert not found, list(found)
    architectures = {"llama": MODEL_ARCH.LLAMA, "mistral3": MODEL_ARCH.MISTRAL3}
    text = next(reader for reader in readers if reader.fields["general.architecture"].contents() in architectures)
    architecture = architectures[text.fields["general.architecture"].contents()]
    known = [TENSOR_NAMES[key].replace("{bid}", "0") for key in MODEL_TENSORS[architecture]]
    assert all(t.name.removesuffix(".weight").replace(".1.", ".0.").replace(".2.", ".0.") in known for t in text.tensors)
    return text, len(weights) + 1


def check_vocabulary(text, fixtures):
    """The bytes behind tokens are those of tekken.json."""
    tekken = json.loads((fixtures / "tiny_tekken/tekken.json").read_text())
    alphabet = [b for b in range(256) if 0x21 <= b <= 0x7E or 0xA1 <= b <= 0xAC or 0xAE <= b]
    letters = {chr(b): b for b in alphabet}
    letters |= {chr(0x100 + i): b for i, b in enumerate(b for b in range(256) if b not in alphabet)}
    import base64

    specials = tekken["config"]["default_num_special_tokens"]
    tokens = text.fields["tokenizer.ggml.tokens"].contents()
    ranks = [base64.b64decode(entry["token_bytes"]) for entry in tekken["vocab"]][: len(tokens) - specials]
    assert [bytes(letters[letter] for letter in token) for token in tokens[specials:]] == ranks
    assert text.fields["tokenizer.ggml.token_type"].contents() == [3] * specials + [1] * len(ranks)
    return len(tokens)


def check_adapter(pixtune, fixtures, source, out):
    """The product of the two factors, scaled as llama.cpp scales it, is that of the adapter in Mistral's format."""
    lora = fixtures / "tiny_pixtral/lora_text_proj"
    config = json.loads((lora / "adapter_config.json").read_text())
    text_only = out / "text"
    text_only.mkdir()
    tensors = {n: v for n, v in safetensors(lora / "adapter_model.safetensors").items() if "language_model" in n}
    header, data = {}, b""
    for name, values in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [len(data), len(data) + values.nbytes]}
        data += values.astype("<f4").tobytes()
    head = json.dumps(header).encode()
    (text_only / "adapter_model.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + data)
    (text_only / "adapter_config.json").write_text(json.dumps(config))
    command = [pixtune, "adapter", "convert", text_only, out / "adapter", "--to", "gguf", "--base", source]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    reader = GGUFReader(out / "adapter/adapter.gguf")
    alpha = reader.fields["adapter.lora.alpha"].contents()
    found = {tensor.name: tensor.data for tensor in reader.tensors}
    native = safetensors(fixtures / "tiny_pixtral/native_lora_text_proj/lora.safetensors")
    scaling = config["lora_alpha"] / config["r"]
    count = 0
    for name in [name for name in native if name.endswith(".lora_A.weight") and name.startswith("layers.")]:
        module = name.removesuffix(".lora_A.weight")
        own = renamed(module + ".weight")
        a, b = found.pop(own + ".lora_a"), found.pop(own + ".lora_b")
        wanted = native[module + ".lora_B.weight"] @ native[name]
        got = (b @ a) * (alpha / a.shape[0]) / scaling
        assert np.abs(got - wanted).max() < 1e-6, module
        count += 1
    assert not found and count > 0
    return count


def check_merging(pixtune, fixtures, out):
    """Mistral Small 3 and Ministral 3: the tensors, and the keys that llama.cpp's converter writes of the positions."""
    tekken = json.loads((fixtures / "tiny_tekken/tekken.json").read_text())
    for name in ["tiny_mistral3", "tiny_ministral3", "tiny_ministral3_tied"]:
        source = out / name
        source.mkdir()
        for path in (fixtures / name / "hf_bf16").iterdir():
            (source / path.name).write_bytes(path.read_bytes())
        config = json.loads((source / "config.json").read_text())
        size = config["text_config"]["vocab_size"]
        # 60 special tokens leave enough for one token per byte.
        sizes = {"default_vocab_size": size, "default_num_special_tokens": 60}
        (source / "tekken.json").write_text(json.dumps({**tekken, "config": {**tekken["config"], **sizes}}))
        weights = safetensors(fixtures / name / "native_bf16/consolidated.safetensors")
        for dtype in ["f32", "f16", "q8_0"]:
            text, tensors = check_model(pixtune, source, weights, out / f"{name}-{dtype}", dtype)
        field = lambda key: text.fields[f"mistral3.{key}"].contents()
        if rope := config["text_config"].get("rope_parameters"):
            scaling = {"factor": "factor", "original_max_position_embeddings": "original_context_length"}
            scaling |= {"beta_fast": "yarn_beta_fast", "beta_slow": "yarn_beta_slow", "mscale_all_dim": "yarn_log_multiplier"}
            for key, own in scaling.items():
                assert abs(field(f"rope.scaling.{own}") - rope[key]) < 1e-6, (name, key)
            assert field("rope.scaling.type") == "yarn" and abs(field("attention.temperature_scale") - rope["llama_4_scaling_beta"]) < 1e-6
        print(f"{name}: {tensors} tensors equal")


def main():
    pixtune, fixtures, out = (Path(argument).resolve() for argument in sys.argv[1:])
    out.mkdir(parents=True)
    source = out / "tiny"
    source.mkdir()
    for path in (fixtures / "tiny_pixtral/hf_bf16").iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    (source / "tekken.json").write_bytes((fixtures / "tiny_tekken/tekken.json").read_bytes())
    weights = safetensors(fixtures / "tiny_pixtral/native_bf16/consolidated.safetensors")
    for dtype in ["f32", "f16", "bf16", "q8_0"]:
        text, tensors = check_model(pixtune, source, weights, out / dtype, dtype)
        print(f"{dtype}: {tensors} tensors equal")
    print(f"{check_vocabulary(text, fixtures)} tokens equal")
    check_merging(pixtune, fixtures, out)
    print(f"adapter: {check_adapter(pixtune, fixtures, source, out)} modules equal")


main()
