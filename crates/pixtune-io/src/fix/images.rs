//! Images: their references and data URIs, and, on request, the images themselves.

use std::collections::HashSet;
use std::path::Path;

use pixtune_core::diagnostic::{Fix, Rule};
use pixtune_core::fix::Change;
use pixtune_core::json::Value;
use pixtune_core::rules;
use pixtune_core::sample::ImageSource;
use pixtune_core::text::counted;

use super::{Fixer, Places, change};
use crate::base64;
use crate::check::CheckedLine;
use crate::image::fit::{FitOptions, FittedImage, Resampling, fit};
use crate::image::{Loaded, Resolver, load};
use crate::sniff::sniff;

/// Rules that a re-encoded image does not break.
const REENCODED: [&Rule; 7] = [
    &rules::IMAGE_UNREADABLE,
    &rules::IMAGE_STRUCTURE,
    &rules::IMAGE_UNSUPPORTED,
    &rules::IMAGE_PAGES,
    &rules::IMAGE_TOO_LARGE,
    &rules::IMAGE_SIDEWAYS,
    &rules::IMAGE_ALPHA,
];

/// Longer texts are not treated as paths.
const LONGEST_PATH: usize = 4096;

const JPEG_QUALITY: u8 = 90;

impl Fixer {
    /// Repairs how the images of a row are written; the images stay what they are.
    pub(super) fn repair_images(&self, row: &mut Value<'_>, directory: &Path) -> Vec<Change> {
        let mut changes = Vec::new();
        each_image(row, |pointer, reference| {
            let Value::String(text) = reference else { return };
            if let Some((written, rule, message)) = self.repair_reference(text, directory)
                && self.checker.selection.wants(rule)
            {
                *reference = Value::String(written.into());
                changes.push(change(rule, Fix::Safe, pointer.to_owned(), message));
            }
        });
        changes
    }

    /// A better way to write a reference, the rule that asks for it, and what was done.
    fn repair_reference(&self, text: &str, directory: &Path) -> Option<(String, &'static Rule, String)> {
        let trimmed = text.trim();
        let scheme = trimmed.get(..5).unwrap_or_default().to_ascii_lowercase();
        match scheme.as_str() {
            "data:" => self.repair_data_uri(trimmed, trimmed.len() < text.len()),
            "http:" | "https" => {
                let image = self.load(&ImageSource::Url(trimmed.to_owned()), directory)?;
                let message = format!("the image of the URL embedded, {} bytes", image.bytes.len());
                Some((data_uri(&image), &rules::IMAGE_URL, message))
            }
            "file:" => None,
            _ => self.embed_file(trimmed, directory).or_else(|| self.embed_base64(trimmed)),
        }
    }

    fn load(&self, source: &ImageSource<&str>, directory: &Path) -> Option<Loaded> {
        let fetcher = self.checker.fetching.as_ref().map(|fetching| &fetching.fetcher);
        let resolver = Resolver::new(directory).fetching(fetcher).stripping_roots(self.strips_roots);
        load(source, &resolver, &self.checker.limits).ok()
    }

    fn load_inline(&self, base64: &str) -> Option<Loaded> {
        self.load(&ImageSource::Inline { mime: String::new(), base64 }, Path::new(""))
    }

    fn embed_file(&self, path: &str, directory: &Path) -> Option<(String, &'static Rule, String)> {
        if path.len() > LONGEST_PATH {
            return None;
        }
        let image = self.load(&ImageSource::File(path.to_owned()), directory)?;
        let message = format!("the file `{path}` embedded, {} bytes", image.bytes.len());
        Some((data_uri(&image), &rules::IMAGE_BAD_DATA_URI, message))
    }

    /// Makes a data URI of base64 alone.
    fn embed_base64(&self, text: &str) -> Option<(String, &'static Rule, String)> {
        let image = self.load_inline(&repaired(text)?)?;
        let mime = image.header.format.mime();
        let message = format!("base64 alone written as a data URI of the type `{mime}`");
        Some((data_uri(&image), &rules::IMAGE_BAD_DATA_URI, message))
    }

    /// A data URI with the right type and strict base64. A reference that resolves to no image stays.
    fn repair_data_uri(&self, uri: &str, was_trimmed: bool) -> Option<(String, &'static Rule, String)> {
        let (header, payload) = uri["data:".len()..].split_once(',')?;
        let lower = header.to_ascii_lowercase();
        let declared = lower.strip_suffix(";base64");
        let well_formed =
            uri.starts_with("data:") && declared.is_some() && header.ends_with(";base64") && !was_trimmed;
        if well_formed && base64::strict_length(payload).is_some() {
            return right_type(declared.unwrap_or_default(), payload);
        }
        // What Python reads keeps its bytes; the rest is repaired.
        let read = declared.and_then(|_| self.load_inline(payload));
        let was_read = read.is_some();
        let image = read.or_else(|| self.load_inline(&repaired(payload)?))?;
        let (rule, what) = match (well_formed, was_read) {
            (true, true) => {
                (&rules::IMAGE_LOOSE_BASE64, "characters outside its alphabet removed from the base64")
            }
            (true, false) => (&rules::IMAGE_BAD_DATA_URI, "the base64 repaired; it holds an image"),
            (false, _) => (&rules::IMAGE_BAD_DATA_URI, "the data URI rewritten; it holds an image"),
        };
        Some((data_uri(&image), rule, what.to_owned()))
    }

    /// Re-encodes images whose findings say that nobody accepts them, or not as they are meant.
    pub(super) fn reencode(
        &self,
        row: &mut Value<'_>,
        left: &CheckedLine,
        done: &mut HashSet<String>,
    ) -> Vec<Change> {
        let findings = left.findings.iter().map(|(finding, ..)| finding);
        let places: Places<'_> = findings
            .filter(|finding| REENCODED.contains(&finding.rule) && !done.contains(&finding.pointer))
            .map(|finding| (finding.pointer.as_str(), finding.rule))
            .collect();
        let mut changes = Vec::new();
        if places.is_empty() {
            return changes;
        }
        each_image(row, |pointer, reference| {
            if let Some(rule) = places.get(pointer)
                && let Value::String(text) = reference
                && let Some((written, message)) = self.reencoded(text)
                && written != *text
            {
                *reference = Value::String(written.into());
                done.insert(pointer.to_owned());
                changes.push(change(rule, Fix::Unsafe, pointer.to_owned(), message));
            }
        });
        changes
    }

    /// The image of a data URI, re-encoded to fit the model and the target as `prepare` does it.
    fn reencoded(&self, reference: &str) -> Option<(String, String)> {
        let (header, payload) = reference.split_once(',')?;
        if !header.starts_with("data:") {
            return None;
        }
        let image = self.load_inline(payload)?;
        let before = image.bytes.len();
        let options = FitOptions {
            limits: self.checker.limits,
            model: self.checker.encoder.spec,
            target: self.checker.target,
            keep: false,
            decode_all: true,
            measure: false,
            resampling: Resampling::default(),
            jpeg_quality: JPEG_QUALITY,
        };
        let fitted = fit(image, &options).ok()?;
        let FittedImage { format, bytes, width, height, source, original, rewritten, trailing, .. } = fitted;
        if !rewritten {
            let message = format!("{} behind the end of the image removed", counted(trailing, "byte"));
            return Some((base64::data_uri(format.mime(), &bytes), message));
        }
        let message = format!(
            "the image re-encoded: {source} of {}x{} and {before} bytes, now {format} of {width}x{height} and {} bytes",
            original.0,
            original.1,
            bytes.len()
        );
        Some((base64::data_uri(format.mime(), &bytes), message))
    }
}

/// Visits what images of user messages are written as: the string, with the pointer that findings have.
fn each_image(row: &mut Value<'_>, mut visit: impl FnMut(&str, &mut Value<'_>)) {
    let Some(Value::Array(messages)) = member(row, "messages") else { return };
    for (index, message) in messages.iter_mut().enumerate() {
        let Some(Value::Array(parts)) = member(message, "content") else { continue };
        for (place, part) in parts.iter_mut().enumerate() {
            let key = match part.get("type").and_then(Value::as_str) {
                Some("image") => "image",
                _ => "image_url",
            };
            let pointer = format!("/messages/{index}/content/{place}/{key}");
            match member(part, key) {
                Some(object @ Value::Object(_)) => {
                    if let Some(url) = member(object, "url") {
                        visit(&pointer, url);
                    }
                }
                Some(reference) => visit(&pointer, reference),
                None => {}
            }
        }
    }
}

fn member<'v, 'a>(value: &'v mut Value<'a>, key: &str) -> Option<&'v mut Value<'a>> {
    let Value::Object(members) = value else { return None };
    members.iter_mut().rev().find(|(name, _)| name == key).map(|(_, value)| value)
}

fn right_type(declared: &str, payload: &str) -> Option<(String, &'static Rule, String)> {
    let declared = declared.split(';').next().unwrap_or_default();
    let head = base64::decode(payload.get(..payload.len().min(64))?)?;
    let mime = sniff(&head).ok()?.mime();
    if declared.is_empty() || declared == mime || declared == "image/jpg" {
        return None;
    }
    let start: String = declared.chars().take(60).collect();
    let message = format!("the type `{start}` written as `{mime}`, which the bytes are");
    Some((format!("data:{mime};base64,{payload}"), &rules::IMAGE_MIME_MISMATCH, message))
}

/// Base64 without white space, of the usual alphabet and with its padding; `None` where no padding helps.
fn repaired(text: &str) -> Option<String> {
    let mut letters: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    letters.truncate(letters.trim_end_matches('=').len());
    if !letters.contains(['+', '/']) {
        letters = letters.replace('-', "+").replace('_', "/");
    }
    if letters.len() < 16 || letters.len() % 4 == 1 {
        return None;
    }
    letters.push_str(&"=="[..(4 - letters.len() % 4) % 4]);
    base64::strict_length(&letters).is_some().then_some(letters)
}

fn data_uri(image: &Loaded) -> String {
    base64::data_uri(image.header.format.mime(), &image.bytes)
}
