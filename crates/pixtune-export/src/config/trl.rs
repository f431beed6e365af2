//! TRL: `trl sft --config sft.yaml`, with a chat template that marks what is trained.

use pixtune_core::tokens::TokenizerVersion;

use super::yaml::Yaml;
use super::{ConfigFile, Context, TARGETS};
use crate::trainer::Layout;

/// The layout of mistral-common as a template of transformers, with the responses marked for the loss.
pub(super) const TEMPLATE: &str = include_str!("chat_template.jinja");
/// For samples that have the special tokens of later versions.
const TOKENS_TEMPLATE: &str = include_str!("chat_template_tokens.jinja");

pub(super) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    let template = match context.spec.tokenizer {
        TokenizerVersion::V3 => TEMPLATE,
        _ => TOKENS_TEMPLATE,
    };
    vec![
        ConfigFile { name: "sft.yaml", text: config(context) },
        ConfigFile { name: "chat_template.jinja", text: template.to_owned() },
    ]
}

fn config(context: &Context<'_>) -> String {
    let mut yaml = Yaml::default();
    yaml.comment("trl sft --config sft.yaml, in this directory");
    yaml.text("model_name_or_path", &context.settings.base_model);
    match context.is_on_cpu() {
        false => yaml.because("dtype", "bfloat16", "the default is float32"),
        true => yaml.set("dtype", "float32"),
    };
    yaml.comment("The data, as it is");
    yaml.set("dataset_name", "data").set("dataset_train_split", "train");
    if context.has_validation() {
        yaml.set("dataset_test_split", "validation");
    }
    yaml.because(
        "chat_template_path",
        "chat_template.jinja",
        "the layout of mistral-common, responses marked",
    );
    match context.trainer.layout {
        Layout::PromptCompletion => yaml.set("completion_only_loss", true),
        _ => yaml.because("assistant_only_loss", true, "the loss counts responses, not prompts and images"),
    };
    yaml.because("max_length", "null", "the default of 1,024 truncates inside images");
    yaml.because("packing", false, "not supported with images");
    yaml.comment(context.source());
    context.schedule(&mut yaml);
    context.precision(yaml.set("gradient_checkpointing", true));
    if !context.is_full() {
        yaml.set("use_peft", true).set("lora_r", context.rank()).set("lora_alpha", 2 * context.rank());
        yaml.set("lora_dropout", "0.0");
        yaml.because("lora_target_modules", format!("'{TARGETS}'"), "the language model alone");
    }
    if context.is_quantized() {
        yaml.set("load_in_4bit", true).set("bnb_4bit_quant_type", "nf4").set("use_bnb_nested_quant", true);
    }
    context.saving(&mut yaml);
    yaml.finish()
}
