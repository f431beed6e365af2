//! Loading an image: from what a row names to bytes within the limits and a header that was read.
//!
//! Every command loads through [`load`] or [`load_header`], so that all of them give the same verdict on the same image.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use pixtune_core::curate::content_hash;
use pixtune_core::sample::ImageSource;

use super::error::ImageError;
use super::header::Header;
use super::inspect::inspect;
use super::jpeg_file::reaches_scan;
use super::limits::Limits;
use super::resolve::{Resolver, near_path};
use super::structure::{Structure, check_jpeg_head, check_structure, is_simple, skeleton};
use crate::base64::{self, Payloads};
use crate::fetch::FetchError;
use crate::remote::{self, RemoteError};
use crate::sniff::{Format, sniff};

/// An image within the limits. It is not decoded yet, so its pixels can still turn out to be damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The file.
    pub bytes: Vec<u8>,
    /// What the file declares.
    pub header: Header,
}

impl Loaded {
    /// Inspects bytes that are at hand.
    pub fn new(bytes: Vec<u8>, limits: &Limits) -> Result<Loaded, ImageError> {
        limits.check_bytes(bytes.len() as u64)?;
        let header = inspect(&bytes, limits)?;
        Ok(Loaded { bytes, header })
    }
}

/// Loads an image: all of its bytes and its header, or why it cannot be used. Nothing is ever cut to fit a limit.
pub fn load<B: AsRef<str>>(
    source: &ImageSource<B>,
    resolver: &Resolver<'_>,
    limits: &Limits,
) -> Result<Loaded, ImageError> {
    let bytes = match source {
        ImageSource::File(written) => match resolver.archive {
            Some(archive) => archive.image(written, limits)?,
            None => match resolver.object(written)? {
                Some(url) => read_object(&url, resolver, limits)?,
                None => read_file(&resolver.path(written), resolver.buffer(), limits)?,
            },
        },
        ImageSource::Bytes(bytes) => bytes.to_vec(),
        ImageSource::Inline { base64, .. } => {
            base64::decode_into(base64.as_ref(), resolver.buffer()).ok_or(ImageError::BadBase64)?
        }
        ImageSource::Url(url) => {
            let fetcher = resolver.fetcher.ok_or(ImageError::NotFetched)?;
            fetcher.fetch(url)?
        }
    };
    Loaded::new(bytes, limits)
}

/// The bytes of an image in a store: through the fetcher, which may have them already, or by a request.
fn read_object(url: &str, resolver: &Resolver<'_>, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    if let Some(fetcher) = resolver.fetcher {
        return Ok(fetcher.fetch(url)?);
    }
    match remote::read(url, limits.max_bytes) {
        Ok(bytes) => Ok(bytes.into()),
        Err(RemoteError::Missing(_)) => {
            Err(ImageError::Missing { path: remote::shown(url).into(), near: None })
        }
        Err(RemoteError::TooLarge(limit)) => Err(FetchError::TooLarge(limit).into()),
        Err(error) => Err(FetchError::Store(error).into()),
    }
}

/// Loads an image file that no row names.
pub fn load_file(path: &Path, limits: &Limits) -> Result<Loaded, ImageError> {
    Loaded::new(read_file(path, Vec::new(), limits)?, limits)
}

/// The bytes of a regular file that is not larger than the limit.
fn read_file(path: &Path, mut bytes: Vec<u8>, limits: &Limits) -> Result<Vec<u8>, ImageError> {
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => ImageError::Missing { path: path.to_owned(), near: near_path(path) },
        io::ErrorKind::InvalidFilename => ImageError::NotAPath,
        _ => ImageError::Unreadable { why: error.to_string() },
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_dir() {
        return Err(ImageError::Directory);
    }
    if !metadata.is_file() {
        return Err(ImageError::NotRegularFile);
    }
    limits.check_bytes(metadata.len())?;
    bytes.reserve(usize::try_from(metadata.len()).unwrap_or(0) + 1);
    let file = File::open(path).map_err(unreadable)?;
    // The file may be growing: reading one byte beyond the limit shows that it is too large.
    file.take(limits.max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// An image whose header was read; its pixels are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inspected {
    /// Its beginning and its end were read, and they show that it is whole.
    ByEnds {
        /// What the file declares.
        header: Header,
        /// Bytes of the file.
        length: u64,
    },
    /// All of it was read.
    InFull(Loaded),
}

impl Inspected {
    /// What the file declares.
    pub fn header(&self) -> &Header {
        match self {
            Inspected::ByEnds { header, .. } | Inspected::InFull(Loaded { header, .. }) => header,
        }
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        match self {
            Inspected::ByEnds { length, .. } => *length,
            Inspected::InFull(image) => image.bytes.len() as u64,
        }
    }

    /// The file, if all of it was read.
    pub fn loaded(&self) -> Option<&Loaded> {
        match self {
            Inspected::ByEnds { .. } => None,
            Inspected::InFull(image) => Some(image),
        }
    }

    /// Walks over the blocks of the file, and refuses what the reference refuses. `None` where the two ends were enough
    /// to show that nothing is wrong with them.
    pub fn structure(&self) -> Result<Option<Structure>, ImageError> {
        let Some(image) = self.loaded() else { return Ok(None) };
        let structure = check_structure(&image.bytes)?;
        structure.accepted()?;
        Ok(Some(structure))
    }
}

/// Loads no more of an image than shows its header and whether the file is whole: the beginning and the end of a long
/// data URI, anything else as a whole.
pub fn load_header<B: AsRef<str>>(
    source: &ImageSource<B>,
    resolver: &Resolver<'_>,
    limits: &Limits,
) -> Result<Inspected, ImageError> {
    if let ImageSource::Inline { base64, .. } = source
        && let Some(inspected) = inspect_ends(base64.as_ref(), &resolver.payloads, limits)
    {
        return inspected;
    }
    load(source, resolver, limits).map(Inspected::InFull)
}

/// A hash of an image as its row holds it: of the base64 of a data URI, else of the file, else of what names it.
pub(crate) fn source_hash(source: &ImageSource<&str>, image: Option<&Loaded>) -> u128 {
    match (source, image) {
        (ImageSource::Inline { base64, .. }, _) => content_hash(base64.as_bytes()),
        (_, Some(image)) => content_hash(&image.bytes),
        (ImageSource::Bytes(bytes), None) => content_hash(bytes),
        (ImageSource::File(name) | ImageSource::Url(name), None) => content_hash(name.as_bytes()),
    }
}

/// Characters of base64 that are decoded to read a header, first 768 bytes of the file, then 3 KiB and then 48 KiB: EXIF and
/// color profiles move the size away from the beginning.
const HEADS: [usize; 3] = [1 << 10, 4 << 10, LONGEST_HEAD];

/// Shorter texts are decoded as a whole.
const LONGEST_HEAD: usize = 64 << 10;

/// Characters of base64 that hold the end of a file.
const TAIL: usize = 64;

/// Inspects an image by the two ends of its base64, a PNG by all but its pixels. `None` calls for all of it.
fn inspect_ends(
    text: &str,
    payloads: &Payloads<'_>,
    limits: &Limits,
) -> Option<Result<Inspected, ImageError>> {
    if text.len() <= LONGEST_HEAD {
        return None;
    }
    let length = payloads.strict_length(text)?;
    if let Err(error) = limits.check_bytes(length as u64) {
        return Some(Err(error));
    }
    let header = match sniff(&base64::decode(text.get(..HEADS[0])?)?) {
        Ok(Format::Png) => inspect_chunks(text, length, limits),
        _ => inspect_head(text, length, limits),
    }?;
    Some(header.map(|header| Inspected::ByEnds { header, length: length as u64 }))
}

fn inspect_head(text: &str, length: usize, limits: &Limits) -> Option<Result<Header, ImageError>> {
    let tail = base64::decode(text.get(text.len() - TAIL..)?)?;
    HEADS.iter().find_map(|head| {
        let head = base64::decode(text.get(..*head)?)?;
        if ends_well(&head, &tail, length as u64) { within_limits(&head, limits) } else { None }
    })
}

/// A PNG by its chunks, without the pixels in them.
fn inspect_chunks(text: &str, length: usize, limits: &Limits) -> Option<Result<Header, ImageError>> {
    let read = |at: usize, len: usize| {
        let (from, to) = (at / 3 * 4, (at + len).div_ceil(3) * 4);
        let mut bytes = base64::decode(text.get(from..to)?)?;
        bytes.drain(..at % 3);
        bytes.truncate(len);
        Some(bytes)
    };
    let skeleton = skeleton(length, read)?;
    let is_sound = check_structure(&skeleton)
        .is_ok_and(|structure| structure.fault().is_none() && structure.end == skeleton.len());
    let header = within_limits(&skeleton, limits)?;
    (is_sound || header.is_err()).then_some(header)
}

/// The header of a part of a file. Whether it is cut off or damaged is for the whole file to show.
fn within_limits(part: &[u8], limits: &Limits) -> Option<Result<Header, ImageError>> {
    match inspect(part, limits) {
        Err(error) if !error.is_limit() => None,
        header => Some(header),
    }
}

/// Whether a file ends as its format asks, and nothing before its pixels stops a reader; never where frames and pages are
/// found only by a walk through all of it.
fn ends_well(head: &[u8], tail: &[u8], length: u64) -> bool {
    match sniff(head) {
        // An orientation stands before the pixels.
        Ok(Format::Jpeg) => tail.ends_with(b"\xff\xd9") && reaches_scan(head) && check_jpeg_head(head),
        Ok(Format::WebP) => is_simple(head, length),
        _ => false,
    }
}
