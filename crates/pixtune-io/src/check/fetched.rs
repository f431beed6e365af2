//! Images of URLs, fetched once with their findings: many samples may refer to one image.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use pixtune_core::checks;
use pixtune_core::curate::content_hash;
use pixtune_core::diagnostic::Finding;
use pixtune_core::json;
use pixtune_core::rules;
use pixtune_core::sample::ImageSource;

use super::Checker;
use super::images::Looked;
use crate::fetch::Fetcher;
use crate::image::measure::Measure;
use crate::image::{ImageError, Resolver, shorten};
use crate::read::blocks::Block;

/// Fetches images for a checker.
#[derive(Debug)]
pub struct Fetching {
    /// What fetches.
    pub fetcher: Fetcher,
    known: Mutex<HashMap<u128, Fetched>>,
}

/// What was found at a URL: size, hash, findings.
type Fetched = (Option<(u32, u32)>, u128, Vec<Finding>);

impl Fetching {
    /// Why downloads cannot be stored, and where, once that has happened: a run cannot go on.
    pub(crate) fn fault(&self) -> Option<(PathBuf, io::Error)> {
        Some((self.fetcher.cache().to_owned(), self.fetcher.fault()?))
    }

    /// Nothing fetched yet.
    pub fn new(fetcher: Fetcher) -> Fetching {
        Fetching { fetcher, known: Mutex::default() }
    }
}

impl Checker<'_> {
    /// Starts the downloads of all images of a block, so that they are not waited for one by one.
    pub(crate) fn request_images(&self, block: &Block) {
        let Some(fetching) = &self.fetching else { return };
        let mut rest = if block.oversized().is_some() { &[] } else { block.lines() };
        while !rest.is_empty() {
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
            let (line, after) = rest.split_at(length);
            // A line that makes the parser fail is for the check to report.
            let _ = catch_unwind(AssertUnwindSafe(|| self.request_images_of(fetching, line)));
            rest = after;
        }
    }

    fn request_images_of(&self, fetching: &Fetching, line: &[u8]) {
        let parsed = std::str::from_utf8(line).ok().and_then(|text| json::parse(text).ok());
        let Some(parsed) = parsed else { return };
        let sample = checks::judge(
            &checks::Row { value: &parsed.value, target: &self.target },
            self.encoder.tokenizer,
        )
        .sample;
        for image in &sample.images {
            if let ImageSource::Url(url) = &image.source {
                fetching.fetcher.request(url);
            }
        }
    }

    /// Judges the image of a URL, which is fetched once.
    pub(super) fn fetched(
        &self,
        fetching: &Fetching,
        url: &str,
        resolver: &Resolver<'_>,
        found: &mut Vec<Finding>,
    ) -> Looked {
        let key = content_hash(url.as_bytes());
        let known = fetching.known.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        // A measure is compared once; later on its hash identifies the image.
        let ((size, hash, findings), measure) = match known {
            Some(known) => (known, None),
            None => {
                let (known, measure) = self.fetch_image(url, resolver);
                fetching.known.lock().unwrap_or_else(PoisonError::into_inner).insert(key, known.clone());
                (known, measure)
            }
        };
        found.extend(findings);
        Looked { size, hash, measure }
    }

    fn fetch_image(&self, url: &str, resolver: &Resolver<'_>) -> (Fetched, Option<Measure>) {
        let mut found = Vec::new();
        let source = ImageSource::Url(url.to_owned());
        let known = self.load_image(&source, resolver);
        if !matches!(known, Err(ImageError::Fetch(_))) {
            let message = format!("`{}` is a URL; it was fetched and verified", shorten(url));
            let hint = "embed it with `pixtune fix --fetch`: the URL may be gone when training needs it";
            found.push(Finding::new(&rules::IMAGE_URL, "", message).hint(hint));
        }
        let Looked { size, hash, measure } = self.judge_image(&source, known, resolver, &mut found);
        ((size, hash, found), measure)
    }
}
