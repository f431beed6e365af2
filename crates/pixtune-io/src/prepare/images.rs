//! The images of a row: each is loaded, prepared and measured, or stays a URL if URLs are not fetched.

use pixtune_core::curate::{ImageFacts, ImageRecord, content_hash, issues};
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::text::counted;

use crate::image::prepare::{Policy, Prepared, prepare};
use crate::image::{ImageError, Resolver, load, name};
use crate::write::WrittenImage;

/// An image ready to be written.
pub(super) struct ScannedImage {
    pub(super) written: WrittenImage,
    /// Width and height as the model gets it; `None` for a URL.
    pub(super) size: Option<(u32, u32)>,
    /// Width and height as it came.
    pub(super) original: Option<(u32, u32)>,
    /// The facts to decide on.
    pub(super) record: ImageRecord,
    /// Empty where the image was not measured.
    pub(super) thumbnail: Vec<u8>,
    pub(super) shrunk: bool,
}

impl ScannedImage {
    /// A URL that is written as it is.
    fn url(url: &str) -> ScannedImage {
        let content = content_hash(url.as_bytes());
        ScannedImage {
            written: WrittenImage::Reference(url.to_owned()),
            size: None,
            original: None,
            record: ImageRecord { content, facts: ImageFacts::default() },
            thumbnail: vec![],
            shrunk: false,
        }
    }
}

/// Loads an image of a row and prepares it; `None` where a finding says why it cannot be used.
pub(super) fn scan_image(
    image: &Image,
    resolver: &Resolver<'_>,
    policy: &Policy,
    findings: &mut Vec<Finding>,
) -> Option<ScannedImage> {
    if let ImageSource::Url(url) = &image.source
        && !resolver.fetches()
    {
        findings.push(ImageError::NotFetched.finding_at(image).hint("`--fetch` downloads and embeds it"));
        return Some(ScannedImage::url(url));
    }
    let prepared = load(&image.source, resolver, &policy.limits).and_then(|loaded| {
        let content = content_hash(&loaded.bytes);
        prepare(loaded, policy).map(|prepared| (content, prepared))
    });
    match prepared {
        Ok((content, prepared)) => {
            let found = judge(image, &prepared, policy).into_iter();
            findings.extend(found.map(|finding| Finding { pointer: image.pointer.clone(), ..finding }));
            Some(scanned(content, prepared))
        }
        Err(error) => {
            findings.push(refusal(image, &error));
            None
        }
    }
}

fn scanned(content: u128, prepared: Prepared) -> ScannedImage {
    let Prepared { format, bytes, width, height, original, shrunk, measure, .. } = prepared;
    let (facts, thumbnail) =
        measure.map_or((ImageFacts::default(), vec![]), |measure| (measure.facts, measure.thumbnail.pixels));
    ScannedImage {
        written: WrittenImage::Inline { mime: format.mime(), bytes },
        size: Some((width, height)),
        original: Some(original),
        record: ImageRecord { content, facts },
        thumbnail,
        shrunk,
    }
}

/// What is worth knowing of an image that can be used.
fn judge(image: &Image, prepared: &Prepared, policy: &Policy) -> Vec<Finding> {
    let name = name(&image.source);
    let mut found = Vec::new();
    if let Some(measure) = &prepared.measure {
        found.extend(issues::judge(&measure.facts, policy.model));
    }
    if prepared.pages > 1 {
        let message = format!("{name} has {}; the first is used", counted(u64::from(prepared.pages), "page"));
        let hint = "export each page as an image of its own";
        found.push(Finding::new(&rules::IMAGE_PAGES, "", message).hint(hint));
    }
    if let Some(why) = &prepared.fault {
        let message = match policy.keep {
            true => format!("{name} is embedded as it is, and loaders that auto-orient refuse it: {why}"),
            false => format!("{name} is re-encoded: {why}"),
        };
        found.push(Finding::new(&rules::IMAGE_STRUCTURE, "", message));
    }
    if let Some(profile) = &prepared.profile {
        let message = format!("{name} is re-encoded without its color profile, `{profile}`");
        let hint = "models read colors as sRGB and ignore profiles; convert it to sRGB if its colors matter";
        found.push(Finding::new(&rules::IMAGE_PROFILE, "", message).hint(hint));
    }
    if prepared.trailing > 0 {
        let bytes = counted(prepared.trailing, "byte");
        let what = if policy.keep { "kept" } else { "dropped" };
        let message = format!("{name} has {bytes} behind the end of its image, which are {what}");
        let hint = "they may be a second image or a video";
        found.push(Finding::new(&rules::IMAGE_STRUCTURE, "", message).hint(hint));
    }
    if prepared.sideways {
        let message = format!("{name} is embedded as it is, and the model ignores its EXIF orientation");
        let hint = "omit `--images keep` to auto-orient it";
        found.push(Finding::new(&rules::IMAGE_SIDEWAYS, "", message).hint(hint));
    }
    if let ImageSource::Inline { mime, .. } = &image.source
        && mime.split(';').next() != Some(prepared.source.mime())
        && mime != "image/jpg"
        && !mime.is_empty()
    {
        let message = format!("declared `{mime}`, but the bytes are `{}`", prepared.source.mime());
        found.push(Finding::new(&rules::IMAGE_MIME_MISMATCH, "", message));
    }
    found
}

/// The finding about an image that cannot be used, with the option of this command that may help.
fn refusal(image: &Image, error: &ImageError) -> Finding {
    let finding = error.finding_at(image);
    let option = match error {
        ImageError::Missing { near: None, .. } => "`--image-folder` sets where relative paths start",
        ImageError::TooManyBytes { .. } => "`--max-image-bytes` sets another limit",
        ImageError::TooLarge { .. } | ImageError::TooManyPixels { .. } => {
            "`--max-image-side` sets another limit"
        }
        ImageError::TooMuchMemory { .. } => "`--max-decoded-bytes` sets another limit",
        _ => return finding,
    };
    let hint = finding.hint.iter().map(String::as_str).chain([option]).collect::<Vec<_>>().join("; ");
    finding.hint(hint)
}
