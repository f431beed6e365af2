//! `pixtune deploy`.

use pixtune_core::json::{line, list, object};
use pixtune_core::text::counted;
use pixtune_model::deploy::{Deployed, Form, Options, Target, Watch, deploy};
use pixtune_model::gguf::Element;
use pixtune_model::weights::convert::Progress;
use pixtune_model::weights::found::adapter_of_run;

use super::convert::show;
use super::existing;
use crate::Outcome;
use crate::args::{AdapterFormArg, DeployArgs, DtypeArg, TargetArg};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity, bytes};

/// Makes a model ready and prints how it is started.
pub fn run(args: DeployArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let ui = Ui::new(args.format, verbosity);
    let of_run = args.adapter.as_deref().and_then(adapter_of_run);
    if let Some(found) = &of_run {
        ui.note(&format!("using `{}`, the newest adapter of the run", found.display()));
    }
    let options = Options {
        model: args.model.clone(),
        adapter: of_run.or_else(|| args.adapter.clone()),
        target: target(args.target),
        out: args.out.clone(),
        base: args.base.clone(),
        form: match args.form {
            AdapterFormArg::Auto => Form::Auto,
            AdapterFormArg::Merge => Form::Merged,
            AdapterFormArg::Beside => Form::Beside,
        },
        element: element(args.dtype),
        verify: args.verify,
        existing: existing(args.force),
    };
    let mut shown = Shown { ui };
    let result = deploy(&options, &mut shown);
    shown.ui.end();
    let deployed = result?;
    match args.format {
        Format::Json => ui::put(&json(&options, &deployed))?,
        Format::Human => ui::put(&summary(&options, &deployed))?,
    }
    Ok(Outcome::of(deployed.not_finite > 0, || {
        format!("{} with values that are not finite", counted(deployed.not_finite, "tensor"))
    }))
}

struct Shown {
    ui: Ui,
}

impl Watch for Shown {
    fn warning(&mut self, text: &str) {
        self.ui.note(&format!("warning: {text}"));
    }

    fn progress(&mut self, progress: Progress) {
        show(&self.ui, progress);
    }
}

fn target(target: TargetArg) -> Target {
    match target {
        TargetArg::Vllm => Target::Vllm,
        TargetArg::VllmMistral => Target::VllmMistral,
        TargetArg::MistralInference => Target::MistralInference,
        TargetArg::Transformers => Target::Transformers,
        TargetArg::LlamaCpp => Target::LlamaCpp,
        TargetArg::Ollama => Target::Ollama,
        TargetArg::LmStudio => Target::LmStudio,
    }
}

/// The type of weights; `None` keeps what is there.
pub(super) fn element(dtype: DtypeArg) -> Option<Element> {
    match dtype {
        DtypeArg::Keep => None,
        DtypeArg::Bf16 => Some(Element::BF16),
        DtypeArg::F16 => Some(Element::F16),
        DtypeArg::F32 => Some(Element::F32),
        DtypeArg::Q8_0 => Some(Element::Q8_0),
    }
}

fn summary(options: &Options, deployed: &Deployed) -> String {
    let mut out = String::new();
    let mut line = |name: &str, text: String| out.push_str(&format!("{name:<12}{text}\n"));
    line("written", format!("{}  for {}", options.out.display(), options.target.as_str()));
    if options.adapter.is_some() {
        line("adapter", deployed.made.as_str().to_owned());
    }
    if let Some(because) = &deployed.because {
        line("", format!("not beside the base: {because}"));
    }
    for (index, (name, length)) in deployed.files.iter().enumerate() {
        line(if index == 0 { "files" } else { "" }, format!("{name}  {}", bytes(*length)));
    }
    line("tested", options.target.evidence().to_owned());
    for (index, command) in deployed.start.iter().enumerate() {
        line(if index == 0 { "start" } else { "" }, command.clone());
    }
    out
}

fn json(options: &Options, deployed: &Deployed) -> String {
    line(object(|out| {
        out.field("for", options.target.as_str()).field("out", &options.out.display().to_string());
        out.field("adapter", options.adapter.as_ref().map(|_| deployed.made.as_str()));
        out.field("not_beside_the_base", deployed.because.as_deref());
        out.field(
            "files",
            list(deployed.files.iter().map(|(name, length)| {
                object(move |file| {
                    file.field("name", name.as_str()).field("bytes", *length);
                })
            })),
        );
        out.field("tested", options.target.evidence());
        out.field("start", list(deployed.start.iter().map(String::as_str)));
    }))
}
