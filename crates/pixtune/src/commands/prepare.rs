//! `pixtune prepare`.

use std::ffi::OsString;
use std::path::Path;

use pixtune_core::columns::{ColumnChoice, ImagePosition};
use pixtune_core::curate::{By, Dedup, Split, SplitKind, Validation};
use pixtune_core::json::{self, list, nested_lines, object};
use pixtune_core::text::{counted, counted_as, grouped, shell_word};
use pixtune_files::WorkDirectory;
use pixtune_io::config::{Flags, PrepareSettings, find_dropped_rule};
use pixtune_io::fetch::FetchCounts;
use pixtune_io::image::fit::Resampling;
use pixtune_io::manifest::plan_to_json;
use pixtune_io::prepare::{
    self, Images, Options, PlannedInput, Preparation, PrepareError, ScanOptions, Summary, Threads, Watch,
    parse_bytes,
};
use pixtune_io::read::{Elements, Format as RowFormat, TextChoice, TextEncoding};

use super::{lint, note_counting, threads};
use crate::args::{DedupArg, DedupByArg, EngineArg, ImagesArg, PositionArg, PrepareArgs, ResamplingArg};
use crate::cluster::{self, ClusterPlan};
use crate::error::Error;
use crate::interrupt;
use crate::model::{Model, names_directory, tokenizer_file};
use crate::ui::{self, Format, Ui, Verbosity, bytes};
use crate::{Host, Outcome};

/// Makes a plan from the arguments, runs it, and prints the result. `words` are those of the command line.
pub fn run(
    args: PrepareArgs,
    verbosity: Verbosity,
    words: &[OsString],
    host: Host<'_>,
) -> Result<Outcome, Error> {
    let (format, show_plan) = (args.format, args.show_plan);
    let engine = args.engine.clone();
    engine.check()?;
    let host = match host {
        Host::Program(program) if engine.engine == EngineArg::Ray && !show_plan => {
            let plan = ClusterPlan::new(words.get(1..).unwrap_or_default(), &engine)?;
            if let Some(path) = &engine.write_plan {
                return write_plan(path, &plan);
            }
            let program = program().map_err(|source| Error::Write { path: args.out, source })?;
            return cluster::start(&plan, &engine, &program);
        }
        host => host,
    };
    let model = args.model.clone();
    let options = options(args)?;
    let mut ui = Ui::new(format, verbosity);
    hint_at_resuming(&options.out, &ui)?;
    let plan = Preparation::new(options)?;
    if show_plan {
        ui::put(&format!("{}\n", json::text(nested_lines(1, plan_to_json(plan.to_value())))))?;
        return Ok(Outcome::Fine);
    }
    notes(&plan, &|text| ui.note(text));
    let result = run_on(host, &plan, engine.rows(), &mut ui);
    ui.end();
    let summary = result?;
    match format {
        Format::Json => ui::put(&summary_json(&plan, &summary, ui.fetched()))?,
        Format::Human if verbosity == Verbosity::Quiet => {}
        Format::Human => ui::put(&closing_table(&plan.options, model.as_deref(), &summary, ui.fetched()))?,
    }
    let wrong = summary.rejected - summary.duplicates;
    Ok(Outcome::of(wrong > 0, || {
        let list = plan.options.out.join("rejected.jsonl");
        let rejected = counted_as(wrong, "row was rejected", "rows were rejected");
        format!("{rejected}; `{}` lists the reasons", list.display())
    }))
}

/// Runs a plan on the engine of the process, in pieces of so many rows.
fn run_on(
    host: Host<'_>,
    plan: &Preparation,
    rows: Option<u64>,
    watch: &mut dyn Watch,
) -> Result<Summary, PrepareError> {
    match (host, rows) {
        (Host::Engine(engine), Some(rows)) => prepare::run_stages(plan, rows, engine, watch),
        (_, rows) => run_here(plan, rows, watch),
    }
}

/// Runs a plan on the threads of this process.
pub(crate) fn run_here(
    plan: &Preparation,
    rows: Option<u64>,
    watch: &mut dyn Watch,
) -> Result<Summary, PrepareError> {
    match rows {
        Some(rows) => prepare::run_stages(plan, rows, &mut Threads { threads: plan.options.threads }, watch),
        None => prepare::run(plan, watch),
    }
}

fn write_plan(path: &Path, plan: &ClusterPlan) -> Result<Outcome, Error> {
    let written = pixtune_files::write(path, plan.to_json().as_bytes());
    written.map_err(|source| Error::Write { path: path.to_owned(), source })?;
    Ok(Outcome::Fine)
}

/// What the plan guesses or does not use.
pub(crate) fn notes(plan: &Preparation, note: &dyn Fn(&str)) {
    note_counting(&plan.scanner.encoder(), plan.scanner.tokenizer(), note);
    for input in &plan.inputs {
        note_columns(plan, input, note);
    }
}

/// What an interrupted run has finished is kept beside the output.
fn hint_at_resuming(out: &Path, ui: &Ui) -> Result<(), Error> {
    let partial =
        WorkDirectory::path_for(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    interrupt::print_on_signals(ui, move || match partial.is_dir() {
        true => format!(
            "interrupted: finished rows are kept in `{}`; run the same command with `--resume` to continue, or with \
             `--force` to start over",
            partial.display()
        ),
        false => "interrupted: nothing was written".to_owned(),
    })
}

/// The options of the arguments.
pub(crate) fn options(args: PrepareArgs) -> Result<Options, Error> {
    let dropped = args.drop.iter().map(|name| find_dropped_rule(name)).collect::<Result<Vec<_>, _>>()?;
    let directory = args.model.as_deref().filter(|name| names_directory(name));
    let directory = directory.map(|name| Model::open(name, args.tokenizer.as_deref())).transpose()?;
    let flags = Flags {
        model_directory: directory.as_ref().map(|directory| directory.spec),
        model: args.model,
        target: args.target,
        ignore: args.ignore,
        config: lint::config_source(args.config.as_ref(), args.no_config),
        ..Flags::default()
    };
    let PrepareSettings { model, target, ignore, drop } =
        PrepareSettings::resolve(&flags, &args.inputs, &dropped)?;
    let tokenizer = match &directory {
        Some(directory) => directory.tokenizer.map(|file| file.path.clone()),
        None => tokenizer_file(args.tokenizer.as_deref(), model)?.map(Path::to_owned),
    };
    let mut columns =
        ColumnChoice::parse(args.columns.as_deref().unwrap_or_default()).map_err(Error::argument)?;
    columns.remove(args.remove_columns);
    let kind = split_kind(args.split.as_deref(), &mut columns)?;
    let keeps_given = args.split.is_none();
    let validation = args.validation.parse().map_err(Error::argument)?;
    let max_reject = args.max_reject.map(|limit| limit.parse().map_err(Error::argument)).transpose()?;
    let size = |text: &str| parse_bytes(text).map_err(Error::argument);
    let scan = ScanOptions {
        model,
        target,
        images: if args.images == ImagesArg::Fit { Images::Fit } else { Images::Keep },
        image_position: match args.image_position {
            PositionArg::First => ImagePosition::First,
            PositionArg::Last => ImagePosition::Last,
        },
        answers: args.answers.into(),
        resampling: match args.resampling {
            ResamplingArg::Mistral => Resampling::Mistral,
            ResamplingArg::Lanczos => Resampling::Lanczos,
        },
        verify: args.verify.into(),
        jpeg_quality: args.jpeg_quality,
        measure: args.measure.measure(),
        max_tokens: args.max_tokens,
        drop,
        ignore,
        max_image_bytes: size(&args.max_image_bytes)?,
        max_image_side: args.max_image_side.unwrap_or(target.max_side),
        max_decoded_bytes: size(&args.max_decoded_bytes)?,
    };
    Ok(Options {
        inputs: args.inputs,
        out: args.out,
        columns,
        image_folder: args.image_folder,
        fetch: args.fetch.options(scan.max_image_bytes)?,
        tokenizer,
        scan,
        split: Split { kind, validation, seed: args.seed, keeps_given },
        write_test: args.write_test,
        dedup: match args.dedup {
            DedupArg::Off => Dedup::Off,
            DedupArg::Exact => Dedup::Exact,
            DedupArg::Near => Dedup::Near,
        },
        by: if args.dedup_by == DedupByArg::Sample { By::Sample } else { By::Image },
        distance: args.near_distance,
        threads: threads(args.threads),
        max_reject,
        resume: args.resume,
        force: args.force,
        memory: usize::try_from(size(&args.memory)?).unwrap_or(usize::MAX),
        max_row_bytes: usize::try_from(size(&args.max_row_bytes)?).map_err(Error::argument)?,
        text: TextChoice {
            encoding: args.encoding.as_deref().map(encoding).transpose()?,
            separator: args.separator.as_deref().map(separator).transpose()?,
            sheet: args.sheet,
        },
    })
}

fn encoding(name: &str) -> Result<TextEncoding, Error> {
    TextEncoding::named(name).ok_or_else(|| {
        Error::argument(format!(
            "`{name}` is not an encoding; examples: windows-1252, Shift_JIS, UTF-16LE, UTF-8"
        ))
    })
}

fn separator(name: &str) -> Result<u8, Error> {
    match name {
        "tab" | "\\t" => Ok(b'\t'),
        _ => match name.as_bytes() {
            [separator]
                if !separator.is_ascii_alphanumeric() && !matches!(separator, b'"' | b'\n' | b'\r') =>
            {
                Ok(*separator)
            }
            _ => Err(Error::argument(format!("`{name}` is not a separator; examples: `;`, `|`, tab"))),
        },
    }
}

fn split_kind(split: Option<&str>, columns: &mut ColumnChoice) -> Result<SplitKind, Error> {
    match split {
        None if columns.named(pixtune_core::columns::Role::Group).next().is_some() => Ok(SplitKind::Group),
        None | Some("random") => Ok(SplitKind::Random),
        Some("group") => Ok(SplitKind::Group),
        Some("auto") => Ok(SplitKind::Auto),
        Some(other) => match other.strip_prefix("stratify=").filter(|column| !column.is_empty()) {
            Some(column) => {
                columns.stratify(column);
                Ok(SplitKind::Stratify)
            }
            None => Err(Error::argument(format!(
                "`{other}` is not a split method; choose random, group, stratify=COLUMN or auto"
            ))),
        },
    }
}

/// Prints guessed and unused columns, and how samples are numbered.
fn note_columns(plan: &Preparation, PlannedInput { input, schema, .. }: &PlannedInput, note: &dyn Fn(&str)) {
    if input.format == RowFormat::JsonArray {
        note(&format!("{}: {}", input.name, Elements::Array.note()));
    }
    let name = &input.name;
    for aside in &input.notes {
        note(&format!("{name}: {aside}"));
    }
    if schema.of_records {
        note(&format!(
            "{name}: samples in the format of another tool are read as `messages`, with their images inside"
        ));
    }
    let by_column = schema.columns.as_ref().map_or(&schema.aside.split, |columns| &columns.split);
    let by = match (by_column, schema.given) {
        (Some(column), _) => Some(format!("the splits in column `{column}`")),
        (None, Some(split)) => Some(format!("the {} split that its path names", split.as_str())),
        (None, None) => None,
    };
    match by {
        Some(by) if plan.options.split.keeps_given => {
            note(&format!("{name}: kept {by} (`--split random` ignores them)"));
        }
        Some(by) => note(&format!("warning: {name}: `--split` overrides {by}")),
        None => {}
    }
    let Some(columns) = &schema.columns else { return };
    if columns.has_several_answers {
        note(&format!(
            "{name}: `{}` has several reference answers; trained: {} (set it with `--answers`)",
            columns.completion,
            plan.options.scan.answers.as_str()
        ));
    }
    for column in &columns.refused {
        note(&format!("{name}: `{column}` holds responses that are not wanted and is not trained"));
    }
    if !columns.guessed.is_empty() {
        note(&format!("{name}: columns guessed: {} (set them with `--columns`)", columns.guessed.join(", ")));
    }
    if !columns.unused.is_empty() {
        note(&format!("{name}: columns not used: {}", columns.unused.join(", ")));
    }
}

fn closing_table(
    options: &Options,
    model: Option<&str>,
    summary: &Summary,
    fetched: Option<&FetchCounts>,
) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| out.push_str(&format!("{name:<16}{value}\n"));
    row("rows", grouped(summary.rows));
    row("  train", grouped(summary.train));
    let fitted = match options.split.validation {
        Validation::Bytes(limit) => {
            format!(" (limited to {}, and to a fifth of all rows)", bytes(limit))
        }
        _ => String::new(),
    };
    row("  validation", grouped(summary.validation) + &fitted);
    if summary.test > 0 {
        let how = if options.write_test { "" } else { " (not written; `--write-test` writes it)" };
        row("  test", grouped(summary.test) + how);
    }
    row("  rejected", grouped(summary.rejected));
    for (rule, count) in &summary.rejected_by_rule {
        row("", format!("{} {rule}", grouped(*count)));
    }
    if summary.images > 0 {
        row("images", format!("{} ({} resized)", grouped(summary.images), grouped(summary.shrunk)));
    }
    if let Some(fetched) = fetched {
        let (images, requests) = (counted(fetched.images, "image"), counted(fetched.requests, "request"));
        row("downloaded", format!("{images} with {requests}, {}", bytes(fetched.bytes)));
        if !fetched.failures.is_empty() {
            row("  failed", ui::causes(fetched));
        }
    }
    if summary.tokens > 0 {
        row(
            "tokens",
            format!(
                "{} ({} image, {} trained)",
                grouped(summary.tokens),
                grouped(summary.image_tokens),
                grouped(summary.trained_tokens)
            ),
        );
        row(
            "  per sample",
            format!(
                "median {}, maximum {} of {}",
                grouped(u64::from(summary.median_tokens)),
                grouped(u64::from(summary.max_tokens)),
                grouped(options.scan.model.context as u64)
            ),
        );
        row("  largest", bytes(summary.max_bytes));
    }
    for (name, size, lines) in &summary.outputs {
        let path = options.out.join(name).display().to_string();
        row("written", format!("{path}  {}  {}", counted(*lines, "line"), bytes(*size)));
    }
    if summary.resumed > 0 {
        row("resumed", format!("{} from the interrupted run", counted(summary.resumed, "row")));
    }
    if summary.train > 0 {
        let (train, _, _) = &summary.outputs.first().cloned().unwrap_or_default();
        let model = model.map_or(String::new(), |model| format!(" --model {}", shell_word(model)));
        let train = options.out.join(train).display().to_string();
        row("next", format!("pixtune tokens {}{model}", shell_word(&train)));
    }
    if summary.train + summary.validation == 0 {
        out.push_str("\nall rows were rejected; rejected.jsonl lists the reasons\n");
    }
    out
}

/// The result as a line of JSON.
pub(crate) fn summary_json(plan: &Preparation, summary: &Summary, fetched: Option<&FetchCounts>) -> String {
    let special_tokens = plan.scanner.encoder().special_tokens();
    let tokens = object(|tokens| {
        tokens.field("total", summary.tokens).field("image", summary.image_tokens);
        tokens.field("trained", summary.trained_tokens).field("max_sample", summary.max_tokens);
        tokens.optional("special_tokens", special_tokens);
    });
    let outputs = summary.outputs.iter().map(|(name, bytes, lines)| {
        object(move |output| {
            output.field("path", name).field("bytes", bytes).field("lines", lines);
        })
    });
    json::line(object(|out| {
        out.field("rows", summary.rows).field("train", summary.train);
        out.field("validation", summary.validation).field("test", summary.test);
        out.field("rejected", summary.rejected);
        out.field("duplicates", summary.duplicates).field("images", summary.images);
        out.field("shrunk", summary.shrunk).field("tokens", tokens).field("outputs", list(outputs));
        out.optional("downloads", fetched.map(downloads));
    }))
}

fn downloads(counts: &FetchCounts) -> impl json::ToJson {
    object(move |out| {
        out.field("images", counts.images).field("requests", counts.requests).field("bytes", counts.bytes);
        let failures = object(|out| {
            for (cause, count) in &counts.failures {
                out.field(cause, *count);
            }
        });
        out.field("failures", failures);
    })
}
