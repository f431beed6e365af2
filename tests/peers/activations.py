"""What transformers with PEFT keep for the backward pass: the bytes that autograd saves for each token in one decoder layer.

`pixtune plan` states them (`ModelShape::kept_by_autograd_in_a_layer`). This counts every tensor that autograd saves in a stack
of one and of two layers, and compares the difference with the formula. LoRA on the seven linear layers, float32 adapters beside
bfloat16 weights, bfloat16 autocast, flash attention (PyTorch's, on the CPU). Exits with 1 where they differ by more
than 1 %.

    python tests/peers/activations.py
"""

import sys

import peft
import torch
import transformers
from transformers.models.mistral.modeling_mistral import MistralDecoderLayer

RANK = 16
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Pixtral 12B's proportions at a tenth of its width: hidden, feed-forward, query heads, key heads, width of a head.
HIDDEN, FEED_FORWARD, QUERIES, KEYS, HEAD = 512, 1408, 4, 1, 128


class Stack(torch.nn.Module):
    def __init__(self, config, layers):
        super().__init__()
        self.layers = torch.nn.ModuleList(MistralDecoderLayer(config, at) for at in range(layers))

    def forward(self, x, rope):
        for layer in self.layers:
            x = layer(x, position_embeddings=rope, attention_mask=None)
            x = x[0] if isinstance(x, tuple) else x
        return x


def saved(layers, tokens):
    """Bytes that autograd saves, each storage once, without frozen and trained weights."""
    config = transformers.MistralConfig(
        hidden_size=HIDDEN, intermediate_size=FEED_FORWARD, num_attention_heads=QUERIES, num_key_value_heads=KEYS,
        head_dim=HEAD, num_hidden_layers=layers, vocab_size=1024, sliding_window=None, attn_implementation="sdpa",
    )
    config._attn_implementation = "sdpa"
    model = peft.get_peft_model(
        Stack(config, layers).to(torch.bfloat16),
        peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=LINEARS),
    )
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    storages, alive = {}, []

    def pack(tensor):
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.zeros(1, tokens, HIDDEN, dtype=torch.bfloat16, requires_grad=True)
    rope = tuple(torch.zeros(1, tokens, HEAD, dtype=torch.bfloat16) for _ in range(2))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            model.train()(x, rope)
    return sum(storages.values())


def main():
    torch.set_num_threads(1)
    a_layer = lambda tokens: saved(2, tokens) - saved(1, tokens)
    # Two lengths: what does not grow with the tokens (autocast's copies of the adapters) is no activation.
    measured = (a_layer(512) - a_layer(256)) / 256
    # Not in the formula: the inner vectors of the adapters and a few sums a token.
    small = 2 * RANK * len(LINEARS) + 2 * 4 + 4 * QUERIES
    expected = 18 * HIDDEN + 6 * QUERIES * HEAD + 4 * KEYS * HEAD + 8 * FEED_FORWARD
    print(f"transformers {transformers.__version__}, PEFT {peft.__version__}, PyTorch {torch.__version__}")
    print(f"a token in a layer: {measured:.0f} bytes saved, {expected} by the formula and {small} of small tensors")
    return 0 if abs(measured - small - expected) <= 0.01 * expected else 1


sys.exit(main())
