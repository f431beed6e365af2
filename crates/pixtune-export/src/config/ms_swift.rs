//! ms-swift: `swift sft sft.yaml`.

use super::yaml::Yaml;
use super::{ConfigFile, Context};

pub(super) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    vec![ConfigFile { name: "sft.yaml", text: config(context) }]
}

fn names(context: &Context<'_>, split: usize) -> String {
    let names: Vec<&str> = context.files[split].iter().map(|file| file.path.as_str()).collect();
    match names[..] {
        [only] => only.to_owned(),
        _ => format!("[{}]", names.join(", ")),
    }
}

fn config(context: &Context<'_>) -> String {
    let mut yaml = Yaml::default();
    yaml.comment("swift sft sft.yaml, in this directory");
    yaml.text("model", &context.settings.base_model);
    yaml.because("model_type", "pixtral", "the architecture alone names several");
    let dtype = if context.is_on_cpu() { "float32" } else { "bfloat16" };
    yaml.set("template", "pixtral").set("torch_dtype", dtype);
    yaml.comment("The data, as it is");
    yaml.set("dataset", names(context, 0));
    if context.has_validation() {
        yaml.set("val_dataset", names(context, 1));
    }
    yaml.set("split_dataset_ratio", 0).set("dataset_shuffle", true);
    yaml.because("strict", true, "otherwise a sample that fails is replaced by another one");
    yaml.because("max_length", context.length(), "every sample is shorter")
        .set("truncation_strategy", "delete");
    yaml.set("loss_scale", "default");
    yaml.comment(context.source());
    context.schedule(&mut yaml);
    context.precision(yaml.set("gradient_checkpointing", true).set("vit_gradient_checkpointing", false));
    if context.is_full() {
        yaml.set("tuner_type", "full");
    } else {
        yaml.set("tuner_type", "lora").set("lora_rank", context.rank());
        yaml.set("lora_alpha", 2 * context.rank()).set("lora_dropout", "0.0");
        yaml.because("target_modules", "all-linear", "of the language model: the rest is frozen");
    }
    yaml.set("freeze_llm", false).set("freeze_vit", true).set("freeze_aligner", true);
    if context.is_quantized() {
        yaml.set("quant_method", "bnb").set("quant_bits", 4).set("bnb_4bit_quant_type", "nf4");
        yaml.set("bnb_4bit_use_double_quant", true).set("bnb_4bit_compute_dtype", "bfloat16");
    }
    context.saving(&mut yaml);
    yaml.because("add_version", false, "otherwise the output is in a directory named by the date");
    yaml.finish()
}
