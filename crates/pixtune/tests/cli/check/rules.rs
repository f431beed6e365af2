//! Every rule has a fixture, a snapshot of what is reported, and a line of documentation.

use std::fs;

use pixtune_core::diagnostic::Group;
use pixtune_core::rules;

use super::{GOOD, good_lines};
use crate::harness::{Case, root};
use crate::snapshots;

/// Rules that take more than a small file: limits, a table on its way through `prepare`, a server. Each is shown in
/// `rules_that_need_more_than_a_file_read_well`, `image-unreachable` in `fetch.rs`; `internal` is a defect of the program,
/// which no file is known to provoke.
const WITHOUT_FIXTURE: [&str; 9] = [
    "row-too-large",
    "image-unreachable",
    // Reported by `prepare`, with a test in `verdicts.rs`.
    "image-profile",
    "context-overflow",
    "too-many-tokens",
    "duplicate-id",
    "file-too-large",
    "validation-too-large",
    "internal",
];

/// Rules that take a whole set to be seen; `stats` tells them, and their tests are there.
const OF_A_SET: [&str; 7] = [
    "answer-format",
    "answer-keys",
    "answer-length",
    "answer-language",
    "answer-imbalance",
    "answer-boilerplate",
    "prompt-repeated",
];

#[test]
fn every_rule_has_a_fixture_and_a_snapshot() {
    let of_other_commands = [Group::Table, Group::Evaluation, Group::Export];
    for rule in rules::ALL.iter().filter(|rule| !of_other_commands.contains(&rule.group)) {
        // Those are reported by `prepare`; `curate.rs` has a test for each of them.
        let of_prepare = rules::OF_PIXELS.contains(rule) || **rule == rules::NEAR_DUPLICATE;
        if WITHOUT_FIXTURE.contains(&rule.id) || OF_A_SET.contains(&rule.id) || of_prepare {
            continue;
        }
        let case = Case::new();
        let fixtures = root().join("fixtures/check");
        let mut args = vec!["check".to_owned(), "--verify".into(), "full".into()];
        for name in [".jsonl", ".validation.jsonl", ".json"].map(|end| format!("{}{end}", rule.id)) {
            if fs::copy(fixtures.join(&name), case.path(&name)).is_ok() {
                args.push(name);
            }
        }
        assert!(args.len() > 3, "{} has no fixture", rule.id);
        if rule.id != "too-few-samples" {
            args.extend(["--ignore".to_owned(), "too-few-samples".into()]);
        }
        let run = case.run(&args.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(run.stdout.contains(&format!("[{}]", rule.id)), "{}:\n{}{}", rule.id, run.stdout, run.stderr);
        snapshots::check(&format!("check/{}.txt", rule.id), &run.stdout);
    }
}

/// The output of a run that names the rule; kept as the rule's snapshot.
#[track_caller]
fn reads_well(rule: &str, output: &str) {
    assert!(rules::find(rule).is_some() && output.contains(rule), "{rule}:\n{output}");
    snapshots::check(&format!("check/{rule}.txt"), output);
}

#[test]
fn rules_with_options_match_snapshots() {
    let case = Case::new();
    case.write("train.jsonl", good_lines(12));
    case.write("val.jsonl", good_lines(14));
    case.write("long.jsonl", GOOD.replace("hello", &"hello ".repeat(140_000)) + "\n" + &good_lines(12));
    let only = |rule: &str, args: &[&str]| {
        let run = case.run(&[&["check", "--select", rule], args].concat());
        reads_well(rule, &run.stdout);
    };
    only("row-too-large", &["long.jsonl", "--max-line-bytes", "1kB"]);
    only("context-overflow", &["long.jsonl"]);
    case.write("pixtune.toml", "[check.limits]\nmax-file-bytes = 1000\nmax-validation-bytes = \"1kB\"\n");
    only("file-too-large", &["train.jsonl"]);
    only("validation-too-large", &["train.jsonl", "val.jsonl"]);
}

#[test]
fn rules_of_tables_match_snapshots() {
    for (rule, table, more) in [
        ("row-wrong-length", "prompt,completion\nq,a\nq,a,b\n", &[][..]),
        ("unclosed-quote", "prompt,completion\nq,a\n\"q,a\nr,b\n", &[]),
        ("no-image", "image,prompt,completion\na.png,q,a\n,r,b\n", &[]),
        ("image-placeholders", "image,prompt,completion\na.png,<image> or <image>?,a\n", &[]),
        ("duplicate-id", "id,prompt,completion\n7,q,a\n7,r,b\n", &[]),
        ("too-many-tokens", "prompt,completion\nq,a\nq,a b c d e f g h i j\n", &["--max-tokens", "8"]),
    ] {
        let case = Case::table(table);
        let run = case.prepare(&[&["--validation", "0"], more].concat());
        reads_well(rule, &run.stderr);
    }
    let case = Case::new();
    let list = r#"[{"type":"text","text":"world"}]"#;
    case.write("rows.jsonl", GOOD.replace(r#""world""#, list) + "\n");
    let run = case.run(&["tokens", "rows.jsonl", "--layout", "mistral-finetune", "--format", "json"]).ends(1);
    reads_well("finetune-form", &run.stdout);
}

#[test]
fn documentation_lists_all_rules() {
    let case = Case::new();
    let page = case.run(&["rules", "--format", "markdown"]).ends(0).stdout;
    let path = root().join("docs/rules.md");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    assert_eq!(fs::read_to_string(path).unwrap_or_default(), page, "UPDATE_SNAPSHOTS=1 writes docs/rules.md");
    let list = case.run(&["rules"]).ends(0).stdout;
    assert!(rules::ALL.iter().all(|rule| list.contains(rule.id)));
    let rule = case.run(&["rules", "unknown-key"]).ends(0).stdout;
    assert!(rule.contains("warning; error for mistral"), "{rule}");
    assert!(case.run(&["rules", "text"]).ends(0).stdout.contains("mojibake"));
    case.run(&["rules", "mojibak"]).ends(2).prints("did you mean `mojibake`?");
}
