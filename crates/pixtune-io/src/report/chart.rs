//! Charts as SVG and HTML, without a library.

use std::fmt::Write as _;

use pixtune_core::quality::Histogram;

use super::page::{escape, escape_start};

/// A line across a histogram.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Where.
    pub at: u64,
    /// What it is.
    pub label: &'static str,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 170.0;

/// How values are distributed, on a logarithmic axis: each half octave a bar, one series above the other.
pub fn histogram(series: &[&Histogram], unit: &str, limit: Option<Limit>) -> String {
    let field = |value: u64| ((value.max(1) as f64).log2() * 2.0).floor() as i32;
    let largest = series.iter().map(|values| values.max()).max().unwrap_or(0);
    let smallest =
        series.iter().filter(|values| values.count() > 0).map(|values| values.min()).min().unwrap_or(0);
    if largest == 0 {
        return "<p class=\"note\">nothing to show</p>".to_owned();
    }
    let first = field(smallest);
    let last = limit.map_or(field(largest), |limit| field(largest).max(field(limit.at)));
    let fields = (last - first + 1).max(1) as usize;
    let mut counts = vec![vec![0u64; fields]; series.len()];
    for (values, counts) in series.iter().zip(&mut counts) {
        for (value, count) in values.bars() {
            counts[(field(value) - first).clamp(0, fields as i32 - 1) as usize] += count;
        }
    }
    let most =
        (0..fields).map(|at| counts.iter().map(|counts| counts[at]).sum::<u64>()).max().unwrap_or(1).max(1);
    let step = WIDTH / fields as f64;
    let mut out = format!(
        "<svg viewBox=\"0 -14 {WIDTH} {}\" role=\"img\" aria-label=\"distribution of {}\">",
        HEIGHT + 36.0,
        escape(unit)
    );
    for at in 0..fields {
        let mut bottom = HEIGHT;
        for (index, counts) in counts.iter().enumerate() {
            let height = counts[at] as f64 / most as f64 * HEIGHT;
            if counts[at] == 0 {
                continue;
            }
            bottom -= height;
            let (from, to) = (
                2f64.powf(f64::from(first + at as i32) / 2.0),
                2f64.powf(f64::from(first + at as i32 + 1) / 2.0),
            );
            let _ = write!(
                out,
                "<rect class=\"{}\" x=\"{:.1}\" y=\"{bottom:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\"><title>{:.0} to {:.0} {}: {}</title></rect>",
                if index == 0 { "a" } else { "b" },
                at as f64 * step + 1.0,
                (step - 2.0).max(1.0),
                height.max(1.0),
                from.ceil(),
                (to - 1.0).max(from).floor(),
                escape(unit),
                counts[at]
            );
        }
    }
    let _ =
        write!(out, "<path class=\"axis\" d=\"M0 {HEIGHT}H{WIDTH}\"/><text x=\"0\" y=\"-3\">{most}</text>");
    let every = (fields / 8).max(1) + (fields / 8).max(1) % 2;
    for at in (0..fields).filter(|at| (first.unsigned_abs() as usize + at).is_multiple_of(every.max(2))) {
        let value = 2f64.powi((first + at as i32) / 2);
        let _ = write!(
            out,
            "<text x=\"{:.1}\" y=\"{}\">{}</text>",
            at as f64 * step,
            HEIGHT + 16.0,
            short(value)
        );
    }
    if let Some(limit) = limit {
        let place = (((limit.at.max(1) as f64).log2() * 2.0) - f64::from(first)) * step;
        let x = place.clamp(0.0, WIDTH);
        let (anchor, shift) = if x > WIDTH / 2.0 { ("end", -5.0) } else { ("start", 5.0) };
        let _ = write!(
            out,
            "<path class=\"limit\" d=\"M{x:.1} -8V{HEIGHT}\"/><text class=\"limit-t\" x=\"{:.1}\" y=\"2\" text-anchor=\"{anchor}\">{} {}</text>",
            x + shift,
            escape(limit.label),
            grouped(limit.at)
        );
    }
    out.push_str("</svg>");
    out
}

/// `512`, `4k`, `2M`
fn short(value: f64) -> String {
    match value {
        _ if value >= 1_048_576.0 => format!("{:.0}M", value / 1_048_576.0),
        _ if value >= 1024.0 => format!("{:.0}k", value / 1024.0),
        _ => format!("{value:.0}"),
    }
}

/// Names with how often they occur, as bars.
pub fn ranked<Name: AsRef<str>>(rows: &[(Name, u64)], total: u64) -> String {
    let most = rows.iter().map(|(_, count)| *count).max().unwrap_or(1).max(1);
    let mut out = String::from("<div class=\"rank\">");
    for (name, count) in rows {
        let share = pixtune_core::quality::percent(*count as f64 / total.max(1) as f64);
        let _ = write!(
            out,
            "<span class=\"t\">{}</span><i style=\"width:{:.1}%\"></i><span class=\"n\">{} · {share}</span>",
            escape_start(name.as_ref(), 140),
            *count as f64 / most as f64 * 100.0,
            grouped(*count)
        );
    }
    out.push_str("</div>");
    out
}

/// Values over steps as a line; the points are evenly spaced.
pub fn line(series: &[(&str, &[(f64, f64)])], unit: &str) -> String {
    let points = || {
        series.iter().flat_map(|(_, points)| points.iter()).filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let bounds = points().fold(None::<(f64, f64, f64, f64)>, |bounds, (x, y)| {
        let (left, right, low, high) = bounds.unwrap_or((*x, *x, *y, *y));
        Some((left.min(*x), right.max(*x), low.min(*y), high.max(*y)))
    });
    let Some((left, right, low, high)) = bounds else {
        return "<p class=\"note\">nothing to show</p>".to_owned();
    };
    let place = |x: f64, y: f64| {
        let across = if right > left { (x - left) / (right - left) } else { 0.5 };
        let up = if high > low { (y - low) / (high - low) } else { 0.5 };
        (across * WIDTH, HEIGHT - up * HEIGHT)
    };
    let mut out = format!(
        "<svg viewBox=\"0 -14 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">",
        HEIGHT + 36.0,
        escape(unit)
    );
    for (index, (name, points)) in series.iter().enumerate() {
        let mut path = String::new();
        for (x, y) in points.iter().filter(|(x, y)| x.is_finite() && y.is_finite()) {
            let (x, y) = place(*x, *y);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
        }
        let colour = if index == 0 { "--accent" } else { "--accent2" };
        let _ = write!(
            out,
            "<path d=\"{path}\" fill=\"none\" style=\"stroke:var({colour})\" stroke-width=\"1.8\" stroke-linejoin=\"round\"><title>{}</title></path>",
            escape(name)
        );
    }
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M0 {HEIGHT}H{WIDTH}\"/><text x=\"0\" y=\"-3\">{high:.4}</text><text x=\"0\" y=\"{}\">{low:.4}</text>\
         <text x=\"{WIDTH}\" y=\"{}\" text-anchor=\"end\">{right}</text></svg>",
        HEIGHT - 4.0,
        HEIGHT + 16.0
    );
    out
}

/// A number with its thousands set apart.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn charts_of_nothing_one_and_much_are_drawn() {
        let mut one = Histogram::default();
        assert!(histogram(&[&one], "tokens", None).contains("nothing to show"));
        one.add(1);
        let drawn = histogram(&[&one], "tokens", Some(Limit { at: 131_072, label: "context" }));
        assert!(drawn.contains("context 131,072") && !drawn.contains("NaN"), "{drawn}");
        one.add(u64::MAX);
        assert!(!histogram(&[&one, &one], "<b>", None).contains("<b>"));
        let curve = line(&[("loss", &[(0.0, 2.0), (1.0, f64::NAN), (2.0, 1.0)])], "loss");
        assert!(curve.contains("M0.0 0.0L640.0 170.0"), "{curve}");
    }
}
