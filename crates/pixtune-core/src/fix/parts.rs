//! Parts of messages: plain strings, missing types, names of other APIs, and how an image is written.

use super::{Repairer, tree};
use crate::json::Value;
use crate::rules::{IMAGE_FORM, PART_KIND, PART_WITHOUT_TYPE, WRONG_TYPE};
use crate::target::ImageUrlForm;

pub(super) fn repair(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        // One part alone, without its list.
        if let Some(content @ Value::Object(_)) = tree::get_mut(message, "content")
            && content.get("type").is_some()
            && mender.may(&WRONG_TYPE)
        {
            *content = Value::Array(vec![std::mem::replace(content, Value::Null)]);
            let pointer = format!("/messages/{index}/content");
            mender.did(&WRONG_TYPE, pointer, "the single part put into a list");
        }
        for (part, value) in tree::list_mut(message, "content").into_iter().flatten().enumerate() {
            repair_part(value, || format!("/messages/{index}/content/{part}"), mender);
        }
    }
}

fn repair_part(part: &mut Value<'_>, pointer: impl Fn() -> String, mender: &mut Repairer<'_>) {
    if let Value::String(text) = part {
        if mender.may(&WRONG_TYPE) {
            let text = Value::String(std::mem::take(text));
            *part = tree::object([("type", tree::string("text")), ("text", text)]);
            mender.did(&WRONG_TYPE, pointer(), "the string written as a part of the type `text`");
        }
        return;
    }
    if part.get("type").is_none_or(|kind| *kind == Value::Null) {
        type_of_its_key(part, &pointer, mender);
    }
    kind_of_other_apis(part, &pointer, mender);
}

/// Writes images as the target's documentation does. Keys that are not part of the format have gone by now.
pub(super) fn image_forms(row: &mut Value<'_>, mender: &mut Repairer<'_>) {
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        for (part, value) in tree::list_mut(message, "content").into_iter().flatten().enumerate() {
            image_form(value, || format!("/messages/{index}/content/{part}"), mender);
        }
    }
}

/// The key that holds a part's content tells its type, where there is only one.
fn type_of_its_key(part: &mut Value<'_>, pointer: &impl Fn() -> String, mender: &mut Repairer<'_>) {
    let has = |key: &&str| part.get(key).is_some();
    let keys: Vec<&str> = ["text", "image_url", "image"].into_iter().filter(has).collect();
    if let [kind] = keys[..]
        && mender.may(&PART_WITHOUT_TYPE)
        && let Value::Object(members) = part
    {
        members.retain(|(key, _)| key != "type");
        members.insert(0, ("type".into(), tree::string(kind.to_owned())));
        mender.did(&PART_WITHOUT_TYPE, pointer(), format!("`\"type\":\"{kind}\"` added, as its key says"));
    }
}

/// Types that mean the same: of OpenAI's Responses API, and images as Hugging Face templates write them.
fn kind_of_other_apis(part: &mut Value<'_>, pointer: &impl Fn() -> String, mender: &mut Repairer<'_>) {
    let (kind, key, written) = match part.text("type") {
        Some("input_text" | "output_text") if part.get("text").is_some() => ("text", "text", "text"),
        Some("input_image") if part.get("image_url").is_some() => ("image_url", "image_url", "image_url"),
        Some("image") if part.get("image").is_none() => {
            let known = ["url", "path", "image_url"].into_iter().find(|key| part.text(key).is_some());
            let Some(key) = known else { return };
            ("image_url", key, "image_url")
        }
        _ => return,
    };
    if mender.may(&PART_KIND) {
        let before = part.text("type").unwrap_or_default().to_owned();
        tree::rename(part, key, written);
        tree::set(part, "type", tree::string(kind));
        mender.did(&PART_KIND, pointer(), format!("the type `{before}` written as `{kind}`"));
    }
}

fn image_form(part: &mut Value<'_>, pointer: impl Fn() -> String, mender: &mut Repairer<'_>) {
    let target = mender.wanted.target;
    if !mender.may(&IMAGE_FORM) || !target.expects_other_image_form(part) {
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
                dropped = "; `detail`, which Pixtral ignores, removed";
            }
            tree::take(&mut object, "url").unwrap_or(Value::Null)
        }
        other => other,
    };
    *url = match target.image_url {
        ImageUrlForm::String => reference,
        ImageUrlForm::Object => tree::object([("url", reference)]),
    };
    mender.did(&IMAGE_FORM, pointer(), format!("the image written as `image_url`, {form}{dropped}"));
}
