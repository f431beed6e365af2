//! Distributions as bars.

use std::fmt::Write as _;

use pixtune_core::quality::Histogram;
use pixtune_core::text::grouped;

use super::{Frame, NOTHING, SIDE, short, ticks};
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

/// How values are distributed, on a logarithmic axis: each half octave a bar, one series above the other.
pub fn histogram(name: &str, series: &[&Histogram], unit: &str, limit: Option<Limit>) -> String {
    let largest = series.iter().map(|values| values.max()).max().unwrap_or(0);
    let filled = series.iter().filter(|values| values.count() > 0);
    let smallest = filled.map(|values| values.min()).min().unwrap_or(0);
    if largest == 0 {
        return NOTHING.to_owned();
    }
    let first = half_octave(smallest);
    let last = limit.map_or(half_octave(largest), |limit| half_octave(largest).max(half_octave(limit.at)));
    let edge = |at: usize| 2f64.powf(f64::from(first + at as i32) / 2.0);
    let mut fields: Vec<(String, Vec<u64>)> = (0..=(last - first) as usize)
        .map(|at| {
            let (from, to) = (edge(at).ceil(), (edge(at + 1) - 1.0).max(edge(at)).floor());
            (format!("{} to {} {unit}", grouped(from as u64), grouped(to as u64)), vec![0; series.len()])
        })
        .collect();
    for (index, values) in series.iter().enumerate() {
        for (value, count) in values.bars() {
            let at = (half_octave(value) - first).clamp(0, last - first) as usize;
            fields[at].1[index] += count;
        }
    }
    let place = |value: f64| (value.max(1.0).log2() * 2.0 - f64::from(first)) / f64::from(last - first + 1);
    let (drawing, rows) = Bars { fields }.draw();
    let frame = Frame {
        name,
        about: format!("distribution of {unit}: {} to {}", grouped(smallest), grouped(largest)),
        height: 170,
        rows,
        columns: octaves(first, last).map(|value| (place(value), short(value))).collect(),
        limit: limit.map(|limit| (place(limit.at as f64), format!("{} {}", limit.label, grouped(limit.at)))),
        drawing,
    };
    frame.html()
}

/// Twice the logarithm to base 2, rounded down.
fn half_octave(value: u64) -> i32 {
    ((value.max(1) as f64).log2() * 2.0).floor() as i32
}

/// Powers of two within these half octaves, so many apart that about eight remain.
fn octaves(first: i32, last: i32) -> impl Iterator<Item = f64> {
    let apart = ((last - first) / 2 / 8 + 1).max(1);
    ((first + 1) / 2..=(last + 1) / 2)
        .filter(move |octave| octave % apart == 0)
        .map(|octave| 2f64.powi(octave))
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
        limit: Some((threshold, format!("{label} {threshold:.2}"))),
        drawing,
    };
    frame.html()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_of_nothing_one_and_much_are_drawn() {
        let mut one = Histogram::default();
        assert!(histogram("t", &[&one], "tokens", None).contains("nothing to show"));
        one.add(1);
        let drawn = histogram("t", &[&one], "tokens", Some(Limit { at: 131_072, label: "context" }));
        assert!(drawn.contains("context 131,072") && !drawn.contains("NaN"), "{drawn}");
        one.add(u64::MAX);
        assert!(!histogram("t", &[&one, &one], "<b>", None).contains("<b>"));
        assert!(scores("s", &[0; 20], 0.3, "bad below").contains("nothing to show"));
        assert!(scores("s", &[3; 20], 0.3, "bad below").contains("bad below 0.30"));
    }
}
