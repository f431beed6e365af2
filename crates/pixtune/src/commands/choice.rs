//! From flags and `pixtune.toml` to what is looked for: a flag counts more than the file, the file more than the target.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pixtune_core::diagnostic::{Group, Rule, Severity};
use pixtune_core::rules;
use pixtune_core::spec::ModelSpec;
use pixtune_core::target::{self, Target};
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_io::check::{Checker, Fetching, Selection, Verify};
use pixtune_io::fetch::{FetchLimits, Fetcher, Networks};
use pixtune_io::prepare::parse_bytes;

use super::{choose, choose_model};
use crate::args::{ChoiceArgs, PrepareArgs};
use crate::config::{self, Config, Limit};
use crate::error::Error;

/// What the flags, and the file that holds for these data, ask for.
pub fn checker(args: &ChoiceArgs, data: &[PathBuf], verify: Verify) -> Result<Checker<'static>, Error> {
    let config = config(args.config.as_deref(), args.no_config, data)?;
    let model = choose_model(args.model.as_deref().or(config.model.as_deref()).unwrap_or("pixtral-12b"))?;
    let target = chosen_target(args, &config)?;
    let flags = Flags { select: &args.select, ignore: &args.ignore, severity: &args.severity };
    let selection = selection(&flags, &config, Selection::of(&target))?;
    let encoder = ChatEncoder::new(model, Layout::MistralCommon);
    Ok(Checker { encoder, target, verify, selection, excerpts: true, fetching: fetching(args) })
}

/// What `prepare` takes from flags and the file.
pub struct ForPrepare {
    /// The model whose context and grid hold.
    pub model: &'static ModelSpec,
    /// Whose format and limits hold, with those of the file.
    pub target: Target,
    /// Rules whose warnings are not told.
    pub ignored: Vec<&'static Rule>,
    /// Rules whose warnings reject their row.
    pub rejecting: Vec<&'static Rule>,
    /// Pixels a side of an image may have.
    pub max_image_side: u32,
}

/// The same for `prepare`, with the rules of `--drop`.
pub fn for_prepare(args: &PrepareArgs, dropped: Vec<&'static Rule>) -> Result<ForPrepare, Error> {
    // A pixtune.toml inside a directory holds for it.
    let place = |input: &String| match Path::new(input) {
        directory if directory.is_dir() => directory.join(config::NAME),
        file => file.to_owned(),
    };
    let data: Vec<PathBuf> = args.inputs.iter().map(place).collect();
    let config = config(args.config.as_deref(), args.no_config, &data)?;
    let model = choose_model(args.model.as_deref().or(config.model.as_deref()).unwrap_or("pixtral-12b"))?;
    let name = args.target.as_deref().or(config.target.as_deref()).unwrap_or("mistral");
    let target = target::WRITTEN.iter().copied().find(|target| target.id == name);
    let target = choose("target of prepare", name, target, target::WRITTEN.iter().map(|target| target.id))?;
    let mut target = limited(*target, &config)?;
    // What is written is split so that `check` takes every file of it.
    target.max_file_bytes = target.max_file_bytes.min(target.refused_file_bytes);
    // Without a word of the file every warning is a warning, whatever the target makes of it in finished lines.
    let flags = Flags { select: &[], ignore: &args.ignore, severity: &[] };
    let selection = selection(&flags, &config, Selection::every(Severity::Warning))?;
    let is_dropped = |rule: &Rule| dropped.contains(&rule);
    let of = |severity: Option<Severity>| {
        let rules = rules::ALL.iter().copied().filter(|rule| !is_dropped(rule));
        rules.filter(|rule| selection.severity(rule) == severity).collect::<Vec<_>>()
    };
    let rejecting = dropped.iter().copied().chain(of(Some(Severity::Error))).collect();
    let max_image_side = args.max_image_side.unwrap_or(target.max_side);
    Ok(ForPrepare { model, target, ignored: of(None), rejecting, max_image_side })
}

fn fetching(args: &ChoiceArgs) -> Option<Arc<Fetching>> {
    let networks = if args.fetch_private { Networks::All } else { Networks::Public };
    let limits = FetchLimits { networks, ..FetchLimits::default() };
    args.fetch.then(|| Arc::new(Fetching::new(Fetcher::new(limits))))
}

/// Bytes that are kept of a line: never less than is read at a time.
pub fn max_line(args: &ChoiceArgs) -> Result<usize, Error> {
    let bytes = parse_bytes(&args.max_line_bytes).map_err(Error::argument)?;
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX).max(256 << 10))
}

/// How many threads are to work.
pub fn threads(args: &ChoiceArgs) -> usize {
    args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// What the file says that was named, or the one that holds for the data.
fn config(named: Option<&Path>, none: bool, data: &[PathBuf]) -> Result<Config, Error> {
    let path = match named {
        None if !none => file_for(data)?,
        named => named.map(Path::to_owned),
    };
    path.map_or_else(|| Ok(Config::default()), |path| config::read(&path))
}

/// The one `pixtune.toml` that holds for all the data.
fn file_for(data: &[PathBuf]) -> Result<Option<PathBuf>, Error> {
    let mut found: Option<(&Path, Option<PathBuf>)> = None;
    for path in data {
        let file = config::find(path);
        match &found {
            Some((first, other)) if *other != file => {
                let named = |file: &Option<PathBuf>| match file {
                    Some(file) => format!("`{}`", file.display()),
                    None => "no pixtune.toml".to_owned(),
                };
                return Err(Error::argument(format!(
                    "{} holds for `{}`, {} for `{}`: check them apart, or say which with --config",
                    named(other),
                    first.display(),
                    named(&file),
                    path.display()
                )));
            }
            Some(_) => {}
            None => found = Some((path, file)),
        }
    }
    Ok(found.and_then(|(_, file)| file))
}

fn chosen_target(args: &ChoiceArgs, config: &Config) -> Result<Target, Error> {
    let name = args.target.as_deref().or(config.target.as_deref()).unwrap_or("mistral");
    let known = target::ACCEPTED.iter().map(|target| target.id);
    let mut target = limited(*choose("target", name, Target::find(name), known)?, config)?;
    if let Some(size) = &args.max_image_bytes {
        target.max_image_bytes = parse_bytes(size).map_err(Error::argument)?;
    }
    if let Some(most) = args.max_images {
        target.max_images = most;
    }
    Ok(target)
}

/// A target with the limits of the file.
fn limited(mut target: Target, config: &Config) -> Result<Target, Error> {
    for (name, limit) in &config.limits {
        let number = match limit {
            Limit::Number(number) => *number,
            Limit::Size(size) => parse_bytes(size).map_err(Error::argument)?,
        };
        match *name {
            "max-image-bytes" => target.max_image_bytes = number,
            "max-image-side" => target.max_side = u32::try_from(number).unwrap_or(u32::MAX),
            "max-images" => target.max_images = usize::try_from(number).unwrap_or(usize::MAX),
            "max-file-bytes" => target.refused_file_bytes = number,
            "max-validation-bytes" => target.max_validation_bytes = number,
            _ => target.min_samples = number,
        }
    }
    Ok(target)
}

/// Flags about rules, which count more than the file.
struct Flags<'a> {
    select: &'a [String],
    ignore: &'a [String],
    severity: &'a [String],
}

fn selection(flags: &Flags<'_>, config: &Config, mut selection: Selection) -> Result<Selection, Error> {
    let list = |names: &[String]| names.iter().map(|name| Named::find(name)).collect::<Result<Vec<_>, _>>();
    let select = list(if flags.select.is_empty() { &config.select } else { flags.select })?;
    let ignore = list(if flags.ignore.is_empty() { &config.ignore } else { flags.ignore })?;
    selection.retain(|rule| {
        (select.is_empty() || select.iter().any(|named| named.is(rule)))
            && !ignore.iter().any(|named| named.is(rule))
    });
    let mut severities = Vec::new();
    for (name, severity) in &config.severity {
        severities.push((Named::find(name)?, self::severity(severity)?));
    }
    let first = severities.len();
    for given in flags.severity {
        let wrong = || Error::argument(format!("`{given}` is not of the form RULE=error or RULE=warning"));
        let (name, severity) = given.split_once('=').ok_or_else(wrong)?;
        severities.push((Named::find(name)?, self::severity(severity)?));
    }
    // What names a single rule counts more than what names its group; a flag counts more than the file.
    severities[..first].sort_by_key(|(named, _)| named.rank());
    severities[first..].sort_by_key(|(named, _)| named.rank());
    for (named, severity) in severities {
        rules::ALL.iter().filter(|rule| named.is(rule)).for_each(|rule| selection.set(rule, severity));
    }
    Ok(selection)
}

fn severity(name: &str) -> Result<Severity, Error> {
    match name.trim() {
        "error" => Ok(Severity::Error),
        "warning" => Ok(Severity::Warning),
        other => Err(Error::argument(format!("`{other}` is no severity; the choice is error, warning"))),
    }
}

/// What `--select`, `--ignore` and `--severity` name.
enum Named {
    All,
    Group(Group),
    Rule(&'static Rule),
}

impl Named {
    fn find(name: &str) -> Result<Named, Error> {
        let name = name.trim();
        match (rules::find(name), Group::find(name)) {
            (Some(rule), _) => Ok(Named::Rule(rule)),
            (None, Some(group)) => Ok(Named::Group(group)),
            (None, None) if name == "all" => Ok(Named::All),
            (None, None) => Err(super::rules::unknown(name)),
        }
    }

    fn rank(&self) -> usize {
        match self {
            Named::All => 0,
            Named::Group(_) => 1,
            Named::Rule(_) => 2,
        }
    }

    fn is(&self, rule: &Rule) -> bool {
        match self {
            Named::All => true,
            Named::Group(group) => *group == rule.group,
            Named::Rule(known) => *known == rule,
        }
    }
}
