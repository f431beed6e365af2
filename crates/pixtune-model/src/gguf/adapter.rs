//! An adapter for llama.cpp (`--lora`): the low-rank changes of the text decoder.

use std::path::Path;

use super::element::Element;
use super::error::GgufError;
use super::metadata::{Entry, Metadata, Value, aligned, head};
use super::text;
use crate::adapter::{Adapter, AdapterError, Lora, check_base, check_gguf, count_not_finite, other_weights};
use crate::weights::convert::{OutputDirectory, REPORT, check_target};
use crate::weights::{Checkpoint, Module, Problems, RowOrder};
use pixtune_files::Existing;

/// The file in the output.
const FILE: &str = "adapter.gguf";

/// Writes an adapter as `adapter.gguf` in a directory. Its scaling stands in the file where all modules have the same; where
/// ranks or scalings differ, it is multiplied into B. Returns the bytes of the file.
///
/// llama.cpp has adapters of the text decoder alone. One that changes more is refused: it would be applied in part.
pub fn write_adapter(
    adapter: &Adapter,
    base: &Checkpoint,
    target: &Path,
    existing: Existing,
) -> Result<u64, GgufError> {
    check_target(&[&adapter.directory, base.directory()], target, existing)?;
    other_weights(adapter)?;
    check_base(adapter, base)?;
    check_gguf(adapter)?;
    let alpha = common_alpha(adapter);
    let mut pieces: Vec<(Entry, Vec<f32>)> = Vec::new();
    for (module, lora) in &adapter.lora {
        pieces.extend(pair(adapter, base, *module, lora, alpha)?);
    }
    let mut keys = Metadata::default();
    keys.text("general.architecture", text::architecture(base.config()))
        .text("general.type", "adapter")
        .text("general.name", name_of(&adapter.directory))
        .number("general.file_type", Element::F32.file_type() as usize)
        .number("general.quantization_version", 2)
        .text("adapter.type", "lora")
        .put("adapter.lora.alpha", Value::F32(alpha));
    let entries: Vec<Entry> = pieces.iter().map(|(entry, _)| entry.clone()).collect();
    let mut bytes = head(&keys, &entries);
    let mut encoded = Vec::new();
    for (entry, values) in &pieces {
        entry.element.encode(values, &mut encoded);
        bytes.extend_from_slice(&encoded);
        bytes.resize(aligned(bytes.len() as u64) as usize, 0);
    }
    let directory = OutputDirectory::create(target)?;
    directory.write(FILE, &bytes)?;
    let report = pixtune_core::json::document(pixtune_core::json::object(|out| {
        out.field("pixtune", env!("CARGO_PKG_VERSION"))
            .field("to", "gguf")
            .field("modules", adapter.lora.len() as u64);
    }));
    directory.write(REPORT, report.as_bytes())?;
    directory.commit()?;
    Ok(bytes.len() as u64)
}

fn name_of(directory: &Path) -> String {
    directory.file_name().map_or_else(|| "adapter".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// What alpha is written: the one of all modules, or the one of the largest magnitude; 1 where all are 0, as B is divided by it.
fn common_alpha(adapter: &Adapter) -> f32 {
    let alphas = adapter.lora.values().map(|lora| (lora.scaling * lora.rank as f64) as f32);
    let largest =
        alphas.fold(0f32, |largest, alpha| if alpha.abs() > largest.abs() { alpha } else { largest });
    if largest == 0.0 { 1.0 } else { largest }
}

/// The two tensors of a module: llama.cpp multiplies B·A by alpha divided by the rank.
fn pair(
    adapter: &Adapter,
    base: &Checkpoint,
    module: Module,
    lora: &Lora,
    alpha: f32,
) -> Result<[(Entry, Vec<f32>); 2], GgufError> {
    let name = text::name(module.weight()).unwrap_or_default();
    let entry = |end: &str, shape: &[usize]| Entry {
        name: format!("{name}.{end}"),
        dimensions: shape.iter().rev().map(|side| *side as u64).collect(),
        element: Element::F32,
    };
    let (a, mut b) = (adapter.values(&lora.a)?, adapter.values(&lora.b)?);
    let problems: Vec<String> = [(&lora.a, &a), (&lora.b, &b)]
        .into_iter()
        .map(|(tensor, values)| (tensor, count_not_finite(values), values.len()))
        .filter(|(_, count, _)| *count > 0)
        .map(|(tensor, count, all)| format!("`{}` has {count} of {all}", tensor.name))
        .collect();
    if !problems.is_empty() {
        let adapter = adapter.directory.clone();
        return Err(AdapterError::NotFinite { adapter, problems: Problems(problems) }.into());
    }
    let factor = lora.scaling * lora.rank as f64 / f64::from(alpha);
    if factor as f32 != 1.0 {
        b.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
    let from = adapter.dialect.row_order(module);
    if let Some(head_dim) = base.rotary_head_dim(module).filter(|_| from != RowOrder::Interleaved) {
        let rows: Vec<&[f32]> = b.chunks_exact(lora.rank).collect();
        let source = |row| rows[from.source_row(RowOrder::Interleaved, head_dim, row)];
        b = (0..rows.len()).flat_map(source).copied().collect();
    }
    Ok([(entry("lora_a", &lora.a.shape), a), (entry("lora_b", &lora.b.shape), b)])
}
