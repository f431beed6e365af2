//! `pixtune report`: a page about data, or about training runs.

use std::io::Write as _;

use pixtune_files::WholeFile;
use pixtune_io::prepare::Watch as _;
use pixtune_io::progress::Progress;
use pixtune_io::report::{ReportOptions, report};
use pixtune_io::survey::Source;
use pixtune_train::report::{ComparedRun, compare};

use super::counting::{Counting, outcome};
use super::{existing, note_passed_over};
use crate::Outcome;
use crate::args::ReportArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity};

/// Images in the gallery.
const IMAGES: usize = 36;

/// Surveys the inputs and writes the report.
pub fn run(args: ReportArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    if args.out.exists() && !args.force {
        return Err(Error::argument(format!(
            "`{}` exists already; --force replaces it, --out chooses another",
            args.out.display()
        )));
    }
    let runs = args.inputs.iter().filter(|input| ComparedRun::is_run(input)).count();
    if runs > 0 {
        return compared(&args, runs);
    }
    let counting = Counting::new(&args.counting)?;
    let source = Source::open(&args.inputs)?;
    let broken = |source| Error::Write { path: args.out.clone(), source };
    // Created before the work, so that a directory that cannot be written to is reported at once.
    let mut file = WholeFile::create(&args.out, existing(args.force)).map_err(broken)?;
    let mut ui = Ui::new(Format::Human, verbosity);
    note_passed_over(&source.notes, verbosity);
    let inspector = counting.inspector(args.measure.inspection(args.verify), &ui);
    let options = ReportOptions {
        seed: args.seed,
        samples: usize::from(args.samples),
        images: IMAGES,
        threads: counting.threads,
    };
    let title = title(&args.inputs);
    let mut progress = |progress: Progress| ui.progress(progress);
    let (found, page) =
        report(&source, &title, &inspector, counting.special_tokens(), options, &mut progress)?;
    ui.end();
    file.write_all(page.as_bytes()).and_then(|()| file.commit()).map_err(broken)?;
    ui::put(&format!("written         {}  {}\n", args.out.display(), ui::bytes(page.len() as u64)))?;
    Ok(outcome(&found))
}

/// Writes a page about training runs.
fn compared(args: &ReportArgs, runs: usize) -> Result<Outcome, Error> {
    if let Some(other) = args.inputs.iter().find(|input| !ComparedRun::is_run(input)) {
        return Err(Error::argument(format!(
            "`{}` is not a training run, but {} of the inputs {}: a report is about runs or about data",
            other.display(),
            runs,
            if runs == 1 { "is one" } else { "are" }
        )));
    }
    let found: Result<Vec<ComparedRun>, _> =
        args.inputs.iter().map(|input| ComparedRun::read(input)).collect();
    let page = compare(&found?);
    let broken = |source| Error::Write { path: args.out.clone(), source };
    let mut file = WholeFile::create(&args.out, existing(args.force)).map_err(broken)?;
    file.write_all(page.as_bytes()).and_then(|()| file.commit()).map_err(broken)?;
    ui::put(&format!("written         {}  {}\n", args.out.display(), ui::bytes(page.len() as u64)))?;
    Ok(Outcome::Fine)
}

/// The names of the inputs.
fn title(inputs: &[std::path::PathBuf]) -> String {
    let names: Vec<String> = inputs
        .iter()
        .map(|input| input.file_name().unwrap_or(input.as_os_str()).to_string_lossy().into_owned())
        .collect();
    match &names[..] {
        [first, second, _, ..] => format!("{first}, {second}, …"),
        _ => names.join(", "),
    }
}
