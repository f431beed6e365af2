//! What was found, errors first, and the rows that `prepare` rejected.

use std::fmt::Write as _;
use std::path::Path;

use pixtune_core::quality::Kept;
use pixtune_core::text::{counted, grouped};

use super::{SHOWN, View, place};
use crate::check::start_of_line;
use crate::read::MAX_LINE;
use crate::report::budget::{ImageArea, SizeBudget};
use crate::report::embed::{Embedder, Showing};
use crate::report::page::{Section, escape, escape_start, prose};
use crate::report::problems::{Detail, Level, Problem, Spot};

/// So many places of one finding are listed.
const PLACES: usize = 12;
/// So many places are listed without a click.
const FEW: usize = 4;
/// So many images of one finding are shown.
const IMAGES: usize = 6;
/// So many characters of an invalid line are shown.
const LINE: usize = 300;

pub(in crate::report) fn findings(view: View<'_>, embedder: &mut Embedder<'_>) -> Section {
    let mut body = String::new();
    if view.problems.is_empty() {
        body.push_str(
            "<div class=\"panel\"><p><span class=\"tag ok\">fine</span> There are no findings.</p></div>",
        );
    }
    let images = view.problems.iter().map(|problem| problem.places.len().min(IMAGES)).sum();
    let bytes = SizeBudget::image_share(ImageArea::Findings, images);
    let of_level = |level: Level| view.problems.iter().filter(move |problem| problem.level == level);
    for level in [Level::Error, Level::Warning] {
        for problem in of_level(level) {
            finding(view, problem, bytes, embedder, &mut body);
        }
    }
    let style = of_level(Level::Style).count() as u64;
    if style > 0 {
        let what = if style == 1 { "finding about style" } else { "findings about style" };
        let _ = write!(
            body,
            "<details class=\"panel style\"><summary><span class=\"tag\">style</span> {} {what}, often intended</summary>",
            grouped(style)
        );
        for problem in of_level(Level::Style) {
            finding(view, problem, bytes, embedder, &mut body);
        }
        body.push_str("</details>");
    }
    Section { id: "findings", title: "Findings", body }
}

fn finding(view: View<'_>, problem: &Problem, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let level = problem.level.as_str();
    let _ = write!(
        body,
        "<article class=\"finding {level}\" id=\"finding-{}\"><h3><span class=\"tag {level}\">{}</span> {}</h3><p class=\"soft\">{}</p>",
        problem.key,
        problem.rule,
        escape_start(&problem.message, SHOWN),
        prose(problem.why)
    );
    if !problem.hint.is_empty() {
        let _ = write!(body, "<p class=\"soft\">To do: {}</p>", prose(problem.hint));
    }
    thumbnails(problem, bytes, embedder, body);
    places(view, problem, &mut embedder.budget, body);
    let shown = problem.places.iter().filter_map(|spot| view.shown.number(spot.place?.line)).count() as u64;
    let mut links = Vec::new();
    if shown > 0 {
        links.push(format!(
            "<a href=\"#samples\" data-problem=\"{}\">{} below</a>",
            problem.key,
            counted(shown, "sample")
        ));
    }
    if problem.side_by_side {
        links.push("<a href=\"#duplicates\">side by side</a>".to_owned());
    }
    if !links.is_empty() {
        let _ = write!(body, "<p class=\"links\">{}</p>", links.join(" · "));
    }
    body.push_str("</article>");
}

/// The first images of a finding.
fn thumbnails(problem: &Problem, bytes: usize, embedder: &mut Embedder<'_>, body: &mut String) {
    let mut shown = String::new();
    let showing = Showing { area: ImageArea::Findings, side: 160, bytes, below: "", about: problem.rule };
    for place in problem.places.iter().filter_map(|spot| spot.place).take(IMAGES) {
        shown.push_str(&embedder.image(place, showing));
    }
    if !shown.is_empty() {
        let _ = write!(body, "<div class=\"grid small\">{shown}</div>");
    }
}

fn places(view: View<'_>, problem: &Problem, budget: &mut SizeBudget, out: &mut String) {
    // Some findings are about the dataset as a whole and have no location.
    if problem.places.is_empty() {
        return;
    }
    // A few places need no click.
    let listed = problem.places.len();
    let is_long = listed > FEW;
    if is_long {
        let open = if problem.level == Level::Error { " open" } else { "" };
        let _ = write!(out, "<details{open}><summary>{}</summary>", counted(listed as u64, "place"));
    }
    out.push_str("<ul class=\"locations\">");
    let is_refused = view.found.refused.contains_key(problem.rule);
    let rows = problem.places.iter().map(|Spot { place: at, text }| {
        let line = at.map(|at| at.line);
        let name = line.map_or(String::new(), |line| place(view, line));
        let text = match text {
            Detail::Text(text) => escape_start(text, SHOWN),
            Detail::First => String::new(),
            Detail::With(other) => format!("with {}", place(view, *other)),
        };
        let raw = line.filter(|_| is_refused).and_then(|line| start_of(view, line));
        let raw =
            raw.map_or(String::new(), |raw| format!("<br><code class=\"line\">{}</code>", escape(&raw)));
        format!("<li>{name} {text}{raw}</li>")
    });
    // Of a problem of pairs or groups, every member is listed; of another one, those that were kept of all.
    let total = if problem.side_by_side { listed as u64 } else { problem.count.max(listed as u64) };
    budget.list(out, (PLACES, total), rows, |count| {
        format!(
            "<li class=\"more\">… and {} more; <code>pixtune stats --examples</code> lists them</li>",
            grouped(count)
        )
    });
    out.push_str(if is_long { "</ul></details>" } else { "</ul>" });
}

/// The start of a line that is no sample.
fn start_of(view: View<'_>, line: crate::read::LinePlace) -> Option<String> {
    let file = view.source.files.get(line.file as usize)?;
    let index = view.found.line_indices.get(line.file as usize)?;
    let path: &Path = &file.path;
    let row = index.reread(path, line.line, MAX_LINE).ok()??;
    let most = row.bytes.len().min(1 << 16);
    Some(start_of_line(&String::from_utf8_lossy(&row.bytes[..most]), LINE))
}

pub(in crate::report) fn rejected(view: View<'_>, budget: &mut SizeBudget) -> Section {
    let mut rules: Vec<(&String, &Kept)> = view.found.rejected.iter().collect();
    rules.sort_by_key(|(rule, kept)| (std::cmp::Reverse(kept.count), rule.as_str()));
    let mut body = String::from("<div class=\"panel\" data-chart=\"rejected\">");
    if rules.is_empty() {
        body.push_str("<p><span class=\"tag ok\">none</span> No row was rejected.</p>");
    }
    let most = rules.first().map_or(1, |(_, kept)| kept.count).max(1);
    let number = rules.len();
    for (rule, kept) in rules.into_iter().take(100) {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag error\">{}</span> {}<i class=\"share\" style=\"width:{:.1}%\"></i></summary><ul class=\"locations\">",
            escape_start(rule, 60),
            counted(kept.count, "row"),
            kept.count as f64 / most as f64 * 100.0
        );
        let rows =
            kept.first.iter().map(|example| format!("<li>{}</li>", escape_start(&example.text, SHOWN)));
        budget.list(&mut body, (PLACES, kept.count), rows, |count| {
            format!("<li class=\"more\">… and {} more in rejected.jsonl</li>", grouped(count))
        });
        body.push_str("</ul></details>");
    }
    if number > 100 {
        let _ = write!(body, "<p class=\"more\">… and {} more rules</p>", number - 100);
    }
    body.push_str("</div>");
    Section { id: "rejected", title: "Rejected rows", body }
}
