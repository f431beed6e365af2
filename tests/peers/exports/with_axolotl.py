"""Axolotl's own command reads an export, and its template and collator make of every sample what pixtune counted.

usage: with_axolotl.py PIXTUNE PREPARED MODEL EXPORT

It runs `axolotl train sft.yaml` in this process, for one step on the CPU.
"""

import os

from common import Proof, quiet

os.environ["AXOLOTL_DO_NOT_TRACK"] = "1"
with quiet():
    import axolotl
    import torch
    import transformers
    from axolotl.cli.train import do_cli
    from axolotl.core.trainers.base import AxolotlTrainer

torch.set_num_threads(2)
proof = Proof("axolotl", f"{axolotl.__version__} with transformers {transformers.__version__}")
train = AxolotlTrainer.train


def checked(trainer, *words, **more):
    proof.check(trainer.train_dataset, trainer.eval_dataset, trainer.data_collator)
    return train(trainer, *words, **more)


AxolotlTrainer.train = checked
os.chdir(proof.export)
with quiet():
    changes = {"bf16": False, "shuffle_merged_datasets": False}
    do_cli("sft.yaml", **changes, max_steps=1, gradient_accumulation_steps=4, lr_scheduler="constant")
    proof.adapter("output")
proof.finish(step=True)
