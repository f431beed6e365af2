//! A line without its images.

use pixtune_core::json::{Value, append, write_string};

use crate::base64;

/// An image as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenImage {
    /// What names it: a URL, or the path of a file, relative to the output unless absolute.
    Reference(String),
    /// Embedded as a data URI.
    Inline {
        /// The media type of the file.
        mime: &'static str,
        /// The file.
        bytes: Vec<u8>,
    },
}

/// A line without its images: JSON text with gaps, which can be compared before any image is written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    text: String,
    /// Where in `text` which image goes.
    gaps: Vec<(usize, usize)>,
}

impl Template {
    /// Everything but the images: equal for samples that differ only in their images.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Appends JSON text.
    pub fn push(&mut self, json: &str) {
        self.text.push_str(json);
    }

    /// Appends a string value.
    pub fn string(&mut self, value: &str) {
        write_string(value, &mut self.text);
    }

    /// Appends a value.
    pub fn value(&mut self, value: &Value<'_>) {
        append(&mut self.text, value);
    }

    /// Leaves a gap for the image of this index.
    pub fn gap(&mut self, image: usize) {
        self.gaps.push((self.text.len(), image));
    }

    /// Appends the line to `out`, with each image in its gap.
    pub fn fill(&self, images: &[WrittenImage], out: &mut Vec<u8>) {
        let length = |image: &WrittenImage| match image {
            WrittenImage::Reference(name) => name.len() + 16,
            WrittenImage::Inline { mime, bytes } => mime.len() + 16 + base64::encoded_length(bytes.len()),
        };
        out.reserve(self.text.len() + images.iter().map(length).sum::<usize>());
        let mut from = 0;
        for (at, index) in &self.gaps {
            out.extend_from_slice(&self.text.as_bytes()[from..*at]);
            from = *at;
            images[*index].write(out);
        }
        out.extend_from_slice(&self.text.as_bytes()[from..]);
    }
}

impl WrittenImage {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            WrittenImage::Reference(name) => {
                let mut json = String::with_capacity(name.len() + 2);
                write_string(name, &mut json);
                out.extend_from_slice(json.as_bytes());
            }
            WrittenImage::Inline { mime, bytes } => {
                out.extend_from_slice(b"\"data:");
                out.extend_from_slice(mime.as_bytes());
                out.extend_from_slice(b";base64,");
                base64::encode(bytes, out);
                out.push(b'"');
            }
        }
    }
}
