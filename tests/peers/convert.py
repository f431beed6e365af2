#!/usr/bin/env python3
"""Loads what `pixtune convert` wrote with the libraries people use, and compares with golden values.

    python tests/peers/convert.py target/release/pixtune [--weights-only]

Run with transformers 5 and with 4.57. A directory converted from Mistral's format has to load without a missing or
unexpected key and give the fixture's logits; so have those with merged patches (Mistral Small 3.1, and with transformers 5
Ministral 3), and with converted adapters those of the adapters. Without --weights-only, mistral-common has to read the copied tokenizer, and tokenizer.json and the
chat template have to give its ids.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[2] / "fixtures"
FIXTURE = FIXTURES / "tiny_pixtral"
TOLERANCE = 2e-4  # the fixture's README
torch.set_num_threads(1)


def convert(program, source, target, to, *more):
    command = [program, "convert", source, target, "--to", to, "--verify", "--quiet", *more]
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


def load(directory, cls):
    model, info = cls.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    for key in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        assert not info[key], f"{key} of {directory}: {info[key]}"
    return model.eval()


def logits(model, name, fixture=FIXTURE):
    inputs = json.loads((fixture / "inputs.json").read_text())[name]
    pixels = load_file(fixture / "pixels.safetensors")
    images = [pixels[f"{name}.image{index}"] for index in range(len(inputs["image_hw"]))]
    more = {}
    if images:
        height, width = (max(image.shape[side] for image in images) for side in (1, 2))
        batch = torch.zeros(len(images), 3, height, width)
        for index, image in enumerate(images):
            batch[index, :, : image.shape[1], : image.shape[2]] = image
        more = {"pixel_values": batch, "image_sizes": torch.tensor(inputs["image_hw"])}
    with torch.no_grad():
        return model(input_ids=torch.tensor([inputs["ids"]]), **more).logits[0]


def check_logits(program, work):
    golden = load_file(FIXTURE / "golden.safetensors")
    for source, dtype in (("native_bf16", "keep"), ("native_bf16", "f32"), ("hf_bf16", "bf16")):
        directory = work / f"{source}-{dtype}"
        convert(program, FIXTURE / source, directory, "hf", "--dtype", dtype, "--shard-size", "200kB")
        model = load(directory, transformers.LlavaForConditionalGeneration)
        for name in ("text", "one", "two"):
            difference = (logits(model, name) - golden[f"base_f32.{name}.logits"]).abs().max().item()
            assert difference <= TOLERANCE, f"{directory.name} {name}: logits differ by {difference}"
            print(f"{directory.name} {name}: logits within {difference:.1e}")


def check_tied(program, work):
    """A tied head: no tensor is written, and nothing is missing."""
    native = work / "tied"
    shutil.copytree(FIXTURE / "native_bf16", native)
    weights = load_file(native / "consolidated.safetensors")
    del weights["output.weight"]
    (native / "consolidated.safetensors").unlink()
    save_file(weights, native / "consolidated.safetensors")
    params = json.loads((native / "params.json").read_text())
    (native / "params.json").write_text(json.dumps(params | {"tied_embeddings": True}))
    convert(program, native, work / "tied-hf", "hf")
    model = load(work / "tied-hf", transformers.LlavaForConditionalGeneration)
    head = model.get_output_embeddings().weight
    assert torch.equal(head, model.get_input_embeddings().weight), "the head is not the embedding"
    print("a tied head is tied")


def check_mistral3(program, work):
    """A random model with merged patches goes to Mistral's format and back, and stays what it was."""
    torch.manual_seed(7)
    hf = json.loads((FIXTURE / "hf_bf16/config.json").read_text())
    config = transformers.Mistral3Config(
        text_config=hf["text_config"],
        vision_config=hf["vision_config"] | {"patch_size": 8},
        multimodal_projector_bias=False,
        spatial_merge_size=2,
        image_token_index=10,
        vision_feature_layer=-1,
        tie_word_embeddings=False,
    )
    model = transformers.Mistral3ForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(work / "m3")
    convert(program, work / "m3", work / "m3-native", "mistral")
    convert(program, work / "m3-native", work / "m3-hf", "hf")
    again = load(work / "m3-hf", transformers.Mistral3ForConditionalGeneration)
    before, after = model.state_dict(), again.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before), "weights changed"
    model.set_attn_implementation("eager")
    difference = (logits(model, "one") - logits(again, "one")).abs().max().item()
    assert difference <= TOLERANCE, f"mistral3: logits differ by {difference}"
    print(f"mistral3: logits within {difference:.1e}")


def check_family(program, work):
    """Models with merged patches: from both formats, with both adapters from Mistral's dialect."""
    names = ["tiny_mistral3"]
    if int(transformers.__version__.split(".")[0]) >= 5:
        names += ["tiny_ministral3", "tiny_ministral3_tied"]
    for fixture in (FIXTURES / name for name in names):
        golden = load_file(fixture / "golden.safetensors")
        for source in ("native_bf16", "hf_bf16"):
            directory = work / f"{fixture.name}-{source}"
            if source == "hf_bf16":
                convert(program, fixture / source, work / f"{fixture.name}-again", "mistral")
                convert(program, work / f"{fixture.name}-again", directory, "hf")
            else:
                convert(program, fixture / source, directory, "hf")
            compare(load(directory, transformers.AutoModelForImageTextToText), fixture, golden, "base_f32", directory.name)
        for which in ("text", "all"):
            adapter = work / f"{fixture.name}-lora-{which}"
            command = [program, "adapter", "convert", fixture / f"native_lora_{which}", adapter, "--to", "peft", "--base", directory]
            subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
            model = load(directory, transformers.AutoModelForImageTextToText)
            model = peft.PeftModel.from_pretrained(model, adapter).eval()
            compare(model, fixture, golden, f"lora_{which}_f32", adapter.name)


def compare(model, fixture, golden, tag, shown):
    differences = {name: (logits(model, name, fixture) - golden[f"{tag}.{name}.logits"]).abs().max().item() for name in ("text", "one", "two")}
    assert max(differences.values()) <= TOLERANCE, f"{shown}: logits differ by {differences}"
    print(f"{shown}: logits within {max(differences.values()):.1e}")


def with_vocabulary(directory, tokenizer, fixture=FIXTURE):
    """The fixture's model with the whole vocabulary, so that its tokenizer fits."""
    directory.mkdir()
    params = json.loads((fixture / "native_bf16/params.json").read_text()) | {"vocab_size": 131072}
    (directory / "params.json").write_text(json.dumps(params))
    weights = load_file(fixture / "native_bf16/consolidated.safetensors")
    for name in {"tok_embeddings.weight", "output.weight"} & weights.keys():
        weights[name] = torch.zeros(131072, params["dim"], dtype=torch.bfloat16)
    save_file(weights, directory / "consolidated.safetensors")
    shutil.copy(tokenizer, directory / "tekken.json")
    return directory


def check_content_format(template):
    """vLLM gives a template parts of content, and with them images, if it has two loops: over the messages, and over the
    content of one."""
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    tree = _compile_jinja_template(template).environment.parse(template)
    loops = list(tree.find_all(nodes.For))
    messages = {loop.target.name for loop in loops if isinstance(loop.iter, nodes.Name) and loop.iter.name == "messages"}
    parts = [
        loop.target.name
        for loop in loops
        if isinstance(loop.iter, nodes.Getitem)
        and isinstance(loop.iter.node, nodes.Name)
        and loop.iter.node.name in messages
        and getattr(loop.iter.arg, "value", None) == "content"
    ]
    assert parts == ["content"], f"vLLM takes the chat template for one of plain texts: {parts}"
    print("vLLM gives the chat template parts of content")


TEXTS = [
    "Hello, world!",
    "  leading and trailing  \n\n",
    "Größe: 12.345,67 € (naïve café) 日本語 العربية हिन्दी 🙂👩‍👩‍👧",
    "def f(x):\n\treturn x**2  # comment\r\n\r\n",
    "\u00a0\u2028 zero\u200bwidth \x00\x7f",
    "1234567890 3.14e-10 0xDEADBEEF",
]


def message(role, content):
    return {"role": role, "content": content}


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}
CHATS = [
    [message("user", "Hi"), message("assistant", "Hello.  ")],
    [message("system", "Be brief."), message("user", "Hi"), message("assistant", "Hello."), message("user", "More"), message("assistant", "No")],
    [message("system", "One."), message("system", "Two."), message("user", "Hi"), message("assistant", "Yes")],
    [message("user", "a"), message("user", "b"), message("assistant", "c"), message("assistant", "d")],
    [message("user", [{"type": "text", "text": "What is it?"}, IMAGE]), message("assistant", "A cat")],
    [message("user", [IMAGE, IMAGE, {"type": "text", "text": "Compare"}]), message("assistant", " One ")],
    [message("system", "Look."), message("user", [IMAGE, {"type": "text", "text": "and?"}]), message("assistant", "ok")],
    [message("user", [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]), message("assistant", "x")],
]


def check_tokenizer(program, work):
    import base64
    import io

    import mistral_common
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.protocol.instruct.validator import ValidationMode
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer
    from PIL import Image
    from tokenizers import Tokenizer

    source = with_vocabulary(work / "vocabulary", Path(mistral_common.__file__).parent / "data/tekken_240911.json")
    convert(program, source, work / "with-tokenizer", "hf")
    directory = work / "with-tokenizer"
    convert(program, directory, work / "round", "mistral")
    for copied in (directory, work / "round"):
        assert (copied / "tekken.json").read_bytes() == (source / "tekken.json").read_bytes()
    reference = MistralTokenizer.from_file(str(work / "round/tekken.json"), mode=ValidationMode.finetuning)
    raw = reference.instruct_tokenizer.tokenizer
    ours = Tokenizer.from_file(str(directory / "tokenizer.json"))
    for text in TEXTS:
        assert ours.encode(text, add_special_tokens=False).ids == raw.encode(text, bos=False, eos=False), text
        assert ours.decode(ours.encode(text).ids, skip_special_tokens=False) == text
    # mistral_format=False asks transformers 5 for the files it is given, not for mistral-common.
    more = {"mistral_format": False} if int(transformers.__version__.split(".")[0]) >= 5 else {}
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **more)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 11)
    pixel = io.BytesIO()
    Image.new("RGB", (16, 16)).save(pixel, "PNG")
    IMAGE["image_url"]["url"] += base64.b64encode(pixel.getvalue()).decode()
    for chat in CHATS:
        request = ChatCompletionRequest(messages=chat)
        # An image of one patch is [IMG][IMG_END]; the template writes [IMG], and the processor makes the grid.
        wanted = [token for token in reference.encode_chat_completion(request).tokens if token != 13]
        encoded = tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
        assert encoded["input_ids"] == wanted, (chat, encoded["input_ids"], wanted)
        trained = [token for token, mask in zip(wanted, encoded["assistant_masks"]) if mask]
        assert trained.count(2) == wanted.count(2) and not {3, 4, 10} & set(trained), trained
        prompt = tokenizer.apply_chat_template(chat[:-1], tokenize=False, add_generation_prompt=True)
        assert prompt.endswith("[/INST]") or chat[-2]["role"] == "assistant", prompt
    print(f"mistral-common's ids: {len(TEXTS)} texts, {len(CHATS)} conversations")
    check_content_format((directory / "chat_template.jinja").read_text())
    sizes = [(48, 32), (16, 16), (128, 96), (40, 24), (100, 70)]
    check_processor(directory, reference, lambda chat: tokenizer.apply_chat_template(chat, tokenize=False), more, (16, sizes))


def check_merging_processors(program, work):
    """Merged patches: the files of a processor, with the tokenizer of the version, give mistral-common's ids and pixels."""
    from mistral_common.protocol.instruct.validator import ValidationMode
    from mistral_common.tokens.tokenizers import image
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    transform = image.transform_image
    sys.path.append(str(Path(__file__).parent))
    from tokens import tokenizer_file

    # That module leaves pixels out.
    image.transform_image = transform
    is_new = int(transformers.__version__.split(".")[0]) >= 5
    more = {"mistral_format": False} if is_new else {}
    versions = [("tiny_mistral3", "v7"), ("tiny_mistral3", "v11")]
    if is_new:
        versions += [("tiny_ministral3_tied", "v13"), ("tiny_ministral3_tied", "v15")]
    for name, version in versions:
        made = tokenizer_file(version, work)
        source = with_vocabulary(work / f"{name}-{version}", made, FIXTURES / name)
        directory = work / f"{name}-{version}-hf"
        convert(program, source, directory, "hf")
        reference = MistralTokenizer.from_file(str(made), mode=ValidationMode.finetuning)
        tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **more)
        check_template(tokenizer, version)
        check_content_format((directory / "chat_template.jinja").read_text())
        prompt = lambda chat: tokenizer.apply_chat_template(chat, tokenize=False)
        check_processor(directory, reference, prompt, more, (28, [(56, 28), (28, 28), (140, 84), (70, 40), (99, 120)]))


def check_template(tokenizer, version):
    """The chat template gives the ids and the trained tokens of the vectors of a version."""
    import gzip

    names = list(tokenizer.get_added_vocab())
    checked = 0
    for line in gzip.open(FIXTURES / f"vectors_family/{version}/chats.jsonl.gz", "rt"):
        row = json.loads(line)
        wanted = row.get("finetuning", {})
        messages = row["messages"]
        # Weights and schemas of answers are of the training request, not of the template.
        if "ids" not in wanted or "json" in row["cat"] or any(message.get("weight") is not None for message in messages):
            continue
        # Names of control tokens in texts become these tokens: transformers sees one text.
        if any(name in json.dumps([messages, row.get("tools")], ensure_ascii=False) for name in names):
            continue
        parts = [part for message in messages for part in message.get("content") or [] if isinstance(part, dict)]
        if any(part.get("closed") is False for part in parts):
            # mistral-common encodes an open thought and the text behind it one by one.
            continue
        try:
            for call in (call for message in messages for call in message.get("tool_calls") or []):
                arguments = call["function"].get("arguments")
                if isinstance(arguments, str):
                    # transformers and vLLM give templates an object; what is no object is text that no template can normalize.
                    call["function"]["arguments"] = json.loads(arguments or "{}")
                assert isinstance(call["function"]["arguments"], dict)
        except (ValueError, AssertionError):
            continue
        tools = [
            {"type": tool["type"], "function": {key: tool["function"].get(key, "") for key in ("name", "description", "parameters")}}
            for tool in row.get("tools") or []
        ]
        encoded = tokenizer.apply_chat_template(
            messages, tools=tools or None, tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
            reasoning_effort=row.get("reasoning_effort"),
        )
        mask = [trained for trained, count in wanted["mask_runs"] for _ in range(count)]
        found = list(zip(encoded["input_ids"], encoded["assistant_masks"]))
        # The template writes [IMG] for an image, which ends with token 13 here.
        expected = [(10 if token == 13 else token, trained) for token, trained in zip(wanted["ids"], mask) if token not in (10, 12)]
        assert found == expected, f"{row['key']}: {found} and not {expected}"
        checked += 1
    assert checked > 80, checked
    print(f"{version}: the template has the ids and trained tokens of {checked} conversations")


# Largest differences of normalised pixels: rounding alone where an image keeps its size. Where it does not, transformers resizes
# bytes with another cubic kernel than mistral-common, whose pixels are also pixtune's: the same image, not the same numbers.
KEPT, RESIZED = 1e-6, 0.25


def check_processor(directory, reference, prompt_of, more, images):
    """The processor's files: a chat with images gives mistral-common's ids and pixels."""
    import base64
    import io

    import numpy as np
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from PIL import Image

    processor = transformers.AutoProcessor.from_pretrained(directory, **more)
    noise = np.random.default_rng(5)
    unit, sizes = images
    for width, height in sizes:
        small = noise.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR)
        png = io.BytesIO()
        image.save(png, "PNG")
        url = {"url": "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()}
        text = {"type": "text", "text": "What is it?"}
        chat = [message("system", "Look."), message("user", [text, {"type": "image_url", "image_url": url}]), message("assistant", "A cat")]
        wanted = reference.encode_chat_completion(ChatCompletionRequest(messages=chat))
        batch = processor(text=prompt_of(chat), images=[image], add_special_tokens=False, return_tensors="pt")
        assert batch["input_ids"][0].tolist() == wanted.tokens, (width, height)
        pixels, sizes = batch["pixel_values"][0].numpy(), batch["image_sizes"][0].tolist()
        assert pixels.shape == wanted.images[0].shape and sizes == list(pixels.shape[1:]), (pixels.shape, sizes)
        difference = np.abs(pixels - wanted.images[0]).max().item()
        keeps = width % unit == 0 and height % unit == 0
        assert difference <= (KEPT if keeps else RESIZED), f"{width}x{height}: pixels differ by {difference}"
        print(f"{type(processor.image_processor).__name__} {width}x{height}: same ids, pixels within {difference:.1e}")


def main():
    program = Path(sys.argv[1]).resolve()
    print(f"transformers {transformers.__version__}")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        check_logits(program, work)
        check_tied(program, work)
        check_mistral3(program, work)
        check_family(program, work)
        if "--weights-only" not in sys.argv:
            check_tokenizer(program, work)
            check_merging_processors(program, work)


if __name__ == "__main__":
    main()
