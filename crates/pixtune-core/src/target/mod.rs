//! Targets: the services and trainers that the data is for. One type holds the limits and capabilities of each and where
//! the numbers come from.

mod image;
mod list;
mod training;

use crate::diagnostic::{Rule, Severity};
use crate::json::Value;

pub use image::{ImageFormat, ImageUrlForm};
pub use list::{
    ACCEPTED, AXOLOTL, HF, LLAMA_FACTORY, MISTRAL, MS_SWIFT, OPENAI, PIXTUNE, PLANNED, TRL, UNSLOTH, WRITTEN,
};
pub use training::{Method, Training};

/// A service or a trainer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Target {
    /// The name on the command line.
    pub id: &'static str,
    /// The name for people, with the version that was examined.
    pub name: &'static str,
    /// How images are written.
    pub image_url: ImageUrlForm,
    /// Images in the other form are accepted as well, so that the form is not worth a warning.
    pub accepts_any_image_form: bool,
    /// Formats accepted without conversion.
    pub formats: &'static [ImageFormat],
    /// Maximum bytes of one image as it is written.
    pub max_image_bytes: u64,
    /// Maximum pixels per side.
    pub max_side: u32,
    /// Maximum images per sample.
    pub max_images: usize,
    /// Bytes above which the output is split into shards.
    pub max_file_bytes: u64,
    /// Bytes above which a file is rejected.
    pub refused_file_bytes: u64,
    /// Maximum bytes of a validation file.
    pub max_validation_bytes: u64,
    /// Minimum number of samples.
    pub min_samples: u64,
    /// Rules whose severity differs here from their own.
    pub severities: &'static [(&'static Rule, Severity)],
    /// What training requires.
    pub training: Training,
    /// Where the limits and requirements come from.
    pub sources: &'static str,
}

impl Target {
    /// The target that `--target` accepts under this name.
    pub fn find(id: &str) -> Option<&'static Target> {
        ACCEPTED.iter().copied().find(|target| target.id == id)
    }

    /// The severity of a rule for this target.
    pub fn severity(&self, rule: &Rule) -> Severity {
        let known = self.severities.iter().find(|(other, _)| *other == rule);
        known.map_or(rule.severity, |(_, severity)| *severity)
    }

    /// Whether a content part is an image in a form that the reference reads, but the documentation of this target does
    /// not show.
    pub fn expects_other_image_form(&self, part: &Value<'_>) -> bool {
        if self.accepts_any_image_form {
            return false;
        }
        let is_data = |value: &Value<'_>| value.as_str().is_some_and(|text| text.starts_with("data:"));
        match (part.text("type"), self.image_url) {
            (Some("image"), _) => part.get("image").is_some_and(is_data),
            (Some("image_url"), ImageUrlForm::String) => part.get("image_url").is_some_and(is_url_object),
            (Some("image_url"), ImageUrlForm::Object) => part.text("image_url").is_some(),
            _ => false,
        }
    }
}

/// An object with `url` and perhaps `detail`; other keys are reported separately.
fn is_url_object(value: &Value<'_>) -> bool {
    let members = value.as_object().unwrap_or_default();
    value.text("url").is_some() && members.iter().all(|(key, _)| key == "url" || key == "detail")
}
