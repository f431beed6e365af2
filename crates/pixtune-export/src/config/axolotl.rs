//! Axolotl: `axolotl train sft.yaml`.

use super::KEPT;
use super::yaml::Yaml;
use super::{ConfigFile, Context};

pub(super) fn files(context: &Context<'_>) -> Vec<ConfigFile> {
    vec![ConfigFile { name: "sft.yaml", text: config(context) }]
}

/// The linear layers of the language model, as Axolotl's own example for Pixtral names them.
const TARGETS: &str = r"model.language_model.layers.[\d]+.(mlp|self_attn).(up|down|gate|q|k|v|o)_proj";

/// The entries of a list of datasets.
fn datasets(context: &Context<'_>, split: usize, more: &str) -> String {
    let entry = |file: &pixtune_io::manifest::OutputFile| {
        format!("  - path: {}\n    ds_type: parquet\n    type: chat_template\n{more}", file.path)
    };
    context.files[split].iter().map(entry).collect()
}

fn config(context: &Context<'_>) -> String {
    let mut yaml = Yaml::default();
    yaml.comment("axolotl train sft.yaml, in this directory");
    yaml.text("base_model", &context.settings.base_model);
    yaml.set("processor_type", "AutoProcessor");
    yaml.comment("The data, as it is");
    yaml.set("chat_template", "pixtral");
    yaml.raw("datasets:\n");
    yaml.raw(&datasets(context, 0, "    roles_to_train: [assistant]\n    train_on_eos: turn\n"));
    if context.has_validation() {
        yaml.raw("test_datasets:\n").raw(&datasets(context, 1, "    split: train\n"));
        match context.run() {
            None => yaml.set("evals_per_epoch", 1),
            Some(run) => yaml.set("eval_steps", run.save_steps),
        };
        yaml.set("eval_batch_size", 1);
    } else {
        yaml.set("val_set_size", 0);
    }
    yaml.set("skip_prepare_dataset", true).set("remove_unused_columns", false).set("sample_packing", false);
    yaml.because("sequence_len", context.length(), "every sample is shorter");
    yaml.set("train_on_inputs", false);
    yaml.raw(
        "special_tokens:\n  pad_token: <pad>  # a token that is padding loses its label, so never </s>\n",
    );
    schedule(context, &mut yaml);
    yaml.set("optimizer", "adamw_torch_fused");
    yaml.set("gradient_checkpointing", true);
    yaml.set("bf16", if context.is_on_cpu() { "false" } else { "auto" }).set("tf32", false);
    if !context.is_full() {
        yaml.set("adapter", if context.is_quantized() { "qlora" } else { "lora" });
        yaml.set("lora_r", context.rank()).set("lora_alpha", 2 * context.rank()).set("lora_dropout", "0.0");
        yaml.set("lora_target_modules", format!("'{TARGETS}'"));
        let why = "the kernels fail for models with images";
        yaml.because("lora_mlp_kernel", false, why).set("lora_qkv_kernel", false).set("lora_o_kernel", false);
    }
    if context.is_quantized() {
        yaml.set("load_in_4bit", true);
    }
    yaml.comment("Results");
    yaml.set("output_dir", "output").set("logging_steps", 1);
    match context.run() {
        None => yaml.set("saves_per_epoch", 1).set("seed", 42),
        Some(run) => {
            yaml.set("save_steps", run.save_steps).set("save_total_limit", KEPT).set("seed", run.seed)
        }
    };
    yaml.finish()
}

/// Batch, rate and epochs, by Axolotl's names.
fn schedule(context: &Context<'_>, yaml: &mut Yaml) {
    yaml.comment(context.source());
    yaml.because("micro_batch_size", 1, "per device: with N devices, divide the next by N");
    context.rate(yaml, ["num_epochs", "lr_scheduler"]);
}
