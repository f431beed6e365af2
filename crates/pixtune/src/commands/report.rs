//! `pixtune report`.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::report::{Choice, report};
use pixtune_io::survey::{Look, Looker, Source};
use pixtune_io::tokens::TokenizerFile;

use super::stats::{estimate, threads};
use super::{choose_model, tell_counting};
use crate::Outcome;
use crate::args::ReportArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui};

/// Pictures in the gallery.
const PICTURES: usize = 36;

/// Surveys everything that was given and writes the page.
pub fn run(args: ReportArgs) -> Result<Outcome, Error> {
    if args.out.exists() && !args.force {
        return Err(Error::argument(format!(
            "`{}` exists already; --force replaces it, --out chooses another",
            args.out.display()
        )));
    }
    let model = choose_model(&args.model)?;
    let tokenizer = args.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
    let tekken = tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
    let encoder = ChatEncoder { spec: model, tekken, layout: Layout::MistralCommon };
    let source = Source::open(&args.inputs)?;
    let mut ui = Ui::new(Format::Human, args.quiet);
    tell_counting(&encoder, tokenizer.as_ref(), &ui);
    let title = title(&args.inputs);
    let choice = Choice {
        seed: args.seed,
        samples: usize::from(args.samples),
        pictures: PICTURES,
        threads: threads(args.threads),
    };
    let looker = Looker { encoder, look: Look::Measure };
    let mut progress = |progress: Progress| ui.progress(progress);
    let (found, page) = report(&source, &title, &looker, estimate(&encoder), choice, &mut progress)?;
    ui.end();
    write_whole(&args.out, page.as_bytes())
        .map_err(|source| Error::Write { path: args.out.clone(), source })?;
    ui::print(&format!("written         {}  {}\n", args.out.display(), ui::bytes(page.len() as u64)));
    Ok(if found.has_errors() { Outcome::Findings } else { Outcome::Fine })
}

/// The name of what was given.
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

/// Writes beside the target and renames, so that the file is whole or not there.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
    name.push(".partial");
    let beside = path.with_file_name(name);
    let written = File::create(&beside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&beside, path));
    written.inspect_err(|_| {
        let _ = fs::remove_file(&beside);
    })
}
