"""Writes a random Ministral 3 whose settings differ from the fixtures': ministral3.py DIRECTORY.

Positions are stretched with an attention factor that is not one, queries grow every 12 positions, norms have another epsilon, patches
another size, and 3x3 of them are merged.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# The special tokens of v13 that conversations need, by their ids.
NAMES = dict(enumerate([
    "<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]",
    "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]", "[SUFFIX]", "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]",
])) | {32: "[ARGS]", 33: "[CALL_ID]", 34: "[THINK]", 35: "[/THINK]"}


def write_tokenizer(directory, patch, longest, merge):
    """The tokenizer of the tiny Pixtral, with the special tokens of v13 and another grid."""
    tekken = json.loads((ROOT / "fixtures/tiny_tekken/tekken.json").read_text())
    tekken["config"]["version"] = "v13"
    del tekken["multimodal"]
    tekken["image"] = {"image_patch_size": patch, "max_image_size": longest, "spatial_merge_size": merge}
    tekken["special_tokens"] = [
        {"rank": rank, "token_str": NAMES.get(rank, f"<SPECIAL_{rank}>"), "is_control": True}
        for rank in range(tekken["config"]["default_num_special_tokens"])
    ]
    (Path(directory) / "tekken.json").write_text(json.dumps(tekken))


def main():
    import torch
    from transformers import Ministral3Config, Mistral3Config, Mistral3ForConditionalGeneration, PixtralVisionConfig

    directory = Path(sys.argv[1])
    rope = {"rope_type": "yarn", "type": "yarn", "rope_theta": 5e5, "factor": 8.0, "original_max_position_embeddings": 12,
            "beta_fast": 4.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 0.0, "llama_4_scaling_beta": 0.2}
    config = Mistral3Config(
        text_config=Ministral3Config(
            hidden_size=72, intermediate_size=104, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=3, head_dim=20,
            vocab_size=400, rms_norm_eps=1e-6, max_position_embeddings=96, rope_parameters=rope,
        ),
        vision_config=PixtralVisionConfig(
            hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=3, head_dim=16, hidden_act="silu",
            image_size=120, patch_size=8,
        ),
        image_token_index=10, multimodal_projector_bias=False, projector_hidden_act="gelu", spatial_merge_size=3,
        vision_feature_layer=-1, tie_word_embeddings=False,
    )
    torch.manual_seed(11)
    model = Mistral3ForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.1)
        else:
            torch.nn.init.uniform_(parameter, 0.7, 1.3)
    model.to(torch.bfloat16).save_pretrained(directory)
    write_tokenizer(directory, 8, 120, 3)


if __name__ == "__main__":
    main()
