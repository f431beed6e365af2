//! Unsloth: a script, as it has no command. It was written after the source of unsloth_zoo 2026.10.7; Unsloth imports only on a
//! machine with a GPU.

use pixtune_core::json::quoted;
use pixtune_core::plan::TrainingPlan;

use super::KEPT;
use super::{ConfigFile, Context, decimal, trl};

pub(super) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    let Some(training) = context.training else { return vec![] };
    vec![
        ConfigFile { name: "train.py", text: script(context, training) },
        ConfigFile { name: "chat_template.jinja", text: trl::TEMPLATE.to_owned() },
    ]
}

fn script(context: &Context<'_>, training: &TrainingPlan) -> String {
    let python = |value: bool| if value { "True" } else { "False" };
    let adapter = if context.is_full() {
        String::new()
    } else {
        format!(
            r#"model = FastVisionModel.get_peft_model(
    model,
    finetune_vision_layers=False,
    finetune_language_layers=True,
    r={rank},
    lora_alpha={alpha},
    lora_dropout=0,
)
"#,
            rank = context.rank(),
            alpha = 2 * context.rank()
        )
    };
    let evaluation = match (context.has_validation(), context.run()) {
        (false, _) => String::new(),
        (true, None) => {
            "\n        eval_strategy=\"epoch\",\n        per_device_eval_batch_size=1,".to_owned()
        }
        (true, Some(run)) => format!(
            "\n        eval_strategy=\"steps\",\n        eval_steps={},\n        per_device_eval_batch_size=1,",
            run.save_steps
        ),
    };
    let Numbers { batch, length, rate, warmup, saving, seed } = numbers(context, training);
    let validation = if context.has_validation() { "samples(\"validation\")" } else { "None" };
    format!(
        r#""""Train with Unsloth: python train.py, in this directory; python train.py --resume goes on from the last checkpoint."""

import sys

from unsloth import FastVisionModel
from unsloth.trainer import UnslothVisionDataCollator

from datasets import load_dataset
from trl import SFTConfig, SFTTrainer


def samples(split):
    """Opens images when a sample is read, so that memory does not hold them all."""

    def convert(batch):
        chats = []
        for messages, images in zip(batch["messages"], batch["images"]):
            images = iter(images)
            chats.append(
                [
                    {{
                        "role": message["role"],
                        "content": [
                            {{"type": "image", "image": next(images)}}
                            if part["type"] == "image"
                            else {{"type": "text", "text": part["text"]}}
                            for part in message["content"]
                        ],
                    }}
                    for message in messages
                ]
            )
        return {{"messages": chats}}

    return load_dataset("parquet", data_files=f"data/{{split}}-*", split="train").with_transform(convert)


# Every sample is shorter.
model, tokenizer = FastVisionModel.from_pretrained(
    {base},
    max_seq_length={tokens},
    load_in_4bit={four_bit},
    full_finetuning={full},
    use_gradient_checkpointing="unsloth",
)
{adapter}# The layout of mistral-common.
tokenizer.chat_template = open("chat_template.jinja", encoding="utf-8").read()
FastVisionModel.for_training(model)
trainer = SFTTrainer(
    model=model,
    processing_class=tokenizer.tokenizer,
    # The loss counts responses, and no image is resized: none is longer than the model's limit.
    data_collator=UnslothVisionDataCollator(
        model,
        tokenizer,
        max_seq_length={tokens},
        resize={max_side},
        resize_dimension="max",
        train_on_responses_only=True,
        instruction_part="[INST]",
        response_part="[/INST]",
    ),
    train_dataset=samples("train"),
    eval_dataset={validation},
    args=SFTConfig(
        output_dir="output",
        per_device_train_batch_size=1,
        gradient_accumulation_steps={batch},
        {length},
        learning_rate={rate},
        lr_scheduler_type="cosine",
        warmup_steps={warmup},{evaluation}
        logging_steps=1,
        {saving},
        report_to="none",
        seed={seed},
        bf16=True,
        # The collator reads the columns itself.
        remove_unused_columns=False,
        dataset_kwargs={{"skip_prepare_dataset": True}},
        max_length=None,
    ),
)
trainer.train(resume_from_checkpoint="--resume" in sys.argv)
model.save_pretrained("output")
tokenizer.save_pretrained("output")
"#,
        base = quoted(&context.settings.base_model),
        tokens = context.length(),
        four_bit = python(context.is_quantized()),
        full = python(context.is_full()),
        max_side = context.spec.max_side,
    )
}

/// The numbers of the training, in Python.
struct Numbers {
    batch: u64,
    length: String,
    rate: String,
    warmup: u64,
    saving: String,
    seed: u64,
}

fn numbers(context: &Context<'_>, training: &TrainingPlan) -> Numbers {
    let schedule = &training.schedule;
    match context.run() {
        None => Numbers {
            batch: schedule.batch.value as u64,
            length: format!("num_train_epochs={}", schedule.advised_epochs.value as u64),
            rate: decimal(schedule.learning_rate.value),
            warmup: schedule.warmup_steps,
            saving: "save_strategy=\"epoch\"".to_owned(),
            seed: 42,
        },
        Some(run) => Numbers {
            batch: run.samples_per_step,
            length: format!("max_steps={},\n        weight_decay={}", run.steps, decimal(run.weight_decay)),
            rate: decimal(run.learning_rate),
            warmup: run.warmup_steps,
            saving: format!(
                "save_strategy=\"steps\",\n        save_steps={},\n        save_total_limit={}",
                run.save_steps, KEPT
            ),
            seed: run.seed,
        },
    }
}
