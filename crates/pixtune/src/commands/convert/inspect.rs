//! `pixtune convert --inspect`.

use std::path::Path;

use pixtune_core::json::{line, list};
use pixtune_core::text::{counted, grouped};
use pixtune_model::weights::inspect::{Inspection, family, inspect};
use pixtune_model::weights::{TextConfig, VisionConfig};

use crate::Outcome;
use crate::error::Error;
use crate::ui::{self, Format, bytes};

/// Tells what a directory is, on one screen.
pub fn run(directory: &Path, format: Format) -> Result<Outcome, Error> {
    let views = inspect(directory)?;
    match format {
        Format::Json => {
            ui::put(&line(list(&views)))?;
        }
        Format::Human => {
            let screens: Vec<String> = views.iter().map(screen).collect();
            ui::put(&screens.join("\n"))?;
        }
    }
    Ok(Outcome::of(views.iter().any(Inspection::is_damaged), || "the checkpoint has problems".to_owned()))
}

fn screen(view: &Inspection) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| out.push_str(&format!("{name:<16}{text}\n"));
    let model = view.config.as_ref().map_or("", |config| family(config.family));
    line("format", &format!("{}  {model}", view.format.as_str()));
    if let Some(weights) = &view.weights {
        let dtypes: Vec<String> =
            weights.dtypes.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
        line(
            "weights",
            &format!(
                "{} parameters in {} ({}), {} in {}",
                grouped(weights.parameters),
                counted(weights.tensors, "tensor"),
                dtypes.join(", "),
                bytes(weights.bytes),
                counted(weights.files.len() as u64, "file")
            ),
        );
        line("names", &weights.spellings.join(" and "));
    }
    if let Some(config) = &view.config {
        line("text", &text(&config.text));
        line("vision", &vision(&config.vision));
        let merge = match config.projector.spatial_merge {
            1 => String::new(),
            side => format!(", merges {side}x{side} patches"),
        };
        let biases = if config.projector.bias { "with biases" } else { "without biases" };
        line("projector", &format!("{biases}{merge}"));
        line("head", if config.tied { "tied to the embedding" } else { "a tensor of its own" });
    }
    let tokenizers = view.tokenizers.join(" ");
    line("tokenizer", if tokenizers.is_empty() { "none" } else { &tokenizers });
    for note in &view.notes {
        line(if note.damage { "damaged" } else { "note" }, &note.text);
    }
    for problem in &view.problems {
        line("problem", problem);
    }
    out
}

fn text(text: &TextConfig) -> String {
    format!(
        "{}, {} wide, {} heads of {}, {} kv heads, feed-forward {}, vocabulary {}, rope {:e}, eps {:e}{}",
        counted(text.layers as u64, "layer"),
        text.hidden_size,
        text.heads,
        text.head_dim,
        text.kv_heads,
        text.intermediate_size,
        grouped(text.vocab_size as u64),
        text.rope_theta,
        text.norm_eps,
        text.max_positions.map_or(String::new(), |most| format!(", {} positions", grouped(most as u64)))
    )
}

fn vision(vision: &VisionConfig) -> String {
    format!(
        "{}, {} wide, {} heads of {}, feed-forward {}, images to {} in patches of {}, rope {:e}",
        counted(vision.layers as u64, "layer"),
        vision.hidden_size,
        vision.heads,
        vision.head_dim,
        vision.intermediate_size,
        vision.image_size,
        vision.patch_size,
        vision.rope_theta
    )
}
