#!/usr/bin/env python3
"""Asks transformers and peft what they do with adapters that pixtune wrote, and compares with `pixtune adapter check`.

    pip install torch==2.15.0 transformers==5.23.0 peft==0.21.2        or transformers==4.57.1 peft==0.17.1
    cargo build --release
    python tests/peers/adapters.py target/release/pixtune

For every dialect: the modules whose B arrives in the model are those with the verdict `applied`, no others. For the
dialect of the installed version: all 37 modules, and the golden logits of the fixture. For DoRA, embeddings, the output
layer and patches: peft's own merge gives the weights of `pixtune adapter merge`.
"""

import copy
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, LlavaForConditionalGeneration

warnings.simplefilter("ignore")
torch.set_num_threads(1)
transformers.logging.set_verbosity_error()
PIXTUNE = sys.argv[1]
FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "fixtures"
FIXTURE = FIXTURES / "tiny_pixtral"
NEW = int(transformers.__version__.split(".")[0]) >= 5
SERVER = "transformers" if NEW else "transformers-4.57"
PREFIX = "base_model.model."


def pixtune(*args, codes=(0,)):
    run = subprocess.run([PIXTUNE, *map(str, args)], capture_output=True, text=True)
    assert run.returncode in codes, f"pixtune {args} ended with {run.returncode}:\n{run.stderr}{run.stdout}"
    return run.stdout


def base_model():
    dtype = {"dtype": torch.float32} if NEW else {"torch_dtype": torch.float32}
    return LlavaForConditionalGeneration.from_pretrained(FIXTURE / "hf_bf16", attn_implementation="eager", **dtype)


def logits(model, name):
    given = json.loads((FIXTURE / "inputs.json").read_text())[name]
    ids = torch.tensor([given["ids"]])
    pixels = load_file(FIXTURE / "pixels.safetensors")
    images = [pixels[f"{name}.image{index}"] for index in range(len(given["image_hw"]))]
    more = {}
    if images:
        height = max(image.shape[1] for image in images)
        width = max(image.shape[2] for image in images)
        padded = torch.zeros(len(images), 3, height, width)
        for index, image in enumerate(images):
            padded[index, :, : image.shape[1], : image.shape[2]] = image
        more = {"pixel_values": padded, "image_sizes": torch.tensor(given["image_hw"])}
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **more).logits[0]


def applied_by_peft(base, directory):
    """Paths, in the adapter's own names, of modules whose B arrived in the model; none where peft refused it."""
    stored = load_file(directory / "adapter_model.safetensors")
    try:
        model = peft.PeftModel.from_pretrained(copy.deepcopy(base), directory).eval()
    except (ValueError, RuntimeError) as error:
        print(f"  peft refuses it: {type(error).__name__}")
        return set(), None
    arrived = [tensor for name, tensor in model.named_parameters() if "lora_B" in name]
    same = lambda value: any(value.shape == tensor.shape and torch.equal(value, tensor) for tensor in arrived)
    names = [name for name in stored if name.endswith(".lora_B.weight") and same(stored[name])]
    return {name.removeprefix(PREFIX).removesuffix(".lora_B.weight") for name in names}, model


def verdicts(directory, fixture=FIXTURE):
    lines = pixtune("adapter", "check", directory, "--base", fixture / "hf_bf16", "--server", SERVER, "--format", "json", codes=(0, 1))
    return [json.loads(line) for line in lines.splitlines()][:-1]


def compare_verdicts(base, directory, what, fixture=FIXTURE):
    found, model = applied_by_peft(base, directory)
    # Rows in another order arrive, and are wrong: peft cannot see that.
    reported = {line["module"] for line in verdicts(directory, fixture) if line["verdict"] in ("applied", "wrong")}
    assert found == reported, f"{what}: peft applies {sorted(found - reported)} besides, and does not apply {sorted(reported - found)}"
    print(f"{what}: {len(found)} modules are applied, as `adapter check --server {SERVER}` reports")
    return found, model


def compare_logits(model, which):
    golden = load_file(FIXTURE / "golden.safetensors")
    for name in ("text", "one", "two"):
        error = (logits(model, name) - golden[f"lora_{which}_f32.{name}.logits"]).abs().max().item()
        assert error < 2e-4, f"lora_{which} {name}: logits differ by {error}"
        print(f"  lora_{which} {name}: logits within {error:.1e} of the golden ones")


def check_dialects(base, work):
    for which, count in (("all", 37), ("text_proj", 23)):
        for dialect in ("peft", "peft-legacy", "vllm-consolidated"):
            # From Mistral's dialect, names, rows of q and k, and alpha have to be converted.
            directory = work / f"{which}-{dialect}"
            pixtune("adapter", "convert", FIXTURE / f"native_lora_{which}", directory, "--to", dialect, "--base", FIXTURE / "native_bf16")
            found, model = compare_verdicts(base, directory, f"lora_{which} as {dialect}")
            if dialect == "peft" or dialect == "peft-legacy" and not NEW:
                assert len(found) == count, f"{len(found)} of {count} modules are applied"
                compare_logits(model, which)


def check_merging_models(work):
    """Models that merge patches: what arrives is what `adapter check` reports, and a model without a class refuses everything."""
    dtype = {"dtype": torch.float32} if NEW else {"torch_dtype": torch.float32}
    for name in ("tiny_mistral3", "tiny_ministral3", "tiny_ministral3_tied"):
        fixture = FIXTURES / name
        try:
            base = AutoModelForImageTextToText.from_pretrained(fixture / "hf_bf16", **dtype)
        except KeyError as error:
            base = None
            print(f"{name}: transformers does not know {error}")
        for dialect in ("peft", "peft-legacy"):
            directory = work / f"{name}-{dialect}"
            pixtune("adapter", "convert", fixture / "native_lora_all", directory, "--to", dialect, "--base", fixture / "native_bf16")
            if base is not None:
                compare_verdicts(base, directory, f"{name}, lora_all as {dialect}", fixture)
            else:
                reported = {line["verdict"] for line in verdicts(directory, fixture)}
                assert reported == {"rejected"}, f"{name}: {reported}"


def check_names_of_other_versions(base, work):
    source = load_file(FIXTURE / "lora_all/adapter_model.safetensors")
    config = json.loads((FIXTURE / "lora_all/adapter_config.json").read_text())
    text_only = {name.replace("model.language_model.", "model."): value for name, value in source.items() if "language_model" in name}
    old = json.loads((FIXTURE / "lora_all_legacy_names/rename.json").read_text())
    legacy = {old[name]: value for name, value in source.items()}
    paths = sorted({name.removeprefix(PREFIX).split(".lora_")[0] for name in legacy})
    for what, tensors, targets in (
        ("the text decoder alone", text_only, config["target_modules"]),
        ("old names in full", legacy, paths),
        ("a pattern of old names", legacy, r"language_model\.model.*\.(q_proj|k_proj)"),
        ("one target", source, ["q_proj"]),
    ):
        directory = work / what.replace(" ", "-")
        directory.mkdir()
        save_file(tensors, directory / "adapter_model.safetensors", metadata={"format": "pt"})
        (directory / "adapter_config.json").write_text(json.dumps({**config, "target_modules": targets}))
        compare_verdicts(base, directory, what)


def check_merges(base, work):
    torch.manual_seed(1)
    targets = ["q_proj", "k_proj", "down_proj", "linear_1", "embed_tokens", "lm_head", "patch_conv"]
    for what, more in (
        ("plain", {"target_modules": targets, "modules_to_save": ["linear_2"]}),
        ("DoRA and rsLoRA", {"target_modules": targets[:4], "use_dora": True, "use_rslora": True}),
    ):
        directory = work / f"merge-{what.replace(' ', '-')}"
        patterns = {"rank_pattern": {"down_proj": 3}, "alpha_pattern": {"layers.1.self_attn.q_proj": 20}}
        config = peft.LoraConfig(r=4, lora_alpha=6, task_type="CAUSAL_LM", **patterns, **more)
        model = peft.get_peft_model(copy.deepcopy(base), config).eval()
        with torch.no_grad():
            for name, tensor in model.named_parameters():
                if tensor.requires_grad:
                    tensor.add_(torch.randn(tensor.shape) * 0.05)
        model.save_pretrained(directory)
        merged = model.merge_and_unload().state_dict()
        for source in ("hf_bf16", "native_bf16"):
            target = work / f"{directory.name}-{source}"
            pixtune("adapter", "merge", FIXTURE / source, directory, target, "--to", "hf", "--dtype", "f32", "--shard-size", "none")
            ours = load_file(target / "model.safetensors")
            disk = lambda name: (
                name.replace("model.language_model.", "language_model.model.")
                .replace("model.vision_tower.", "vision_tower.")
                .replace("model.multi_modal_projector.", "multi_modal_projector.")
                .replace("lm_head.", "language_model.lm_head.")
            )
            error = max((ours[disk(name)] - value).abs().max().item() for name, value in merged.items())
            assert len(ours) == len(merged) and error < 2e-6, f"{what} into {source}: weights differ by {error}"
            print(f"merged {what} into {source}: {len(ours)} tensors within {error:.1e} of peft's merge")


def tied_base(base, directory):
    """The fixture with its head tied to the embedding, written as transformers writes it."""
    config = copy.deepcopy(base.config)
    config.tie_word_embeddings = config.get_text_config().tie_word_embeddings = True
    tied = type(base)(config)
    tied.load_state_dict({name: value for name, value in base.state_dict().items() if "lm_head" not in name}, strict=False)
    tied.tie_weights()
    tied.save_pretrained(directory)
    return type(base).from_pretrained(directory, torch_dtype=torch.float32, attn_implementation="eager").eval()


def grown_base(base, tokens):
    """The fixture with rows for added tokens."""
    grown = copy.deepcopy(base)
    grown.resize_token_embeddings(tokens, mean_resizing=False)
    return grown.eval()


def merged_by_peft(model):
    """peft's own merge. It adds to the tensor that a tied base shares, so that embedding and head both change (logits are off by
    2 to 6): the head gets a tensor of its own before."""
    own = copy.deepcopy(model)
    head = own.get_base_model().lm_head
    head = getattr(head, "base_layer", head)
    if "weight" in head._parameters:
        head.weight = torch.nn.Parameter(head.weight.detach().clone())
    return own.merge_and_unload().eval()


def compare_merged(model, source, adapter, work, what):
    """The merged model computes what peft computes with the adapter attached, and exactly what it computes after a merge."""
    rounding = 0.0
    for to in ("hf", "mistral") if "grown" not in what else ("hf",):
        target = work / f"{adapter.name}-merged-{to}"
        pixtune("adapter", "merge", source, adapter, target, "--to", to, "--dtype", "f32", "--verify")
        if to == "mistral":
            again = work / f"{adapter.name}-merged-again"
            pixtune("convert", target, again, "--to", "hf")
            target = again
        merged, info = type(model.get_base_model()).from_pretrained(
            target, torch_dtype=torch.float32, attn_implementation="eager", output_loading_info=True
        )
        assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
        for name in ("text", "two"):
            expected = logits(model, name)
            merged.eval()
            error = (expected - logits(merged, name)).abs().max().item()
            # Up to 4.4e-6 of the largest logit (6 to 24 here), 6.5e-5 in absolute terms: `x W + s (x A) B` and `x (W + s A B)`
            # are rounded differently in f32. What peft merges itself differs from the attached adapter by just as much, and the
            # logits of our merge are the same as those of peft's.
            largest = expected.abs().max().item()
            assert error < 1e-5 * largest, f"{what} as {to}: logits of {name}, up to {largest}, differ by {error}"
            own = logits(merged_by_peft(model), name)
            error, of_peft = (own - logits(merged, name)).abs().max().item(), (own - expected).abs().max().item()
            assert error < 1e-5, f"{what} as {to}: logits of {name} differ from those of peft's own merge by {error}"
            rounding = max(rounding, of_peft)
    print(f"merged {what}: logits of peft's own merge, which differ by {rounding:.1e} from those with the adapter attached")


def check_merges_of_tied_and_grown(base, work):
    torch.manual_seed(2)
    tied = tied_base(base, work / "tied")
    grown = grown_base(base, 408)
    cases = [
        (tied, work / "tied", "embedding in full into a tied base", {"modules_to_save": ["embed_tokens"]}),
        (tied, work / "tied", "head in full into a tied base", {"modules_to_save": ["lm_head"]}),
        (tied, work / "tied", "both in full into a tied base", {"modules_to_save": ["embed_tokens", "lm_head"]}),
        (tied, work / "tied", "LoRA of the embedding into a tied base", {"target_modules": ["q_proj", "embed_tokens"]}),
        (tied, work / "tied", "LoRA of the head into a tied base", {"target_modules": ["q_proj", "lm_head"]}),
        (grown, FIXTURE / "hf_bf16", "grown vocabulary in full", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    ]
    if NEW:
        # peft 0.21 keeps a tied head tied to the rows of trained tokens.
        for where, model, source in (("tied", tied, work / "tied"), ("untied", base, FIXTURE / "hf_bf16")):
            cases.append((model, source, f"single tokens into a base that is {where}", {"trainable_token_indices": [20, 3, 399]}))
    for model, source, what, more in cases:
        directory = work / what.replace(" ", "-")
        config = peft.LoraConfig(**{"r": 4, "lora_alpha": 6, "task_type": "CAUSAL_LM", "target_modules": ["q_proj"], **more})
        model = peft.get_peft_model(copy.deepcopy(model), config).eval()
        with torch.no_grad():
            for tensor in model.parameters():
                if tensor.requires_grad:
                    tensor.add_(torch.randn(tensor.shape) * 0.05)
        model.save_pretrained(directory)
        compare_merged(model, source, directory, work, what)


def check_names_that_peft_does_not_read(base, work):
    source = load_file(FIXTURE / "lora_all/adapter_model.safetensors")
    renamed = {
        "the adapter's name": lambda name: name.replace(".weight", ".default.weight"),
        "another adapter's name": lambda name: name.replace(".weight", ".tuned.weight"),
        "a compiled model": lambda name: name.replace(PREFIX, f"{PREFIX}_orig_mod."),
        "a distributed model": lambda name: f"module.{name}",
        "no prefix": lambda name: name.removeprefix(PREFIX),
    }
    for what, rename in renamed.items():
        directory = work / f"names-of-{what.replace(' ', '-')}"
        directory.mkdir()
        save_file({rename(name): value for name, value in source.items()}, directory / "adapter_model.safetensors", metadata={"format": "pt"})
        shutil.copy(FIXTURE / "lora_all/adapter_config.json", directory)
        try:
            model = peft.PeftModel.from_pretrained(copy.deepcopy(base), directory)
            applied = sum(1 for name, tensor in model.named_parameters() if "lora_B" in name and tensor.abs().max() > 0)
        except ValueError:
            applied = 0
        reported = sum(1 for line in verdicts(directory) if line["verdict"] == "applied")
        assert applied == reported, f"names with {what}: peft applies {applied}, `adapter check` reports {reported}"
        fixed = work / f"{directory.name}-fixed"
        pixtune("adapter", "convert", directory, fixed, "--to", "peft", "--base", FIXTURE / "hf_bf16")
        assert load_file(fixed / "adapter_model.safetensors").keys() == source.keys(), what
        print(f"names with {what}: peft applies {applied} of 37, as `adapter check` reports; `adapter convert` fixes them")


def main():
    print(f"transformers {transformers.__version__}, peft {peft.__version__}")
    base = base_model().eval()
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        check_dialects(base, work)
        check_merging_models(work)
        check_names_of_other_versions(base, work)
        check_merges(base, work)
        check_merges_of_tied_and_grown(base, work)
        check_names_that_peft_does_not_read(base, work)


main()
