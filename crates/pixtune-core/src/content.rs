//! Recognizes content: values that a sample could be made of.
//!
//! A column or key that holds content and that nothing uses is never dropped: its row is rejected, or the run stops before
//! it starts. Which keys are used is known to the readers; what counts as content is known here, for all of them.

use std::fmt;

use crate::diagnostic::{Finding, pointer_push};
use crate::json::{Value, parse, parse_python};
use crate::rules::{UNDESIRABLE, UNUSED_CONTENT};

/// What a value holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// An image, or several: a path, a URL, base64, an object with bytes.
    Images,
    /// Video or audio, which Pixtral cannot read.
    Media,
    /// Messages, or earlier rounds of a conversation.
    Conversation,
    /// Calls of tools.
    Calls,
    /// Regions of an image: boxes, points, masks.
    Regions,
    /// Several texts: choices, reference answers.
    Texts,
    /// Text of at least [`WORDS`] words.
    Text,
}

impl Held {
    /// Whether it is content whatever else the row has. A text beside a complete conversation may be a remark.
    pub fn is_certain(self) -> bool {
        !matches!(self, Held::Text | Held::Texts)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Held::Images => "images",
            Held::Media => "video or audio",
            Held::Conversation => "messages",
            Held::Calls => "calls of tools",
            Held::Regions => "regions of the image",
            Held::Texts => "a list of texts",
            Held::Text => "text",
        })
    }
}

/// Text with fewer words is a tag, a name or a source.
pub const WORDS: usize = 6;

/// Names of video and audio, in any of the field's spellings.
const MEDIA: [&str; 8] =
    ["video", "videos", "audio", "audios", "video_path", "audio_path", "speech", "sound"];

/// Names under which other formats keep calls of tools.
const CALLS: [&str; 4] = ["function_call", "function_calls", "tool_calls", "tool_use"];

/// Names under which sets for grounding keep boxes, points and masks.
const REGIONS: [&str; 10] =
    ["objects", "bbox", "bboxes", "boxes", "ref", "refs", "points", "segmentation", "masks", "keypoints"];

const IMAGE_EXTENSIONS: [&str; 16] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff", "heic", "heif", "avif", "jp2",
    "svg", "tga",
];

const MEDIA_EXTENSIONS: [&str; 14] =
    ["mp4", "avi", "mov", "mkv", "webm", "m4v", "mpg", "mpeg", "wav", "mp3", "flac", "ogg", "m4a", "opus"];

/// The content in the value of a key; `None` for what describes a sample, such as ids, sources, sizes and scores.
pub fn held(key: &str, value: &Value<'_>) -> Option<Held> {
    held_at(key, value, 0)
}

fn held_at(key: &str, value: &Value<'_>, depth: usize) -> Option<Held> {
    let key = normal_name(key);
    let named = |names: &[&str]| names.contains(&key.as_str()) && !is_empty(value);
    if (named(&MEDIA) || named(&MEDIA_EXTENSIONS)) && !matches!(value, Value::Number(_) | Value::Bool(_)) {
        return Some(Held::Media);
    }
    if named(&CALLS) && has_calls(value) {
        return Some(Held::Calls);
    }
    if named(&REGIONS) && matches!(value, Value::Array(_) | Value::Object(_)) {
        return Some(Held::Regions);
    }
    if is_image_name(&key) && !is_empty(value) && !matches!(value, Value::Number(_) | Value::Bool(_)) {
        return Some(Held::Images);
    }
    of_value(value, depth)
}

/// Whether a value is a call, or a list of them: `function_call` beside the messages of a request is a setting.
fn has_calls(value: &Value<'_>) -> bool {
    match value {
        Value::Array(calls) => calls.iter().any(has_calls),
        call => {
            call.get("arguments").is_some() || call.get("function").is_some() || call.get("input").is_some()
        }
    }
}

/// The content of a value under a name without meaning.
fn of_value(value: &Value<'_>, depth: usize) -> Option<Held> {
    if depth > MOST_LEVELS {
        return None;
    }
    match value {
        Value::String(text) => of_text(text, depth),
        Value::Array(values) => of_list(values, value, depth),
        Value::Object(_) if looks_like_image(value) => Some(Held::Images),
        Value::Object(members) => {
            let mut inner = members.iter().filter_map(|(key, value)| held_at(key, value, depth + 1));
            // A remark in the metadata of a sample is not a part of it.
            inner.find(|held| held.is_certain())
        }
        _ => None,
    }
}

/// Nesting of metadata that is looked into.
const MOST_LEVELS: usize = 4;

fn of_text(text: &str, depth: usize) -> Option<Held> {
    if is_image_reference(text) {
        return Some(Held::Images);
    }
    if has_extension(text, &MEDIA_EXTENSIONS) {
        return Some(Held::Media);
    }
    // A cell of a table, or JSON in a string.
    if text.trim_start().starts_with(['[', '{'])
        && text.len() <= MOST_NESTED
        && let Some(nested) = nested_in(text)
    {
        return of_value(&nested, depth + 1);
    }
    (text.split_whitespace().nth(WORDS - 1).is_some()).then_some(Held::Text)
}

/// Bytes of a string that is tried as JSON.
const MOST_NESTED: usize = 1 << 20;

fn of_list(values: &[Value<'_>], list: &Value<'_>, depth: usize) -> Option<Held> {
    if is_conversation(list) || is_history(values) {
        return Some(Held::Conversation);
    }
    let inner: Vec<Held> =
        values.iter().take(MOST_ELEMENTS).filter_map(|value| of_value(value, depth + 1)).collect();
    if let Some(certain) = inner.iter().find(|held| held.is_certain()) {
        return Some(*certain);
    }
    let texts = values.iter().filter(|value| value.as_str().is_some_and(has_letter)).count();
    if texts > 0 || !inner.is_empty() { Some(Held::Texts) } else { None }
}

/// Elements of a list that are looked at: lists are of one kind.
const MOST_ELEMENTS: usize = 16;

/// Whether a value is a list of messages, each with a speaker and a content.
pub fn is_conversation(value: &Value<'_>) -> bool {
    let is_message = |message: &Value<'_>| {
        (message.text("from").is_some() && message.get("value").is_some())
            || (message.text("role").is_some() && message.get("content").is_some())
    };
    value.as_array().is_some_and(|messages| !messages.is_empty() && messages.iter().all(is_message))
}

/// Earlier rounds as pairs of texts.
fn is_history(values: &[Value<'_>]) -> bool {
    let is_round = |round: &Value<'_>| {
        matches!(round.as_array(), Some([Value::String(asked), Value::String(answered)])
            if [asked, answered].iter().all(|text| !text.is_empty()))
    };
    !values.is_empty() && values.iter().all(is_round)
}

fn has_letter(text: &str) -> bool {
    text.chars().any(char::is_alphabetic)
}

/// Whether a value has nothing in it that could be lost.
pub fn is_empty(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(values) => values.iter().all(is_empty),
        Value::Object(members) => members.iter().all(|(_, value)| is_empty(value)),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a value is an image, or a list of nothing but images.
pub fn looks_like_image(value: &Value<'_>) -> bool {
    match value {
        Value::String(text) => {
            is_image_reference(text)
                || text.trim_start().starts_with('[')
                    && text.len() <= MOST_NESTED
                    && list_in(text).is_some_and(|list| looks_like_image(&list))
        }
        Value::Array(values) => !values.is_empty() && values.iter().all(looks_like_image),
        Value::Object(_) => {
            let has = |key: &str| value.get(key).is_some_and(|value| !is_empty(value));
            let bytes = value.text("bytes").is_some_and(|bytes| !bytes.is_empty());
            let path = ["path", "url", "image_url", "file_name"]
                .iter()
                .any(|key| value.text(key).is_some_and(is_image_reference));
            bytes || path || (has("base64") && !has("text"))
        }
        _ => false,
    }
}

/// The value in a text that is JSON, or what Python prints.
pub fn nested_in(text: &str) -> Option<Value<'static>> {
    let text = text.trim();
    parse(text).map(|parsed| parsed.value.into_owned()).or_else(|_| parse_python(text)).ok()
}

/// A list written as JSON, or as Python prints it.
pub fn list_in(text: &str) -> Option<Value<'static>> {
    nested_in(text).filter(|value| value.as_array().is_some())
}

/// Whether a text refers to an image by its form: a data URI, a path or URL with the extension of an image, base64 that
/// begins like an image file, or bytes of the row.
pub fn is_image_reference(text: &str) -> bool {
    let text = text.trim();
    let is_data = text.get(..11).is_some_and(|start| start.eq_ignore_ascii_case("data:image/"));
    is_data || text.starts_with(ROW_BYTES) || has_extension(text, &IMAGE_EXTENSIONS) || is_base64_image(text)
}

/// How a reference to bytes that a row carries beside its text begins. Neither a path nor a URL starts like this.
pub const ROW_BYTES: &str = "\0bytes:";

/// Whether a text is the base64 of an image file: JPEG, PNG, WebP, GIF, TIFF or BMP, by the first bytes.
pub fn is_base64_image(text: &str) -> bool {
    let starts = ["/9j/", "iVBORw0KGgo", "UklGR", "R0lGODdh", "R0lGODlh", "SUkqA", "TU0AKg", "Qk0", "Qk1"];
    text.len() >= SHORTEST_BASE64
        && starts.iter().any(|start| text.starts_with(start))
        && text.bytes().take(SHORTEST_BASE64).all(|byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_' | b'\n' | b'\r')
        })
}

/// The smallest image file has 26 bytes (GIF); words that begin like base64 are shorter.
const SHORTEST_BASE64: usize = 34;

/// Whether a text is one path or URL whose name ends in one of these extensions.
fn has_extension(text: &str, extensions: &[&str]) -> bool {
    let text = text.trim();
    if text.len() > LONGEST_PATH || text.contains(['\n', '\r', '\0']) {
        return false;
    }
    let is_url =
        ["http://", "https://", "s3://", "gs://", "file://"].iter().any(|scheme| text.starts_with(scheme));
    let path = if is_url { text.split(['?', '#']).next().unwrap_or_default() } else { text };
    let Some((stem, extension)) = path.rsplit_once('.') else { return false };
    // `see figure a.jpg` is a sentence; names of files with several spaces are rare.
    let words = stem.split_whitespace().count();
    !stem.is_empty() && words <= 4 && extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

const LONGEST_PATH: usize = 4096;

/// A name as the lists here write it: lower case, words joined by `_`, also those of `camelCase`.
pub fn normal_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len() + 4);
    let mut before = ' ';
    for character in name.trim().chars() {
        if character.is_uppercase() && before.is_lowercase() {
            normal.push('_');
        }
        match character {
            ' ' | '-' | '.' | '/' => normal.push('_'),
            other => normal.extend(other.to_lowercase()),
        }
        before = character;
    }
    normal
}

/// Whether a column is an image by its name alone: `page_image`, `img_url`, `Image Path`, `image_base64`.
pub fn is_image_name(normal: &str) -> bool {
    let words: Vec<&str> = normal.split('_').filter(|word| !word.is_empty()).collect();
    let is_image = |word: &str| {
        let stem = word.trim_end_matches(|digit: char| digit.is_ascii_digit());
        ["image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "screenshot", "pixel"]
            .contains(&stem)
    };
    const REFERENCES: [&str; 20] = [
        "path",
        "paths",
        "file",
        "files",
        "filename",
        "filenames",
        "name",
        "names",
        "url",
        "urls",
        "uri",
        "uris",
        "base64",
        "b64",
        "bytes",
        "data",
        "src",
        "link",
        "values",
        "list",
    ];
    match words.as_slice() {
        [.., last] if is_image(last) => true,
        [.., image, "file", "name" | "names"] | [.., image, _] if is_image(image) => {
            words.last().is_some_and(|last| REFERENCES.contains(last))
        }
        _ => false,
    }
}

/// The finding about a key with content that nothing uses; it rejects the row.
pub fn unused_content(pointer: String, key: &str, held: Held) -> Finding {
    let message = match held {
        Held::Media => format!("`{key}` holds {held}, which Pixtral cannot read"),
        _ => format!("`{key}` holds {held} that nothing uses"),
    };
    Finding::new(&UNUSED_CONTENT, pointer, message)
}

/// What to do about content that `prepare` does not use.
pub fn way_out(key: &str, held: Held) -> String {
    let use_it = match held {
        Held::Media => return format!("to train on the text alone: `--remove-columns {key}`"),
        Held::Regions => "write the regions into the texts",
        _ => "name its role with `--columns`",
    };
    format!("{use_it}, or drop it with `--remove-columns {key}`")
}

/// The finding about a row that its own label calls a bad example, as KTO sets do: trained, it would teach the mistake.
pub fn undesirable(row: &Value<'_>, is_used: impl Fn(&str) -> bool) -> Option<Finding> {
    let key = LABELS.into_iter().find(|key| !is_used(key) && row.get(key).is_some_and(is_false))?;
    let message = format!("`{key}` is false: the row shows a response that is not wanted, as in KTO sets");
    let hint = format!("if `{key}` means something else, drop it with `--remove-columns {key}`");
    Some(Finding::new(&UNDESIRABLE, pointer_push("", key), message).hint(hint))
}

/// Under these names TRL and LLaMA-Factory keep whether a response is a good one.
pub const LABELS: [&str; 2] = ["label", "kto_tag"];

fn is_false(value: &Value<'_>) -> bool {
    match value {
        Value::Bool(value) => !value,
        Value::String(text) => text.trim().eq_ignore_ascii_case("false"),
        Value::Number(number) => matches!(number.parse(), Ok(0.0)),
        _ => false,
    }
}

/// Whether a value is a yes or a no.
pub fn is_flag(value: &Value<'_>) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::Number(number) => matches!(number.parse(), Ok(0.0 | 1.0)),
        Value::String(text) => {
            ["true", "false", "0", "1"].iter().any(|flag| text.trim().eq_ignore_ascii_case(flag))
        }
        _ => false,
    }
}
