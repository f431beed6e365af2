//! What a run will do, resolved and written down before anything is done.

use std::fs;
use std::path::Path;

use pixtune_core::columns::{Columns, ImagePosition};
use pixtune_core::curate::{self, By, Dedup, SplitKind, parse_size};
use pixtune_core::diagnostic::{Finding, Rule, Severity};
use pixtune_core::json::quoted;
use pixtune_core::rules;
use pixtune_core::target::Target;
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};

use super::PrepareError;
use super::options::{Images, MaxReject, Options, Verify};
use super::work::{stdin_copy, work_directory};
use crate::buffers::Buffers;
use crate::image::measure::by_colors;
use crate::image::prepare::{Policy, Prepared, prepare};
use crate::image::{ImageError, Limits};
use crate::read::discover::refuse_all_but_directories;
use crate::read::{Table, discover, keep_stdin};
use crate::tokens::TokenizerFile;

/// A run in which everything that can be refused was found good.
#[derive(Debug)]
pub struct Plan {
    /// The choices.
    pub options: Options,
    /// The inputs and their columns.
    pub tables: Vec<Table>,
    /// What to count with, where it is not the built-in vocabulary.
    tokenizer: Option<TokenizerFile>,
    /// How images are made ready.
    pub(crate) policy: Policy,
    /// Memory for files and lines, used again and again.
    pub(crate) buffers: Buffers,
    sizes: Vec<u64>,
    json: String,
}

impl Plan {
    /// Resolves the options against the inputs.
    pub fn new(mut options: Options) -> Result<Plan, PrepareError> {
        if options.out.file_name().is_none() {
            // `.` and `..` have no name beside which a run could work.
            let path = options.out.clone();
            options.out = fs::canonicalize(&path).map_err(|source| PrepareError::Write { path, source })?;
        }
        refuse_unmeasured(&options)?;
        refuse_existing(&options)?;
        let tokenizer = options.tokenizer.as_deref().map(TokenizerFile::read).transpose()?;
        let stdin_copy = stdin_copy(&options.out)?;
        if options.inputs.iter().any(|input| input == "-") && !(options.resume && stdin_copy.exists()) {
            keep_stdin(&stdin_copy)?;
        }
        let inputs = discover(&options.inputs, &stdin_copy)?;
        let mut tables = Vec::with_capacity(inputs.len());
        options.image_folder.as_deref().map_or(Ok(()), refuse_all_but_directories)?;
        for mut input in inputs {
            if let Some(directory) = &options.image_folder {
                input.directory.clone_from(directory);
            }
            tables.push(Table::open(input, &options.columns, options.max_row_bytes)?);
        }
        require_labels(&tables, options.split.kind)?;
        let size = |table: &Table| fs::metadata(&table.input.path).map_or(0, |about| about.len());
        let sizes = tables.iter().map(size).collect();
        options.threads = options.threads.max(1);
        let policy = policy(&options);
        let json = plan_json(&options, &tables, tokenizer.as_ref());
        Ok(Plan { options, tables, tokenizer, policy, buffers: Buffers::default(), sizes, json })
    }

    /// How conversations are counted.
    pub fn encoder(&self) -> ChatEncoder<'_> {
        let tekken = self.tokenizer.as_ref().map_or_else(|| Tekken::embedded(), |file| &file.tekken);
        ChatEncoder { spec: self.options.model, tekken, layout: Layout::MistralCommon }
    }

    /// The vocabulary that was chosen instead of the built-in one.
    pub fn tokenizer(&self) -> Option<&TokenizerFile> {
        self.tokenizer.as_ref()
    }

    pub(crate) fn prepare_image(&self, bytes: Vec<u8>) -> Result<Prepared, ImageError> {
        prepare(bytes, &self.policy)
    }

    /// By which colors an image is known, if it can be decoded.
    pub(crate) fn colors(&self, bytes: &[u8]) -> Option<u64> {
        by_colors(bytes, &self.policy.limits).ok()
    }

    /// Makes errors of the warnings that are to reject their row, and leaves out those that nobody wants.
    pub(crate) fn settle(&self, findings: &mut Vec<Finding>) {
        let dropped = findings.iter_mut().filter(|finding| self.options.drop.contains(&finding.rule));
        dropped.for_each(|finding| finding.severity = Severity::Error);
        findings.retain(|finding| self.prints(finding));
    }

    /// Whether a finding is to be told.
    pub(crate) fn prints(&self, finding: &Finding) -> bool {
        finding.severity == Severity::Error || !self.options.ignore.contains(&finding.rule)
    }

    /// What is decided by once all rows are known.
    pub(crate) fn decision(&self) -> curate::Policy {
        let Options { dedup, by, distance, drop, split, threads, .. } = &self.options;
        let threads = std::num::NonZeroUsize::new(*threads).unwrap_or(std::num::NonZeroUsize::MIN);
        let (dedup, by, distance, split) = (*dedup, *by, *distance, *split);
        curate::Policy { dedup, by, distance, drop: drop.clone(), split, threads }
    }

    /// The resolved options as JSON, with one option to a line: what `--show-plan` prints and the manifest keeps.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// The plan and the inputs' sizes: an unfinished run is only continued when they are the same.
    pub(crate) fn fingerprint(&self) -> String {
        let sizes: String = self.sizes.iter().map(|bytes| format!("{bytes}\n")).collect();
        // A journal speaks of rules by their number, so another list of rules is another plan.
        format!("{}\npixtune {}, {} rules\n{sizes}", self.json, env!("CARGO_PKG_VERSION"), rules::ALL.len())
    }

    pub(crate) fn input_bytes(&self) -> u64 {
        self.sizes.iter().sum()
    }

    pub(crate) fn bytes_before(&self, input: u32) -> u64 {
        self.sizes[..input as usize].iter().sum()
    }

    /// Whether so many rejected rows end the run. A share is judged when all rows are read.
    pub(crate) fn check_rejected(&self, rejected: u64, rows: u64, at_end: bool) -> Result<(), PrepareError> {
        let passed = match self.options.max_reject {
            None => false,
            Some(MaxReject::Rows(limit)) => rejected > limit,
            Some(MaxReject::Share(share)) => at_end && rejected as f64 > share * rows as f64,
        };
        match self.options.max_reject {
            Some(limit) if passed => {
                Err(PrepareError::TooManyRejected { rejected, rows, limit: limit.to_string() })
            }
            _ => Ok(()),
        }
    }
}

fn policy(options: &Options) -> Policy {
    let side = u64::from(options.max_image_side);
    Policy {
        limits: Limits {
            max_bytes: options.max_image_bytes,
            max_side: options.max_image_side,
            max_pixels: side * side,
            max_decoded_bytes: options.max_decoded_bytes,
        },
        model: options.model,
        target: options.target,
        keep: options.images == Images::Keep,
        decode_all: options.verify == Verify::Full,
        resampling: options.resampling,
        jpeg_quality: options.jpeg_quality,
        measure: options.measure,
    }
}

/// Near duplicates and the quality of images are known only of images that are decoded and measured.
fn refuse_unmeasured(options: &Options) -> Result<(), PrepareError> {
    let of_pixels = options.drop.iter().find(|rule| rules::OF_PIXELS.contains(rule));
    let wanted = match of_pixels {
        Some(rule) => format!("--drop {}", rule.id),
        None if options.dedup == Dedup::Near => "--dedup near".to_owned(),
        None => return Ok(()),
    };
    let because = match (options.measure, options.verify) {
        (false, _) => "--no-measure",
        (true, Verify::Header) => "--verify header",
        (true, Verify::Full) => return Ok(()),
    };
    Err(PrepareError::Unmeasured { wanted, because })
}

fn refuse_existing(options: &Options) -> Result<(), PrepareError> {
    let Options { out, resume, force, .. } = options;
    let partial = work_directory(out)?;
    if partial.exists() && !resume && !force {
        return Err(PrepareError::Unfinished { path: partial });
    }
    let empty = || fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if !out.exists() || empty() {
        return Ok(());
    }
    // A resumed run looks into what is there: it may be its own, finished just before it was killed.
    if !force && !resume {
        return Err(PrepareError::Exists { path: out.clone() });
    }
    if out.is_dir() && out.join("manifest.json").is_file() {
        return Ok(());
    }
    Err(PrepareError::Foreign { path: out.clone() })
}

fn require_labels(tables: &[Table], kind: SplitKind) -> Result<(), PrepareError> {
    for table in tables {
        let (has, what): (fn(&Columns) -> bool, _) = match kind {
            SplitKind::Random | SplitKind::Auto => return Ok(()),
            SplitKind::Group => (|columns| columns.group.is_some(), "group"),
            SplitKind::Stratify => (|columns| columns.stratum.is_some(), "stratum"),
        };
        let in_chats = match kind {
            SplitKind::Group => table.aside.group.is_some(),
            _ => table.aside.stratum.is_some(),
        };
        if !table.columns.as_ref().map_or(in_chats, has) {
            return Err(PrepareError::NoLabel { file: table.input.name.clone(), what });
        }
    }
    Ok(())
}

/// A path that says nothing about the machine: as given when relative, else the file's name.
pub(crate) fn portable_name(name: &str) -> &str {
    if Path::new(name).is_absolute() { name.rsplit(['/', '\\']).next().unwrap_or(name) } else { name }
}

fn plan_json(options: &Options, tables: &[Table], tokenizer: Option<&TokenizerFile>) -> String {
    let mut out = String::from("{");
    let mut member = |key: &str, value: &str| {
        if out.len() > 1 {
            out.push(',');
        }
        out.push_str("\n    ");
        out.push_str(&quoted(key));
        out.push_str(": ");
        out.push_str(value);
    };
    let inputs: Vec<String> = tables.iter().map(table_json).collect();
    member("inputs", &format!("[{}]", inputs.join(", ")));
    member("model", &quoted(options.model.id));
    member("target", &quoted(options.target.id));
    let Target { max_images, max_image_bytes, max_file_bytes, .. } = options.target;
    let most = if max_images == usize::MAX { "null".to_owned() } else { max_images.to_string() };
    member("target_max_images", &most);
    member("target_max_image_bytes", &max_image_bytes.to_string());
    member("target_max_file_bytes", &max_file_bytes.to_string());
    let directory = options.image_folder.as_deref().map(Path::to_string_lossy);
    member(
        "image_folder",
        &directory.map_or("null".into(), |directory| quoted(portable_name(directory.trim_end_matches('/')))),
    );
    member("images", &quoted(if options.images == Images::Fit { "fit" } else { "keep" }));
    let position = if options.image_position == ImagePosition::First { "first" } else { "last" };
    member("image_position", &quoted(position));
    member("resampling", &quoted(options.resampling.as_str()));
    member("verify", &quoted(if options.verify == Verify::Full { "full" } else { "header" }));
    member("jpeg_quality", &options.jpeg_quality.to_string());
    let tokenizer = tokenizer.map(|TokenizerFile { path, blake3, .. }| {
        let name = quoted(portable_name(&path.to_string_lossy()));
        format!("{{\"path\": {name}, \"blake3\": \"{blake3}\"}}")
    });
    member("tokenizer", tokenizer.as_deref().unwrap_or("null"));
    member("max_tokens", &options.max_tokens.map_or("null".into(), |limit| limit.to_string()));
    member("validation", &quoted(&options.split.validation.to_string()));
    let split = match options.split.kind {
        SplitKind::Random => "random",
        SplitKind::Group => "group",
        SplitKind::Stratify => "stratify",
        SplitKind::Auto => "auto",
    };
    member("split", &quoted(split));
    let dedup = match options.dedup {
        Dedup::Off => "off",
        Dedup::Exact => "exact",
        Dedup::Near => "near",
    };
    member("dedup", &quoted(dedup));
    member("dedup_by", &quoted(if options.by == By::Sample { "sample" } else { "image" }));
    member("near_distance", &options.distance.to_string());
    let ids = |rules: &[&Rule]| rules.iter().map(|rule| quoted(rule.id)).collect::<Vec<_>>().join(", ");
    member("drop", &format!("[{}]", ids(&options.drop)));
    member("ignore", &format!("[{}]", ids(&options.ignore)));
    member("measure", if options.measure { "true" } else { "false" });
    member("seed", &options.split.seed.to_string());
    member("max_reject", &options.max_reject.map_or("null".into(), |limit| quoted(&limit.to_string())));
    member("max_row_bytes", &options.max_row_bytes.to_string());
    member("max_image_bytes", &options.max_image_bytes.to_string());
    member("max_image_side", &options.max_image_side.to_string());
    member("max_decoded_bytes", &options.max_decoded_bytes.to_string());
    out.push_str("\n  }");
    out
}

fn table_json(table: &Table) -> String {
    let mut out = format!("{{\"path\": {}", quoted(portable_name(&table.input.name)));
    if let Some(columns) = &table.columns {
        let list: Vec<String> = columns.image.iter().map(|column| quoted(column)).collect();
        out.push_str(&format!(", \"image\": [{}]", list.join(", ")));
        let completion = Some(columns.completion.clone());
        for (key, column) in [
            ("prompt", &columns.prompt),
            ("completion", &completion),
            ("system", &columns.system),
            ("group", &columns.group),
            ("id", &columns.id),
            ("stratify", &columns.stratum),
        ] {
            if let Some(column) = column {
                out.push_str(&format!(", \"{key}\": {}", quoted(column)));
            }
        }
    } else {
        out.push_str(", \"messages\": true");
    }
    out.push('}');
    out
}

/// A size with or without a unit, as the limits on the command line take it.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    text.parse()
        .ok()
        .or_else(|| parse_size(text))
        .ok_or_else(|| format!("`{text}` is no size; write `20MB`, `1GiB` or a number of bytes"))
}
