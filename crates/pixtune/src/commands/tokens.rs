//! `pixtune tokens`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, write_string};
use pixtune_core::spec::{Exactness, ModelSpec};
use pixtune_core::tokens::{ChatEncoder, Grid, Layout, Run, Tekken, grid, too_thin};
use pixtune_io::parallel;
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::read::ReadError;
use pixtune_io::read::records::{Framing, RawRow, Records};
use pixtune_io::tokens::{Counted, Ids, TokenizerFile, count_line};

use super::{choose, choose_model, ends_quietly, tell_counting};
use crate::Outcome;
use crate::args::TokensArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui, counted, grouped};

/// A line of a JSON Lines file may have this many bytes: two hundred pictures of a megabyte.
const MAX_LINE: usize = 512 << 20;

/// One of four things is counted: a size, a list of sizes, texts, or conversations.
pub fn run(args: TokensArgs) -> Result<Outcome, Error> {
    let model = choose_model(&args.model)?;
    let layout = Layout::find(&args.layout);
    let layout = choose("layout", &args.layout, layout, Layout::ALL.iter().map(|layout| layout.as_str()))?;
    if let Some(size) = &args.image {
        let (width, height) = parse_size(size, 'x')?;
        ui::print(&match args.format {
            Format::Json => grid_json(model, width, height),
            Format::Human => grid_told(model, width, height),
        });
        return Ok(Outcome::Fine);
    }
    if let Some(path) = &args.sizes {
        return sizes(path, model);
    }
    let loaded = args.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
    let tekken = loaded.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
    let encoder = ChatEncoder { spec: model, tekken, layout };
    match &args.text {
        Some(path) => texts(&args, path, tekken),
        None => conversations(&args, &encoder, loaded.as_ref()),
    }
}

/// Reads `3000x2000` or `3000 2000`.
fn parse_size(text: &str, separator: char) -> Result<(u32, u32), Error> {
    let wrong = || {
        Error::argument(format!(
            "`{text}` is no size; write WIDTH{separator}HEIGHT in pixels, each at least 1"
        ))
    };
    let (width, height) = text.trim().split_once(separator).ok_or_else(wrong)?;
    let side = |text: &str| text.trim().parse().ok().filter(|side| *side > 0).ok_or_else(wrong);
    Ok((side(width)?, side(height)?))
}

fn grid_json(model: &ModelSpec, width: u32, height: u32) -> String {
    let grid = grid(model, width, height);
    let Grid { width: pixel_width, height: pixel_height, columns, rows, .. } = grid;
    let warnings =
        if too_thin(model, width, height) { r#","warnings":[{"rule":"image-too-thin"}]"# } else { "" };
    format!(
        "{{\"width\":{width},\"height\":{height},\"columns\":{columns},\"rows\":{rows},\"tokens\":{},\
         \"pixel_width\":{pixel_width},\"pixel_height\":{pixel_height}{warnings}}}\n",
        grid.tokens()
    )
}

fn grid_told(model: &ModelSpec, width: u32, height: u32) -> String {
    let grid = grid(model, width, height);
    let Grid { width: pixel_width, height: pixel_height, columns, rows, shrunk } = grid;
    let smaller = if shrunk { ", made smaller" } else { "" };
    let thin = if too_thin(model, width, height) {
        "so elongated that older servers refuse it (image-too-thin)\n"
    } else {
        ""
    };
    format!(
        "{width}x{height} pixels: {} tokens for {}\n\
         {} and {} of patches, {pixel_width}x{pixel_height} pixels{smaller}\n{thin}",
        grouped(grid.tokens() as u64),
        model.id,
        counted(u64::from(columns), "column"),
        counted(u64::from(rows), "row"),
    )
}

/// The grid of each line of a file.
fn sizes(path: &Path, model: &ModelSpec) -> Result<Outcome, Error> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let source: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(broken)?)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for line in BufReader::new(source).lines() {
        let line = line.map_err(broken)?;
        if line.trim().is_empty() {
            continue;
        }
        let (width, height) = parse_size(&line, ' ')?;
        if let Err(source) = out.write_all(grid_json(model, width, height).as_bytes()) {
            return ends_quietly(output(source));
        }
    }
    out.flush().map_err(output).map_or_else(ends_quietly, |()| Ok(Outcome::Fine))
}

/// The ids of each text of a file.
fn texts(args: &TokensArgs, path: &Path, tekken: &Tekken) -> Result<Outcome, Error> {
    let (rows, _) = open(path)?;
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
    let done = each_row(threads(args), path, rows, work, sink);
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
    mut rows: Records<Box<dyn io::Read + Send>>,
    work: impl Fn(RawRow) -> Answer + Sync,
    mut sink: impl FnMut(Answer) -> Result<(), Error> + Send,
) -> Result<(), Error> {
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

/// Sums over a file, for the table.
#[derive(Default)]
struct Totals {
    samples: u64,
    refused: u64,
    tokens: u64,
    image_tokens: u64,
    trained_tokens: u64,
    images: u64,
    overflow: u64,
    /// How many samples have so many tokens; the keys are few because they are rounded up to three bits.
    lengths: BTreeMap<u64, u64>,
    longest: (u64, u64),
    by_rule: BTreeMap<&'static str, u64>,
    all_lengths: Vec<u32>,
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
    let input_total =
        args.files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let mut progress = Progress { input_total, ..Progress::default() };
    for file in &args.files {
        let name = file.display().to_string();
        let (rows, folder) = open(file)?;
        let work = |row: RawRow| {
            let counted = count_line(encoder, &folder, &row, ids);
            let named = (args.files.len() > 1).then_some(name.as_str());
            let json = json.then(|| line_json(row.line, named, &counted, encoder.exactness()));
            Answer { line: row.line, length: row.length, counted, json }
        };
        let sink = |Answer { line, length, counted, json }: Answer| {
            totals.add(line, &counted, encoder.spec.context);
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
        if let Err(error) = each_row(threads(args), file, rows, work, sink) {
            return ends_quietly(error);
        }
    }
    if let Err(source) = out.flush() {
        return ends_quietly(output(source));
    }
    ui.end();
    if !json {
        ui::print(&totals.table(encoder));
    }
    Ok(if totals.refused > 0 { Outcome::Findings } else { Outcome::Fine })
}

fn open(file: &Path) -> Result<(Records<Box<dyn io::Read + Send>>, PathBuf), Error> {
    if file == Path::new("-") {
        return Ok((Records::unhashed(Box::new(io::stdin()), Framing::Lines, MAX_LINE), PathBuf::from(".")));
    }
    let source = File::open(file).map_err(|source| ReadError::Io { path: file.to_owned(), source })?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    Ok((Records::unhashed(Box::new(source), Framing::Lines, MAX_LINE), folder))
}

fn line_json(
    line: u64,
    file: Option<&str>,
    counted: &Result<Counted, Finding>,
    exactness: Exactness,
) -> String {
    let mut out = format!("{{\"line\":{line}");
    if let Some(file) = file {
        out.push_str(",\"file\":");
        write_string(file, &mut out);
    }
    match counted {
        Err(finding) => {
            out.push_str(",\"refused\":");
            write_finding(finding, &mut out);
        }
        Ok(Counted { counts, warnings, sizes, ids }) => {
            out.push_str(&format!(
                ",\"tokens\":{},\"text_tokens\":{},\"image_tokens\":{},\"trained_tokens\":{},\"images\":[",
                counts.tokens,
                counts.text_tokens(),
                counts.image_tokens,
                counts.trained_tokens
            ));
            for (index, (grid, (width, height))) in counts.images.iter().zip(sizes).enumerate() {
                let comma = if index > 0 { "," } else { "" };
                out.push_str(&format!(
                    "{comma}{{\"width\":{width},\"height\":{height},\"columns\":{},\"rows\":{},\"tokens\":{}}}",
                    grid.columns,
                    grid.rows,
                    grid.tokens()
                ));
            }
            out.push(']');
            if let Exactness::Estimate(_) = exactness {
                out.push_str(",\"estimate\":true");
            }
            write_warnings(warnings, &mut out);
            if let Some(ids) = ids {
                let run = |run: &Run| format!("[{},{}]", u8::from(run.trained), run.tokens);
                let runs: Vec<String> = counts.runs.iter().map(run).collect();
                out.push_str(",\"ids\":");
                write_numbers(ids, &mut out);
                out.push_str(&format!(",\"trained_runs\":[{}]", runs.join(",")));
            }
        }
    }
    out.push_str("}\n");
    out
}

fn write_warnings(warnings: &[Finding], out: &mut String) {
    if warnings.is_empty() {
        return;
    }
    out.push_str(",\"warnings\":[");
    for (index, warning) in warnings.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_finding(warning, out);
    }
    out.push(']');
}

fn write_finding(finding: &Finding, out: &mut String) {
    out.push_str(&format!("{{\"rule\":\"{}\",\"message\":", finding.rule.id));
    write_string(&finding.message, out);
    out.push_str(",\"pointer\":");
    write_string(&finding.pointer, out);
    out.push('}');
}

/// Writes `[1,22,333]`. Ids come as fast as they can be formatted, so their digits are made by hand.
fn write_numbers(ids: &[u32], out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.reserve(2 + 7 * ids.len());
    bytes.push(b'[');
    for (index, &id) in ids.iter().enumerate() {
        let (mut text, mut start, mut rest) = ([b','; 11], 11, id);
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        bytes.extend_from_slice(&text[start - usize::from(index > 0)..]);
    }
    bytes.push(b']');
    *out = String::from_utf8(bytes).expect("digits and commas were added to a string");
}

impl Totals {
    fn add(&mut self, line: u64, counted: &Result<Counted, Finding>, context: usize) {
        self.samples += 1;
        let counts = match counted {
            Ok(counted) => &counted.counts,
            Err(finding) => {
                self.refused += 1;
                *self.by_rule.entry(finding.rule.id).or_default() += 1;
                return;
            }
        };
        let tokens = counts.tokens as u64;
        self.tokens += tokens;
        self.image_tokens += counts.image_tokens as u64;
        self.trained_tokens += counts.trained_tokens as u64;
        self.images += counts.images.len() as u64;
        self.overflow += u64::from(counts.tokens > context);
        self.longest = self.longest.max((tokens, line));
        self.all_lengths.push(u32::try_from(tokens).unwrap_or(u32::MAX));
        *self.lengths.entry(tokens.max(1).next_power_of_two()).or_default() += 1;
    }

    fn table(&mut self, encoder: &ChatEncoder<'_>) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| out.push_str(&format!("{name:<16}{value}\n"));
        row("samples", grouped(self.samples));
        if self.refused > 0 {
            row("  refused", grouped(self.refused));
            for (rule, count) in &self.by_rule {
                row("", format!("{} {rule}", grouped(*count)));
            }
        }
        let counted = self.all_lengths.len();
        if counted == 0 {
            return out;
        }
        let middle = *self.all_lengths.select_nth_unstable(counted / 2).1;
        row("tokens", grouped(self.tokens));
        row("  of pictures", format!("{} in {} pictures", grouped(self.image_tokens), grouped(self.images)));
        row("  of text", grouped(self.tokens - self.image_tokens));
        row("  trained", grouped(self.trained_tokens));
        row(
            "a sample",
            format!("median {}, mean {}", grouped(u64::from(middle)), grouped(self.tokens / counted as u64)),
        );
        row("  longest", format!("{} in line {}", grouped(self.longest.0), grouped(self.longest.1)));
        row(
            "  context",
            format!(
                "{} ({}): {} longer",
                grouped(encoder.spec.context as u64),
                encoder.spec.id,
                grouped(self.overflow)
            ),
        );
        out.push('\n');
        out.push_str(&histogram(&self.lengths, encoder.spec));
        out
    }
}

/// Bars of how many samples have up to so many tokens, and where the model's context ends.
fn histogram(lengths: &BTreeMap<u64, u64>, model: &ModelSpec) -> String {
    const WIDTH: u64 = 40;
    let most = lengths.values().copied().max().unwrap_or(1);
    let mut out = String::from("samples by tokens\n");
    let (Some(first), Some(last)) = (lengths.keys().next(), lengths.keys().last()) else { return out };
    let context = model.context as u64;
    let mut limit = Some(format!("{:>11} {:┄<40} {}\n", grouped(context), " context ", model.id));
    let mut upper = *first;
    while upper <= *last {
        if upper > context {
            out.extend(limit.take());
        }
        let count = lengths.get(&upper).copied().unwrap_or(0);
        let bar = (count * WIDTH).div_ceil(most) as usize;
        let name = format!("≤ {}", grouped(upper));
        out.push_str(&format!("{name:>11} {:<40} {}\n", "█".repeat(bar), grouped(count)));
        upper *= 2;
    }
    out.extend(limit);
    out
}
