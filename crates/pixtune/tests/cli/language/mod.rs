//! Texts for people use the standard terms of the field, and counts agree with their nouns.

mod counts;
mod sources;
mod terms;

use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use crate::harness::{Case, root};
use sources::{Text, markdown, rust_literals};

/// Fails with one line per misused term or number that does not agree with its noun.
#[track_caller]
fn check(texts: impl IntoIterator<Item = Text>) {
    let problems = |text: Text| [terms::misused(&text), counts::disagreeing(&text)].concat();
    fail_on(texts.into_iter().flat_map(problems).collect());
}

#[track_caller]
fn fail_on(problems: Vec<String>) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

/// The files under a directory of the repository whose names end with one of `endings`.
fn files(directory: &str, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![root().join(directory)];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            match path.is_dir() {
                true if name == "target" || name.starts_with('.') => {}
                true => directories.push(path),
                false if endings.iter().any(|ending| name.ends_with(ending)) => found.push(path),
                false => {}
            }
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> Text {
    let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    Text { name, text: fs::read_to_string(path).unwrap() }
}

#[test]
fn documents_use_standard_terms() {
    check(files("", &[".md"]).iter().map(|path| markdown(&read(path))));
}

/// The help of every command and of its subcommands.
fn helps(case: &Case, command: &[&str]) -> Vec<Text> {
    let help = case.run(&[command, &["--help"]].concat()).ends(0).stdout;
    let commands = help.split_once("\nCommands:\n").map_or("", |(_, rest)| rest);
    let names = commands.lines().take_while(|line| !line.is_empty()).filter_map(|line| {
        line.strip_prefix("  ").filter(|line| !line.starts_with(' '))?.split_whitespace().next()
    });
    let below =
        names.filter(|name| *name != "help").flat_map(|name| helps(case, &[command, &[name]].concat()));
    let below: Vec<Text> = below.collect();
    let name = format!("pixtune {} --help", command.join(" "));
    std::iter::once(Text { name, text: help }).chain(below).collect()
}

#[test]
fn help_uses_standard_terms() {
    let helps = helps(&Case::new(), &[]);
    assert!(helps.len() > 12, "the help lists only {} commands", helps.len());
    check(helps);
}

#[test]
fn snapshots_use_standard_terms() {
    let directory = "crates/pixtune/tests/snapshots";
    check(files(directory, &[".txt"]).iter().map(|path| without_excerpts(&read(path))));
    check(files(directory, &[".json", ".jsonl"]).iter().map(|path| strings(&read(path))));
}

/// Without the lines that quote the user's data.
fn without_excerpts(text: &Text) -> Text {
    let lines = text.text.lines().map(|line| if line.starts_with("  | ") { "" } else { line });
    Text { name: text.name.clone(), text: lines.collect::<Vec<_>>().join("\n") }
}

/// The strings of a JSON or JSON Lines file, but for the user's data and names without a space.
fn strings(text: &Text) -> Text {
    fn collect(value: &Value<'_>, out: &mut String) {
        match value {
            Value::String(text) if text.contains(' ') => {
                out.push_str(text);
                out.push('\n');
            }
            Value::Array(values) => values.iter().for_each(|value| collect(value, out)),
            Value::Object(members) => {
                members.iter().filter(|(key, _)| key != "row").for_each(|(_, value)| collect(value, out));
            }
            _ => {}
        }
    }
    let values: Vec<&str> = match json::parse(&text.text) {
        Ok(_) => vec![&text.text],
        Err(_) => text.text.lines().collect(),
    };
    let mut out = String::new();
    for value in values {
        collect(&json::parse(value).unwrap().value, &mut out);
    }
    Text { name: text.name.clone(), text: out }
}

#[test]
fn messages_use_standard_terms_and_count_with_the_helper() {
    let sources = files("crates", &[".rs"]);
    let literals = sources.iter().filter(|path| is_source(path)).map(|path| rust_literals(&read(path)));
    let problems = |text: Text| [terms::misused(&text), counts::uncounted(&text)].concat();
    fail_on(literals.flat_map(problems).collect());
}

/// Whether a file is compiled into the program, not into its tests.
fn is_source(path: &Path) -> bool {
    let mut names = path.iter().map(|name| name.to_string_lossy());
    names.clone().any(|name| name == "src") && !names.any(|name| name == "tests" || name == "tests.rs")
}

/// What the commands print for a dataset with this many rows, a valid and an invalid one each.
fn outputs(rows: usize) -> Vec<Text> {
    let case =
        Case::table(format!("image,prompt,completion\n{}", "a.png,What is it?,A gradient.\n".repeat(rows)));
    case.write("invalid.jsonl", "{\"messages\":[{\"role\":\"user\"}],\"extra\":null}\n".repeat(rows));
    let commands = [
        "prepare data.csv --out out --dedup off --validation 0",
        "check out/train.jsonl",
        "check invalid.jsonl",
        "check invalid.jsonl --statistics",
        "fix invalid.jsonl --out fixed.jsonl --unsafe",
        "tokens out/train.jsonl",
        "tokens invalid.jsonl",
        "stats out",
        "stats invalid.jsonl",
        "plan out",
        "report out",
        "prepare data.csv --out none --max-tokens 1",
    ];
    let output = |command: &str| {
        let run = case.run(&command.split(' ').collect::<Vec<_>>());
        assert!(run.code < 2, "pixtune {command}: {}", run.stderr);
        Text { name: format!("pixtune {command}, {rows} rows"), text: run.stderr + "\n" + &run.stdout }
    };
    commands.map(output).into()
}

#[test]
fn outputs_use_standard_terms_and_their_counts_agree() {
    check([1, 2].into_iter().flat_map(outputs).map(|text| without_excerpts(&text)));
}
