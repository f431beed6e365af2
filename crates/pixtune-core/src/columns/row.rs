//! Conversion of flat rows to conversations.

use super::{Columns, PLACEHOLDER};
use crate::conversation::image_source;
use crate::diagnostic::{Finding, pointer_push};
use crate::json::{self, Value};
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

/// The value of a column in a flat row.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// A cell of a CSV or TSV file.
    Text(&'a str),
    /// A value of a JSON Lines file.
    Json(&'a Value<'a>),
}

/// Converts a flat row to a conversation of one question and one answer.
pub fn read_row<'a>(
    columns: &Columns,
    position: ImagePosition,
    cell: impl Fn(&str) -> Option<Cell<'a>>,
) -> (Sample<Image>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut images = Vec::new();
    for column in &columns.image {
        read_images(column, cell(column), &mut images, &mut findings);
    }
    let mut text = |column: &Option<String>| match column {
        Some(column) => text_of(column, cell(column), &mut findings),
        None => None,
    };
    let prompt = text(&columns.prompt).unwrap_or_default();
    // A row of JSON Lines may lack the key.
    let system = columns.system.clone().filter(|column| cell(column).is_some());
    let system = text(&system).filter(|text| !text.trim().is_empty());
    let completion = text(&Some(columns.completion.clone()));
    report_empty_cells(columns, images.len(), &prompt, completion.as_deref(), &mut findings);
    let content = place_images(&prompt, images.len(), position).unwrap_or_else(|placeholders| {
        findings.push(wrong_placeholders(columns, placeholders, images.len()));
        Content::Text(prompt)
    });
    let mut messages = Vec::with_capacity(3);
    messages.extend(system.map(|text| Message::System(Content::Text(text))));
    messages.push(Message::User(content));
    let answer = Content::Text(completion.unwrap_or_default());
    messages.push(Message::Assistant(Assistant { content: Some(answer), ..Assistant::default() }));
    (Sample { messages, tools: vec![], images }, findings)
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

/// The images of one cell: a reference, or a JSON array of references; an empty cell has none.
fn read_images(column: &str, cell: Option<Cell<'_>>, images: &mut Vec<Image>, findings: &mut Vec<Finding>) {
    let place = pointer_push("", column);
    let parsed;
    let list: &[Value<'_>] = match cell {
        None => {
            findings.push(Finding::new(&MISSING_FIELD, place, format!("the row has no column `{column}`")));
            return;
        }
        Some(Cell::Text(text)) if text.trim().is_empty() => return,
        Some(Cell::Text(text)) if text.trim_start().starts_with('[') => match json::parse(text.trim()) {
            Ok(json::Parsed { value: Value::Array(list), .. }) => {
                parsed = list;
                &parsed
            }
            _ => {
                let message = format!("column `{column}` starts like a list but is not a JSON array");
                findings.push(
                    Finding::new(&WRONG_TYPE, place, message).hint("the form is `[\"a.jpg\", \"b.jpg\"]`"),
                );
                return;
            }
        },
        Some(Cell::Text(text)) => {
            parsed = vec![Value::String(text.into())];
            &parsed
        }
        Some(Cell::Json(Value::Array(list))) => list,
        Some(Cell::Json(Value::Null)) => return,
        Some(Cell::Json(Value::String(text))) if text.trim().is_empty() => return,
        Some(Cell::Json(value)) => std::slice::from_ref(value),
    };
    for value in list {
        let Some(reference) = value.as_str() else {
            let message = format!("an image in `{column}` is {}, not a string", value.kind());
            findings.push(Finding::new(&WRONG_TYPE, place.clone(), message));
            continue;
        };
        match image_source(reference) {
            Ok(source) => images.push(Image { source, pointer: place.clone() }),
            Err(finding) => findings.push(Finding { pointer: place.clone(), ..finding }),
        }
    }
}

/// The text of a cell; a number is its digits.
pub fn text_of(column: &str, cell: Option<Cell<'_>>, findings: &mut Vec<Finding>) -> Option<String> {
    let place = || pointer_push("", column);
    match cell {
        Some(Cell::Text(text)) => Some(text.to_owned()),
        Some(Cell::Json(Value::String(text) | Value::Number(text))) => Some(text.clone().into_owned()),
        Some(Cell::Json(Value::Null)) => Some(String::new()),
        Some(Cell::Json(other)) => {
            findings.push(Finding::new(
                &WRONG_TYPE,
                place(),
                format!("`{column}` is {}, not a string", other.kind()),
            ));
            None
        }
        None => {
            findings.push(Finding::new(&MISSING_FIELD, place(), format!("the row has no column `{column}`")));
            None
        }
    }
}
