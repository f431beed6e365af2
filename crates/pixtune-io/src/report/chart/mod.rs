//! Charts as HTML and SVG, without a library. What is drawn stretches with the page; labels stand beside it as HTML, so
//! that they keep their size at any width.

mod bars;
mod curve;
mod map;

use std::fmt::Write as _;

use pixtune_core::text::grouped;

use super::page::{escape, escape_start};

pub use bars::{Counted, Limit, histogram, scores};
pub use curve::{Curve, Series};
pub use map::size_map;

/// Where a chart has nothing to show.
const NOTHING: &str = "<p class=\"note\">nothing to show</p>";

/// What is drawn is this wide and high, whatever the size on the page.
const SIDE: f64 = 1000.0;

/// A drawing with its labels. Places are shares of its width from the left, and of its height from the bottom.
struct Frame<'f> {
    /// The name by which tests find it.
    name: &'f str,
    /// What it shows, for those who cannot see it.
    about: String,
    /// Pixels high.
    height: u32,
    /// Labels of the upward axis.
    rows: Vec<(f64, String)>,
    /// Labels of the axis to the right.
    columns: Vec<(f64, String)>,
    /// What the upward axis and the axis to the right count.
    axes: [&'f str; 2],
    /// A line across, with what it is.
    limit: Option<(f64, String)>,
    /// Values that the page shows where the mouse points, as JSON; see [`Curve`].
    values: Option<String>,
    /// The SVG.
    drawing: String,
}

impl Frame<'_> {
    fn html(&self) -> String {
        let class = if self.limit.is_some() { "chart limited" } else { "chart" };
        let [upward, rightward] = self.axes.map(escape);
        let mut out = format!("<figure class=\"{class}\" data-chart=\"{}\"", escape(self.name));
        if let Some(values) = &self.values {
            let _ = write!(out, " data-values=\"{}\"", escape(values));
        }
        let _ = write!(
            out,
            "><span class=\"yt\">{upward}</span><div class=\"plot\" style=\"height:{}px\">",
            self.height
        );
        for (place, label) in &self.rows {
            let _ = write!(
                out,
                "<span class=\"y\" style=\"bottom:{:.2}%\">{}</span>",
                place * 100.0,
                escape(label)
            );
        }
        let _ = write!(
            out,
            "<svg viewBox=\"0 0 {SIDE} {SIDE}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">{}</svg>",
            escape(&self.about),
            self.drawing
        );
        if let Some((place, label)) = &self.limit {
            let left = place.clamp(0.0, 1.0) * 100.0;
            let _ = write!(
                out,
                "<i class=\"limit\" style=\"left:{left:.2}%\"></i><b class=\"limit\" style=\"left:{left:.2}%;transform:translateX(-{left:.2}%)\">{}</b>",
                escape(label)
            );
        }
        out.push_str("</div><div class=\"x\">");
        for (index, (place, label)) in self.columns.iter().enumerate() {
            let left = place * 100.0;
            // On a phone every other label is hidden; the last one, often a limit, stays.
            let before_last = self.columns.len() - 1 - index;
            let class = if before_last % 2 == 1 && self.columns.len() > 5 { " class=\"wide\"" } else { "" };
            let _ = write!(
                out,
                "<span{class} style=\"left:{left:.2}%;transform:translateX(-{left:.2}%)\">{}</span>",
                escape(label)
            );
        }
        let _ = write!(out, "</div><p class=\"xt\">{rightward}</p></figure>");
        out
    }
}

/// Round numbers from below `low` to above `high`, `about` steps apart.
fn ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let rough = span / about as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last.max(first.saturating_add(1))).map(|count| count as f64 * step).collect()
}

/// Names with how often they occur, as bars.
pub fn ranked<Name: AsRef<str>>(name: &str, rows: &[(Name, u64)], total: u64) -> String {
    if rows.is_empty() {
        return NOTHING.to_owned();
    }
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut out = format!("<div class=\"rank\" data-chart=\"{}\">", escape(name));
    for (name, count) in rows {
        let share = pixtune_core::quality::percent(*count as f64 / total.max(1) as f64);
        let _ = write!(
            out,
            "<span class=\"t\">{}</span><span class=\"n\">{} · {share}</span><i style=\"width:{:.1}%\"></i>",
            escape_start(name.as_ref(), 140),
            grouped(*count),
            *count as f64 / most as f64 * 100.0
        );
    }
    out.push_str("</div>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks(0.0, 2.3, 6), [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(ticks(0.0, 1e-4, 2), [0.0, 5e-5, 1e-4]);
        for (low, high) in [(0.0, 0.0), (5.0, 5.0), (-3.0, 7.0), (1e-12, 2e-12), (0.0, 1e300)] {
            let ticks = ticks(low, high, 6);
            assert!(ticks.len() >= 2 && ticks.len() < 20, "{ticks:?}");
            assert!(ticks[0] <= low && ticks[ticks.len() - 1] >= high);
        }
    }
}
