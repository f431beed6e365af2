//! Images of URLs, fetched once with their findings: many samples may refer to one image.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use pixtune_core::curate::content_hash;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;

use super::Checker;
use super::images::{Looked, Whole, start};
use crate::fetch::Fetcher;
use crate::image::measure::Measure;

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
    /// Nothing fetched yet.
    pub fn new(fetcher: Fetcher) -> Fetching {
        Fetching { fetcher, known: Mutex::default() }
    }
}

impl Checker<'_> {
    pub(super) fn url(&self, url: &str, found: &mut Vec<Finding>) -> Looked {
        let hash = content_hash(url.as_bytes());
        let Some(fetching) = &self.fetching else {
            let message = format!("`{}` is a URL: it is not fetched, verified or counted", start(url));
            let hint = "embed the image: the URL may be gone when training needs it";
            found.push(Finding::new(&rules::IMAGE_URL, "", message).hint(hint));
            return Looked::at_its_header(None, hash);
        };
        let known = fetching.known.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        // A measure is compared once; later on its hash identifies the image.
        let ((size, content, findings), measure) = match known {
            Some(known) => (known, None),
            None => {
                let (known, measure) = self.fetched(fetching, url, hash);
                fetching.known.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, known.clone());
                (known, measure)
            }
        };
        found.extend(findings);
        Looked { size, hash: content, measure }
    }

    fn fetched(&self, fetching: &Fetching, url: &str, hash: u128) -> (Fetched, Option<Measure>) {
        let mut found = Vec::new();
        match fetching.fetcher.fetch(url) {
            Ok(bytes) => {
                let message = format!("`{}` is a URL; it was fetched and verified", start(url));
                let hint = "embed it with `pixtune fix --fetch`: the URL may be gone when training needs it";
                found.push(Finding::new(&rules::IMAGE_URL, "", message).hint(hint));
                let Whole { size, measure } = self.whole(&bytes, "", &mut found);
                ((size, content_hash(&bytes), found), measure)
            }
            Err(error) => {
                let message = format!("`{}` cannot be fetched: {error}", start(url));
                found.push(Finding::new(&rules::IMAGE_UNREACHABLE, "", message));
                ((None, hash, found), None)
            }
        }
    }
}
