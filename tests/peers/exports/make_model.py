"""Make a model directory that trainers load: make_model.py PIXTUNE OUT [VERSION]

The tiny Pixtral of the fixtures with Pixtral 12B's vocabulary, images up to 128 pixels, converted by `pixtune convert`:
tokenizer.json, processor and configuration are what a user trains with. With the version of a tokenizer, v11 or v13, the tiny
Mistral Small 3 or Ministral 3.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import mistral_common
import torch
from safetensors.torch import load_file, save_file

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
VERSION = (sys.argv[3:] or ["v3"])[0]
NAME = {"v3": "tiny_pixtral", "v11": "tiny_mistral3", "v13": "tiny_ministral3"}[VERSION]
FIXTURE = pathlib.Path(__file__).resolve().parents[3] / "fixtures" / NAME / "native_bf16"
pixtune, out = (pathlib.Path(word).resolve() for word in sys.argv[1:3])

with tempfile.TemporaryDirectory() as native:
    native = pathlib.Path(native)
    torch.manual_seed(20261129)
    params = json.loads((FIXTURE / "params.json").read_text())
    (native / "params.json").write_text(json.dumps(params | {"vocab_size": 131072}))
    weights = load_file(FIXTURE / "consolidated.safetensors")
    for name in ("tok_embeddings.weight", "output.weight"):
        weights[name] = (torch.randn(131072, params["dim"]) * 0.1).to(torch.bfloat16)
    save_file(weights, native / "consolidated.safetensors")
    if VERSION == "v3":
        vocabulary = json.loads((pathlib.Path(mistral_common.__file__).parent / "data/tekken_240911.json").read_text())
    else:
        from tokens import tokenizer_file

        vocabulary = json.loads(tokenizer_file(VERSION, native).read_text())
    for key in ("image", "multimodal"):
        if key in vocabulary:
            vocabulary[key]["max_image_size"] = params["vision_encoder"]["image_size"]
    (native / "tekken.json").write_text(json.dumps(vocabulary))
    subprocess.run([pixtune, "convert", native, out, "--to", "hf", "--quiet"], check=True, stdout=subprocess.DEVNULL)
