"""TRL's own command reads an export, and its collator makes of every sample the ids, labels and pixels that pixtune counted.

usage: with_trl.py PIXTUNE PREPARED MODEL EXPORT trl|trl-completion

It runs `trl sft --config sft.yaml` in this process, for one step on the CPU.
"""

import os
import sys

from common import Proof, quiet

with quiet():
    import torch
    import transformers
    import trl
    from trl.scripts import sft

torch.set_num_threads(2)
proof = Proof(sys.argv[5], f"{trl.__version__} with transformers {transformers.__version__}")
COLUMNS = ("messages", "prompt", "completion", "images")


class Trainer(trl.SFTTrainer):
    def train(self, **more):
        def collate(rows):
            # The collator changes what it is given.
            return self.data_collator([{name: list(row[name]) for name in COLUMNS if name in row} for row in rows])

        proof.check(self.train_dataset, self.eval_dataset, collate)
        return super().train(**more)


trl.SFTTrainer = Trainer
os.chdir(proof.export)
overrides = {"use_cpu": "true", "dtype": "float32", "bf16": "false"}
overrides |= {"max_steps": 1, "gradient_accumulation_steps": 4, "lr_scheduler_type": "constant"}
words = ["--config", "sft.yaml"] + [word for name, value in overrides.items() for word in (f"--{name}", str(value))]
with quiet():
    arguments = sft.make_parser().parse_args_and_config(words, fail_with_unknown_args=True)
    sft.main(*arguments)
    proof.adapter("output")
proof.finish(step=True)
