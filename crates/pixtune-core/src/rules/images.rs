//! How images are written, which the reference does not mind and uploads do.

use super::{IMAGE_FORM, Written};
use crate::diagnostic::Finding;
use crate::json::Value;
use crate::target::{ImageUrlForm, Target};

pub(super) fn forms(messages: &[Written<'_>], target: &Target, findings: &mut Vec<Finding>) {
    let asked = match target.image_url {
        ImageUrlForm::String => "a string, `\"image_url\":\"data:…\"`",
        ImageUrlForm::Object => "an object, `\"image_url\":{\"url\":\"data:…\"}`",
    };
    for message in messages {
        for (part, value) in message.parts().iter().enumerate() {
            if is_in_another_form(value, target) {
                let pointer = format!("/messages/{}/content/{part}", message.index);
                let message = format!("{} takes an image as {asked}", target.id);
                findings.push(Finding::new(&IMAGE_FORM, pointer, message));
            }
        }
    }
}

/// Whether a part is an image that the reference reads, but not written as the target's documentation does it.
pub(crate) fn is_in_another_form(part: &Value<'_>, target: &Target) -> bool {
    if target.takes_any_image_form {
        return false;
    }
    let is_data = |value: &Value<'_>| value.as_str().is_some_and(|text| text.starts_with("data:"));
    match (part.get("type").and_then(Value::as_str), target.image_url) {
        (Some("image"), _) => part.get("image").is_some_and(is_data),
        (Some("image_url"), ImageUrlForm::String) => part.get("image_url").is_some_and(is_object_of_url),
        (Some("image_url"), ImageUrlForm::Object) => part.get("image_url").and_then(Value::as_str).is_some(),
        _ => false,
    }
}

/// An object with `url` and perhaps `detail`; other keys are a problem of their own.
fn is_object_of_url(value: &Value<'_>) -> bool {
    let members = value.as_object().unwrap_or_default();
    value.get("url").and_then(Value::as_str).is_some()
        && members.iter().all(|(key, _)| key == "url" || key == "detail")
}
