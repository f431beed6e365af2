//! `summary.html` of a project: what became of each stage, with its numbers, its files and its command.

use std::fs;
use std::path::Path;

use pixtune_core::json::{self, Value};
use pixtune_core::text::grouped;
use pixtune_io::config::Project;
use pixtune_io::report::page::{Page, Section, escape};

use super::StageResult;
use super::stage::{Places, Stage};
use crate::args::StageArg;
use crate::error::Error;

/// The name of the page.
const NAME: &str = "summary.html";

/// Writes the page of a run, which may have ended early.
pub(super) fn write(
    places: &Places,
    project: &Project,
    all: &[Stage],
    results: &[StageResult],
) -> Result<(), Error> {
    let page = Page {
        title: format!("Project {}", project.out),
        lead: format!(
            "{} of {} stages done, model {}",
            results.len(),
            all.len(),
            project.model.as_deref().unwrap_or("pixtral-12b")
        ),
        foot: format!("pixtune {}", env!("CARGO_PKG_VERSION")),
        sections: vec![overview(places, all, results), commands(project, all)],
    };
    let path = places.out.join(NAME);
    pixtune_files::write(&path, page.html().as_bytes()).map_err(|source| Error::Write { path, source })
}

/// A line for each stage, for the terminal.
pub(super) fn table(places: &Places, results: &[StageResult]) -> String {
    let mut out = String::new();
    for result in results {
        let output = result.stage.output.as_ref().map_or(String::new(), |path| path.display().to_string());
        let (verdict, time) = (verdict(result), seconds(result.end.seconds));
        out.push_str(&format!("{:<10}{verdict:<14}{time:>9}  {output}\n", result.stage.name()));
    }
    out.push_str(&format!("{:<10}{}\n", "summary", places.out.join(NAME).display()));
    out
}

fn verdict(result: &StageResult) -> &'static str {
    match (result.end.code, result.was_done) {
        (0, false) => "done",
        (0, true) => "done before",
        _ => "has findings",
    }
}

fn seconds(seconds: f64) -> String {
    match seconds {
        short if short < 100.0 => format!("{short:.1} s"),
        long if long < 6000.0 => format!("{:.0} min", long / 60.0),
        longer => format!("{:.1} h", longer / 3600.0),
    }
}

fn overview(places: &Places, all: &[Stage], results: &[StageResult]) -> Section {
    let mut body = String::from(
        "<table><thead><tr><th scope=\"col\">Stage</th><th scope=\"col\">Result</th><th scope=\"col\">Time</th>\
         <th scope=\"col\">Numbers</th><th scope=\"col\">Files</th></tr></thead><tbody>",
    );
    for stage in all {
        let result = results.iter().find(|result| result.stage.kind == stage.kind);
        let (verdict, time) = match result {
            Some(result) => (verdict(result), seconds(result.end.seconds)),
            None => ("not run", String::new()),
        };
        let numbers = result.map_or(String::new(), |result| numbers(&result.stage));
        body.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td>{verdict}</td><td>{time}</td><td>{numbers}</td><td>{}</td></tr>",
            escape(stage.name()),
            links(places, stage)
        ));
    }
    body.push_str("</tbody></table>");
    Section { id: "stages", title: "Stages", body }
}

/// The commands, so that each stage can be repeated alone.
fn commands(project: &Project, all: &[Stage]) -> Section {
    let commands: Vec<String> = all.iter().map(|stage| escape(&stage.command())).collect();
    let file = escape(&project.file.display().to_string());
    let body = format!(
        "<p>In the directory of <code>{file}</code>, these commands do the same.</p><pre>{}</pre>",
        commands.join("\n")
    );
    Section { id: "commands", title: "Commands", body }
}

/// Pages and directories of a stage, relative to the summary.
fn links(places: &Places, stage: &Stage) -> String {
    let Some(output) = stage.output.as_ref().filter(|output| output.exists()) else { return String::new() };
    let page = output.join("report.html");
    let mut targets = vec![output.clone()];
    targets.extend(page.exists().then_some(page));
    let link = |target: &std::path::PathBuf| {
        let name = escape(&target.strip_prefix(&places.out).unwrap_or(target).display().to_string());
        format!("<a href=\"{name}\">{name}</a>")
    };
    targets.iter().map(link).collect::<Vec<_>>().join("<br>")
}

fn numbers(stage: &Stage) -> String {
    let found = match (stage.kind, &stage.output) {
        (StageArg::Prepare, Some(output)) => prepared(output),
        (StageArg::Train, Some(output)) => trained(output),
        (StageArg::Evaluate, Some(output)) => evaluated(output),
        _ => None,
    };
    escape(&found.unwrap_or_default())
}

fn read(path: &Path) -> Option<Value<'static>> {
    let text = fs::read_to_string(path).ok()?;
    Some(json::parse(&text).ok()?.value.into_owned())
}

fn number(value: &Value<'_>, path: &[&str]) -> Option<f64> {
    let found = path.iter().try_fold(value, |value, key| value.get(key))?;
    match found {
        Value::Number(number) => number.parse().ok(),
        _ => None,
    }
}

fn prepared(directory: &Path) -> Option<String> {
    let manifest = read(&directory.join(pixtune_io::manifest::MANIFEST))?;
    let count = |path: &[&str]| number(&manifest, path).map_or(0, |count| count as u64);
    Some(format!(
        "{} training, {} validation, {} rejected; {} in {}",
        grouped(count(&["counts", "train"])),
        grouped(count(&["counts", "validation"])),
        grouped(count(&["counts", "rejected"])),
        pixtune_core::text::counted(count(&["tokens", "total"]), "token"),
        pixtune_core::text::counted(count(&["counts", "train"]) + count(&["counts", "validation"]), "sample"),
    ))
}

fn trained(directory: &Path) -> Option<String> {
    let metrics = fs::read_to_string(directory.join("metrics.jsonl")).ok()?;
    let lines = || metrics.lines().rev().filter_map(|line| json::parse(line).ok());
    let last = |key: &str| lines().find_map(|line| number(&line.value, &[key]));
    let mut text = format!("step {}, loss {:.4}", grouped(last("step")? as u64), last("loss")?);
    if let Some(loss) = last("valid_loss") {
        text.push_str(&format!(", validation loss {loss:.4}"));
    }
    Some(text)
}

fn evaluated(directory: &Path) -> Option<String> {
    let scores = read(&directory.join("scores.json"))?;
    let metric = scores.get("metric")?.get("name")?.as_str()?;
    let mut text = format!("{metric} {:.4}", number(&scores, &["model", "score"])?);
    if let Some(compared) = number(&scores, &["compared", "score"]) {
        text.push_str(&format!(", compared with {compared:.4}"));
    }
    Some(text)
}
