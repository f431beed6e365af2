//! What scans have downloaded, added up over processes.

use pixtune_core::json::{ToJson, Value, object};

use super::{as_number, number};
use crate::fetch::FetchCounts;

/// What was downloaded between two counts of one process.
pub(super) fn between(before: &FetchCounts, after: &FetchCounts) -> FetchCounts {
    let failures = after.failures.iter().map(|(cause, count)| {
        let known = before.failures.get(cause).copied().unwrap_or(0);
        (cause.clone(), count.saturating_sub(known))
    });
    FetchCounts {
        requests: after.requests.saturating_sub(before.requests),
        images: after.images.saturating_sub(before.images),
        bytes: after.bytes.saturating_sub(before.bytes),
        failures: failures.filter(|(_, count)| *count > 0).collect(),
    }
}

/// Adds counts of another process.
pub(super) fn add(sum: &mut FetchCounts, more: &FetchCounts) {
    sum.requests += more.requests;
    sum.images += more.images;
    sum.bytes += more.bytes;
    for (cause, count) in &more.failures {
        *sum.failures.entry(cause.clone()).or_default() += count;
    }
}

pub(super) fn to_value(counts: &FetchCounts) -> impl ToJson {
    object(move |out| {
        out.field("requests", counts.requests).field("images", counts.images).field("bytes", counts.bytes);
        let failures = object(|out| {
            for (cause, count) in &counts.failures {
                out.field(cause, *count);
            }
        });
        out.field("failures", failures);
    })
}

pub(super) fn of_value(value: &Value<'_>) -> Option<FetchCounts> {
    let failures = value.get("failures")?.as_object()?.iter();
    let failures = failures.map(|(cause, count)| Some((cause.clone().into_owned(), as_number(count)?)));
    Some(FetchCounts {
        requests: number(value, "requests")?,
        images: number(value, "images")?,
        bytes: number(value, "bytes")?,
        failures: failures.collect::<Option<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use pixtune_core::json;

    use super::*;

    #[test]
    fn counts_are_read_back_and_added() {
        let counts = |requests, failed| FetchCounts {
            requests,
            images: 2,
            bytes: 3,
            failures: [("HTTP 404".to_owned(), failed)].into(),
        };
        let (before, after) = (counts(5, 1), counts(9, 4));
        let between = between(&before, &after);
        assert_eq!((between.requests, between.images, between.failures["HTTP 404"]), (4, 0, 3));
        let text = json::text(to_value(&after));
        assert_eq!(of_value(&json::parse(&text).unwrap().value), Some(after.clone()));
        let mut sum = before;
        add(&mut sum, &between);
        assert_eq!(FetchCounts { images: 2, bytes: 3, ..sum }, after);
    }
}
