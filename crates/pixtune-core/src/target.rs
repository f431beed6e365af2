//! Where the data is to go: the limits of services and trainers, as data with their sources.

use crate::diagnostic::{Rule, Severity};
use crate::json::Value;
use crate::rules;

/// How an image is written in a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageUrlForm {
    /// `"image_url": "data:…"`, as Mistral's fine-tuning documentation writes it.
    String,
    /// `"image_url": {"url": "data:…"}`, as OpenAI's API asks for.
    Object,
}

/// An image format that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ImageFormat {
    /// JPEG, ITU T.81.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy or lossless.
    WebP,
    /// GIF with one frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF.
    Tiff,
}

impl ImageFormat {
    /// The media type of a data URI.
    pub fn mime(self) -> &'static str {
        match self {
            ImageFormat::Jpeg => "image/jpeg",
            ImageFormat::Png => "image/png",
            ImageFormat::WebP => "image/webp",
            ImageFormat::Gif => "image/gif",
            ImageFormat::Bmp => "image/bmp",
            ImageFormat::Tiff => "image/tiff",
        }
    }
}

impl std::fmt::Display for ImageFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ImageFormat::Jpeg => "JPEG",
            ImageFormat::Png => "PNG",
            ImageFormat::WebP => "WebP",
            ImageFormat::Gif => "GIF",
            ImageFormat::Bmp => "BMP",
            ImageFormat::Tiff => "TIFF",
        })
    }
}

/// A profile of limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The name on the command line.
    pub id: &'static str,
    /// How images are written.
    pub image_url: ImageUrlForm,
    /// Images in the other form are taken as well, so that they are not worth a word.
    pub takes_any_image_form: bool,
    /// Formats taken as they are.
    pub formats: &'static [ImageFormat],
    /// Bytes one image may have when it is written.
    pub max_image_bytes: u64,
    /// Pixels a side may have.
    pub max_side: u32,
    /// Images in one sample above which a warning is due.
    pub max_images: usize,
    /// Bytes of one file; above, the output is cut into shards.
    pub max_file_bytes: u64,
    /// Bytes above which a file is refused.
    pub refused_file_bytes: u64,
    /// Bytes a validation file may have.
    pub max_validation_bytes: u64,
    /// Samples below which a file is too small.
    pub min_samples: u64,
    /// Rules that are taken more or less seriously here than they say themselves.
    pub severities: &'static [(&'static Rule, Severity)],
    /// Where the numbers come from.
    pub sources: &'static str,
}

/// Mistral's hosted fine-tuning format, as far as it was ever documented.
pub const MISTRAL: Target = Target {
    id: "mistral",
    image_url: ImageUrlForm::String,
    takes_any_image_form: false,
    formats: &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP, ImageFormat::Gif],
    max_image_bytes: 10_000_000,
    max_side: 10_000,
    max_images: 8,
    max_file_bytes: 500_000_000,
    refused_file_bytes: 512_000_000,
    max_validation_bytes: 1_000_000,
    min_samples: 10,
    severities: &[
        (&rules::UNKNOWN_KEY, Severity::Error),
        (&rules::NULL_KEY, Severity::Error),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    sources: "docs.mistral.ai (2026-08-21): vision page (10 MB, 10000x10000, 8 images, PNG/JPEG/WEBP/GIF without animation; \
              the known-limitations page says 20 MB and no fixed number); fine-tuning page (512 MB a file, advice to split at 500 MB; \
              validation up to 1 MB); mistral-finetune validate_data.py (10 samples); severities: what mistral-common 1.13.1 refuses",
};

/// OpenAI's vision fine-tuning format.
pub const OPENAI: Target = Target {
    id: "openai",
    image_url: ImageUrlForm::Object,
    takes_any_image_form: false,
    formats: &[ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP],
    max_image_bytes: 10_000_000,
    max_side: 10_000,
    max_images: 64,
    max_file_bytes: 500_000_000,
    refused_file_bytes: 512_000_000,
    max_validation_bytes: u64::MAX,
    min_samples: 10,
    severities: &[
        (&rules::TOO_MANY_IMAGES, Severity::Error),
        (&rules::IMAGE_FORM, Severity::Error),
        (&rules::TOO_FEW_SAMPLES, Severity::Error),
        (&rules::JSON_NAN, Severity::Error),
        (&rules::TOOL_ID, Severity::Warning),
        (&rules::TOOL_ID_UNMATCHED, Severity::Error),
        (&rules::ANSWER_AND_CALLS, Severity::Warning),
        (&rules::ROLE_ORDER, Severity::Warning),
        (&rules::CONTEXT_OVERFLOW, Severity::Warning),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    sources: "developers.openai.com vision fine-tuning guide and learn.microsoft.com fine-tuning-vision: 64 images a sample, 10 MB an image, \
              JPEG/PNG/WEBP in RGB or RGBA, no images in assistant turns, `image_url` an object; 512 MB a file, at least 10 samples",
};

/// Trainers built on Hugging Face transformers: TRL, Axolotl, LLaMA-Factory, ms-swift, Unsloth.
pub const HF: Target = Target {
    id: "hf",
    image_url: ImageUrlForm::String,
    takes_any_image_form: true,
    formats: &[
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ],
    max_image_bytes: u64::MAX,
    max_side: u32::MAX,
    max_images: usize::MAX,
    max_file_bytes: 500_000_000,
    refused_file_bytes: u64::MAX,
    max_validation_bytes: u64::MAX,
    min_samples: 10,
    severities: &[
        (&rules::CONTROL_TOKEN, Severity::Error),
        (&rules::ASSISTANT_FIRST, Severity::Error),
        (&rules::CONSECUTIVE_ROLES, Severity::Error),
        (&rules::JSON_BOM, Severity::Warning),
        (&rules::JSON_ARRAY, Severity::Warning),
        (&rules::TOOL_ID, Severity::Warning),
        (&rules::ANSWER_AND_CALLS, Severity::Warning),
        (&rules::IMAGE_ANIMATED, Severity::Warning),
        (&rules::DUPLICATE, Severity::Warning),
    ],
    sources: "transformers 5.23.0: chat templates of Pixtral want strict alternation and make special tokens of text that looks like \
              one; load_image opens what Pillow opens; no limits of size are known",
};

impl Target {
    /// Whether a content part is an image in a form that the reference reads, but the documentation of this target does
    /// not show.
    pub fn expects_other_image_form(&self, part: &Value<'_>) -> bool {
        if self.takes_any_image_form {
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

    /// How bad a breach of the rule is for this target.
    pub fn severity(&self, rule: &Rule) -> Severity {
        let known = self.severities.iter().find(|(other, _)| *other == rule);
        known.map_or(rule.severity, |(_, severity)| *severity)
    }
}

/// An object with `url` and perhaps `detail`; other keys are reported separately.
fn is_url_object(value: &Value<'_>) -> bool {
    let members = value.as_object().unwrap_or_default();
    value.text("url").is_some() && members.iter().all(|(key, _)| key == "url" || key == "detail")
}

/// Every target.
pub const ALL: &[&Target] = &[&MISTRAL, &OPENAI, &HF];

/// Those that `prepare` writes for.
pub const WRITTEN: &[&Target] = &[&MISTRAL, &OPENAI];

/// The target of this name.
pub fn find(id: &str) -> Option<&'static Target> {
    ALL.iter().copied().find(|target| target.id == id)
}
