//! An adapter beside the base: in the dialect of the server, if the server applies all of it.

use std::path::Path;

use super::files::missing_in;
use super::start::{Beside, Served, commands};
use super::{DeployError, Deployed, Form, Made, Options, Reads, Watch, files_of, limits, name_of};
use crate::adapter::check::{CheckReport, Server, ServerOptions, Verdict, check, vllm_max_rank};
use crate::adapter::{Adapter, Area, Conversion, Dialect};
use crate::weights::convert::ConvertError;
use crate::weights::{Checkpoint, Format};
use pixtune_files::{Existing, WorkDirectory};

/// The outcome of an attempt.
pub(super) enum Attached {
    Written(Deployed),
    /// Why the adapter has to be merged.
    Not(DeployError),
}

/// Converts the adapter and asks what the server does with it. Nothing is left where it would not apply all of it.
pub(super) fn beside(
    options: &Options,
    adapter: &Adapter,
    watch: &mut dyn Watch,
) -> Result<Attached, DeployError> {
    let target = options.target;
    let (Some((server, dialect)), Reads::Checkpoint(format)) = (target.adapters(), target.reads()) else {
        return Ok(Attached::Not(DeployError::NoAdapters { target }));
    };
    let base = match ready_base(options, format) {
        Ok(base) => base,
        Err(error) => return Ok(Attached::Not(error)),
    };
    let started = server_options(adapter, server);
    let broken = |source| DeployError::Write { path: options.out.clone(), source };
    let work = WorkDirectory::open(&options.out).map_err(ConvertError::from)?;
    let made = work.path().join("adapter");
    match judged(options, adapter, &base, (&made, server, dialect, started))? {
        Ok(warnings) => {
            let more = limits(&base, target).into_iter().filter(|limit| !warnings.contains(limit));
            warnings.iter().cloned().chain(more).for_each(|warning| watch.warning(&warning));
        }
        Err(error) => {
            work.discard().map_err(broken)?;
            return Ok(Attached::Not(error));
        }
    }
    work.stage_from(&made).and_then(|()| work.publish()).map_err(broken)?;
    let rank = adapter.lora.values().map(|lora| lora.rank).max().unwrap_or(1);
    let served = Served {
        target,
        model: &options.model,
        adapter: Some(Beside { directory: &options.out, rank, options: started }),
        name: &name_of(&options.out),
        gguf: None,
        foreign_template: format == Format::Hf,
    };
    Ok(Attached::Written(Deployed {
        made: Made::Beside,
        because: None,
        files: files_of(&options.out),
        start: commands(&served),
        not_finite: 0,
    }))
}

/// Converts the adapter and checks the result. The warnings, or why the server would not compute the trained model.
fn judged(
    options: &Options,
    adapter: &Adapter,
    base: &Checkpoint,
    (made, server, dialect, started): (&Path, Server, Dialect, ServerOptions),
) -> Result<Result<Vec<String>, DeployError>, DeployError> {
    let conversion = match Conversion::new(adapter, base, dialect, made, None, Existing::Replace) {
        Ok(conversion) => conversion,
        // A dialect that cannot express the adapter; merging finds out what else is wrong with it.
        Err(error) if options.form == Form::Auto => return Ok(Err(error.into())),
        Err(error) => return Err(error.into()),
    };
    conversion.run()?;
    let report = check(&Adapter::open(made, None)?, base, server, started)?;
    Ok(match refusal(options, &report) {
        None => Ok([conversion.warnings, report.warnings].concat()),
        Some(error) => Err(error),
    })
}

/// The base, if the server can be started with it as it is.
fn ready_base(options: &Options, format: Format) -> Result<Checkpoint, DeployError> {
    let not_ready = |why: String| DeployError::BaseNotReady { model: options.model.clone(), why };
    let formats = Checkpoint::formats(&options.model)?;
    if !formats.contains(&format) {
        return Err(not_ready(format!("it is not in the {} format", format.as_str())));
    }
    let base = Checkpoint::open_as(&options.model, format)?;
    let files = missing_in(&options.model, format);
    if !files.is_empty() {
        return Err(not_ready(format!("it lacks {}", files.join(", "))));
    }
    if !base.quantizations().is_empty() {
        return Err(not_ready("its weights are quantized".to_owned()));
    }
    Ok(base)
}

/// How the server has to be started for this adapter.
fn server_options(adapter: &Adapter, server: Server) -> ServerOptions {
    let rank = adapter.lora.values().map(|lora| lora.rank).max().unwrap_or(1);
    let outside =
        adapter.lora.keys().any(|module| matches!(Area::of(*module), Area::Vision | Area::Projector));
    let is_vllm = matches!(server, Server::VllmHf | Server::VllmMistral);
    ServerOptions {
        tower_connector: is_vllm && outside,
        max_rank: vllm_max_rank(rank).unwrap_or(ServerOptions::default().max_rank),
        ..ServerOptions::default()
    }
}

fn refusal(options: &Options, report: &CheckReport) -> Option<DeployError> {
    if report.is_fine() {
        return None;
    }
    let reason = report.modules.iter().find(|module| module.verdict != Verdict::Applied);
    let reason = reason.map(|module| module.reason.clone()).or_else(|| report.problems.first().cloned());
    Some(DeployError::NotApplied {
        target: options.target,
        applied: report.count(Verdict::Applied),
        modules: report.modules.len(),
        reason: reason.unwrap_or_default(),
    })
}
