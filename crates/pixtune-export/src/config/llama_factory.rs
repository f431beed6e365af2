//! LLaMA-Factory: `llamafactory-cli train sft.yaml`.

use pixtune_core::json::{self, members, object};

use super::yaml::Yaml;
use super::{ConfigFile, Context};

pub(super) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    vec![
        ConfigFile { name: "sft.yaml", text: config(context) },
        ConfigFile { name: "dataset_info.json", text: dataset_info(context) },
    ]
}

/// What each file is.
fn dataset_info(context: &Context<'_>) -> String {
    json::document(object(|info| {
        for split in context.files {
            for file in split {
                let name = file.path.trim_end_matches(".parquet");
                info.field(
                    name,
                    object(|entry| {
                        entry.field("file_name", &file.path).field("formatting", "sharegpt");
                        entry.field("columns", members([("messages", "messages"), ("images", "images")]));
                        entry.field(
                            "tags",
                            members([
                                ("role_tag", "role"),
                                ("content_tag", "content"),
                                ("user_tag", "user"),
                                ("assistant_tag", "assistant"),
                                ("observation_tag", "tool"),
                                ("function_tag", "function_call"),
                                ("system_tag", "system"),
                            ]),
                        );
                    }),
                );
            }
        }
    }))
}

fn names(context: &Context<'_>, split: usize) -> String {
    let names = context.files[split].iter().map(|file| file.path.trim_end_matches(".parquet"));
    names.collect::<Vec<_>>().join(",")
}

fn config(context: &Context<'_>) -> String {
    let spec = context.spec;
    let mut yaml = Yaml::default();
    yaml.comment("llamafactory-cli train sft.yaml, in this directory");
    yaml.text("model_name_or_path", &context.settings.base_model);
    yaml.set("stage", "sft").set("do_train", true);
    yaml.comment("The data, as it is");
    yaml.set("dataset_dir", ".").set("media_dir", ".").set("dataset", names(context, 0));
    if context.has_validation() {
        yaml.set("eval_dataset", names(context, 1));
    }
    yaml.set("template", "pixtral");
    yaml.because(
        "cutoff_len",
        context.length(),
        "every sample is shorter; the default of 2,048 truncates inside images",
    );
    let pixels = u64::from(spec.max_side) * u64::from(spec.max_side);
    yaml.because("image_max_pixels", pixels, "the default resizes images to the area of 768x768");
    yaml.because("image_min_pixels", 1, "the default enlarges images below the area of 32x32");
    yaml.set("train_on_prompt", false).set("mask_history", false).set("packing", false);
    yaml.set("preprocessing_num_workers", 4).set("overwrite_cache", true);
    yaml.comment(context.source());
    context.schedule(&mut yaml);
    context.precision(yaml.set("disable_gradient_checkpointing", false));
    if context.is_full() {
        yaml.set("finetuning_type", "full");
    } else {
        yaml.set("finetuning_type", "lora").set("lora_rank", context.rank());
        yaml.set("lora_alpha", 2 * context.rank()).set("lora_dropout", "0.0");
        yaml.set("lora_target", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj");
    }
    yaml.set("freeze_vision_tower", true).set("freeze_multi_modal_projector", true);
    if context.is_quantized() {
        yaml.set("quantization_method", "bnb").set("quantization_bit", 4).set("quantization_type", "nf4");
        yaml.set("double_quantization", true);
    }
    context.saving(&mut yaml);
    yaml.finish()
}
