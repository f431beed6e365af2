//! The images of a row: each is loaded, fitted and measured, or stays a URL if URLs are not fetched.

use pixtune_core::curate::{ImageFacts, ImageRecord, content_hash, issues};
use pixtune_core::diagnostic::Finding;
use pixtune_core::grounding::Frame;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource};
use pixtune_core::text::counted;

use crate::image::fit::{FitOptions, FittedImage, fit};
use crate::image::{ImageError, Resolver, load, name};
use crate::write::WrittenImage;

/// An image ready to be written.
pub(super) struct ScannedImage {
    pub(super) written: WrittenImage,
    /// Width and height as the model gets it; `None` for a URL.
    pub(super) size: Option<(u32, u32)>,
    /// Width and height of the source.
    pub(super) original: Option<(u32, u32)>,
    /// The source has an EXIF rotation.
    is_rotated: bool,
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
            is_rotated: false,
            record: ImageRecord { content, facts: ImageFacts::default() },
            thumbnail: vec![],
            shrunk: false,
        }
    }
}

impl ScannedImage {
    /// What the boxes of the image refer to.
    pub(super) fn frame(&self) -> Frame {
        match self.original {
            _ if self.is_rotated => Frame::Rotated,
            Some((width, height)) => Frame::Size(width, height),
            None => Frame::Unknown,
        }
    }
}

/// Loads an image of a row and fits it; `None` if it cannot be used, with the reason in `findings`.
pub(super) fn scan_image(
    image: &Image,
    resolver: &Resolver<'_>,
    options: &FitOptions,
    findings: &mut Vec<Finding>,
) -> Option<ScannedImage> {
    if let ImageSource::Url(url) = &image.source
        && !resolver.fetches()
    {
        findings.push(ImageError::NotFetched.finding_at(image).hint("`--fetch` downloads and embeds it"));
        return Some(ScannedImage::url(url));
    }
    let fitted = load(&image.source, resolver, &options.limits).and_then(|loaded| {
        let content = content_hash(&loaded.bytes);
        let is_rotated = !loaded.header.orientation.is_normal();
        fit(loaded, options).map(|fitted| (content, fitted, is_rotated))
    });
    match fitted {
        Ok((content, fitted, is_rotated)) => {
            let found = judge(image, &fitted, options).into_iter();
            findings.extend(found.map(|finding| Finding { pointer: image.pointer.clone(), ..finding }));
            Some(ScannedImage { is_rotated, ..scanned(content, fitted) })
        }
        Err(error) => {
            findings.push(refusal(image, &error));
            None
        }
    }
}

fn scanned(content: u128, fitted: FittedImage) -> ScannedImage {
    let FittedImage { format, bytes, width, height, original, shrunk, measure, .. } = fitted;
    let (facts, thumbnail) =
        measure.map_or((ImageFacts::default(), vec![]), |measure| (measure.facts, measure.thumbnail.pixels));
    ScannedImage {
        written: WrittenImage::Inline { mime: format.mime(), bytes },
        size: Some((width, height)),
        original: Some(original),
        is_rotated: false,
        record: ImageRecord { content, facts },
        thumbnail,
        shrunk,
    }
}

/// Findings about a usable image.
fn judge(image: &Image, fitted: &FittedImage, options: &FitOptions) -> Vec<Finding> {
    let name = name(&image.source);
    let mut found = Vec::new();
    if let Some(measure) = &fitted.measure {
        found.extend(issues::judge(&measure.facts, options.model));
    }
    if fitted.pages > 1 {
        let message = format!("{name} has {}; the first is used", counted(u64::from(fitted.pages), "page"));
        let hint = "export each page as an image of its own";
        found.push(Finding::new(&rules::IMAGE_PAGES, "", message).hint(hint));
    }
    if let Some(why) = &fitted.fault {
        let message = match options.keep {
            true => format!("{name} is embedded as it is, and loaders that auto-orient refuse it: {why}"),
            false => format!("{name} is re-encoded: {why}"),
        };
        found.push(Finding::new(&rules::IMAGE_STRUCTURE, "", message));
    }
    if let Some(profile) = &fitted.profile {
        let message = format!("{name} is re-encoded without its color profile, `{profile}`");
        let hint = "models read colors as sRGB and ignore profiles; convert it to sRGB if its colors matter";
        found.push(Finding::new(&rules::IMAGE_PROFILE, "", message).hint(hint));
    }
    if fitted.trailing > 0 {
        let bytes = counted(fitted.trailing, "byte");
        let what = if options.keep { "kept" } else { "dropped" };
        let message = format!("{name} has {bytes} behind the end of its image, which are {what}");
        let hint = "they may be a second image or a video";
        found.push(Finding::new(&rules::IMAGE_STRUCTURE, "", message).hint(hint));
    }
    if fitted.sideways {
        let message = format!("{name} is embedded as it is, and the model ignores its EXIF orientation");
        let hint = "omit `--images keep` to auto-orient it";
        found.push(Finding::new(&rules::IMAGE_SIDEWAYS, "", message).hint(hint));
    }
    if let ImageSource::Inline { mime, .. } = &image.source
        && mime.split(';').next() != Some(fitted.source.mime())
        && mime != "image/jpg"
        && !mime.is_empty()
    {
        let message = format!("declared `{mime}`, but the bytes are `{}`", fitted.source.mime());
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
