//! How images are written in messages.

use super::Written;
use crate::diagnostic::Finding;
use crate::rules::IMAGE_FORM;
use crate::target::{ImageUrlForm, Target};

pub(super) fn forms(messages: &[Written<'_>], target: &Target, findings: &mut Vec<Finding>) {
    let expected = match target.image_url {
        ImageUrlForm::String => "a string, `\"image_url\":\"data:…\"`",
        ImageUrlForm::Object => "an object, `\"image_url\":{\"url\":\"data:…\"}`",
    };
    for message in messages {
        for (part, value) in message.parts().iter().enumerate() {
            if target.expects_other_image_form(value) {
                let pointer = format!("/messages/{}/content/{part}", message.index);
                let message = format!("{} expects the image as {expected}", target.id);
                findings.push(Finding::new(&IMAGE_FORM, pointer, message));
            }
        }
    }
}
