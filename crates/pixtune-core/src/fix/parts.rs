//! Content parts: plain strings, missing types, names of other APIs, and the form of images.

use super::{Repairer, tree};
use crate::content::{is_base64_image, is_empty};
use crate::foreign::{image_reference, is_image_placeholder};
use crate::json::Value;
use crate::rules::{IMAGE_FORM, PART_KIND, PART_WITHOUT_TYPE, WRONG_TYPE};
use crate::target::ImageUrlForm;

pub(super) fn repair(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        // A single part without its list.
        if let Some(content @ Value::Object(_)) = tree::get_mut(message, "content")
            && content.get("type").is_some()
            && repairer.may(&WRONG_TYPE)
        {
            *content = Value::Array(vec![std::mem::replace(content, Value::Null)]);
            let pointer = format!("/messages/{index}/content");
            repairer.did(&WRONG_TYPE, pointer, "wrapped the single part in a list");
        }
        for (part, value) in tree::list_mut(message, "content").into_iter().flatten().enumerate() {
            repair_part(value, || format!("/messages/{index}/content/{part}"), repairer);
        }
    }
}

fn repair_part(part: &mut Value<'_>, pointer: impl Fn() -> String, repairer: &mut Repairer<'_>) {
    if let Value::String(text) = part {
        if repairer.may(&WRONG_TYPE) {
            let text = Value::String(std::mem::take(text));
            *part = tree::object([("type", tree::string("text")), ("text", text)]);
            repairer.did(&WRONG_TYPE, pointer(), "rewrote the string as a part of type `text`");
        }
        return;
    }
    if part.get("type").is_none_or(|kind| *kind == Value::Null) {
        type_of_its_key(part, &pointer, repairer);
    }
    kind_of_other_apis(part, &pointer, repairer);
}

/// Writes images in the form of the target. Keys that are not part of the format were removed before.
pub(super) fn image_forms(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        for (part, value) in tree::list_mut(message, "content").into_iter().flatten().enumerate() {
            image_form(value, || format!("/messages/{index}/content/{part}"), repairer);
        }
    }
}

/// Adds the type that a part's only content key implies.
fn type_of_its_key(part: &mut Value<'_>, pointer: &impl Fn() -> String, repairer: &mut Repairer<'_>) {
    let has = |key: &&str| part.get(key).is_some();
    let keys: Vec<&str> = ["text", "image_url", "image"].into_iter().filter(has).collect();
    if let [kind] = keys[..]
        && repairer.may(&PART_WITHOUT_TYPE)
        && let Value::Object(members) = part
    {
        members.retain(|(key, _)| key != "type");
        members.insert(0, ("type".into(), tree::string(kind.to_owned())));
        repairer.did(
            &PART_WITHOUT_TYPE,
            pointer(),
            format!("added `\"type\":\"{kind}\"`, which its key implies"),
        );
    }
}

/// Rewrites parts of other APIs: OpenAI's Responses API, Anthropic's `source`, Gemini's `inlineData`, Hugging Face templates,
/// Axolotl.
fn kind_of_other_apis(part: &mut Value<'_>, pointer: &impl Fn() -> String, repairer: &mut Repairer<'_>) {
    if !repairer.may(&PART_KIND) {
        return;
    }
    let kind = part.text("type").unwrap_or_default().to_owned();
    match kind.as_str() {
        "input_text" | "output_text" if part.get("text").is_some() => {
            tree::set(part, "type", tree::string("text"));
            repairer.did(&PART_KIND, pointer(), format!("rewrote the type `{kind}` as `text`"));
        }
        "text" if part.get("text").is_none() => {
            let Some(key) = ["value", "content"].into_iter().find(|key| part.text(key).is_some()) else {
                return;
            };
            tree::rename(part, key, "text");
            repairer.did(&PART_KIND, pointer(), format!("renamed `{key}` of the part to `text`"));
        }
        "image" | "input_image" | "image_url" | "image_base64" | "image_path" => {
            if is_usual_image(part, &kind) || is_image_placeholder(part) {
                return;
            }
            let Some(reference) = image_reference(part) else { return };
            let Value::Object(members) = part else { return };
            members.retain(|(key, value)| !is_of_image(key) && !is_empty(value));
            members.insert(0, ("type".into(), tree::string("image_url")));
            members.insert(1, ("image_url".into(), tree::string(reference)));
            let text = match kind.as_str() {
                "image_url" => "rewrote the image as a path, URL or data URI".to_owned(),
                _ => format!("rewrote the type `{kind}` as `image_url`"),
            };
            repairer.did(&PART_KIND, pointer(), text);
        }
        _ => {}
    }
}

/// Whether a part has a form that one of the targets reads: `image_form` chooses between them.
fn is_usual_image(part: &Value<'_>, kind: &str) -> bool {
    match kind {
        "image" => part.text("image").is_some_and(|image| !is_base64_image(image)),
        "image_url" => match part.get("image_url") {
            Some(Value::String(url)) => !is_base64_image(url),
            Some(object) => object.text("url").is_some_and(|url| !is_base64_image(url)),
            None => false,
        },
        _ => false,
    }
}

/// The keys that an image part of any API is made of.
fn is_of_image(key: &str) -> bool {
    const KEYS: [&str; 17] = [
        "type",
        "image_url",
        "image",
        "url",
        "path",
        "bytes",
        "base64",
        "b64",
        "data",
        "source",
        "media_type",
        "mime_type",
        "inlineData",
        "inline_data",
        "fileData",
        "file_data",
        "input_image",
    ];
    KEYS.contains(&key)
}

fn image_form(part: &mut Value<'_>, pointer: impl Fn() -> String, repairer: &mut Repairer<'_>) {
    let target = repairer.wanted.target;
    if !repairer.may(&IMAGE_FORM) || !target.expects_other_image_form(part) {
        return;
    }
    if part.text("type") == Some("image") {
        tree::rename(part, "image", "image_url");
        tree::set(part, "type", tree::string("image_url"));
    }
    let Some(url) = tree::get_mut(part, "image_url") else { return };
    let form = match target.image_url {
        ImageUrlForm::String => "a string",
        ImageUrlForm::Object => "an object with `url`",
    };
    let mut dropped = "";
    let reference = match std::mem::replace(url, Value::Null) {
        mut object @ Value::Object(_) => {
            if object.get("detail").is_some() {
                dropped = "; removed `detail`, which Pixtral ignores";
            }
            tree::take(&mut object, "url").unwrap_or(Value::Null)
        }
        other => other,
    };
    *url = match target.image_url {
        ImageUrlForm::String => reference,
        ImageUrlForm::Object => tree::object([("url", reference)]),
    };
    repairer.did(&IMAGE_FORM, pointer(), format!("rewrote the image as `image_url`, {form}{dropped}"));
}
