//! `pixtune tokens`: grids of sizes, ids of texts, counts of conversations.

mod lines;
mod sizes;
mod totals;

use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use pixtune_core::diagnostic::Finding;
use pixtune_core::json;
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::parallel;
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::read::ReadError;
use pixtune_io::read::discover::conversation_files;
use pixtune_io::read::records::{Framing, RawRow, Records};
use pixtune_io::read::shared::Source;
use pixtune_io::tokens::{Counted, Ids, TokenizerFile, count_line};

use super::lines::{Lines, numbers_of_array};
use super::{choose, choose_model, ends_quietly, tell_counting};
use crate::Outcome;
use crate::args::TokensArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui};
use lines::{line_json, write_numbers};
use totals::Totals;

/// A line of a JSON Lines file may have this many bytes: two hundred images of a megabyte.
const MAX_LINE: usize = 512 << 20;

/// One of four things is counted: a size, a list of sizes, texts, or conversations.
pub fn run(args: TokensArgs) -> Result<Outcome, Error> {
    let model = choose_model(&args.model)?;
    let layout = Layout::find(&args.layout);
    let layout = choose("layout", &args.layout, layout, Layout::ALL.iter().map(|layout| layout.as_str()))?;
    if let Some(size) = &args.image {
        return sizes::one(size, model, args.format);
    }
    if let Some(path) = &args.sizes {
        return sizes::each(path, model);
    }
    let loaded = args.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
    let tekken = loaded.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
    let encoder = ChatEncoder { spec: model, tekken, layout };
    match &args.text {
        Some(path) => texts(&args, path, tekken),
        None => conversations(&args, &encoder, loaded.as_ref()),
    }
}

/// The ids of each text of a file.
fn texts(args: &TokensArgs, path: &Path, tekken: &Tekken) -> Result<Outcome, Error> {
    let opened = Lines::open(path, MAX_LINE)?;
    let mut out = BufWriter::new(io::stdout());
    let work = |row: RawRow| {
        let wrong =
            || Error::argument(format!("line {} of `{}` is not a JSON string", row.line, path.display()));
        let text = std::str::from_utf8(&row.bytes).map_err(|_| wrong())?;
        let text = json::parse(text).map_err(|_| wrong())?;
        let ids = tekken.encode(text.value.as_str().ok_or_else(wrong)?);
        let mut answer = format!("{{\"line\":{},\"ids\":", row.line);
        write_numbers(&ids, &mut answer);
        answer.push_str("}\n");
        Ok(answer)
    };
    let sink = |answer: Result<String, Error>| out.write_all(answer?.as_bytes()).map_err(output);
    let done =
        each_row(threads(args), path, opened.source, work, sink).and_then(|()| opened.before.still_holds());
    done.and_then(|()| out.flush().map_err(output)).map_or_else(ends_quietly, |()| Ok(Outcome::Fine))
}

fn output(source: io::Error) -> Error {
    Error::Output { source }
}

fn threads(args: &TokensArgs) -> usize {
    args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// So much is handed to a thread at once: a line alone may be less work than its handing over.
const BATCH_BYTES: usize = 64 << 10;

/// Works on every row, on all threads, and hands the answers to `sink` in order.
fn each_row<Answer: Send>(
    threads: usize,
    path: &Path,
    source: Source,
    work: impl Fn(RawRow) -> Answer + Sync,
    mut sink: impl FnMut(Answer) -> Result<(), Error> + Send,
) -> Result<(), Error> {
    let stream: Box<dyn io::Read + Send> = match source {
        Source::Stream(stream) => stream,
        Source::File(file, _) => Box::new(file),
    };
    let mut rows = Records::unhashed(stream, Framing::Lines, MAX_LINE);
    let broken = |source| Error::from(ReadError::Io { path: path.to_owned(), source });
    let next = || {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        while bytes < BATCH_BYTES {
            let Some(row) = rows.next_row().map_err(broken)? else { break };
            bytes += row.bytes.len();
            batch.push(row);
        }
        Ok((!batch.is_empty()).then_some(batch))
    };
    let work = |batch: Vec<RawRow>| batch.into_iter().map(&work).collect::<Vec<_>>();
    parallel::ordered(threads, next, work, |answers| answers.into_iter().try_for_each(&mut sink))
}

/// What is to be passed on of one line.
struct Answer {
    line: u64,
    length: u64,
    counted: Result<Counted, Finding>,
    /// The line of output, for machines.
    json: Option<String>,
}

fn conversations(
    args: &TokensArgs,
    encoder: &ChatEncoder<'_>,
    tokenizer: Option<&TokenizerFile>,
) -> Result<Outcome, Error> {
    let ids = if args.ids { Ids::Yes } else { Ids::No };
    let json = args.format == Format::Json || args.ids;
    let mut out = BufWriter::new(io::stdout());
    let mut totals = Totals::default();
    let mut ui = Ui::new(args.format, json);
    tell_counting(encoder, tokenizer, &ui);
    let files = conversation_files(&args.files)?;
    let input_total = files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let mut progress = Progress { input_total, ..Progress::default() };
    for file in &files {
        let name = file.display().to_string();
        let Lines { source, is_array, directory, before } = Lines::open(file, MAX_LINE)?;
        if is_array {
            ui.note(&numbers_of_array(&name));
        }
        let work = |row: RawRow| {
            let counted = count_line(encoder, &directory, &row, ids);
            let named = (files.len() > 1).then_some(name.as_str());
            let json = json.then(|| line_json(row.line, named, &counted, encoder.exactness()));
            Answer { line: row.line, length: row.length, counted, json }
        };
        let sink = |Answer { line, length, counted, json }: Answer| {
            totals.add(line, &counted);
            if let Some(json) = json {
                return out.write_all(json.as_bytes()).map_err(output);
            }
            progress.rows += 1;
            progress.images = totals.images;
            progress.input_read += length;
            ui.progress(progress);
            let findings = counted.map_or_else(|refusal| vec![refusal], |counted| counted.warnings);
            for finding in findings {
                ui.finding(&finding.at(&name, line));
            }
            Ok(())
        };
        let done = each_row(threads(args), file, source, work, sink).and_then(|()| before.still_holds());
        if let Err(error) = done {
            return ends_quietly(error);
        }
    }
    if let Err(source) = out.flush() {
        return ends_quietly(output(source));
    }
    ui.end();
    if !json {
        ui::put(&totals.table(encoder))?;
    }
    Ok(if totals.refused > 0 { Outcome::Findings } else { Outcome::Fine })
}
