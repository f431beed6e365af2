//! `pixtune tokens`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, write_string};
use pixtune_core::spec::{self, Exactness, ModelSpec};
use pixtune_core::tokens::{ChatEncoder, Grid, Layout, Tekken, grid};
use pixtune_io::parallel;
use pixtune_io::prepare::{Progress, Watch as _};
use pixtune_io::read::ReadError;
use pixtune_io::read::records::{Framing, RawRow, Records};
use pixtune_io::tokens::{Counted, Ids, count_line};

use super::{choose, ends_quietly};
use crate::Outcome;
use crate::args::TokensArgs;
use crate::error::Error;
use crate::ui::{self, Format, Ui, grouped};

/// A line of a JSON Lines file may have this many bytes: two hundred pictures of a megabyte.
const MAX_LINE: usize = 512 << 20;

/// One of four things is counted: a size, a list of sizes, texts, or conversations.
pub fn run(args: TokensArgs) -> Result<Outcome, Error> {
    let model =
        choose("model", &args.model, spec::find(&args.model), spec::ALL.iter().map(|model| model.id))?;
    if let Some(size) = &args.image {
        let (width, height) = parse_size(size, 'x')?;
        ui::print(&grid_line(model, width, height, args.format));
        return Ok(Outcome::Fine);
    }
    let loaded = args.tokenizer.as_deref().map(load_tokenizer).transpose()?;
    let tekken = loaded.as_ref().unwrap_or_else(|| Tekken::embedded());
    if let Some(path) = &args.sizes {
        return each_line(path, |line, out| {
            let (width, height) = parse_size(line, ' ')?;
            out.push_str(&grid_line(model, width, height, Format::Json));
            Ok(())
        });
    }
    if let Some(path) = &args.text {
        let mut number = 0;
        return each_line(path, |line, out| {
            number += 1;
            let wrong =
                || Error::argument(format!("line {number} of `{}` is not a JSON string", path.display()));
            let text = json::parse(line).map_err(|_| wrong())?;
            let ids = tekken.encode(text.value.as_str().ok_or_else(wrong)?);
            writeln!(out, "{{\"line\":{number},\"ids\":{}}}", numbers(&ids)).map_err(Error::argument)
        });
    }
    let layout = Layout::find(&args.layout);
    let layout = choose("layout", &args.layout, layout, Layout::ALL.iter().map(|layout| layout.as_str()))?;
    conversations(&args, &ChatEncoder { spec: model, tekken, layout })
}

fn load_tokenizer(path: &Path) -> Result<Tekken, Error> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(broken)?;
    Tekken::from_json(&bytes).map_err(|error| Error::argument(format!("`{}`: {error}", path.display())))
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

fn grid_line(model: &ModelSpec, width: u32, height: u32, format: Format) -> String {
    let grid = grid(model, width, height);
    let Grid { width: pixel_width, height: pixel_height, columns, rows, .. } = grid;
    match format {
        Format::Json => format!(
            "{{\"width\":{width},\"height\":{height},\"columns\":{columns},\"rows\":{rows},\"tokens\":{},\
             \"pixel_width\":{pixel_width},\"pixel_height\":{pixel_height}}}\n",
            grid.tokens()
        ),
        Format::Human => format!(
            "{width}x{height} pixels: {} tokens for {}\n{columns} columns and {rows} rows of patches, {pixel_width}x{pixel_height} pixels{}\n",
            grouped(grid.tokens() as u64),
            model.id,
            if grid.shrunk { ", made smaller" } else { "" }
        ),
    }
}

/// Answers each line of a file (`-` is standard input) as it comes.
fn each_line(
    path: &Path,
    mut answer: impl FnMut(&str, &mut String) -> Result<(), Error>,
) -> Result<Outcome, Error> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let source: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(broken)?)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut text = String::new();
    for line in BufReader::new(source).lines() {
        let line = line.map_err(broken)?;
        if line.trim().is_empty() {
            continue;
        }
        text.clear();
        answer(&line, &mut text)?;
        if let Err(error) = out.write_all(text.as_bytes()) {
            return ends_quietly(error);
        }
    }
    out.flush().map_or_else(ends_quietly, |()| Ok(Outcome::Fine))
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
    lengths: std::collections::BTreeMap<u64, u64>,
    longest: (u64, u64),
    by_rule: std::collections::BTreeMap<&'static str, u64>,
    all_lengths: Vec<u32>,
}

fn conversations(args: &TokensArgs, encoder: &ChatEncoder<'_>) -> Result<Outcome, Error> {
    let ids = if args.ids { Ids::Yes } else { Ids::No };
    let json = args.format == Format::Json || args.ids;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut out = BufWriter::new(io::stdout());
    let mut totals = Totals::default();
    let mut ui = Ui::new(args.format, json);
    if let Exactness::Estimate(why) = encoder.exactness() {
        ui.note(&format!("estimate: {why}"));
    }
    let input_total =
        args.files.iter().filter_map(|file| file.metadata().ok()).map(|about| about.len()).sum();
    let mut progress = Progress { input_total, ..Progress::default() };
    for file in &args.files {
        let several = args.files.len() > 1;
        let (mut rows, folder) = open(file)?;
        let broken = |source| Error::from(ReadError::Io { path: file.clone(), source });
        let work = |row: RawRow| (row.line, row.length, count_line(encoder, &folder, &row, ids));
        let sink = |(line, length, counted): (u64, u64, Result<Counted, Finding>)| {
            totals.add(line, &counted, encoder.spec.context);
            if !json {
                progress.rows += 1;
                progress.images = totals.images;
                progress.input_read += length;
                ui.progress(progress);
                if let Err(finding) = counted {
                    ui.finding(&finding.at(&file.display().to_string(), line));
                }
                return Ok(());
            }
            let name = several.then(|| file.display().to_string());
            let text = line_json(line, name.as_deref(), &counted, encoder.exactness());
            out.write_all(text.as_bytes()).map_err(broken)
        };
        match parallel::ordered(threads, || rows.next_row().map_err(broken), work, sink) {
            Err(Error::Read(ReadError::Io { source, .. })) if source.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(Outcome::Fine);
            }
            result => result?,
        }
    }
    if let Err(error) = out.flush() {
        return ends_quietly(error);
    }
    ui.end();
    if !json {
        ui::print(&totals.table(encoder));
    }
    Ok(if totals.refused > 0 { Outcome::Findings } else { Outcome::Fine })
}

fn open(file: &Path) -> Result<(Records<Box<dyn io::Read + Send>>, PathBuf), Error> {
    if file == Path::new("-") {
        return Ok((Records::new(Box::new(io::stdin()), Framing::Lines, MAX_LINE), PathBuf::from(".")));
    }
    let source = File::open(file).map_err(|source| ReadError::Io { path: file.to_owned(), source })?;
    let folder = file.parent().map(Path::to_owned).unwrap_or_default();
    Ok((Records::new(Box::new(source), Framing::Lines, MAX_LINE), folder))
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
            out.push_str(&format!(",\"refused\":{{\"rule\":\"{}\",\"message\":", finding.rule.id));
            write_string(&finding.message, &mut out);
            out.push_str(",\"pointer\":");
            write_string(&finding.pointer, &mut out);
            out.push('}');
        }
        Ok(Counted { counts, sizes, ids }) => {
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
            if let Some(ids) = ids {
                let run =
                    |run: &pixtune_core::tokens::Run| format!("[{},{}]", u8::from(run.trained), run.tokens);
                let runs: Vec<String> = counts.runs.iter().map(run).collect();
                out.push_str(&format!(",\"ids\":{},\"trained_runs\":[{}]", numbers(ids), runs.join(",")));
            }
        }
    }
    out.push_str("}\n");
    out
}

fn numbers(ids: &[u32]) -> String {
    let mut out = String::with_capacity(2 + 7 * ids.len());
    out.push('[');
    for (index, id) in ids.iter().enumerate() {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(out, "{comma}{id}");
    }
    out.push(']');
    out
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
        out.push_str(&histogram(&self.lengths));
        out
    }
}

/// Bars of how many samples have up to so many tokens.
fn histogram(lengths: &std::collections::BTreeMap<u64, u64>) -> String {
    const WIDTH: u64 = 40;
    let most = lengths.values().copied().max().unwrap_or(1);
    let mut out = String::from("samples by tokens\n");
    let (Some(first), Some(last)) = (lengths.keys().next(), lengths.keys().last()) else { return out };
    let mut upper = *first;
    loop {
        let count = lengths.get(&upper).copied().unwrap_or(0);
        let bar = (count * WIDTH).div_ceil(most) as usize;
        out.push_str(&format!(
            "{:>11} {:<40} {}\n",
            format!("≤ {}", grouped(upper)),
            "█".repeat(bar),
            grouped(count)
        ));
        if upper >= *last {
            return out;
        }
        upper *= 2;
    }
}
