//! What is counted and logged about requests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Counts of requests.
#[derive(Debug, Default)]
pub struct Observed {
    counts: Mutex<BTreeMap<(String, u16), (u64, f64)>>,
}

/// Routes that are counted one by one; there are fewer.
const MOST: usize = 1000;

impl Observed {
    /// Counts a request.
    pub fn add(&self, route: &str, status: u16, took: Duration) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let route = if counts.len() < MOST { route } else { "other" };
        let entry = counts.entry((route.to_owned(), status)).or_default();
        entry.0 += 1;
        entry.1 += took.as_secs_f64();
    }

    /// The counts in the text format of Prometheus.
    pub fn prometheus(&self, gauges: &[(&str, &str, f64)]) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = String::new();
        out.push_str("# HELP pixtune_requests_total Requests by route and status.\n# TYPE pixtune_requests_total counter\n");
        for ((route, status), (count, _)) in counts.iter() {
            let _ = writeln!(out, "pixtune_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        out.push_str("# HELP pixtune_request_seconds_total Seconds until the answer of requests began.\n# TYPE pixtune_request_seconds_total counter\n");
        for ((route, status), (_, seconds)) in counts.iter() {
            let _ = writeln!(
                out,
                "pixtune_request_seconds_total{{route=\"{route}\",status=\"{status}\"}} {seconds:.6}"
            );
        }
        let mut described = "";
        for (name, labels, value) in gauges {
            if *name != described {
                let _ = writeln!(out, "# TYPE {name} gauge");
                described = name;
            }
            let _ = writeln!(out, "{name}{labels} {value}");
        }
        out
    }
}
