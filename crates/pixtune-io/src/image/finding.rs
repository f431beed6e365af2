//! What is reported about an image that cannot be used: the rule it breaks, a message, a hint.

use pixtune_core::diagnostic::{Finding, Rule};
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};

use super::error::ImageError;
use crate::fetch::FetchError;
use crate::sniff::{NoImage, is_answer};

impl ImageError {
    /// The rule that the image breaks.
    pub fn rule(&self) -> &'static Rule {
        match self {
            ImageError::Missing { .. } => &rules::IMAGE_MISSING,
            ImageError::BadBase64 => &rules::IMAGE_BAD_DATA_URI,
            ImageError::NotFetched => &rules::IMAGE_URL,
            ImageError::TooManyBytes { .. }
            | ImageError::TooLarge { .. }
            | ImageError::TooManyPixels { .. }
            | ImageError::TooMuchMemory { .. }
            | ImageError::Fetch(FetchError::TooLarge(_)) => &rules::IMAGE_TOO_LARGE,
            ImageError::InStore | ImageError::Fetch(_) => &rules::IMAGE_UNREACHABLE,
            ImageError::NoImage(NoImage::Unread { .. })
            | ImageError::UnsupportedFeature { .. }
            | ImageError::UnsupportedFormat { .. } => &rules::IMAGE_UNSUPPORTED,
            ImageError::Animated { .. } => &rules::IMAGE_ANIMATED,
            ImageError::Unreadable { .. }
            | ImageError::Directory
            | ImageError::NotAPath
            | ImageError::NotRegularFile
            | ImageError::NoImage(NoImage::Empty | NoImage::Other { .. })
            | ImageError::Truncated { .. }
            | ImageError::Corrupt { .. }
            | ImageError::Refused { .. }
            | ImageError::ZeroSize { .. }
            | ImageError::Decoder { .. } => &rules::IMAGE_UNREADABLE,
        }
    }

    /// What to do about it, where there is something to do.
    fn hint(&self) -> Option<String> {
        let hint = match self {
            ImageError::Missing { near: Some(near), .. } => {
                return Some(format!("did you mean `{}`?", near.display()));
            }
            ImageError::Missing { path, near: None } => {
                return Some(format!("looked for `{}`", shorten_path(&path.display().to_string())));
            }
            ImageError::InStore => "`--fetch` downloads images, also from object stores",
            ImageError::NotFetched => {
                "`pixtune fix --fetch` and `pixtune prepare --fetch` download and embed it"
            }
            ImageError::Fetch(error) => return hint_of_download(error).map(str::to_owned),
            ImageError::NoImage(NoImage::Empty) | ImageError::Truncated { .. } => {
                "the download or copy was probably cut off; fetch the file again"
            }
            ImageError::NoImage(NoImage::Other { what: "a Git LFS pointer" }) => {
                "fetch the file itself with `git lfs pull`"
            }
            ImageError::NoImage(NoImage::Other { what }) if is_answer(what) => {
                "the server probably answered with a web page; fetch the file again"
            }
            ImageError::NoImage(NoImage::Other { .. }) => "give the image file itself",
            ImageError::NoImage(NoImage::Unread { .. }) | ImageError::UnsupportedFeature { .. } => {
                "convert it to PNG or JPEG"
            }
            ImageError::Refused { .. } => "re-encode it: `pixtune prepare` and `pixtune fix --unsafe` do",
            ImageError::UnsupportedFormat { .. } => "omit `--images keep` to convert it",
            ImageError::Animated { .. } => "export the frame that is meant as a still image",
            ImageError::TooManyBytes { .. } => "re-encode the image",
            ImageError::TooLarge { .. }
            | ImageError::TooManyPixels { .. }
            | ImageError::TooMuchMemory { .. } => "downscale the image",
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// The finding about an image that cannot be used: of this name in messages, and at this JSON pointer.
    pub fn finding(&self, name: &str, pointer: &str) -> Finding {
        let finding = Finding::new(self.rule(), pointer, format!("{name} {self}"));
        match self.hint() {
            Some(hint) => finding.hint(hint),
            None => finding,
        }
    }

    /// The finding about an image of a row.
    pub fn finding_at<B>(&self, image: &Image<B>) -> Finding {
        self.finding(&name(&image.source), &image.pointer)
    }
}

/// What to do about a download that failed.
fn hint_of_download(error: &FetchError) -> Option<&'static str> {
    Some(match error {
        FetchError::TooLarge(_) => "re-encode the image",
        FetchError::Private => "`--fetch-private` allows it, if the data can be trusted",
        FetchError::Status(401 | 403) => "the server refuses the download; it may need a login",
        FetchError::Status(404 | 410) => "the image may have been deleted from the server",
        FetchError::Status(429) => "a smaller `--fetch-per-host` sends fewer requests at a time",
        FetchError::Status(500..) | FetchError::Broken(_) | FetchError::Unreachable(_) => {
            "it may work later: images that were downloaded are not downloaded again"
        }
        FetchError::Timeout(_) => "`--fetch-timeout` allows more time",
        _ => return None,
    })
}

/// What an image is called in messages.
pub(crate) fn name<B>(source: &ImageSource<B>) -> String {
    match source {
        ImageSource::File(path) => format!("`{}`", shorten_path(path)),
        ImageSource::Url(url) => format!("`{}`", shorten(url)),
        ImageSource::Inline { .. } | ImageSource::Bytes(_) => "the image".to_owned(),
    }
}

/// A path in whole, or the beginning of a text that is too long to be one.
fn shorten_path(path: &str) -> String {
    if path.len() <= 400 { path.to_owned() } else { format!("{} ({} bytes)", shorten(path), path.len()) }
}

/// The beginning of a text from the data, short enough for a message.
pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
