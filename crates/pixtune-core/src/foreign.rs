//! Recognizes samples of other tools and datasets: LLaVA and ShareGPT, Alpaca, ms-swift, TRL, Gemini, the Cauldron, images
//! listed beside the messages.

use std::borrow::Cow;

use crate::content::{
    is_base64_image, is_conversation, is_empty, is_image_name, list_in, looks_like_image, normal_name,
};
use crate::json::Value;

/// Whether a row is a sample of another tool: a conversation under another key or in another shape, or images listed beside
/// messages that contain none. A prompt with its completion alone is a row of columns.
pub fn is_record(row: &Value<'_>) -> bool {
    if let Some(messages) = row.get("messages") {
        return images_key(row).is_some()
            && !messages.as_array().unwrap_or_default().iter().any(contains_image);
    }
    let is_list = |key: &str| row.get(key).is_some_and(is_conversation);
    let has_text = |key: &str| row.text(key).is_some();
    let has = |key: &str| row.get(key).is_some();
    ["conversations", "conversation", "prompt", "chosen", "preferred_output"].into_iter().any(is_list)
        || (has_text("instruction") && has_text("output") && (has("input") || has("history")))
        || (has("history") && PROMPTS.into_iter().any(has_text) && RESPONSES.into_iter().any(has_text))
        || rounds_of(row).is_some()
        || is_label_studio(row)
        || row.get("contents").and_then(Value::as_array).is_some_and(is_gemini)
}

/// Whether a row is a task that Label Studio exports: data, and annotations with results.
pub(crate) fn is_label_studio(row: &Value<'_>) -> bool {
    let annotations = row.get("annotations").or_else(|| row.get("completions")).and_then(Value::as_array);
    row.get("data").and_then(Value::as_object).is_some()
        && annotations.is_some_and(|list| list.iter().all(|annotation| annotation.get("result").is_some()))
}

const PROMPTS: [&str; 3] = ["query", "prompt", "question"];
const RESPONSES: [&str; 3] = ["response", "completion", "answer"];

fn is_gemini(contents: &[Value<'_>]) -> bool {
    !contents.is_empty() && contents.iter().all(|content| content.get("parts").is_some())
}

/// Reads conversations that are kept as JSON, or as Python prints it, in a string or in the cell of a table.
pub fn read_nested(row: &mut Value<'_>) {
    const KEYS: [&str; 9] = [
        "messages",
        "conversations",
        "conversation",
        "contents",
        "texts",
        "history",
        "chosen",
        "rejected",
        "qa",
    ];
    let Value::Object(members) = row else { return };
    karpathy(members);
    for (key, value) in members.iter_mut().filter(|(key, _)| KEYS.contains(&key.as_ref())) {
        if let Value::String(text) = value
            && text.trim_start().starts_with('[')
            && let Some(list) = list_in(text)
            && (key != "chosen" && key != "rejected" || is_conversation(&list))
        {
            *value = list;
        }
    }
}

/// Rewrites an image with its captions as Karpathy's splits of COCO and Flickr30k have it: the path is in two keys, and each
/// caption is among its words.
fn karpathy(members: &mut Vec<(Cow<'_, str>, Value<'_>)>) {
    let value = |key: &str| members.iter().find(|(name, _)| name == key).map(|(_, value)| value);
    let (Some(Value::String(name)), Some(Value::Array(sentences))) = (value("filename"), value("sentences"))
    else {
        return;
    };
    let captions: Option<Vec<Value<'_>>> =
        sentences.iter().map(|sentence| sentence.get("raw").cloned()).collect();
    let Some(captions) = captions.filter(|captions| !captions.is_empty()) else { return };
    let path = match value("filepath") {
        Some(Value::String(directory)) => format!("{directory}/{name}"),
        _ => name.to_string(),
    };
    members.retain(|(key, _)| !["filename", "filepath", "sentences"].contains(&&**key));
    members.push(("image".into(), Value::String(path.into())));
    members.push(("captions".into(), Value::Array(captions)));
}

/// Rounds of a conversation, both sides of each in one object.
pub(crate) struct Rounds<'v, 'a> {
    /// The key of the list.
    pub key: &'static str,
    /// The key of the prompt in a round.
    pub asked: &'static str,
    /// The key of the response in a round.
    pub answered: &'static str,
    /// The rounds.
    pub rounds: &'v [Value<'a>],
}

/// The rounds of the Cauldron (`texts`) or of ms-swift (`conversation`).
pub(crate) fn rounds_of<'v, 'a>(row: &'v Value<'a>) -> Option<Rounds<'v, 'a>> {
    const SHAPES: [(&str, &str, &str); 3] = [
        ("texts", "user", "assistant"),
        ("conversation", "human", "assistant"),
        ("qa", "question", "answer"),
    ];
    SHAPES.into_iter().find_map(|(key, asked, answered)| {
        let rounds = row.get(key)?.as_array()?;
        let is_round = |round: &Value<'_>| round.text(asked).is_some() && round.text(answered).is_some();
        let all = !rounds.is_empty() && rounds.iter().all(is_round);
        all.then_some(Rounds { key, asked, answered, rounds })
    })
}

/// The key under which a row lists its images: `images` or `image`, else the only key with a name and values of images.
pub(crate) fn images_key<'v>(row: &'v Value<'_>) -> Option<&'v str> {
    let members = row.as_object()?;
    let named = |name: &str| members.iter().find(|(key, _)| key == name);
    if let Some((key, _)) = ["images", "image"].into_iter().find_map(named) {
        return Some(key);
    }
    let is_images = |(key, value): &&(Cow<'_, str>, Value<'_>)| {
        is_image_name(&normal_name(key)) && looks_like_image(value)
    };
    let mut found = members.iter().filter(is_images);
    let (key, _) = found.next()?;
    found.next().is_none().then_some(key.as_ref())
}

/// Whether `fix` brings the content of a key beside the messages into them, or removes it for a reason.
pub(crate) fn is_taken(row: &Value<'_>, key: &str) -> bool {
    let others = ["system", "system_prompt", "functions", "available_tools", "chosen"];
    others.contains(&key) || REFUSED.contains(&key) || images_key(row) == Some(key)
}

/// Where sets for preference training keep the response that is not wanted: TRL, ms-swift, OpenAI.
pub(crate) const REFUSED: [&str; 5] =
    ["rejected", "rejected_response", "rejected_messages", "rejected_images", "non_preferred_output"];

/// Whether a content part marks the position of an image without naming it.
pub(crate) fn is_image_placeholder(part: &Value<'_>) -> bool {
    part.text("type") == Some("image")
        && part.as_object().is_some_and(|members| {
            members.iter().all(|(key, value)| matches!(key.as_ref(), "type" | "index") || is_empty(value))
        })
}

/// A path, URL or data URI of the image that a value stands for, in any spelling of the field: a string, base64 without the
/// head of a data URI, Hugging Face's `{"bytes", "path"}`, `{"url"}`, `{"base64"}`, Anthropic's `source`, Gemini's
/// `inlineData` and `fileData`.
pub(crate) fn image_reference(value: &Value<'_>) -> Option<String> {
    if let Value::String(text) = value {
        return Some(from_text(text, ""));
    }
    value.as_object()?;
    for (key, mime) in [
        ("source", "media_type"),
        ("inlineData", "mimeType"),
        ("inline_data", "mime_type"),
        ("fileData", "mimeType"),
        ("file_data", "mime_type"),
        ("image_url", ""),
        ("input_image", ""),
    ] {
        if let Some(inner) = value.get(key).filter(|inner| inner.as_object().is_some()) {
            let mime = inner.text(mime).unwrap_or_default();
            let payload = inner.text("data").filter(|data| !data.is_empty());
            return match payload {
                Some(data) if data.starts_with("data:") => Some(data.to_owned()),
                Some(data) => Some(data_uri(mime, data)),
                None => image_reference(inner),
            };
        }
    }
    const KEYS: [&str; 14] = [
        "bytes",
        "base64",
        "b64",
        "data",
        "path",
        "url",
        "image_url",
        "image",
        "input_image",
        "file_name",
        "filename",
        "fileUri",
        "file_uri",
        "file",
    ];
    let mime =
        ["mime_type", "media_type", "mimeType"].iter().find_map(|key| value.text(key)).unwrap_or_default();
    let (key, text) =
        KEYS.into_iter().find_map(|key| Some((key, value.text(key).filter(|text| !text.is_empty())?)))?;
    let is_payload = matches!(key, "bytes" | "base64" | "b64" | "data") && !text.starts_with("data:");
    Some(if is_payload { data_uri(mime, text) } else { from_text(text, mime) })
}

fn from_text(text: &str, mime: &str) -> String {
    if is_base64_image(text.trim()) { data_uri(mime, text.trim()) } else { text.to_owned() }
}

/// A data URI of base64; an image's type is what its first bytes say, since that is what readers go by.
pub(crate) fn data_uri(mime: &str, base64: &str) -> String {
    let found = match base64 {
        _ if base64.starts_with("/9j/") => "image/jpeg",
        _ if base64.starts_with("iVBORw0KGgo") => "image/png",
        _ if base64.starts_with("UklGR") => "image/webp",
        _ if base64.starts_with("R0lGOD") => "image/gif",
        _ if base64.starts_with("SUkq") || base64.starts_with("TU0A") => "image/tiff",
        _ if base64.starts_with("Qk") => "image/bmp",
        _ if mime.is_empty() => "application/octet-stream",
        _ => mime,
    };
    format!("data:{found};base64,{base64}")
}

fn contains_image(message: &Value<'_>) -> bool {
    let parts = message.get("content").and_then(Value::as_array).unwrap_or_default();
    parts
        .iter()
        .any(|part| matches!(part.text("type"), Some("image" | "image_url")) && !is_image_placeholder(part))
}
