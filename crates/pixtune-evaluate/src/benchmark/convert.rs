//! The files of a benchmark as one file of conversations.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::json::{self, Value, list, object};
use pixtune_core::rules;
use pixtune_io::read::{MAX_LINE, Objects, Row, TextChoice, discover};

use super::BenchmarkChoice;
use super::columns::missing;
use super::images::Images;
use super::layout::{Piece, Question, id, questions};
use crate::error::EvaluateError;

/// The file of conversations, and its directory in the output.
const SAMPLES: &str = "samples.jsonl";
pub(crate) const DIRECTORY: &str = "benchmark";

/// Writes the samples of a benchmark and their images to a directory in `staged`; the path of the file, and how many rows have no
/// sample.
/// A row that cannot be read is a finding; a file without the columns of the benchmark is an error.
pub(crate) fn convert(
    choice: &BenchmarkChoice,
    data: &Path,
    staged: &Path,
    limit: Option<u64>,
    hear: &mut dyn FnMut(&Diagnostic),
) -> Result<(PathBuf, u64), EvaluateError> {
    let directory = &staged.join(DIRECTORY);
    let path = directory.join(SAMPLES);
    let broken = |source| EvaluateError::Write { path: path.clone(), source };
    fs::create_dir_all(directory).map_err(broken)?;
    let mut out = BufWriter::new(File::create(&path).map_err(broken)?);
    let mut images = Images::new(directory);
    let inputs =
        discover(&[data.to_string_lossy().into_owned()], &directory.join("stdin"), &TextChoice::default())?;
    let (mut written, mut invalid) = (0, 0);
    for (index, input) in (0..).zip(&inputs) {
        let mut objects = Objects::open(input, index, MAX_LINE)?;
        while let Some((at, row)) = objects.next_row()? {
            if row.is_blank() {
                continue;
            }
            if limit.is_some_and(|limit| written >= limit) {
                break;
            }
            let lines = match objects.columns(&row) {
                Ok(columns) => match questions(choice, &columns) {
                    // The first row shows that this is another dataset.
                    Err(finding) if written + invalid == 0 && finding.rule == &rules::MISSING_FIELD => {
                        return Err(other_layout(choice, &columns, &input.name, finding));
                    }
                    Err(finding) => Err(finding),
                    Ok(questions) => {
                        lines_of(&row, &columns, (&questions, at.number), &mut images, &input.directory)?
                    }
                },
                Err(finding) => Err(finding),
            };
            match lines {
                Ok(lines) => {
                    written += lines.len() as u64;
                    lines.iter().try_for_each(|line| out.write_all(line.as_bytes())).map_err(broken)?;
                }
                Err(finding) => {
                    invalid += 1;
                    hear(&finding.at(&input.name, at.number));
                }
            }
        }
    }
    out.flush().map_err(broken)?;
    Ok((path, invalid))
}

fn other_layout(choice: &BenchmarkChoice, row: &Value<'_>, name: &str, finding: Finding) -> EvaluateError {
    let members = row.as_object().unwrap_or_default();
    EvaluateError::Layout {
        name: name.to_owned(),
        benchmark: choice.benchmark.id(),
        why: finding.message,
        columns: members.iter().map(|(key, _)| format!("`{key}`")).collect::<Vec<_>>().join(", "),
    }
}

/// The lines of a row's questions.
fn lines_of(
    row: &Row,
    columns: &Value<'_>,
    (questions, number): (&[Question], u64),
    images: &mut Images,
    beside: &Path,
) -> Result<Result<Vec<String>, Finding>, EvaluateError> {
    let mut lines = Vec::with_capacity(questions.len());
    for question in questions {
        let mut messages = Vec::with_capacity(question.messages.len());
        for (index, pieces) in question.messages.iter().enumerate() {
            let role = if index % 2 == 0 { "user" } else { "assistant" };
            let mut parts = Vec::with_capacity(pieces.len());
            for piece in pieces {
                match piece {
                    Piece::Text(text) => parts.push((None, text.clone())),
                    Piece::Image(column) => {
                        let Some(value) = columns.get(column) else { return Ok(Err(missing(&[column]))) };
                        match images.write(row, value, (column, beside))? {
                            Ok(path) => parts.push((Some(()), path)),
                            Err(finding) => return Ok(Err(finding)),
                        }
                    }
                }
            }
            messages.push((role, parts));
        }
        let id = id(columns).unwrap_or_else(|| number.to_string());
        let id = question.turn.map_or(id.clone(), |turn| format!("{id}-{turn}"));
        lines.push(line(&id, question, &messages));
    }
    Ok(Ok(lines))
}

/// A role, and the parts of its message: a text, or the path of an image.
type WrittenMessage = (&'static str, Vec<(Option<()>, String)>);

fn line(id: &str, question: &Question, messages: &[WrittenMessage]) -> String {
    json::line(object(|out| {
        out.field("id", id);
        out.field(
            "messages",
            list(messages.iter().map(|(role, parts)| {
                object(move |message| {
                    message.field("role", *role);
                    message.field(
                        "content",
                        list(parts.iter().map(|(image, text)| {
                            object(move |part| match image {
                                Some(()) => {
                                    part.field("type", "image_url").field("image_url", text);
                                }
                                None => {
                                    part.field("type", "text").field("text", text);
                                }
                            })
                        })),
                    );
                })
            })),
        );
        out.field("references", list(question.references.iter().map(String::as_str)));
        if !question.options.is_empty() {
            out.field("choices", list(question.options.iter().map(String::as_str)));
        }
        if let Some(category) = &question.category {
            out.field("category", category);
        }
    }))
}
