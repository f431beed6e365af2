//! `pixtune convert`.

mod gguf;
mod inspect;

use std::ops::ControlFlow;
use std::path::Path;

use pixtune_core::json;
use pixtune_core::text::{counted, grouped};
use pixtune_io::prepare::parse_bytes;
use pixtune_model::weights::convert::{NotFinite, Options, Plan, Progress, Report, Stage};
use pixtune_model::weights::{Dtype, Format as Weights};

use super::existing;
use crate::Outcome;
use crate::args::{ConvertArgs, ConvertToArg, DtypeArg, ToArg, WriteArgs};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity, bytes};
pub(super) use gguf::element;

/// Converts a checkpoint, or inspects a directory.
pub fn run(args: ConvertArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    if let Some(directory) = &args.inspect {
        return inspect::run(directory, args.write.format);
    }
    let mut ui = Ui::new(args.write.format, verbosity);
    if args.to == Some(ConvertToArg::Gguf) {
        return gguf::run(&args, ui);
    }
    let options = options(&args)?;
    let target = options.target.display().to_string();
    let plan = Plan::new(options)?;
    for warning in &plan.warnings {
        ui.note(&format!("warning: {warning}"));
    }
    let result = plan.run(None, &mut |progress| show(&ui, progress));
    ui.end();
    let report = result?;
    match args.write.format {
        Format::Json => ui::put(&json::line(&report))?,
        Format::Human => ui::put(&summary(&report, &target))?,
    }
    Ok(outcome(&report))
}

/// Converts without printing: the report as a line of JSON. `watch` hears the bytes of a stage that are done, and of how many,
/// and can end the run.
pub(crate) fn report(
    args: &ConvertArgs,
    note: &dyn Fn(&str),
    watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<String, Error> {
    if args.to == Some(ConvertToArg::Gguf) {
        return gguf::report(args, note, watch);
    }
    let plan = Plan::new(options(args)?)?;
    plan.warnings.iter().for_each(|warning| note(warning));
    let report = plan.run_until(None, &mut |Progress { done, total, .. }| watch(done, total))?;
    Ok(json::line(&report))
}

fn options(args: &ConvertArgs) -> Result<Options, Error> {
    let (Some(source), Some(target), Some(to)) = (&args.source, &args.target, args.to) else {
        return Err(Error::argument("SRC, DST and --to are needed"));
    };
    let to = match to {
        ConvertToArg::Hf => Weights::Hf,
        ConvertToArg::Mistral => Weights::Mistral,
        ConvertToArg::Gguf => return Err(Error::argument("gguf is not a format of checkpoints")),
    };
    let base = args.base.clone();
    Ok(Options { base, ..written(source, target, to, &args.write)? })
}

/// From one directory into another with the options that `convert` and `adapter merge` share.
pub(super) fn written(
    source: &Path,
    target: &Path,
    to: Weights,
    write: &WriteArgs,
) -> Result<Options, Error> {
    Ok(Options {
        source: source.to_owned(),
        target: target.to_owned(),
        to,
        base: None,
        dtype: dtype_of(write.dtype)?,
        shard_bytes: shard_bytes(write.shard_size.as_deref(), to)?,
        untie: write.untie,
        growth: None,
        complete: false,
        verify: write.verify,
        existing: existing(write.force),
    })
}

/// The format of an argument.
pub(super) fn format_of(to: ToArg) -> Weights {
    match to {
        ToArg::Hf => Weights::Hf,
        ToArg::Mistral => Weights::Mistral,
    }
}

/// The type of an argument for safetensors; `None` keeps what is there.
pub(super) fn dtype_of(dtype: DtypeArg) -> Result<Option<Dtype>, Error> {
    Ok(match dtype {
        DtypeArg::Keep => None,
        DtypeArg::Bf16 => Some(Dtype::BF16),
        DtypeArg::F16 => Some(Dtype::F16),
        DtypeArg::F32 => Some(Dtype::F32),
        DtypeArg::Q8_0 => {
            return Err(Error::argument("q8_0 is a type of GGUF files: use it with `convert --to gguf`"));
        }
    })
}

/// Most bytes of a file; `None` writes one file.
fn shard_bytes(size: Option<&str>, to: Weights) -> Result<Option<u64>, Error> {
    match size {
        Some("none") => Ok(None),
        Some(size) => match parse_bytes(size).map_err(Error::argument)? {
            0 => Err(Error::argument("a shard has at least one byte; `none` writes one file")),
            size => Ok(Some(size)),
        },
        // What transformers 4 writes without being asked.
        None if to == Weights::Hf => Ok(Some(5_000_000_000)),
        None => Ok(None),
    }
}

pub(super) fn show(ui: &Ui, progress: Progress) {
    let what = match progress.stage {
        Stage::Write => "writing",
        Stage::Verify => "comparing",
    };
    ui.moved(what, progress.done, progress.total);
}

/// A summary of the conversion.
fn summary(report: &Report, target: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<16}{text}\n"));
    let dtypes: Vec<String> =
        report.dtypes.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    line("written", format!("{target}  {} to {}", report.from.as_str(), report.to.as_str()));
    line(
        "tensors",
        format!(
            "{} ({}), {}, {} renamed, {} permuted",
            grouped(report.tensors),
            dtypes.join(", "),
            bytes(report.bytes),
            grouped(report.renamed),
            grouped(report.permuted)
        ),
    );
    for (method, count) in &report.quantized {
        line("dequantized", format!("{} in {method}", counted(*count, "tensor")));
    }
    line("files", report.files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "));
    if !report.synthesized.is_empty() {
        let keys: Vec<String> =
            report.synthesized.iter().map(|key| format!("{}={}", key.key, key.value)).collect();
        line("synthesized", shortened(&keys));
    }
    for [key, before, after] in &report.corrected {
        line("corrected", format!("{key}: {before} to {after}"));
    }
    if !report.carried.is_empty() {
        line("carried over", shortened(&report.carried));
    }
    for [key, value] in &report.left_out {
        line("dropped", format!("{key}: {value}"));
    }
    out.push_str(&not_finite(report));
    out.push_str(&verified(report));
    out
}

/// Values that are not finite are findings.
pub(super) fn outcome(report: &Report) -> Outcome {
    let tensors = report.not_finite.len() as u64;
    Outcome::of(tensors > 0, || format!("{} with values that are not finite", counted(tensors, "tensor")))
}

/// Tensors with values that are not finite.
pub(super) fn not_finite(report: &Report) -> String {
    let line = |found: &NotFinite| {
        let (nan, infinite) = (counted(found.nan, "NaN"), infinities(found.infinite));
        format!("{:<16}`{}` has {nan} and {infinite}\n", "not finite", found.name)
    };
    report.not_finite.iter().map(line).collect()
}

/// The result of reading back.
pub(super) fn verified(report: &Report) -> String {
    let Some(verified) = &report.verified else { return String::new() };
    let how = match report.merged {
        Some(_) => "read back and equal to the merged source and adapter",
        None => "read back and equal to the source",
    };
    let tensors = counted(verified.tensors, "tensor");
    format!("{:<16}{tensors} {how}, BLAKE3 {}\n", "verified", &verified.blake3[..16])
}

fn infinities(count: u64) -> String {
    format!("{} infinit{}", grouped(count), if count == 1 { "y" } else { "ies" })
}

/// A list with its first entries; the report has them all.
fn shortened(all: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = all[..all.len().min(SHOWN)].join(", ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more in conversion_report.json"),
    }
}
