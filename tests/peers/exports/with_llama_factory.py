"""LLaMA-Factory's own command reads an export, and its template and collator make of every sample what pixtune counted.

usage: with_llama_factory.py PIXTUNE PREPARED MODEL EXPORT

It runs `llamafactory-cli train sft.yaml` in this process, for one step on the CPU.
"""

import os

from common import Proof, quiet

with quiet():
    import llamafactory.extras.env
    import torch
    import transformers
    import yaml
    from llamafactory.train.sft.trainer import CustomSeq2SeqTrainer
    from llamafactory.train.tuner import run_exp

torch.set_num_threads(2)
proof = Proof("llama-factory", f"{llamafactory.extras.env.VERSION} with transformers {transformers.__version__}")
train = CustomSeq2SeqTrainer.train


def checked(trainer, *words, **more):
    def collate(rows):
        batch = trainer.data_collator([dict(row) for row in rows])
        if not any(row["images"] for row in rows):
            # A batch without images gets a white one, whose tokens have neither attention nor labels.
            assert len(batch.pop("pixel_values")) == 1
        return batch

    validation = trainer.eval_dataset
    validation = next(iter(validation.values())) if isinstance(validation, dict) else validation
    proof.check(trainer.train_dataset, validation, collate)
    return train(trainer, *words, **more)


CustomSeq2SeqTrainer.train = checked
os.chdir(proof.export)
with open("sft.yaml") as file:
    arguments = yaml.safe_load(file)
arguments |= {"use_cpu": True, "bf16": False}
arguments |= {"max_steps": 1, "gradient_accumulation_steps": 4, "lr_scheduler_type": "constant"}
with quiet():
    run_exp(arguments)
    proof.adapter("output")
proof.finish(step=True)
