//! Conversion of flat rows to conversations.

use super::answers::{Answers, MOST_SAMPLES, reference_answers};
use super::{Columns, PLACEHOLDER};
use crate::content::{is_empty, nested_in};
use crate::conversation::image_source;
use crate::diagnostic::{Finding, pointer_push};
use crate::foreign::image_reference;
use crate::json::Value;
use crate::rules::{EMPTY_ANSWER, EMPTY_PROMPT, IMAGE_PLACEHOLDERS, MISSING_FIELD, NO_IMAGE, WRONG_TYPE};
use crate::sample::{Assistant, Content, Image, Message, Part, Sample};
use crate::text::counted;

/// Where images go if the prompt has no placeholders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImagePosition {
    /// Before the text, where Pixtral's encoding moves a single image anyway.
    #[default]
    First,
    /// After the text.
    Last,
}

/// How a flat row is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct RowOptions {
    /// Where images go if the prompt has no placeholders.
    pub position: ImagePosition,
    /// Which of several reference answers is the response.
    pub answers: Answers,
    /// Which of the samples that the row becomes is read.
    pub nth: u8,
}

/// Converts a flat row, an object, to a conversation of one prompt and one response.
pub fn read_row(columns: &Columns, options: RowOptions, row: &Value<'_>) -> (Sample<Image>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut images = Vec::new();
    for column in &columns.image {
        read_images(column, row.get(column), &mut images, &mut findings);
    }
    let prompt = columns.prompt.as_ref().and_then(|column| text_of(column, row.get(column), &mut findings));
    let prompt = prompt.unwrap_or_default();
    // A row of JSON Lines may lack the key.
    let system = columns.system.as_ref().filter(|column| row.get(column).is_some());
    let system = system.and_then(|column| text_of(column, row.get(column), &mut findings));
    let system = system.filter(|text| !text.trim().is_empty());
    let completion = response_of(columns, options, row, &mut findings);
    report_empty_cells(columns, images.len(), &prompt, completion.as_deref(), &mut findings);
    if completion.as_deref().is_some_and(|text| text.contains(PLACEHOLDER)) && !images.is_empty() {
        let message = format!("the response has `{PLACEHOLDER}`, which stands for an image only in a prompt");
        findings.push(Finding::new(&IMAGE_PLACEHOLDERS, pointer_push("", &columns.completion), message));
    }
    let content = place_images(&prompt, images.len(), options.position).unwrap_or_else(|placeholders| {
        findings.push(wrong_placeholders(columns, placeholders, images.len()));
        Content::Text(prompt)
    });
    let mut messages = Vec::with_capacity(3);
    messages.extend(system.map(|text| Message::System(Content::Text(text))));
    messages.push(Message::User(content));
    let response = Content::Text(completion.unwrap_or_default());
    messages.push(Message::Assistant(Assistant { content: Some(response), ..Assistant::default() }));
    (Sample { messages, images, ..Sample::default() }, findings)
}

/// The response: a text, or one of several reference answers.
fn response_of(
    columns: &Columns,
    options: RowOptions,
    row: &Value<'_>,
    findings: &mut Vec<Finding>,
) -> Option<String> {
    let column = &columns.completion;
    let value = row.get(column);
    match value.and_then(|value| reference_answers(column, value)) {
        Some(answers) if options.answers.samples(&answers).is_none() => {
            let count = counted(answers.len() as u64, "answer");
            let message = format!("`{column}` has {count}; a row becomes at most {MOST_SAMPLES} samples");
            findings.push(Finding::new(&WRONG_TYPE, pointer_push("", column), message));
            None
        }
        Some(answers) => Some(options.answers.choose(&answers, options.nth).unwrap_or_default().into_owned()),
        None => text_of(column, value, findings),
    }
}

fn report_empty_cells(
    columns: &Columns,
    images: usize,
    prompt: &str,
    completion: Option<&str>,
    findings: &mut Vec<Finding>,
) {
    let empty = |rule, column: &str| {
        Finding::new(rule, pointer_push("", column), format!("column `{column}` is empty"))
    };
    if let Some(column) = columns.image.first().filter(|_| images == 0 && findings.is_empty()) {
        findings.push(empty(&NO_IMAGE, column));
    }
    if prompt.trim().is_empty() {
        match &columns.prompt {
            Some(column) if images > 0 => findings.push(empty(&EMPTY_PROMPT, column)),
            None if images > 0 => {}
            column => {
                let pointer = pointer_push("", column.as_ref().unwrap_or(&columns.completion));
                let message = "the row has neither a prompt nor an image";
                findings.push(Finding::new(&EMPTY_PROMPT, pointer, message));
            }
        }
    }
    if completion.is_some_and(|text| text.trim().is_empty()) {
        findings.push(empty(&EMPTY_ANSWER, &columns.completion));
    }
}

fn wrong_placeholders(columns: &Columns, placeholders: usize, images: usize) -> Finding {
    let images = counted(images as u64, "image");
    let message = format!("the prompt has {placeholders} `{PLACEHOLDER}` for {images}");
    let pointer = pointer_push("", columns.prompt.as_deref().unwrap_or_default());
    let hint = format!("write one `{PLACEHOLDER}` per image, or none to put all images before the text");
    Finding::new(&IMAGE_PLACEHOLDERS, pointer, message).hint(hint)
}

/// The user message: images at their placeholders, or all before or after the text. The error is the number of
/// placeholders.
pub(super) fn place_images(prompt: &str, images: usize, position: ImagePosition) -> Result<Content, usize> {
    let places = prompt.matches(PLACEHOLDER).count();
    if places == 0 && images == 0 {
        return Ok(Content::Text(prompt.to_owned()));
    }
    if places != 0 && places != images {
        return Err(places);
    }
    let mut parts = Vec::new();
    let push_text = |parts: &mut Vec<Part>, text: &str| {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
    };
    match (places, position) {
        (0, ImagePosition::First) => {
            parts.extend((0..images).map(Part::Image));
            push_text(&mut parts, prompt);
        }
        (0, ImagePosition::Last) => {
            push_text(&mut parts, prompt);
            parts.extend((0..images).map(Part::Image));
        }
        _ => {
            for (index, text) in prompt.split(PLACEHOLDER).enumerate() {
                if index > 0 {
                    parts.push(Part::Image(index - 1));
                }
                push_text(&mut parts, text);
            }
        }
    }
    Ok(Content::Parts(parts))
}

/// The images of one cell: a reference, or a list of references; an empty cell has none.
fn read_images(column: &str, cell: Option<&Value<'_>>, images: &mut Vec<Image>, findings: &mut Vec<Finding>) {
    let place = pointer_push("", column);
    let parsed;
    let list: &[Value<'_>] = match cell {
        None => {
            findings.push(Finding::new(&MISSING_FIELD, place, format!("the row has no column `{column}`")));
            return;
        }
        Some(cell) if is_empty(cell) => return,
        Some(Value::Array(list)) => list,
        Some(Value::String(text)) if text.trim_start().starts_with(['[', '{']) => match nested_in(text) {
            Some(value) => {
                parsed = value;
                parsed.as_array().unwrap_or(std::slice::from_ref(&parsed))
            }
            None => {
                let message = format!("column `{column}` starts like a list but is neither JSON nor Python");
                findings.push(
                    Finding::new(&WRONG_TYPE, place, message).hint("the form is `[\"a.jpg\", \"b.jpg\"]`"),
                );
                return;
            }
        },
        Some(value) => std::slice::from_ref(value),
    };
    for value in list.iter().filter(|value| !is_empty(value)) {
        let Some(reference) = image_reference(value) else {
            let message = format!("an image in `{column}` is {}, not a path, a URL or bytes", value.kind());
            findings.push(Finding::new(&WRONG_TYPE, place.clone(), message));
            continue;
        };
        match image_source(&reference) {
            Ok(source) => images.push(Image { source, pointer: place.clone() }),
            Err(finding) => findings.push(Finding { pointer: place.clone(), ..finding }),
        }
    }
}

/// The text of a cell; a number is its digits.
fn text_of(column: &str, cell: Option<&Value<'_>>, findings: &mut Vec<Finding>) -> Option<String> {
    let pointer = pointer_push("", column);
    match cell {
        Some(Value::String(text) | Value::Number(text)) => Some(text.clone().into_owned()),
        Some(Value::Null) => Some(String::new()),
        Some(other) => {
            let message = format!("`{column}` is {}, not a string", other.kind());
            findings.push(Finding::new(&WRONG_TYPE, pointer, message));
            None
        }
        None => {
            findings.push(Finding::new(&MISSING_FIELD, pointer, format!("the row has no column `{column}`")));
            None
        }
    }
}
