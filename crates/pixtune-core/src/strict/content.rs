//! Contents of messages: texts and images.

use super::{Fields, Reader};
use crate::conversation::image_source_within;
use crate::diagnostic::{Finding, Pointer};
use crate::json::Value;
use crate::rules::{IMAGE_BAD_DATA_URI, PART_KIND, PART_WITHOUT_TYPE};
use crate::sample::{Content, Image, ImageSource, Part};

impl<'v> Reader<'v> {
    /// The content, or an empty one if it cannot be read, so that the message keeps its index.
    pub(super) fn required_content(&mut self, fields: &Fields<'v, '_, '_>) -> Content<&'v str> {
        let content = match fields.get("content") {
            Some(content) => self.content(content, fields),
            None => {
                self.missing(fields, "content");
                None
            }
        };
        content.unwrap_or(Content::Text(""))
    }

    pub(super) fn content(
        &mut self,
        value: &'v Value<'_>,
        fields: &Fields<'v, '_, '_>,
    ) -> Option<Content<&'v str>> {
        let pointer = fields.pointer("content");
        match value {
            Value::String(text) => Some(Content::Text(text)),
            Value::Array(parts) => {
                let mut read = Vec::new();
                for (index, part) in parts.iter().enumerate() {
                    read.extend(self.part(part, pointer.element(index)));
                }
                Some(Content::Parts(read))
            }
            other => {
                self.wrong(pointer, other, "a string or an array");
                None
            }
        }
    }

    fn part(&mut self, value: &'v Value<'_>, pointer: Pointer<'_>) -> Option<Part<&'v str>> {
        let kind = match value {
            Value::Object(_) => value.get("type"),
            other => {
                self.wrong(pointer, other, "a content part");
                return None;
            }
        };
        match kind.and_then(Value::as_str) {
            Some("text") => {
                let fields = self.object(value, pointer, &["type", "text"])?;
                self.borrowed(&fields, "text").map(Part::Text)
            }
            Some(kind @ ("image_url" | "image")) => {
                let fields = self.object(value, pointer, &["type", kind])?;
                let url =
                    if kind == "image" { self.borrowed(&fields, "image") } else { self.image_url(&fields) };
                self.image(url?, kind, fields.pointer(kind).into())
            }
            Some("thinking") => {
                let fields = self.object(value, pointer, &["type", "thinking", "closed"])?;
                let closed = fields.get("closed").is_none() || self.boolean(&fields, "closed");
                self.borrowed(&fields, "thinking").map(|text| Part::Thinking { text, closed })
            }
            Some(kind) => {
                self.report(
                    &PART_KIND,
                    pointer,
                    format!("Pixtral does not read content of the type `{kind}`"),
                );
                None
            }
            None => {
                self.report(&PART_WITHOUT_TYPE, pointer, "the content part has no `type`");
                None
            }
        }
    }

    /// A required string, borrowed because images are large.
    fn borrowed(&mut self, fields: &Fields<'v, '_, '_>, key: &str) -> Option<&'v str> {
        match fields.get(key) {
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.wrong(fields.pointer(key), other, "a string");
                None
            }
            None => {
                self.missing(fields, key);
                None
            }
        }
    }

    fn image_url(&mut self, fields: &Fields<'v, '_, '_>) -> Option<&'v str> {
        match fields.get("image_url") {
            None => {
                self.missing(fields, "image_url");
                None
            }
            Some(Value::String(url)) => Some(url),
            Some(object) => {
                let inner = self.object(object, fields.pointer("image_url"), &["url", "detail"])?;
                self.optional_text(&inner, "detail");
                self.borrowed(&inner, "url")
            }
        }
    }

    fn image(&mut self, reference: &'v str, kind: &str, pointer: String) -> Option<Part<&'v str>> {
        let is_data = reference.starts_with("data:");
        let source = if kind == "image" && !is_data {
            Ok(ImageSource::Inline { mime: String::new(), base64: reference })
        } else if is_data
            || (kind != "image" && ["file://", "http"].iter().any(|way| reference.starts_with(way)))
        {
            image_source_within(reference)
        } else {
            let start: String = reference.chars().take(40).collect();
            let message = format!("`{start}` is neither a data URI nor an http or file URL");
            let finding = Finding::new(&IMAGE_BAD_DATA_URI, "", message);
            Err(if looks_like_a_file(reference) {
                finding.hint(
                    "`pixtune fix` embeds image files; `--image-folder` sets the directory of relative paths, if it is not that of the data",
                )
            } else {
                finding
            })
        };
        match source {
            Ok(source) => {
                self.images.push(Image { source, pointer });
                Some(Part::Image(self.images.len() - 1))
            }
            Err(finding) => {
                self.findings.push(Finding { pointer, ..finding });
                None
            }
        }
    }
}

/// Whether a reference has the extension of an image file.
fn looks_like_a_file(reference: &str) -> bool {
    const ENDS: [&str; 7] = ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tiff"];
    let end = reference.trim_end().rsplit_once('.').map(|(_, end)| end);
    end.is_some_and(|end| ENDS.iter().any(|known| end.eq_ignore_ascii_case(known)))
}
