//! Samples out: [`SampleWriter`], which every format of training data implements.

mod chat;
mod template;

use std::fmt::Debug;

use pixtune_core::sample::{Image, Sample};
use pixtune_core::target::{ImageUrlForm, Target};

pub use chat::{MarkWriter, MistralWriter, OpenAiWriter};
pub use template::{Template, WrittenImage};

/// A format of training data with one sample per line. What is written reads back as the same sample.
pub trait SampleWriter: Debug + Sync {
    /// The line of a sample, its line end included, with a gap for each image.
    fn template(&self, sample: &Sample<Image>) -> Template;

    /// Appends the line of a sample. `images` are those of the sample, in its order: inline, or named where they are files
    /// beside the output or URLs.
    fn write(&self, sample: &Sample<Image>, images: &[WrittenImage], out: &mut Vec<u8>) {
        self.template(sample).fill(images, out);
    }
}

/// The writer of a target's format.
pub fn writer(target: &Target) -> &'static dyn SampleWriter {
    match target.image_url {
        ImageUrlForm::String => &MistralWriter,
        ImageUrlForm::Object => &OpenAiWriter,
    }
}
