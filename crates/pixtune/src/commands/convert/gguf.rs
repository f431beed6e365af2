//! `pixtune convert --to gguf`.

use std::ops::ControlFlow;

use pixtune_core::json::{line, list, object};
use pixtune_core::text::{counted, grouped};
use pixtune_model::gguf::{Element, Options, Plan, Written};

use super::super::existing;
use crate::Outcome;
use crate::args::{ConvertArgs, DtypeArg};
use crate::error::Error;
use crate::ui::{self, Format, Ui, bytes};

/// Writes the two files of a model and prints what they hold.
pub fn run(args: &ConvertArgs, mut ui: Ui) -> Result<Outcome, Error> {
    let plan = Plan::new(options(args)?)?;
    for warning in &plan.warnings {
        ui.note(&format!("warning: {warning}"));
    }
    let result = plan.run(&mut |done, total| ui.moved("writing", done, total));
    ui.end();
    let written = result?;
    match args.write.format {
        Format::Json => ui::put(&line(json(&plan, &written)))?,
        Format::Human => ui::put(&summary(&plan, &written))?,
    }
    let damaged = written.not_finite.len() as u64;
    Ok(Outcome::of(damaged > 0, || format!("{} with values that are not finite", counted(damaged, "tensor"))))
}

/// The same without printing, as [`super::report`].
pub(super) fn report(
    args: &ConvertArgs,
    note: &dyn Fn(&str),
    watch: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> Result<String, Error> {
    let plan = Plan::new(options(args)?)?;
    plan.warnings.iter().for_each(|warning| note(warning));
    let written = plan.run_until(&[], watch)?;
    Ok(line(json(&plan, &written)))
}

fn options(args: &ConvertArgs) -> Result<Options, Error> {
    let (Some(source), Some(target)) = (&args.source, &args.target) else {
        return Err(Error::argument("SRC and DST are needed"));
    };
    if args.write.shard_size.is_some() || args.write.untie {
        return Err(Error::argument("--shard-size and --untie do not apply to gguf"));
    }
    Ok(Options {
        source: source.clone(),
        target: target.clone(),
        base: args.base.clone(),
        name: None,
        element: element(args.write.dtype),
        verify: args.write.verify,
        existing: existing(args.write.force),
    })
}

/// The type of weights; `None` keeps what is there.
pub(in crate::commands) fn element(dtype: DtypeArg) -> Option<Element> {
    match dtype {
        DtypeArg::Keep => None,
        DtypeArg::Bf16 => Some(Element::BF16),
        DtypeArg::F16 => Some(Element::F16),
        DtypeArg::F32 => Some(Element::F32),
        DtypeArg::Q8_0 => Some(Element::Q8_0),
    }
}

fn summary(plan: &Plan, written: &Written) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<16}{text}\n"));
    line("written", format!("{}  {} to gguf", plan.options.target.display(), plan.source.format().as_str()));
    let types: Vec<String> = written
        .elements
        .iter()
        .map(|(element, count)| format!("{} {}", grouped(*count), element.as_str()))
        .collect();
    line(
        "tensors",
        format!(
            "{} ({}), {}, {} permuted",
            grouped(written.tensors),
            types.join(", "),
            bytes(plan.bytes()),
            grouped(written.permuted)
        ),
    );
    for (name, length) in &written.files {
        line("file", format!("{name}  {}", bytes(*length)));
    }
    for found in &written.not_finite {
        let (nan, infinite) = (counted(found.nan, "NaN"), super::infinities(found.infinite));
        line("not finite", format!("`{}` has {nan} and {infinite}", found.name));
    }
    if let Some(hash) = &written.verified {
        line("verified", format!("read back and equal to what was written, BLAKE3 {}", &hash[..16]));
    }
    line(
        "start",
        format!(
            "llama-server -m {0}/{1} --mmproj {0}/{2}",
            plan.options.target.display(),
            written.files[0].0,
            written.files[1].0
        ),
    );
    out
}

fn json<'w>(plan: &'w Plan, written: &'w Written) -> impl pixtune_core::json::ToJson + 'w {
    object(move |out| {
        out.field("from", plan.source.format().as_str())
            .field("to", "gguf")
            .field("tensors", written.tensors);
        out.field("bytes", plan.bytes()).field("permuted", written.permuted);
        out.field(
            "files",
            list(written.files.iter().map(|(name, length)| {
                object(move |file| {
                    file.field("name", name.as_str()).field("bytes", *length);
                })
            })),
        );
        out.field("blake3", written.verified.as_deref());
        out.field("warnings", list(plan.warnings.iter().map(String::as_str)));
    })
}
