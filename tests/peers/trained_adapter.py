"""An adapter that `pixtune train` wrote, in transformers and PEFT: every module applied, the same ids' logits.

usage: trained_adapter.py MODEL ADAPTER OUTPUT.safetensors   (the last from the example `logits` of pixtune-train)
"""

import sys
import warnings

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

model_path, adapter_path, ours_path = sys.argv[1:]
torch.set_num_threads(2)
# A key that fits nowhere, or is missing, is only a warning to PEFT.
warnings.simplefilter("error", UserWarning)
base = AutoModelForImageTextToText.from_pretrained(model_path, dtype=torch.float32, attn_implementation="eager")
bare = {}


def logits(model, tensors, index):
    ids = tensors[f"{index}.ids"].long()[None]
    pixels = [tensors[name] for name in sorted(tensors) if name.startswith(f"{index}.pixels.")]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    if pixels:
        height, width = max(p.shape[1] for p in pixels), max(p.shape[2] for p in pixels)
        padded = torch.zeros(len(pixels), 3, height, width)
        for row, image in zip(padded, pixels):
            row[:, : image.shape[1], : image.shape[2]] = image
        inputs["pixel_values"] = padded
        inputs["image_sizes"] = torch.tensor([list(p.shape[1:]) for p in pixels])
    with torch.no_grad():
        return model(**inputs).logits[0]


ours = load_file(ours_path)
samples = sorted({int(name.split(".")[0]) for name in ours})
assert len(samples) >= 4, samples
assert any(name.endswith("pixels.0") for name in ours)
for index in samples:
    bare[index] = logits(base, ours, index)

model = PeftModel.from_pretrained(base, adapter_path).eval()
stored = load_file(f"{adapter_path}/adapter_model.safetensors")
layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
whole = {
    name.replace(".modules_to_save.default", ""): tensor for name, tensor in model.named_parameters() if ".modules_to_save." in name
}
assert 2 * len(layers) + len(whole) == len(stored), (len(layers), len(whole), len(stored))
for name, tensor in whole.items():
    assert torch.equal(tensor, stored[name]), name
    before = base.get_parameter(name.removeprefix("base_model.model.").replace("projector.", "projector.original_module.")
                                .replace("vision_tower.", "vision_tower.original_module."))
    assert not torch.equal(tensor, before), f"{name} was never trained"
for name, module in layers.items():
    for side, linears in (("A", module.lora_A), ("B", module.lora_B)):
        key = f"{name}.lora_{side}.weight"
        assert torch.equal(linears["default"].weight, stored[key]), key
        assert stored[key].abs().max() > 0, f"{key} was never trained"

worst = 0.0
for index in samples:
    theirs = logits(model, ours, index)
    difference = (theirs - ours[f"{index}.logits"]).abs().max().item()
    moved = (theirs - bare[index]).abs().max().item()
    assert moved > 0.1, f"sample {index}: the adapter changes nothing ({moved})"
    worst = max(worst, difference)
assert worst < 2e-4, worst
print(f"{len(layers)} modules and {len(whole)} whole tensors applied, {len(samples)} samples, logits within {worst:.1e}")
