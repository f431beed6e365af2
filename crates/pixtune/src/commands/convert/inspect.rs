//! `pixtune convert --inspect`.

use std::path::{Path, PathBuf};

use pixtune_core::json::{line, list, object};
use pixtune_core::text::{counted, grouped};
use pixtune_model::gguf::{self, View};
use pixtune_model::weights::Checkpoint;
use pixtune_model::weights::inspect::{Inspection, family, inspect};
use pixtune_model::weights::{TextConfig, VisionConfig};

use crate::Outcome;
use crate::error::Error;
use crate::ui::{self, Format, bytes};

/// Tells what a directory is, on one screen.
pub fn run(directory: &Path, format: Format) -> Result<Outcome, Error> {
    let gguf = gguf::files(directory);
    if !gguf.is_empty() && (directory.is_file() || Checkpoint::formats(directory)?.is_empty()) {
        return inspect_gguf(&gguf, format);
    }
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
        "{}, {} wide, {} heads of {}, {} kv heads, feed-forward {}, vocabulary {}, rope {:e}{}, eps {:e}{}",
        counted(text.layers as u64, "layer"),
        text.hidden_size,
        text.heads,
        text.head_dim,
        text.kv_heads,
        text.intermediate_size,
        grouped(text.vocab_size as u64),
        text.rope_theta,
        positions(text),
        text.norm_eps,
        text.max_positions.map_or(String::new(), |most| format!(", {} positions", grouped(most as u64)))
    )
}

/// The stretched positions of Ministral 3.
fn positions(text: &TextConfig) -> String {
    let Some(yarn) = &text.yarn else { return String::new() };
    let factor = match yarn.attention_factor() {
        1.0 => String::new(),
        factor => format!(" with attention factor {factor:.4}"),
    };
    let original = grouped(yarn.original_positions as u64);
    let grows = text.query_scaling.map_or(String::new(), |scaling| {
        format!(", queries grow by {} every {}", scaling.beta, grouped(scaling.original_positions as u64))
    });
    format!(", yarn {}x from {original}{factor}{grows}", yarn.factor)
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

/// Tells what GGUF files hold.
fn inspect_gguf(files: &[PathBuf], format: Format) -> Result<Outcome, Error> {
    let views = files.iter().map(|path| View::open(path)).collect::<Result<Vec<View>, _>>()?;
    match format {
        Format::Json => ui::put(&line(list(views.iter().map(gguf_json))))?,
        Format::Human => ui::put(&views.iter().map(gguf_screen).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(Outcome::of(views.iter().any(|view| !view.problems.is_empty()), || "a file has problems".to_owned()))
}

/// Sizes that are shown of a GGUF file, by their keys.
const GGUF_SIZES: [(&str, &str); 8] = [
    ("block_count", "layers"),
    ("embedding_length", "wide"),
    ("attention.head_count", "heads"),
    ("attention.head_count_kv", "kv heads"),
    ("feed_forward_length", "in the feed-forward"),
    ("vocab_size", "tokens"),
    ("context_length", "positions"),
    ("patch_size", "pixels a patch"),
];

fn gguf_screen(view: &View) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: &str| out.push_str(&format!("{name:<16}{text}\n"));
    let text = |key: &str| view.header.text(key).unwrap_or("unknown").to_owned();
    let kind = text("general.type");
    line(
        "format",
        &format!(
            "gguf {}  {} ({kind})  {}",
            view.header.version,
            text("general.architecture"),
            view.path.display()
        ),
    );
    line("name", &text("general.name"));
    let types: Vec<String> =
        view.types.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    line(
        "weights",
        &format!(
            "{} parameters in {} ({}), {}",
            grouped(view.parameters),
            counted(view.header.tensors.len() as u64, "tensor"),
            types.join(", "),
            bytes(view.bytes)
        ),
    );
    let sizes: Vec<String> = GGUF_SIZES
        .iter()
        .filter_map(|(key, name)| Some(format!("{} {name}", grouped(view.size(key)?))))
        .collect();
    line("sizes", &sizes.join(", "));
    let tokenizer = match (view.header.text("tokenizer.ggml.model"), view.header.text("tokenizer.ggml.pre")) {
        (None, _) => "none".to_owned(),
        (Some(model), pre) => format!("{model}, split as {}", pre.unwrap_or("unknown")),
    };
    line("tokenizer", &tokenizer);
    for problem in &view.problems {
        line("problem", problem);
    }
    out
}

fn gguf_json(view: &View) -> impl pixtune_core::json::ToJson + '_ {
    object(move |out| {
        out.field("format", "gguf").field("version", view.header.version);
        out.field("file", view.path.display().to_string().as_str());
        out.field("architecture", view.header.text("general.architecture"));
        out.field("type", view.header.text("general.type")).field("name", view.header.text("general.name"));
        out.field("tensors", view.header.tensors.len() as u64).field("parameters", view.parameters);
        out.field("bytes", view.bytes);
        out.field(
            "types",
            object(|types| {
                for (name, count) in &view.types {
                    types.field(name.as_str(), *count);
                }
            }),
        );
        out.field("problems", list(view.problems.iter().map(String::as_str)));
    })
}
