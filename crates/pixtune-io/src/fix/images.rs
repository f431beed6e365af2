//! Images: their references and data URIs, and, on request, the images themselves.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use pixtune_core::diagnostic::{Fix, Rule};
use pixtune_core::fix::Change;
use pixtune_core::json::Value;
use pixtune_core::rules;

use super::{Fixer, Places, change};
use crate::base64;
use crate::check::CheckedLine;
use crate::image::prepare::{Policy, Prepared, Resampling, prepare};
use crate::image::{Format, Limits, inspect, sniff};
use crate::read::image_path;

/// Breaches that an image drawn anew does not have.
const REDRAWN: [&Rule; 5] = [
    &rules::IMAGE_UNSUPPORTED,
    &rules::IMAGE_PAGES,
    &rules::IMAGE_TOO_LARGE,
    &rules::IMAGE_SIDEWAYS,
    &rules::IMAGE_ALPHA,
];

/// Larger files are not embedded.
const LARGEST_FILE: u64 = 64 << 20;

/// A header allocates nothing, so it is read whatever it declares.
const NO_LIMITS: Limits =
    Limits { max_bytes: u64::MAX, max_side: u32::MAX, max_pixels: u64::MAX, max_decoded_bytes: u64::MAX };

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
        if scheme == "data:" {
            return repair_data_uri(trimmed, trimmed.len() < text.len());
        }
        if scheme == "http:" || scheme == "https" {
            let bytes = self.checker.fetching.as_ref()?.fetcher.fetch(trimmed).ok()?;
            let format = readable(&bytes)?;
            let message = format!("the image of the address fetched and embedded, {} bytes", bytes.len());
            return Some((data_uri(format, &bytes), &rules::IMAGE_URL, message));
        }
        if scheme == "file:" {
            return None;
        }
        if let Some(bytes) = image_file(directory, trimmed) {
            let message = format!("the file `{trimmed}` embedded, {} bytes", bytes.len());
            return Some((data_uri(sniff(&bytes).ok()?, &bytes), &rules::IMAGE_BAD_DATA_URI, message));
        }
        let bytes = repaired(trimmed).and_then(|payload| base64::decode(&payload))?;
        let format = readable(&bytes)?;
        let message = format!("base64 alone written as a data URI of the type `{}`", format.mime());
        Some((data_uri(format, &bytes), &rules::IMAGE_BAD_DATA_URI, message))
    }

    /// Draws images anew whose findings say that nobody takes them, or not as they are meant.
    pub(super) fn redraw(
        &self,
        row: &mut Value<'_>,
        left: &CheckedLine,
        drawn: &mut HashSet<String>,
    ) -> Vec<Change> {
        let findings = left.findings.iter().map(|(finding, ..)| finding);
        let places: Places<'_> = findings
            .filter(|finding| REDRAWN.contains(&finding.rule) && !drawn.contains(&finding.pointer))
            .map(|finding| (finding.pointer.as_str(), finding.rule))
            .collect();
        let mut changes = Vec::new();
        if places.is_empty() {
            return changes;
        }
        each_image(row, |pointer, reference| {
            if let Some(rule) = places.get(pointer)
                && let Value::String(text) = reference
                && let Some((written, message)) = self.drawn_anew(text)
                && written != *text
            {
                *reference = Value::String(written.into());
                drawn.insert(pointer.to_owned());
                changes.push(change(rule, Fix::Unsafe, pointer.to_owned(), message));
            }
        });
        changes
    }

    /// The image made to fit the model and the target, as `prepare` does it.
    fn drawn_anew(&self, reference: &str) -> Option<(String, String)> {
        let (header, payload) = reference.split_once(',')?;
        if !header.starts_with("data:") {
            return None;
        }
        let bytes = base64::decode(payload)?;
        let before = bytes.len();
        let policy = Policy {
            limits: Limits { max_bytes: u64::MAX, ..Limits::default() },
            model: self.checker.encoder.spec,
            target: self.checker.target,
            keep: false,
            decode_all: true,
            measure: false,
            resampling: Resampling::default(),
            jpeg_quality: JPEG_QUALITY,
        };
        let Prepared { format, bytes, width, height, source, original, .. } = prepare(bytes, &policy).ok()?;
        let message = format!(
            "the image drawn anew: {source} of {}x{} and {before} bytes, now {format} of {width}x{height} and {} bytes",
            original.0,
            original.1,
            bytes.len()
        );
        Some((data_uri(format, &bytes), message))
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

/// A data URI with the right type and base64 of the strict kind. What does not lead to an image stays.
fn repair_data_uri(uri: &str, was_trimmed: bool) -> Option<(String, &'static Rule, String)> {
    let (header, payload) = uri["data:".len()..].split_once(',')?;
    let lower = header.to_ascii_lowercase();
    let declared = lower.strip_suffix(";base64");
    let well_formed =
        uri.starts_with("data:") && declared.is_some() && header.ends_with(";base64") && !was_trimmed;
    let is_strict = base64::strict_length(payload).is_some();
    if well_formed && is_strict {
        return right_type(declared.unwrap_or_default(), payload);
    }
    // What Python reads keeps its bytes; what it does not is repaired.
    let read = declared.and_then(|_| base64::decode(payload)).filter(|bytes| readable(bytes).is_some());
    let was_read = read.is_some();
    let bytes = read.or_else(|| base64::decode(&repaired(payload)?))?;
    let format = readable(&bytes)?;
    let (rule, what) = match (well_formed, was_read) {
        (true, true) => {
            (&rules::IMAGE_LOOSE_BASE64, "characters that are not its own taken out of the base64")
        }
        (true, false) => (&rules::IMAGE_BAD_DATA_URI, "the base64 repaired; it holds an image"),
        (false, _) => (&rules::IMAGE_BAD_DATA_URI, "the data URI written as it should be; it holds an image"),
    };
    Some((data_uri(format, &bytes), rule, what.to_owned()))
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

/// The format of an image whose header can be read.
fn readable(bytes: &[u8]) -> Option<Format> {
    inspect(bytes, &NO_LIMITS).ok().map(|header| header.format)
}

fn data_uri(format: Format, bytes: &[u8]) -> String {
    let mut uri = format!("data:{};base64,", format.mime()).into_bytes();
    base64::encode(bytes, &mut uri);
    String::from_utf8(uri).expect("base64 is ASCII")
}

/// The bytes of an image file beside the data.
fn image_file(directory: &Path, written: &str) -> Option<Vec<u8>> {
    if written.is_empty() || written.len() > 4096 || written.contains('\0') {
        return None;
    }
    let path = image_path(directory, written);
    let about = path.metadata().ok()?;
    if !about.is_file() || about.len() > LARGEST_FILE {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(LARGEST_FILE).read_to_end(&mut bytes).ok()?;
    readable(&bytes).map(|_| bytes)
}
