//! Images of addresses, fetched once and remembered by what was found: many questions ask about one image.

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
    seen: Mutex<HashMap<u128, Seen>>,
}

/// What was found at an address: size, hash, findings.
type Seen = (Option<(u32, u32)>, u128, Vec<Finding>);

impl Fetching {
    /// Nothing fetched yet.
    pub fn new(fetcher: Fetcher) -> Fetching {
        Fetching { fetcher, seen: Mutex::default() }
    }
}

impl Checker<'_> {
    pub(super) fn url(&self, url: &str, found: &mut Vec<Finding>) -> Looked {
        let hash = content_hash(url.as_bytes());
        let Some(fetching) = &self.fetching else {
            let message = format!("`{}` is an address: it is not fetched, checked or counted", start(url));
            let hint = "embed the image: it may be gone when training wants it";
            found.push(Finding::new(&rules::IMAGE_URL, "", message).hint(hint));
            return Looked::at_its_header(None, hash);
        };
        let known = fetching.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&hash).cloned();
        // What was measured is compared once; the image is known again by its hash.
        let ((size, content, findings), measure) = match known {
            Some(seen) => (seen, None),
            None => {
                let (seen, measure) = self.fetched(fetching, url, hash);
                fetching.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(hash, seen.clone());
                (seen, measure)
            }
        };
        found.extend(findings);
        Looked { size, hash: content, measure }
    }

    fn fetched(&self, fetching: &Fetching, url: &str, hash: u128) -> (Seen, Option<Measure>) {
        let mut found = Vec::new();
        match fetching.fetcher.fetch(url) {
            Ok(bytes) => {
                let message = format!("`{}` is an address; it was fetched and checked", start(url));
                let hint = "`pixtune fix --fetch` embeds the image: it may be gone when training wants it";
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
