#!/usr/bin/env python3
"""LoRA training of a random Pixtral-12B with transformers + peft on one GPU: tokens per second and peak memory.

One file, no network, no weights: needs PyTorch, transformers and peft. The model is built on the device from a seed, the
image tokens and texts are random, the dimensions are Pixtral 12B's. It first measures the limits of the machine (bf16 matrix
multiplication of 8192 cubed, copy bandwidth), then every combination of length, gradient checkpointing and torch.compile (of each
decoder layer), the uncompiled ones first. It stops before --minutes have passed and marks the rows that were not reached.

    python bench/gpu/baseline.py                        # an 80 GB GPU; a table on standard output, JSON lines in --json
    python bench/gpu/baseline.py --tiny --device cpu    # the same code with a tiny model
"""

import argparse
import gc
import json
import platform
import re
import signal
import statistics
import sys
import time
import traceback

START = time.monotonic()

import torch  # noqa: E402  (the clock starts before the imports, which take their time)
import transformers  # noqa: E402
import peft  # noqa: E402

# Pixtral-12B: params.json of mistralai/Pixtral-12B-2409.
TEXT = dict(hidden_size=5120, intermediate_size=14336, num_hidden_layers=40, num_attention_heads=32, num_key_value_heads=8,
            head_dim=128, vocab_size=131072, rms_norm_eps=1e-5, max_position_embeddings=131072, hidden_act="silu")
VISION = dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, head_dim=64,
              image_size=1024, patch_size=16, hidden_act="silu")
TINY_TEXT = dict(TEXT, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                 num_key_value_heads=2, head_dim=16, vocab_size=512)
TINY_VISION = dict(VISION, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2, head_dim=16)
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IMG, BREAK, END, BOS, EOS, INST, INST_END = 10, 12, 13, 1, 2, 3, 4


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--minutes", type=float, default=9.0, help="time limit of the whole run")
    parser.add_argument("--tokens", type=int, nargs="+", default=[2048, 4096, 8192])
    parser.add_argument("--steps", type=int, default=5, help="measured steps per row, after warmup")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--attention", default="sdpa", help="transformers' attn_implementation")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tiny", action="store_true", help="use a tiny model and short sequences")
    parser.add_argument("--json", help="also write every row to this file, one JSON object per line")
    args = parser.parse_args()
    if args.tiny and args.tokens == [2048, 4096, 8192]:
        args.tokens = [128, 192]
    return args


class Bench:
    def __init__(self, args):
        self.args = args
        self.cuda = args.device.startswith("cuda")
        self.dtype = torch.bfloat16 if self.cuda else torch.float32
        self.deadline = START + 60 * args.minutes
        self.rows = []
        self.out = open(args.json, "w") if args.json else None

    def left(self):
        return self.deadline - time.monotonic()

    def sync(self):
        if self.cuda:
            torch.cuda.synchronize()

    def note(self, **row):
        self.rows.append(row)
        if self.out:
            print(json.dumps(row), file=self.out, flush=True)
        print("  ".join(f"{key}={value}" for key, value in row.items()), file=sys.stderr, flush=True)

    def seconds(self, work, repeat):
        """The median of `repeat` runs."""
        times = []
        for _ in range(repeat):
            self.sync()
            start = time.perf_counter()
            work()
            self.sync()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def ceilings(self):
        side = 8192 if self.cuda else 256
        left, right = (torch.randn(side, side, device=self.args.device, dtype=self.dtype) for _ in range(2))
        out = torch.empty_like(left)
        matmul = lambda: torch.matmul(left, right, out=out)  # noqa: E731
        self.seconds(matmul, 5)
        tera = 2 * side**3 / self.seconds(matmul, 20) / 1e12
        size = (4 << 30) if self.cuda else (64 << 20)
        source = torch.empty(size, dtype=torch.uint8, device=self.args.device).fill_(1)
        target = torch.empty_like(source)
        copy = lambda: target.copy_(source)  # noqa: E731
        self.seconds(copy, 3)
        giga = 2 * size / self.seconds(copy, 10) / 1e9
        self.note(kind="ceiling", matmul_side=side, tflops=round(tera, 1), copy_gb_per_s=round(giga, 1))
        self.ceiling = tera
        del left, right, out, source, target

    def model(self):
        """A model with random weights, made on the device in its own type; no layer is ever held twice."""
        text, vision = (TINY_TEXT, TINY_VISION) if self.args.tiny else (TEXT, VISION)
        config = transformers.LlavaConfig(
            vision_config=transformers.PixtralVisionConfig(**rope(vision, 1e4)),
            text_config=transformers.MistralConfig(**rope(text, 1e9), sliding_window=None, tie_word_embeddings=False),
            image_token_index=IMG, projector_hidden_act="gelu", vision_feature_select_strategy="full",
            vision_feature_layer=-1, multimodal_projector_bias=True,
        )
        config._attn_implementation = self.args.attention
        torch.manual_seed(self.args.seed)
        start = time.perf_counter()
        with torch.device("meta"):
            model = transformers.LlavaForConditionalGeneration._from_config(
                config, attn_implementation=self.args.attention, dtype=self.dtype
            )
        fill_random(model, self.args.device, self.dtype)
        lora = peft.LoraConfig(
            r=self.args.rank, lora_alpha=2 * self.args.rank, lora_dropout=0.0,
            target_modules=r".*language_model.*\.(" + "|".join(LINEARS) + ")",
        )
        model = peft.get_peft_model(model, lora)
        for parameter in model.parameters():
            if parameter.requires_grad:  # as peft does with autocast_adapter_dtype: float32 masters
                parameter.data = parameter.data.float()
        model.train()
        self.sync()
        trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
        whole = sum(p.numel() for p in model.parameters())
        self.note(kind="model", parameters=whole, trained=trained, seconds=round(time.perf_counter() - start, 1),
                  memory_gb=self.peak())
        return model

    def peak(self):
        if self.cuda:
            return round(torch.cuda.max_memory_allocated() / 1e9, 2)
        import resource

        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2)

    def batch(self, tokens, generator):
        """One sample of the given length: an image of about half the tokens, a prompt, and a response of a quarter."""
        cell = VISION["patch_size"]
        side = max(1, int((tokens / 2) ** 0.5))
        grid = [side, min(side, 64)] if not self.args.tiny else [4, 6]
        image = ([IMG] * grid[1] + [BREAK]) * grid[0]
        image[-1] = END
        vocabulary = (TINY_TEXT if self.args.tiny else TEXT)["vocab_size"]
        words = torch.randint(100, vocabulary, (tokens - len(image) - 4,), generator=generator).tolist()
        answer = words[-tokens // 4:]
        question = words[: len(words) - len(answer)]
        ids = [BOS, INST, *image, *question, INST_END, *answer, EOS]
        labels = [-100] * (len(ids) - len(answer) - 1) + [*answer, EOS]
        pixels = torch.randn(1, 3, grid[0] * cell, grid[1] * cell, generator=generator)
        device = self.args.device
        return dict(
            input_ids=torch.tensor([ids], device=device), labels=torch.tensor([labels], device=device),
            attention_mask=torch.ones(1, len(ids), dtype=torch.long, device=device),
            pixel_values=pixels.to(device, self.dtype),
            image_sizes=torch.tensor([[grid[0] * cell, grid[1] * cell]], device=device),
        )

    def row(self, model, tokens, checkpointing, compiled):
        if checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
            model.enable_input_require_grads()
        else:
            model.gradient_checkpointing_disable()
        batches = [self.batch(tokens, torch.Generator().manual_seed(index)) for index in range(2)]
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.1,
                                      fused=self.cuda)
        for layer in decoder_layers(model):
            # Layer by layer, as is usual for large models: they share one graph, and compiling takes a fortieth of the time.
            layer.compile(dynamic=False) if compiled else setattr(layer, "_compiled_call_impl", None)
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()

        losses = []

        def step(index):
            # Labels are shifted by the model; bf16 weights, float32 adapters: autocast as peft users run it.
            with torch.autocast(self.args.device.split(":")[0], dtype=torch.bfloat16, enabled=self.cuda):
                loss = model(**batches[index % len(batches)], use_cache=False).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())

        start = time.perf_counter()
        step(0)
        step(1)
        self.sync()
        warm = time.perf_counter() - start
        times = []
        for index in range(self.args.steps):
            if times and self.left() < 3 * times[-1] + 10:
                break
            times.append(self.seconds(lambda: step(index), 1))
        median = statistics.median(times)
        length = batches[0]["input_ids"].shape[1]
        self.note(
            kind="train", tokens=length, checkpointing=checkpointing, compile=compiled, steps=len(times),
            tokens_per_s=round(length / median, 1), step_ms=round(1000 * median, 1),
            spread=round((max(times) - min(times)) / median, 3), peak_gb=self.peak(), warmup_s=round(warm, 1),
            loss=round(float(losses[-1]), 4),
            ceiling_share=self.share(length, median, checkpointing),
        )

    def share(self, tokens, seconds, checkpointing):
        """Share of the matrix multiplication rate: 4 (6 with recomputation) FLOPs per token and decoder weight, without attention."""
        text = TINY_TEXT if self.args.tiny else TEXT
        hidden, wide = text["hidden_size"], text["intermediate_size"]
        queries = text["num_attention_heads"] * text["head_dim"]
        keys = text["num_key_value_heads"] * text["head_dim"]
        layer = hidden * (2 * queries + 2 * keys) + 3 * hidden * wide
        flops = (6 if checkpointing else 4) * layer * text["num_hidden_layers"] + 4 * hidden * text["vocab_size"]
        return round(flops * tokens / seconds / 1e12 / self.ceiling, 3)

    def table(self):
        device = torch.cuda.get_device_name() if self.cuda else platform.processor() or platform.machine()
        print(f"\n{device}, torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, "
              f"{self.args.attention} attention, {time.monotonic() - START:.0f} s in all")
        for row in self.rows:
            if row["kind"] == "ceiling":
                print(f"matrix multiplication {row['matmul_side']}^3: {row['tflops']} TFLOP/s; copy {row['copy_gb_per_s']} GB/s")
            if row["kind"] == "model":
                print(f"{row['parameters']:,} parameters, {row['trained']:,} trained, {row['memory_gb']} GB")
        print("\n| tokens | checkpointing | compile | tokens/s | step ms | peak GB | of ceiling | remark |")
        print("|---|---|---|---|---|---|---|---|")
        on = {True: "on", False: "off"}
        for row in self.rows:
            if row["kind"] == "train":
                print(f"| {row['tokens']} | {on[row['checkpointing']]} | {on[row['compile']]} | {row['tokens_per_s']} | "
                      f"{row['step_ms']} | {row['peak_gb']} | {row['ceiling_share']:.1%} | {row['steps']} steps |")
            if row["kind"] == "none":
                print(f"| {row['tokens']} | {on[row['checkpointing']]} | {on[row['compile']]} | - | - | - | - | {row['why']} |")


class OutOfTime(Exception):
    pass


def out_of_time(*_):
    raise OutOfTime("no time left")


def decoder_layers(model):
    return [module for name, module in model.named_modules() if re.search(r"language_model(\.model)?\.layers\.\d+$", name)]


def rope(config, theta):
    """The RoPE base in the form that the installed transformers release expects."""
    if int(transformers.__version__.split(".")[0]) >= 5:
        return dict(config, rope_parameters={"rope_type": "default", "rope_theta": theta})
    return dict(config, rope_theta=theta)


def fill_random(model, device, dtype):
    """Gives a model on the meta device its weights: matrices with a deviation of 0.02, norms 1, biases 0."""
    model.to_empty(device=device)
    model.to(dtype)
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name in ("inv_freq", "original_inv_freq"):
                buffer.data = frequencies(module, buffer).to(device)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02)
            elif "norm" in name or "ln_" in name:
                parameter.fill_(1.0)
            else:
                parameter.zero_()
    model.tie_weights()


def frequencies(module, buffer):
    """Rotary frequencies, which an empty buffer has lost: made by the module's own way of making them."""
    fresh = type(module)(module.config, device="cpu") if "device" in type(module).__init__.__code__.co_varnames \
        else type(module)(module.config)
    found = fresh.inv_freq.float()
    assert found.shape == buffer.shape and bool(torch.isfinite(found).all())
    return found


def main():
    bench = Bench(arguments())
    torch.backends.cuda.matmul.allow_tf32 = True
    signal.signal(signal.SIGALRM, out_of_time)
    bench.ceilings()
    model = bench.model()
    # Compiling takes a minute or two a row, so it comes last and the shortest first.
    plan = [(tokens, checkpointing, compiled) for compiled in (False, True)
            for tokens in bench.args.tokens for checkpointing in (True, False)]
    for tokens, checkpointing, compiled in plan:
        row = dict(kind="none", tokens=tokens, checkpointing=checkpointing, compile=compiled)
        if bench.left() < (120 if compiled and bench.cuda else 20):
            bench.note(**row, why="no time left")
            continue
        signal.alarm(max(1, int(bench.left())))
        try:
            bench.row(model, tokens, checkpointing, compiled)
        except OutOfTime as error:
            bench.note(**row, why=str(error))
        except torch.OutOfMemoryError if hasattr(torch, "OutOfMemoryError") else torch.cuda.OutOfMemoryError:
            bench.note(**row, why="out of memory")
        except Exception as error:  # noqa: BLE001  (one combination that a release cannot do must not end the others)
            traceback.print_exc()
            bench.note(**row, why=f"{type(error).__name__}: {str(error).splitlines()[0][:80] if str(error) else ''}")
        finally:
            signal.alarm(0)
        model.zero_grad(set_to_none=True)
        if compiled:
            torch._dynamo.reset()
        gc.collect()
        if bench.cuda:
            torch.cuda.empty_cache()
    bench.table()


if __name__ == "__main__":
    main()
