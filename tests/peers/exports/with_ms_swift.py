"""ms-swift's own command reads an export, and its template and collator make of every sample what pixtune counted.

usage: with_ms_swift.py PIXTUNE PREPARED MODEL EXPORT

It runs `swift sft sft.yaml` in this process, for one step on the CPU.
"""

import os

from common import Proof, quiet

os.environ.setdefault("MODELSCOPE_CACHE", os.environ.get("HF_HOME", os.path.expanduser("~/.cache")) + "/modelscope")
with quiet():
    import swift
    import torch
    import transformers
    from swift.cli.main import parse_yaml_args
    from swift.pipelines import SwiftSft

torch.set_num_threads(2)
proof = Proof("ms-swift", f"{swift.__version__} with transformers {transformers.__version__}")


class Sft(SwiftSft):
    def train(self, trainer):
        # Images of different sizes are no batch to it.
        proof.check(trainer.train_dataset, trainer.eval_dataset, trainer.data_collator, several=False)
        return super().train(trainer)


os.chdir(proof.export)
words = ["sft.yaml"]
parse_yaml_args(words)
overrides = {"use_cpu": "true", "torch_dtype": "float32", "bf16": "false", "dataset_shuffle": "false"}
overrides |= {"max_steps": 1, "gradient_accumulation_steps": 4, "lr_scheduler_type": "constant"}
words += [word for name, value in overrides.items() for word in (f"--{name}", str(value))]
with quiet():
    result = Sft(words).main()
    proof.adapter(result["last_model_checkpoint"])
proof.finish(step=True)
