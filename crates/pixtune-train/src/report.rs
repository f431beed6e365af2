//! `report.html`: the curves of a run in one self-contained file.

use std::fmt::Write as _;
use std::io;

use crate::error::TrainError;
use crate::folder::{Folder, names};
use crate::metrics::History;
use crate::settings::Plan;

/// More points than pixels show nothing more.
const POINTS: usize = 800;

/// Writes the report of a run that has ended, or of what there is of it.
pub fn write(folder: &Folder, plan: &Plan) -> Result<(), TrainError> {
    let path = folder.join(names::METRICS);
    let history = match History::read(&path, POINTS) {
        Ok(history) => history,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(TrainError::Write { path, source }),
    };
    folder.write(names::REPORT, html(plan, &history).as_bytes())
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d1f24;--soft:#6b7280;--line:#d9dce1;--paper:#fff;--train:#8fa8c8;--valid:#c2410c}
@media(prefers-color-scheme:dark){:root{--ink:#e6e8ec;--soft:#9aa1ac;--line:#3a3f47;--paper:#17191d;--train:#5f7ea6;--valid:#fb923c}}
body{background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif;max-width:860px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.3rem}h2{font-size:1rem;margin-top:2rem}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
td,th{padding:.15rem .9rem .15rem 0;text-align:left;vertical-align:top;font-weight:400}th{color:var(--soft)}
svg{width:100%;height:auto;overflow:visible}svg text{fill:var(--soft);font-size:12px}
.grid{stroke:var(--line);stroke-width:1}.train{stroke:var(--train);stroke-width:1.5;fill:none}
.valid{stroke:var(--valid);stroke-width:2;fill:none}.dot{fill:var(--valid)}.best{fill:none;stroke:var(--valid);stroke-width:2}
.key span{display:inline-block;width:1.4rem;height:.25rem;margin:0 .4rem .2rem 1rem;vertical-align:middle}";

/// The page. The same run gives the same bytes.
pub fn html(plan: &Plan, history: &History) -> String {
    let best = history.evaluations.iter().filter(|(step, ..)| *step > 0).copied();
    let best = best.reduce(|best, next| if next.1 < best.1 { next } else { best });
    let validation: Vec<(u64, f64)> =
        history.evaluations.iter().map(|&(step, loss, _)| (step, loss)).collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <title>pixtune train</title>\n<style>\n{STYLE}\n</style></head><body>\n<h1>Training of an adapter for {}</h1>\n",
        escape(&plan.model.display().to_string())
    );
    out.push_str("<h2>Loss</h2>\n<p class=\"key\"><span style=\"background:var(--train)\"></span>training");
    if !validation.is_empty() {
        out.push_str("<span style=\"background:var(--valid)\"></span>validation, the best one circled");
    }
    out.push_str("</p>\n");
    let losses =
        Chart { train: &history.losses, valid: &validation, best: best.map(|(step, loss, _)| (step, loss)) };
    out.push_str(&losses.svg(plan.steps, 300.0));
    out.push_str("<h2>Learning rate</h2>\n");
    let rates = Chart { train: &history.learning_rates, valid: &[], best: None };
    out.push_str(&rates.svg(plan.steps, 90.0));
    out.push_str(&table(plan, history, best));
    out.push_str("</body></html>\n");
    out
}

fn table(plan: &Plan, history: &History, best: Option<(u64, f64, f64)>) -> String {
    let mut out = String::from("<h2>The run</h2>\n<table>\n");
    let mut row = |name: &str, value: &str| {
        let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    };
    let taken = history.losses.last().map_or(0, |(step, _)| *step);
    row("steps", &format!("{taken} of {}", plan.steps));
    row("tokens", &history.tokens.to_string());
    if let (Some(first), Some(last)) = (history.losses.first(), history.losses.last()) {
        row(
            "training loss",
            &format!("{:.4} at step {}, {:.4} at step {}", first.1, first.0, last.1, last.0),
        );
    }
    if let Some((step, loss, accuracy)) = best {
        let tokens = format!("{:.1} % of the trained tokens are the most likely one", 100.0 * accuracy);
        row("best validation loss", &format!("{loss:.4} at step {step}; {tokens}"));
    }
    if let Some((_, loss, _)) = history.evaluations.iter().find(|(step, ..)| *step == 0) {
        row("before training", &format!("{loss:.4}"));
    }
    for (name, value) in plan.decides() {
        row(&name.replace('_', " "), value.trim_matches('"'));
    }
    out.push_str("</table>\n");
    out
}

/// Curves over the steps of a run.
struct Chart<'h> {
    train: &'h [(u64, f64)],
    valid: &'h [(u64, f64)],
    best: Option<(u64, f64)>,
}

const WIDTH: f64 = 820.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 26.0;
const TOP: f64 = 8.0;

impl Chart<'_> {
    fn svg(&self, steps: u64, height: f64) -> String {
        let (low, high) = self.range();
        let ticks = ticks(low, high, if height > 200.0 { 6 } else { 2 });
        let (low, high) = (low.min(ticks[0]), high.max(ticks[ticks.len() - 1]));
        let x = |step: u64| LEFT + (WIDTH - LEFT) * step as f64 / steps.max(1) as f64;
        let span = (high - low).max(f64::MIN_POSITIVE);
        let y = |value: f64| TOP + (height - TOP - BOTTOM) * (high - value) / span;
        let mut out = format!("<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n");
        for tick in &ticks {
            let at = y(*tick);
            let _ = writeln!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>"
            );
            let label = label(*tick);
            let _ = writeln!(
                out,
                "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                LEFT - 8.0,
                at + 4.0
            );
        }
        for part in 0..=4_u64 {
            let step = steps * part / 4;
            let anchor = if part == 4 { "end" } else { "middle" };
            let at = height - 6.0;
            let _ =
                writeln!(out, "<text x=\"{:.1}\" y=\"{at}\" text-anchor=\"{anchor}\">{step}</text>", x(step));
        }
        let line = |class: &str, points: &[(u64, f64)]| {
            let points: Vec<String> =
                points.iter().map(|&(step, value)| format!("{:.1},{:.1}", x(step), y(value))).collect();
            format!("<polyline class=\"{class}\" points=\"{}\"/>\n", points.join(" "))
        };
        out.push_str(&line("train", self.train));
        out.push_str(&line("valid", self.valid));
        for &(step, value) in self.valid {
            let title = format!("step {step}: {value:.4}");
            let _ = writeln!(
                out,
                "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"><title>{title}</title></circle>",
                x(step),
                y(value)
            );
        }
        if let Some((step, value)) = self.best {
            let _ = writeln!(
                out,
                "<circle class=\"best\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"7\"/>",
                x(step),
                y(value)
            );
        }
        out.push_str("</svg>\n");
        out
    }

    fn range(&self) -> (f64, f64) {
        let values = || self.train.iter().chain(self.valid).map(|(_, value)| *value);
        let low = values().fold(f64::INFINITY, f64::min);
        let high = values().fold(f64::NEG_INFINITY, f64::max);
        if low.is_finite() && high.is_finite() {
            (low.min(0.0).max(low - (high - low)), high)
        } else {
            (0.0, 1.0)
        }
    }
}

/// Round numbers from below `low` to above `high`.
fn ticks(low: f64, high: f64, about: usize) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1.0) };
    let rough = span / about as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    (first..=last.max(first + 1)).map(|count| count as f64 * step).collect()
}

fn label(tick: f64) -> String {
    if tick != 0.0 && tick.abs() < 0.01 {
        return format!("{tick:.1e}");
    }
    let text = format!("{tick:.2}");
    text.strip_suffix(".00").map_or(text.clone(), str::to_owned)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
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

    #[test]
    fn a_chart_holds_its_points_and_no_broken_number() {
        let chart =
            Chart { train: &[(1, 3.0), (2, 1.0)], valid: &[(0, 3.5), (2, 2.0)], best: Some((2, 2.0)) };
        let svg = chart.svg(2, 300.0);
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let empty = Chart { train: &[], valid: &[], best: None }.svg(0, 300.0);
        assert!(!empty.contains("NaN") && !empty.contains("inf"));
    }
}
