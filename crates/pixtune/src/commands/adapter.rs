//! `pixtune adapter`: check, convert, merge.

use std::path::Path;

use pixtune_core::json::{append_line, line, list, object};
use pixtune_core::text::{counted, grouped};
use pixtune_model::adapter::check::{
    self, CheckReport, Server, ServerOptions, VLLM_MAX_RANKS, Verdict, groups, vllm_max_rank,
};
use pixtune_model::adapter::{Adapter, Conversion, ConversionReport, Dialect, Merge, Rounding};
use pixtune_model::gguf::write_adapter;
use pixtune_model::weights::Checkpoint;
use pixtune_model::weights::convert::{MergedInto, Options, Report};
use pixtune_model::weights::found::adapter_of_run;

use super::convert::{dtype_of, format_of, not_finite, outcome, show, verified, written};
use super::existing;
use crate::Outcome;
use crate::args::{
    AdapterArgs, AdapterCheckArgs, AdapterCommand, AdapterConvertArgs, AdapterMergeArgs, DialectArg,
    DtypeArg, FromArg,
};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity, bytes};

/// Runs the subcommand.
pub fn run(args: AdapterArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    match args.command {
        AdapterCommand::Check(args) => check(&args, verbosity),
        AdapterCommand::Convert(args) => convert(&args, verbosity),
        AdapterCommand::Merge(args) => merge(&args, verbosity),
    }
}

fn check(args: &AdapterCheckArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let ui = Ui::new(args.format, verbosity);
    let Checked { report, adapter, options } = checked(args, &|text| ui.note(text))?;
    match args.format {
        Format::Json => ui::put(&verdict_lines(&report, &adapter, options))?,
        Format::Human => ui::put(&verdict_table(&report, &adapter, options))?,
    }
    Ok(Outcome::of(!report.is_fine(), || match report.all_applied() {
        false if is_unknown(&report) => "not every module was tested with the server".to_owned(),
        false => "the server does not apply every module as it was trained".to_owned(),
        true => "the adapter is not what was trained".to_owned(),
    }))
}

/// A checked adapter.
struct Checked {
    report: CheckReport,
    adapter: Adapter,
    options: ServerOptions,
}

/// Checks without printing: a line of JSON for each module, then one for all.
pub(crate) fn verdicts(args: &AdapterCheckArgs, note: &dyn Fn(&str)) -> Result<String, Error> {
    let Checked { report, adapter, options } = checked(args, note)?;
    Ok(verdict_lines(&report, &adapter, options))
}

fn checked(args: &AdapterCheckArgs, note: &dyn Fn(&str)) -> Result<Checked, Error> {
    let options = ServerOptions {
        vllm: args.server.vllm,
        tower_connector: args.enable_tower_connector_lora,
        max_rank: max_rank(args.max_lora_rank)?,
    };
    let base = open_base(&args.base, args.server.server)?;
    let of_run = adapter_of_run(&args.adapter);
    if let Some(found) = &of_run {
        note(&format!("checking `{}`, the newest adapter of the run", found.display()));
    }
    let path = of_run.as_ref().unwrap_or(&args.adapter);
    let adapter = Adapter::open(path, args.from.map(FromArg::dialect))?;
    let report = check::check(&adapter, &base, args.server.server, options)?;
    Ok(Checked { report, adapter, options })
}

/// A rank that vLLM accepts as `--max-lora-rank`.
fn max_rank(rank: usize) -> Result<usize, Error> {
    if VLLM_MAX_RANKS.contains(&rank) {
        return Ok(rank);
    }
    let next = match vllm_max_rank(rank) {
        Some(next) => format!("the next that it accepts is {next}"),
        None => "its largest is 512; `pixtune adapter merge` works with any rank".to_owned(),
    };
    Err(Error::argument(format!("vLLM does not accept --max-lora-rank {rank}: {next}")))
}

/// Where a directory holds both formats, the one the server reads.
fn open_base(directory: &Path, server: Server) -> Result<Checkpoint, Error> {
    let formats = Checkpoint::formats(directory)?;
    let opened = match formats.len() {
        0 | 1 => Checkpoint::open(directory),
        _ => Checkpoint::open_as(directory, server.format()),
    };
    Ok(opened?)
}

fn convert(args: &AdapterConvertArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let ui = Ui::new(args.format, verbosity);
    let base = open_base(&args.base, Server::VllmMistral)?;
    let mut adapter = Adapter::open(&args.source, args.from.map(FromArg::dialect))?;
    if args.ignore_other_weights {
        adapter.ignore_other_weights();
    }
    let Some(to) = args.to.dialect() else { return write_gguf(args, &adapter, &base) };
    let dtype = args.dtype.map(dtype_of).transpose()?.flatten();
    let conversion = Conversion::new(&adapter, &base, to, &args.target, dtype, existing(args.force))?;
    for warning in &conversion.warnings {
        ui.note(&format!("warning: {warning}"));
    }
    let report = conversion.run()?;
    match args.format {
        Format::Json => ui::put(&line(&report))?,
        Format::Human => ui::put(&conversion_table(&report, &args.target.display().to_string()))?,
    }
    Ok(Outcome::of(report.rounding.lost > 0, || {
        format!("{} lost in the conversion of the data type", counted(report.rounding.lost, "value"))
    }))
}

/// Writes an adapter for llama.cpp.
fn write_gguf(args: &AdapterConvertArgs, adapter: &Adapter, base: &Checkpoint) -> Result<Outcome, Error> {
    if args.dtype.is_some_and(|dtype| dtype != DtypeArg::F32) {
        return Err(Error::argument("an adapter for llama.cpp is written in f32, which loses nothing"));
    }
    let written = write_adapter(adapter, base, &args.target, existing(args.force))?;
    let modules = adapter.lora.len() as u64;
    match args.format {
        Format::Json => ui::put(&line(object(|out| {
            out.field("to", "gguf").field("modules", modules).field("bytes", written);
        })))?,
        Format::Human => {
            let target = args.target.join("adapter.gguf");
            ui::put(&format!(
                "{:<16}{}  {}, {}\n",
                "written",
                target.display(),
                counted(modules, "module"),
                bytes(written)
            ))?;
        }
    }
    Ok(Outcome::Fine)
}

fn merge(args: &AdapterMergeArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let mut ui = Ui::new(args.write.format, verbosity);
    let mut adapter = Adapter::open(&args.adapter, args.from.map(FromArg::dialect))?;
    if args.ignore_other_weights {
        adapter.ignore_other_weights();
    }
    let to = match args.to {
        Some(to) => format_of(to),
        None => Checkpoint::open(&args.base)?.format(),
    };
    let options = written(&args.base, &args.target, to, &args.write)?;
    let options = Options { base: args.original.clone(), ..options };
    let mut merge = Merge::new(&adapter, options)?;
    for warning in &merge.plan().warnings {
        ui.note(&format!("warning: {warning}"));
    }
    let result = merge.run(&mut |progress| show(&ui, progress));
    ui.end();
    let report = result?;
    match args.write.format {
        Format::Json => ui::put(&line(&report))?,
        Format::Human => ui::put(&merge_table(&report, &adapter, &args.target.display().to_string()))?,
    }
    Ok(outcome(&report))
}

/// A JSON object per module, then one for all.
fn verdict_lines(report: &CheckReport, adapter: &Adapter, options: ServerOptions) -> String {
    let mut out = String::new();
    for module in &report.modules {
        let line = object(|line| {
            line.field("module", &module.path).field("area", module.area.as_str());
            line.field("verdict", module.verdict.as_str()).field("reason", &module.reason);
            line.field("evidence", module.evidence());
            line.field("source", module.source);
        });
        append_line(&mut out, line);
    }
    let total = object(|line| {
        let version = report.server.describe(options.vllm);
        line.field("server", report.server.as_str()).field("version", &version);
        line.field("known_versions", list(report.server.versions()));
        line.field("dialect", adapter.dialect.as_str());
        line.field("base_model", base_model(adapter)).field("modules", report.modules.len());
        line.field("applied", report.count(Verdict::Applied))
            .field("ignored", report.count(Verdict::Ignored));
        line.field("wrong", report.count(Verdict::Wrong)).field("rejected", report.count(Verdict::Rejected));
        line.field("not_tested", report.count(Verdict::NotTested));
        line.field("problems", list(&report.problems)).field("warnings", list(&report.warnings));
    });
    append_line(&mut out, total);
    out
}

/// Modules grouped by name and verdict; those that are not applied with the reason.
fn verdict_table(report: &CheckReport, adapter: &Adapter, options: ServerOptions) -> String {
    let mut out = format!("{:<10}{}\n", "server", report.server.describe(options.vllm));
    out.push_str(&format!("{:<10}{}, {}\n", "adapter", adapter.dialect.describe(), about(adapter)));
    if let Some(base) = base_model(adapter) {
        out.push_str(&format!("{:<10}{base}, as adapter_config.json names it\n", "base"));
    }
    out.push('\n');
    let mut explained: Option<(&str, &str)> = None;
    for group in groups(&report.modules) {
        if explained.is_some_and(|before| before != (group.reason, group.source)) {
            explain(explained, &mut out);
        }
        let many = if group.count > 1 { format!("  ({})", group.count) } else { String::new() };
        out.push_str(&format!("{:<10}{}{many}\n", group.verdict.as_str(), group.path));
        explained = Some((group.reason, group.source));
    }
    explain(explained, &mut out);
    for warning in &report.warnings {
        out.push_str(&format!("warning: {warning}\n"));
    }
    let total = report.modules.len() as u64;
    let applied = report.count(Verdict::Applied) as u64;
    for problem in &report.problems {
        out.push_str(&format!("problem: {problem}\n"));
    }
    let summary = format!("{} of {} applied", grouped(applied), counted(total, "module"));
    match report.all_applied() {
        true if report.is_fine() => out.push_str(&format!("{summary}\n")),
        true => {
            let problems = counted(report.problems.len() as u64, "problem");
            out.push_str(&format!("{summary}, {problems}: the result is not the trained model\n"));
        }
        false if is_unknown(report) => out.push_str(&format!(
            "{summary}, {} not tested: whether this server computes the trained model is not known\n  hint: `pixtune adapter merge` \
             works with every server\n",
            grouped(report.count(Verdict::NotTested) as u64)
        )),
        false => out.push_str(&format!(
            "{summary}: this server does not compute the trained model\n  hint: {}\n",
            alternative(report.server, adapter.dialect)
        )),
    }
    out
}

/// Whether all that keeps an adapter from being applied is that nothing is known about it.
fn is_unknown(report: &CheckReport) -> bool {
    report.modules.iter().all(|module| matches!(module.verdict, Verdict::Applied | Verdict::NotTested))
}

/// The reason and source of the lines above.
fn explain(reason: Option<(&str, &str)>, out: &mut String) {
    if let Some((reason, source)) = reason {
        if !reason.is_empty() {
            out.push_str(&format!("{:<10}{reason}\n", ""));
        }
        out.push_str(&format!("{:<10}[{source}]\n", ""));
    }
}

fn alternative(server: Server, dialect: Dialect) -> String {
    let merging = "`pixtune adapter merge` works with every server";
    let own = match server {
        Server::LlamaCpp => {
            return "`pixtune deploy --for llama.cpp` merges it and writes GGUF files".to_owned();
        }
        Server::VllmMistral => Dialect::VllmConsolidated,
        Server::MistralInference => Dialect::Mistral,
        Server::TransformersLegacy => Dialect::PeftLegacy,
        Server::VllmHf | Server::Transformers | Server::Transformers457 => Dialect::Peft,
    };
    match dialect == own {
        true => merging.to_owned(),
        false => format!("`pixtune adapter convert --to {own}` writes this server's dialect; {merging}"),
    }
}

/// The base that the adapter names.
fn base_model(adapter: &Adapter) -> Option<&str> {
    adapter.config.as_ref()?.base_model.as_deref()
}

/// The number of modules and their ranks.
fn about(adapter: &Adapter) -> String {
    let ranks: std::collections::BTreeSet<usize> = adapter.lora.values().map(|lora| lora.rank).collect();
    let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
    let modules = counted(adapter.lora.len() as u64, "module");
    match ranks.is_empty() {
        true => format!("{} stored in full", counted(adapter.whole.len() as u64, "tensor")),
        false => format!("{modules} of rank {}", ranks.join(" and ")),
    }
}

fn conversion_table(report: &ConversionReport, target: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<16}{text}\n"));
    line("written", format!("{target}  {} to {}", report.from, report.to));
    let areas: Vec<String> = report
        .modules
        .iter()
        .map(|(area, count)| format!("{} {}", grouped(*count as u64), area.as_str()))
        .collect();
    line("modules", areas.join(", "));
    if report.permuted > 0 {
        line("permuted", format!("rows of {} of q and k", counted(report.permuted as u64, "module")));
    }
    for (factor, count) in &report.folded {
        line(
            "scaling",
            format!("folded a factor of {factor} into B of {}", counted(*count as u64, "module")),
        );
    }
    let dtypes: Vec<String> =
        report.dtypes.iter().map(|(dtype, count)| format!("{} {dtype}", grouped(*count as u64))).collect();
    line("tensors", dtypes.join(", "));
    line("rounding", rounding(&report.rounding));
    line("files", report.files.join(" "));
    out
}

fn rounding(rounding: &Rounding) -> String {
    let lost = match rounding.lost {
        0 => String::new(),
        lost => format!("; {} became zero or infinite", counted(lost, "value")),
    };
    match &rounding.module {
        None => format!("none: every value is exact{lost}"),
        Some(module) => format!("a relative error of {:.2e} at most, in `{module}`{lost}", rounding.largest),
    }
}

fn merge_table(report: &Report, adapter: &Adapter, target: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<16}{text}\n"));
    line("written", format!("{target}  {} to {}", report.from.as_str(), report.to.as_str()));
    line("merged", format!("{}, {}", adapter.dialect.describe(), about(adapter)));
    match report.merged.as_ref().and_then(|merged| merged.into.as_ref()) {
        Some(MergedInto::Dequantized { relative }) => line(
            "into",
            format!(
                "the dequantized weights of the base, which probably differ by {:.1}% of their norm from the original ones",
                100.0 * relative
            ),
        ),
        Some(MergedInto::Original(distance)) => line(
            "into",
            format!(
                "the original weights; the dequantized ones differ by {:.2}% of their norm, at most by {:.2e} in an element",
                100.0 * distance.relative,
                distance.largest
            ),
        ),
        None => {}
    }
    for rows in adapter.token_rows.values() {
        let tokens = counted(rows.tokens.len() as u64, "token");
        line("replaced", format!("the rows of {tokens} in `{}`", rows.tensor.name));
    }
    if !adapter.whole.is_empty() {
        line("replaced", format!("{} stored in full", counted(adapter.whole.len() as u64, "tensor")));
    }
    let dtypes: Vec<String> =
        report.dtypes.iter().map(|(name, count)| format!("{} {name}", grouped(*count))).collect();
    line("tensors", format!("{} ({}), {}", grouped(report.tensors), dtypes.join(", "), bytes(report.bytes)));
    line("files", report.files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(" "));
    out.push_str(&not_finite(report));
    out.push_str(&verified(report));
    out
}

impl DialectArg {
    /// The dialect; `None` for GGUF, which holds no safetensors.
    fn dialect(self) -> Option<Dialect> {
        Some(match self {
            DialectArg::Peft => Dialect::Peft,
            DialectArg::PeftLegacy => Dialect::PeftLegacy,
            DialectArg::Mistral => Dialect::Mistral,
            DialectArg::VllmConsolidated => Dialect::VllmConsolidated,
            DialectArg::Mlx => Dialect::Mlx,
            DialectArg::Gguf => return None,
        })
    }
}

impl FromArg {
    fn dialect(self) -> Dialect {
        match self {
            FromArg::Peft => Dialect::Peft,
            FromArg::PeftLegacy => Dialect::PeftLegacy,
            FromArg::PeftTextOnly => Dialect::TextOnly,
            FromArg::Mistral => Dialect::Mistral,
            FromArg::VllmConsolidated => Dialect::VllmConsolidated,
        }
    }
}
