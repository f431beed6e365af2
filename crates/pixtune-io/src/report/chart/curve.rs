//! Values over the steps of a run.

use std::fmt::Write as _;

use pixtune_core::text::counted;

use super::{Frame, NOTHING, SIDE, ticks};

/// A line of a chart.
#[derive(Debug, Clone, Copy)]
pub struct Series<'s> {
    /// Step and value.
    pub points: &'s [(u64, f64)],
    /// Whether every point is marked; of few points, each counts.
    pub dots: bool,
}

/// Lines over steps.
#[derive(Debug, Clone, Copy)]
pub struct Curve<'c> {
    /// The name by which tests find it.
    pub name: &'c str,
    /// What is shown.
    pub about: &'c str,
    /// The lines; the first is drawn lightest.
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
        for (index, Series { points, dots }) in self.series.iter().enumerate() {
            let class = if index == 0 { "curve" } else { "curve second" };
            let drawn: Vec<String> =
                points.iter().map(|(step, value)| format!("{:.1} {:.1}", x(*step), y(*value))).collect();
            if !drawn.is_empty() {
                let _ = write!(drawing, "<path class=\"{class}\" d=\"M{}\"/>", drawn.join("L"));
            }
            for ((step, value), place) in points.iter().zip(&drawn).filter(|_| *dots) {
                let _ = write!(
                    drawing,
                    "<path class=\"dot\" d=\"M{place}h0\"><title>step {step}: {value:.4}</title></path>"
                );
            }
        }
        if let Some((step, value)) = self.circled {
            let _ = write!(drawing, "<path class=\"ring\" d=\"M{:.1} {:.1}h0\"/>", x(step), y(value));
            let _ = write!(drawing, "<path class=\"dot\" d=\"M{:.1} {:.1}h0\"/>", x(step), y(value));
        }
        let steps = (0..=4u64).map(|part| self.steps * part / 4);
        let mut columns: Vec<(f64, String)> = steps.map(|step| (x(step) / SIDE, step.to_string())).collect();
        columns.dedup();
        let frame = Frame {
            name: self.name,
            about: format!("{} over {}", self.about, counted(self.steps, "step")),
            height: self.height,
            rows: ticks.iter().map(|tick| (1.0 - y(*tick) / SIDE, label(*tick))).collect(),
            columns,
            limit: None,
            drawing,
        };
        frame.html()
    }

    /// From zero or, where the values lie far above it, from a little below them.
    fn range(&self) -> Option<(f64, f64)> {
        let values = || self.series.iter().flat_map(|series| series.points).map(|(_, value)| *value);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then(|| (low.min(0.0).max(low - (high - low)), high))
    }
}

fn label(tick: f64) -> String {
    if tick != 0.0 && tick.abs() < 0.01 {
        return format!("{tick:.1e}");
    }
    let text = format!("{tick:.2}");
    text.strip_suffix(".00").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(train: &[(u64, f64)], valid: &[(u64, f64)], circled: Option<(u64, f64)>) -> String {
        let series = [Series { points: train, dots: false }, Series { points: valid, dots: true }];
        let steps = train.last().map_or(0, |(step, _)| *step);
        Curve { name: "loss", about: "loss", series: &series, circled, steps, height: 300 }.html()
    }

    #[test]
    fn a_chart_holds_its_points_and_no_broken_number() {
        let chart = drawn(&[(1, 3.0), (2, 1.0)], &[(0, 3.5), (2, 2.0)], Some((2, 2.0)));
        assert_eq!((chart.matches("class=\"dot\"").count(), chart.matches("class=\"ring\"").count()), (3, 1));
        assert!(chart.contains("step 0: 3.5000") && chart.contains("M500.0 250.0L1000.0 750.0"), "{chart}");
        for chart in [chart, drawn(&[], &[], None), drawn(&[(0, 0.0)], &[], None)] {
            assert!(!chart.contains("NaN") && !chart.contains("inf"), "{chart}");
        }
    }
}
