"""The usual route from Hugging Face's format to Mistral's: everything loaded, q and k permuted, everything saved.
`usual.py MODEL OUT`

Stands for the scripts that people pass on: names by regular expressions, rows by reshape and transpose, no check of
anything. Configuration and tokenizer are not copied.
"""

import json
import re
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

RENAMES = [
    (r"^language_model\.lm_head", "output"),
    (r"^language_model\.model\.norm", "norm"),
    (r"^language_model\.model\.embed_tokens", "tok_embeddings"),
    (r"^language_model\.model\.", ""),
    (r"^vision_tower\.", "vision_encoder."),
    (r"^multi_modal_projector\.linear_1", "vision_language_adapter.w_in"),
    (r"^multi_modal_projector\.linear_2", "vision_language_adapter.w_out"),
    (r"\.(self_attn|attention)\.([qkvo])_proj", r".attention.w\2"),
    (r"\.(mlp|feed_forward)\.gate_proj", ".feed_forward.w1"),
    (r"\.(mlp|feed_forward)\.down_proj", ".feed_forward.w2"),
    (r"\.(mlp|feed_forward)\.up_proj", ".feed_forward.w3"),
    (r"\.input_layernorm", ".attention_norm"),
    (r"\.post_attention_layernorm", ".ffn_norm"),
]


def permute(weight, heads):
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def main(model, out):
    config = json.loads((model / "config.json").read_text())
    text, vision = config["text_config"], config["vision_config"]
    converted = {}
    for name, weight in load_file(model / "model.safetensors").items():
        heads = None
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            if name.startswith("vision_tower"):
                heads = vision["num_attention_heads"]
            else:
                heads = text["num_attention_heads" if name.endswith("q_proj.weight") else "num_key_value_heads"]
        for pattern, replacement in RENAMES:
            name = re.sub(pattern, replacement, name)
        converted[name] = permute(weight, heads) if heads else weight
    out.mkdir()
    save_file(converted, out / "consolidated.safetensors", metadata={"format": "pt"})


main(Path(sys.argv[1]), Path(sys.argv[2]))
