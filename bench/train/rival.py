"""transformers + peft on the same weights, ids, images, rank and threads as `pixtune train`.

rival.py MODEL DATA.jsonl IDS.jsonl THREADS STEPS [--checkpointing]: a JSON line with tokens per second, peak memory of the
process and the loss of each step. IDS.jsonl is `pixtune tokens --ids`, so both programs read the same tokens.
"""

import base64
import io
import json
import resource
import statistics
import sys
import time

import numpy
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image
from transformers import AutoModelForImageTextToText

model_path, data_path, ids_path, threads, steps, *flags = sys.argv[1:]
torch.set_num_threads(int(threads))
MEAN = numpy.array([0.48145466, 0.4578275, 0.40821073], numpy.float32)
DEVIATION = numpy.array([0.26862954, 0.26130258, 0.27577711], numpy.float32)


def pixels(line):
    uri = json.loads(line)["messages"][0]["content"][0]["image_url"]
    image = Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))
    values = (numpy.asarray(image, numpy.float32) / 255 - MEAN) / DEVIATION
    return torch.from_numpy(values.transpose(2, 0, 1).copy())


samples = []
for line, ids in zip(open(data_path), open(ids_path)):
    ids = json.loads(ids)
    labels, at = list(ids["ids"]), 0
    for trained, count in ids["trained_runs"]:
        if not trained:
            labels[at : at + count] = [-100] * count
        at += count
    samples.append((ids["ids"], labels, pixels(line)))
assert len({len(ids) for ids, _, _ in samples}) == 1, "samples of one length need no padding, which would favour us"

model = AutoModelForImageTextToText.from_pretrained(model_path, dtype=torch.float32, attn_implementation="sdpa")
linears = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=r".*language_model.*\.(" + "|".join(linears) + ")"))
model.train()
if "--checkpointing" in flags:
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
trained = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.1)
batch = dict(
    input_ids=torch.tensor([ids for ids, _, _ in samples]),
    labels=torch.tensor([labels for _, labels, _ in samples]),
    attention_mask=torch.ones(len(samples), len(samples[0][0]), dtype=torch.long),
    pixel_values=torch.stack([image for _, _, image in samples]),
    image_sizes=torch.tensor([list(image.shape[1:]) for _, _, image in samples]),
)
times, losses = [], []
for _ in range(int(steps)):
    start = time.perf_counter()
    loss = model(**batch, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    times.append(time.perf_counter() - start)
    losses.append(loss.item())
tokens = batch["input_ids"].numel()
side = 1536
left, right = torch.randn(side, side), torch.randn(side, side)
gemm = []
for _ in range(5):
    start = time.perf_counter()
    left @ right
    gemm.append(time.perf_counter() - start)
print(json.dumps({
    "tokens": tokens, "tokens_per_s": tokens / statistics.median(times[1:]), "losses": losses,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "gemm_gflops": 2 * side**3 / min(gemm) / 1e9,
}))
