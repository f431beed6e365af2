//! Distributions as bars.

use std::fmt::Write as _;

use pixtune_core::quality::Histogram;
use pixtune_core::text::grouped;

use super::{Frame, NOTHING, SIDE, ticks};
use crate::report::page::escape;

/// A line across a histogram.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Where.
    pub at: u64,
    /// What it is.
    pub label: &'static str,
}

/// Bars side by side, one series above the other.
struct Bars {
    /// Of each bar what it stands for, and of each series how much of it.
    fields: Vec<(String, Vec<u64>)>,
}

impl Bars {
    /// The drawing, and the labels of the upward axis.
    fn draw(&self) -> (String, Vec<(f64, String)>) {
        let total = |counts: &[u64]| counts.iter().sum::<u64>();
        let most = self.fields.iter().map(|(_, counts)| total(counts)).max().unwrap_or(0).max(1);
        let ticks: Vec<f64> =
            ticks(0.0, most as f64, 4).into_iter().filter(|tick| tick.fract() == 0.0).collect();
        let top = ticks.last().copied().unwrap_or(most as f64).max(most as f64);
        let rows: Vec<(f64, String)> = ticks.iter().map(|tick| (tick / top, grouped(*tick as u64))).collect();
        let mut out = String::new();
        for (place, _) in &rows {
            let y = (1.0 - place) * SIDE;
            let _ = write!(out, "<path class=\"line\" d=\"M0 {y:.1}H{SIDE}\"/>");
        }
        let step = SIDE / self.fields.len().max(1) as f64;
        for (at, (about, counts)) in self.fields.iter().enumerate() {
            let mut bottom = SIDE;
            for (series, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
                // What is there can be seen, however little it is.
                let height = (*count as f64 / top * SIDE).max(6.0);
                bottom -= height;
                let _ = write!(
                    out,
                    "<rect class=\"{}\" x=\"{:.1}\" y=\"{bottom:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{}: {}</title></rect>",
                    if series == 0 { "a" } else { "b" },
                    (at as f64 + 0.06) * step,
                    step * 0.88,
                    escape(about),
                    grouped(*count)
                );
            }
        }
        (out, rows)
    }
}

/// What a histogram counts.
#[derive(Debug, Clone, Copy)]
pub struct Counted {
    /// The unit of the values: `tokens`.
    pub unit: &'static str,
    /// What has a value: `samples`.
    pub what: &'static str,
}

/// Bins of half an octave for whole numbers. Bin `i` holds what is above edge `i` and up to edge `i + 1`, so that a limit at
/// an edge separates what is within it from what is beyond.
struct Bins {
    edges: Vec<u64>,
}

/// A chart with fewer bins looks like a solid block.
const LEAST_BINS: usize = 6;
/// A limit further away than this many bins is a note, not a line.
const NEAR_BINS: i32 = 4;

impl Bins {
    /// Bins from the smallest to the largest value, with an edge at the limit.
    fn new(smallest: u64, largest: u64, limit: Option<u64>) -> Bins {
        let anchor = limit.unwrap_or(1).max(1) as f64;
        let bin = |value: u64| ((value.max(1) as f64 / anchor).log2() * 2.0 - 1e-9).ceil() as i32;
        let (mut first, mut last) = (bin(smallest) - 1, bin(largest));
        if limit.is_some() {
            // The limit is the edge 0.
            first = if (1..=NEAR_BINS).contains(&first) { 0 } else { first };
            last = if (-NEAR_BINS..0).contains(&last) { 0 } else { last };
        }
        let edge = |number: i32| (anchor * 2f64.powf(f64::from(number) / 2.0)).round() as u64;
        let mut edges: Vec<u64> = (first..=last).map(edge).collect();
        // Rounding may lift the lowest edge to the smallest value, which has to be above it.
        while edges[0] >= smallest.max(1) {
            first -= 1;
            edges.insert(0, edge(first));
        }
        edges.dedup();
        while edges.len() <= LEAST_BINS {
            let after = edges[edges.len() - 1];
            edges.push(((after.max(1) as f64 * std::f64::consts::SQRT_2).round() as u64).max(after + 1));
            let before = edges[0];
            if before > 1 && edges.len() <= LEAST_BINS {
                edges.insert(0, (before as f64 / std::f64::consts::SQRT_2).round() as u64);
            }
        }
        Bins { edges }
    }

    fn number(&self) -> usize {
        self.edges.len() - 1
    }

    fn of(&self, value: u64) -> usize {
        self.edges.partition_point(|edge| *edge < value).saturating_sub(1).min(self.number() - 1)
    }

    /// The values of a bin in words.
    fn values(&self, bin: usize, smallest: u64) -> String {
        let (from, to) = (self.edges[bin] + 1, self.edges[bin + 1]);
        // Zero has no logarithm: it is in the first bin.
        let from = if bin == 0 { from.min(smallest.max(self.edges[0])) } else { from };
        if from >= to { grouped(to) } else { format!("{} to {}", grouped(from), grouped(to)) }
    }

    /// Where an edge is, if it is one.
    fn place(&self, value: u64) -> Option<f64> {
        let at = self.edges.binary_search(&value).ok()?;
        Some(at as f64 / self.number() as f64)
    }

    /// About seven edges with their values, the last one among them.
    fn labels(&self) -> Vec<(f64, String)> {
        let apart = self.number().div_ceil(7);
        let number = self.number();
        (0..=number)
            .filter(|at| (number - at).is_multiple_of(apart))
            .map(|at| (at as f64 / number as f64, grouped(self.edges[at])))
            .collect()
    }
}

/// How values are distributed, on a logarithmic axis: each half octave a bar, one series above the other. A limit is a line
/// where it is near the values, else a note.
pub fn histogram(name: &str, series: &[&Histogram], counted: Counted, limit: Option<Limit>) -> String {
    let Counted { unit, what } = counted;
    let largest = series.iter().map(|values| values.max()).max().unwrap_or(0);
    let filled = series.iter().filter(|values| values.count() > 0);
    let smallest = filled.map(|values| values.min()).min().unwrap_or(0);
    if largest == 0 {
        return NOTHING.to_owned();
    }
    let bins = Bins::new(smallest, largest, limit.map(|limit| limit.at));
    let mut fields: Vec<(String, Vec<u64>)> = (0..bins.number())
        .map(|bin| (format!("{} {unit}", bins.values(bin, smallest)), vec![0; series.len()]))
        .collect();
    for (index, values) in series.iter().enumerate() {
        for (value, count) in values.bars() {
            fields[bins.of(value)].1[index] += count;
        }
    }
    let (drawing, rows) = Bars { fields }.draw();
    let line = limit.and_then(|limit| {
        let text = format!("{} {}", limit.label, grouped(limit.at));
        Some((bins.place(limit.at)?, text))
    });
    let rightward = format!("{unit}, logarithmic: each bar ends at 1.41 times the end of the one before");
    let note = limit.filter(|_| line.is_none()).map_or(String::new(), |limit| far(limit, largest, unit));
    let frame = Frame {
        name,
        about: format!("distribution of {unit}: {} to {}", grouped(smallest), grouped(largest)),
        height: 170,
        rows,
        columns: bins.labels(),
        axes: [what, &rightward],
        limit: line,
        values: None,
        drawing,
    };
    frame.html() + &note
}

/// A limit that is too far away to be drawn.
fn far(limit: Limit, largest: u64, unit: &str) -> String {
    let at = grouped(limit.at);
    let text = match limit.at > largest {
        true => {
            let times = limit.at as f64 / largest as f64;
            format!("{} {at} {unit}: {times:.0} times the largest value, not drawn", limit.label)
        }
        false => format!("{} {at} {unit}: every value is far above it, not drawn", limit.label),
    };
    format!("<p class=\"note far\">{}</p>", escape(&text))
}

/// How scores from 0 to 1 are distributed, counted in fields of equal width, with the threshold below which they are bad.
pub fn scores(name: &str, counts: &[u64], threshold: f64, label: &str) -> String {
    if counts.iter().all(|count| *count == 0) {
        return NOTHING.to_owned();
    }
    let width = 1.0 / counts.len() as f64;
    let about = |at: usize| format!("{:.2} to {:.2}", at as f64 * width, (at + 1) as f64 * width);
    let fields = counts.iter().enumerate().map(|(at, count)| (about(at), vec![*count])).collect();
    let (drawing, rows) = Bars { fields }.draw();
    let frame = Frame {
        name,
        about: format!("distribution of scores, with the threshold {threshold:.2}"),
        height: 90,
        rows,
        columns: vec![(0.0, "0 bad".to_owned()), (0.5, "0.5".to_owned()), (1.0, "1 good".to_owned())],
        axes: ["images", "score"],
        limit: Some((threshold, format!("{label} {threshold:.2}"))),
        values: None,
        drawing,
    };
    frame.html()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: Counted = Counted { unit: "tokens", what: "samples" };
    const CONTEXT: Option<Limit> = Some(Limit { at: 131_072, label: "context" });

    fn of(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        values.iter().for_each(|value| histogram.add(*value));
        histogram
    }

    #[test]
    fn charts_of_nothing_one_and_much_are_drawn() {
        assert!(histogram("t", &[&of(&[])], TOKENS, None).contains("nothing to show"));
        for values in [&[1][..], &[0, 1], &[1, u64::MAX], &[3; 9]] {
            for limit in [None, CONTEXT, Some(Limit { at: 1, label: "one" })] {
                let drawn = histogram("t", &[&of(values), &of(values)], TOKENS, limit);
                assert!(!drawn.contains("NaN") && !drawn.contains("inf"), "{values:?} {drawn}");
            }
        }
        let hostile = Counted { unit: "<b>", what: "<i>" };
        let drawn = histogram("t", &[&of(&[1])], hostile, None);
        assert!(!drawn.contains("<b>") && !drawn.contains("<i>"));
        assert!(scores("s", &[0; 20], 0.3, "bad below").contains("nothing to show"));
        assert!(scores("s", &[3; 20], 0.3, "bad below").contains("bad below 0.30"));
    }

    #[test]
    fn what_is_exactly_at_the_limit_is_within_it() {
        for limit in [1024, 1540, 100] {
            let bins = Bins::new(limit / 9, limit * 3, Some(limit));
            let line = bins.place(limit).unwrap() * bins.number() as f64;
            assert!((bins.of(limit) as f64) < line && bins.of(limit + 1) as f64 >= line, "{limit}");
        }
    }

    #[test]
    fn every_value_is_in_the_bin_that_names_it() {
        let bins = Bins::new(0, 3000, None);
        assert_eq!(bins.edges[..8], [0, 1, 2, 3, 4, 6, 8, 11][..]);
        for value in 1..=3000 {
            let bin = bins.of(value);
            assert!(bins.edges[bin] < value && value <= bins.edges[bin + 1], "{value}");
        }
        assert_eq!((bins.of(0), bins.values(0, 0)), (0, "0 to 1".to_owned()));
        assert_eq!((bins.values(1, 0), bins.values(4, 0)), ("2".to_owned(), "5 to 6".to_owned()));
    }

    #[test]
    fn a_limit_far_away_is_a_note_and_does_not_stretch_the_axis() {
        let drawn = histogram("t", &[&of(&[500, 3000])], TOKENS, CONTEXT);
        assert!(drawn.contains("context 131,072 tokens: 44 times the largest value"), "{drawn}");
        assert!(!drawn.contains("limited") && !drawn.contains(">65,536<"), "{drawn}");
        let drawn = histogram("t", &[&of(&[500, 60_000])], TOKENS, CONTEXT);
        assert!(drawn.contains("<b class=\"limit\"") && drawn.contains("context 131,072"), "{drawn}");
        let beyond = histogram("t", &[&of(&[50_000])], TOKENS, Some(Limit { at: 10, label: "limit" }));
        assert!(beyond.contains("limit 10 tokens: every value is far above it"), "{beyond}");
    }
}
