//! Values over the steps of a run.

use std::fmt::Write as _;

use pixtune_core::json::{self, list, object};
use pixtune_core::text::{counted, grouped};

use super::{Frame, NOTHING, SIDE, ticks};

/// Colors of lines before they repeat.
const COLORS: usize = 6;

/// A line of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Series<'s> {
    /// What it is: `validation`.
    pub name: &'s str,
    /// Step and value.
    pub points: &'s [(u64, f64)],
    /// Whether every point is marked; of few points, each counts.
    pub dots: bool,
}

/// Lines over steps. Where the mouse points, the page shows the values of the nearest step of each line.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'c> {
    /// The name by which tests find it.
    pub name: &'c str,
    /// What is shown, with its unit: the title of the upward axis.
    pub about: &'c str,
    /// The lines, in colors that differ for up to six.
    pub series: &'c [Series<'c>],
    /// The point that stands out.
    pub circled: Option<(u64, f64)>,
    /// The last step.
    pub steps: u64,
    /// Pixels high.
    pub height: u32,
}

impl Curve<'_> {
    /// The chart.
    pub fn html(&self) -> String {
        let Some((low, high)) = self.range() else { return NOTHING.to_owned() };
        let ticks = ticks(low, high, if self.height > 150 { 5 } else { 2 });
        let (low, high) = (low.min(ticks[0]), high.max(ticks[ticks.len() - 1]));
        let span = (high - low).max(f64::MIN_POSITIVE);
        let x = |step: u64| SIDE * step as f64 / self.steps.max(1) as f64;
        let y = |value: f64| SIDE * (high - value) / span;
        let mut drawing = String::new();
        for tick in &ticks {
            let _ = write!(drawing, "<path class=\"line\" d=\"M0 {:.1}H{SIDE}\"/>", y(*tick));
        }
        for (index, Series { points, dots, .. }) in self.series.iter().enumerate() {
            let class = format!("curve c{}", index % COLORS);
            let drawn: Vec<String> =
                points.iter().map(|(step, value)| format!("{:.1} {:.1}", x(*step), y(*value))).collect();
            if !drawn.is_empty() {
                let _ = write!(drawing, "<path class=\"{class}\" d=\"M{}\"/>", drawn.join("L"));
            }
            for ((step, value), place) in points.iter().zip(&drawn).filter(|_| *dots) {
                let _ = write!(
                    drawing,
                    "<path class=\"dot c{}\" d=\"M{place}h0\"><title>step {step}: {value:.4}</title></path>",
                    index % COLORS
                );
            }
        }
        if let Some((step, value)) = self.circled {
            let _ = write!(drawing, "<path class=\"ring c1\" d=\"M{:.1} {:.1}h0\"/>", x(step), y(value));
            let _ = write!(drawing, "<path class=\"dot c1\" d=\"M{:.1} {:.1}h0\"/>", x(step), y(value));
        }
        let steps = (0..=4u64).map(|part| self.steps * part / 4);
        let mut columns: Vec<(f64, String)> = steps.map(|step| (x(step) / SIDE, step.to_string())).collect();
        columns.dedup();
        let frame = Frame {
            name: self.name,
            about: format!("{} over {}", self.about, counted(self.steps, "step")),
            height: self.height,
            rows: ticks
                .iter()
                .map(|tick| (1.0 - y(*tick) / SIDE, label(*tick, ticks[1] - ticks[0])))
                .collect(),
            columns,
            axes: [self.about, "step"],
            limit: None,
            values: Some(self.values((low, high))),
            drawing,
        };
        frame.html()
    }

    /// The lines as JSON: the last step, the ends of the upward axis, and of each line its name, steps and values.
    fn values(&self, (low, high): (f64, f64)) -> String {
        let line = |series: &Series<'_>| {
            let Series { name, points, .. } = *series;
            let (name, points) = (name.to_owned(), points.to_vec());
            object(move |out| {
                out.field("name", &name).field("steps", list(points.iter().map(|(step, _)| *step)));
                out.field("values", list(points.iter().map(|(_, value)| significant(*value))));
            })
        };
        json::text(object(|out| {
            out.field("steps", self.steps.max(1)).field("low", low).field("high", high);
            out.field("lines", list(self.series.iter().map(line)));
        }))
    }

    /// From zero or, where the values lie far above it, from a little below them.
    fn range(&self) -> Option<(f64, f64)> {
        let values = || self.series.iter().flat_map(|series| series.points).map(|(_, value)| *value);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then(|| (low.min(0.0).max(low - (high - low)), high))
    }
}

/// A value with five digits.
fn significant(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// A tick with as many digits as tell it from its neighbors.
fn label(tick: f64, apart: f64) -> String {
    if apart >= 1.0 {
        let digits = grouped(tick.abs().round() as u64);
        return if tick < 0.0 { format!("−{digits}") } else { digits };
    }
    match (-apart.log10()).ceil() as usize {
        decimals @ 0..=4 => format!("{tick:.decimals$}"),
        _ if tick == 0.0 => "0".to_owned(),
        _ => format!("{tick:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(train: &[(u64, f64)], valid: &[(u64, f64)], circled: Option<(u64, f64)>) -> String {
        let series = [
            Series { name: "training", points: train, dots: false },
            Series { name: "validation", points: valid, dots: true },
        ];
        let steps = train.last().map_or(0, |(step, _)| *step);
        Curve { name: "loss", about: "loss", series: &series, circled, steps, height: 300 }.html()
    }

    #[test]
    fn labels_of_neighbors_differ() {
        assert_eq!([0.021, 0.022].map(|tick| label(tick, 0.001)), ["0.021", "0.022"]);
        assert_eq!([0.0, 2e-5].map(|tick| label(tick, 2e-5)), ["0", "2.0e-5"]);
        assert_eq!([0.5, 1.0].map(|tick| label(tick, 0.5)), ["0.5", "1.0"]);
        assert_eq!([-2.0, 30_000.0].map(|tick| label(tick, 2.0)), ["−2", "30,000"]);
    }

    #[test]
    fn a_chart_holds_its_points_and_no_broken_number() {
        let chart = drawn(&[(1, 3.0), (2, 1.0)], &[(0, 3.5), (2, 2.0)], Some((2, 2.0)));
        assert_eq!((chart.matches("class=\"dot").count(), chart.matches("class=\"ring").count()), (3, 1));
        assert!(chart.contains("step 0: 3.5000") && chart.contains("M500.0 250.0L1000.0 750.0"), "{chart}");
        assert!(chart.contains("&quot;steps&quot;:[0,2],&quot;values&quot;:[3.5,2]"), "{chart}");
        for chart in [chart, drawn(&[], &[], None), drawn(&[(0, 0.0)], &[], None)] {
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
