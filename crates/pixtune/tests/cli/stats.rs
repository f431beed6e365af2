//! `stats` and `plan` from outside; `report` stands beside.

use pixtune_core::json::{self, Value};

use pixtune_io::base64;

use crate::harness::{Case, at, root, text};
use crate::snapshots;

/// The example, prepared.
pub fn example() -> Case {
    let case = Case::new();
    let dataset = root().join("examples/visual-qa/dataset.csv");
    case.run(&["prepare", dataset.to_str().unwrap(), "--out", "prepared", "--quiet"]).ends(0);
    case
}

pub fn line(prompt: &str, answer: &str) -> String {
    let mut out = String::from("{\"messages\":[{\"role\":\"user\",\"content\":");
    json::write_string(prompt, &mut out);
    out.push_str("},{\"role\":\"assistant\",\"content\":");
    json::write_string(answer, &mut out);
    out.push_str("}]}\n");
    out
}

pub fn parsed(text: &str) -> Value<'static> {
    json::parse(text.trim()).unwrap().value.into_owned()
}

#[test]
fn stats_and_plan_of_the_example_match_snapshots() {
    let case = example();
    snapshots::check("stats-visual-qa.txt", &case.run(&["stats", "prepared"]).ends(0).stdout);
    snapshots::check("plan-visual-qa.txt", &case.run(&["plan", "prepared"]).ends(0).stdout);
    let qlora = case.run(&["plan", "prepared", "--vram", "16GiB", "--method", "qlora"]).ends(0).stdout;
    snapshots::check("plan-qlora.txt", &qlora);
    snapshots::check(
        "plan-visual-qa.json",
        &case.run(&["plan", "prepared", "--format", "json"]).ends(0).stdout,
    );
}

#[test]
fn plan_counts_whole_trained_tensors() {
    let case = example();
    let plan = |more: &[&str]| case.run(&[&["plan", "prepared"], more].concat());
    let whole = plan(&["--train-full", "projector,vision"]).ends(0).stdout;
    assert!(whole.contains("whole trained tensors"), "{whole}");
    assert!(whole.contains("LoRA rank 16 and whole projector and vision"), "{whole}");
    assert!(whole.contains("--train-full projector,vision"), "{whole}");
    let json = parsed(&plan(&["--train-full", "projector", "--format", "json"]).ends(0).stdout);
    assert_eq!(text(&json, "/train_full"), "projector");
    plan(&["--train-full", "text"]).ends(2).prints("cannot be trained as a whole");
    plan(&["--train-full", "vision", "--method", "full"]).ends(2).prints("trains all weights");
}

#[test]
fn json_and_table_have_the_same_numbers() {
    let case = example();
    let stats = parsed(&case.run(&["stats", "prepared", "--format", "json"]).ends(0).stdout);
    let tokens = parsed(&case.read("prepared/manifest.json"));
    let number = |value: &Value<'static>, pointer| at(value, pointer).to_string();
    assert_eq!(number(&stats, "/tokens/sum"), number(&tokens, "/tokens/total"));
    assert_eq!(number(&stats, "/tokens/max"), number(&tokens, "/tokens/max_sample"));
    assert_eq!(number(&stats, "/pictures/count"), "63");
    let by_header =
        case.run(&["stats", "prepared", "--format", "json", "--pictures", "header"]).ends(0).stdout;
    assert_eq!(number(&parsed(&by_header), "/pictures/tokens/sum"), number(&stats, "/pictures/tokens/sum"));
    let plan = parsed(&case.run(&["plan", "prepared", "--format", "json"]).ends(0).stdout);
    assert_eq!(number(&plan, "/data/train/samples"), number(&stats, "/train/samples"));
}

#[test]
fn lists_exceptions_with_their_lines() {
    let case = Case::new();
    let rows: String = (0..40)
        .map(|n| match n {
            7 => line("What is the total of bill 7?", "I'm sorry, but I can't read this bill."),
            9 => line("What is the total of bill 9?", "{\"total\": 12.5"),
            11 => line("What is the total of bill 11?", "{\"total\": 11}"),
            n => line(
                &format!("What is the total of bill {n}?"),
                &format!("{{\"total\": {n}, \"currency\": \"EUR\"}}"),
            ),
        })
        .collect();
    case.write("bills.jsonl", rows);
    let output = case.run(&["stats", "bills.jsonl"]).ends(0).stdout;
    for expected in [
        "bills.jsonl:8",
        "bills.jsonl:10",
        "lacks `currency`",
        "answer-refusal",
        "answer-cut-off",
        "answer-format",
        "answer-keys",
    ] {
        assert!(output.contains(expected), "{expected}:\n{output}");
    }
}

#[test]
fn reports_samples_shared_between_files() {
    let case = Case::new();
    let some = |from, to| (from..to).map(|n| line(&format!("Question {n}?"), "yes")).collect::<String>();
    case.write("train.jsonl", some(0, 12) + &line("Question 3?", "no"));
    case.write("validation.jsonl", some(10, 15));
    let stats =
        parsed(&case.run(&["stats", "train.jsonl", "validation.jsonl", "--format", "json"]).ends(0).stdout);
    assert_eq!(at(&stats, "/together/shared_samples/count").to_string(), "2");
    assert_eq!(at(&stats, "/together/contradictions/count").to_string(), "1");
    assert_eq!(text(&stats, "/together/shared_samples/first/0/1/file"), "validation.jsonl");
}

#[test]
fn handles_minimal_and_invalid_input() {
    let case = Case::new();
    case.write("empty.jsonl", "");
    assert!(case.run(&["stats", "empty.jsonl"]).ends(0).stdout.contains("samples         0"));
    assert!(case.run(&["plan", "empty.jsonl"]).ends(0).stdout.contains("no samples to train on"));
    case.write("one.jsonl", line("a", "b"));
    case.run(&["stats", "one.jsonl"]).ends(0);
    case.run(&["plan", "one.jsonl", "--method", "full"]).ends(0);
    case.write("same.jsonl", line("a", "b").repeat(30));
    assert!(case.run(&["stats", "same.jsonl"]).ends(0).stdout.contains("29 duplicate samples"));
    case.write("bad.jsonl", "{\n[]\n\u{0}\n{\"messages\": 3}\n");
    assert!(case.run(&["stats", "bad.jsonl"]).ends(1).stdout.contains("refused         4"));
    case.write("directory/notes.txt", "no image");
    case.run(&["stats", "directory"]).ends(2).prints("has neither JSON Lines files nor images");
    case.write("data.csv", "a,b\n1,2\n");
    case.run(&["stats", "data.csv"]).ends(2).prints("is a table; convert it with `pixtune prepare`");
    case.run(&["stats", "nowhere"]).ends(2).prints("cannot read `nowhere`");
    case.write("images/broken.png", "no PNG");
    case.fixture("images/a.png", "px1_red.png");
    let output = case.run(&["stats", "images"]).ends(1).stdout;
    assert!(output.contains("1 to 1") || output.contains("1 pixels each"), "{output}");
    case.run(&["plan", "images"]).ends(2).prints("no samples");
    case.run(&["plan", "one.jsonl", "--gpu", "abacus"]).ends(2).prints("h100-80gb");
    case.run(&["plan", "one.jsonl", "--gpu", "A100"]).ends(2).prints("choose a100-80gb or a100-40gb");
    for command in ["stats", "report", "plan"] {
        case.run(&[command, "-"]).ends(2).prints("`-` is not accepted").prints("to a file first");
    }
    case.run(&["plan", "one.jsonl", "--vram", "much"]).ends(2).prints("is not a size");
    case.run(&["plan", "one.jsonl", "--vram", "0"]).ends(2).prints("less memory than any GPU");
    case.run(&["plan", "one.jsonl", "--vram", "24MB"]).ends(2).prints("less memory than any GPU");
    assert!(case.run(&["plan", "one.jsonl", "--vram", "24"]).ends(0).stdout.contains("a GPU with 24.0 GB"));
    assert!(case.run(&["plan", "one.jsonl", "--gpu", "H100"]).ends(0).stdout.contains("on h100-80gb"));
}

#[test]
fn scores_and_groups_images() {
    let case = Case::new();
    for (name, of) in
        [("photo.webp", "photo_300x200.webp"), ("dot.png", "px1_red.png"), ("again.png", "px1_red.png")]
    {
        case.fixture(&format!("set/{name}"), of);
    }
    let stats = parsed(&case.run(&["stats", "set", "--format", "json"]).ends(0).stdout);
    assert_eq!(at(&stats, "/together/repeated/count").to_string(), "1");
    assert_eq!(text(&stats, "/pictures/issues/4/rule"), "image-too-small");
    assert_eq!(at(&stats, "/pictures/issues/4/count").to_string(), "2");
    assert_eq!(text(&stats, "/pictures/issues/4/worst/0/file"), "again.png");
    let output = case.run(&["stats", "set"]).ends(0).stdout;
    assert!(
        output.contains("warning[image-too-small]: 2 images: too small, a few patches at most"),
        "{output}"
    );
    let header = case.run(&["stats", "set", "--verify", "header"]).ends(0).stdout;
    assert!(!header.contains("image-too-small"), "images are judged only if they were measured: {header}");
    for same in [["--no-measure"].as_slice(), &["--pictures", "header"], &["--measure", "--no-measure"]] {
        assert_eq!(case.run(&[&["stats", "set"], same].concat()).ends(0).stdout, header, "{same:?}");
    }
    for same in [["--verify", "full"].as_slice(), &["--pictures", "measure"], &["--no-measure", "--measure"]]
    {
        assert_eq!(case.run(&[&["stats", "set"], same].concat()).ends(0).stdout, output, "{same:?}");
    }
}

#[test]
fn groups_near_duplicate_images_with_distance() {
    let case = example();
    let stats = parsed(&case.run(&["stats", "prepared", "--format", "json"]).ends(0).stdout);
    let near = |pointer: &str| at(&stats, &format!("/together/near_pictures{pointer}")).to_string();
    assert_eq!((near("/groups"), near("/pictures"), near("/across")), ("1".into(), "4".into(), "0".into()));
    assert_eq!(
        (near("/first/0/members/0/line"), near("/first/0/members/1/distance")),
        ("32".into(), "0".into())
    );
    let output = case.run(&["stats", "prepared"]).ends(0).stdout;
    assert!(output.contains("1 group of near-duplicate images, 4 images in total"), "{output}");
}

/// Sixty words that depend on a number.
fn words(of: usize) -> String {
    (0..60).map(|at| format!("word{} ", (of * 61 + at) * at % 997)).collect()
}

#[test]
fn groups_near_duplicate_texts_with_similarity() {
    let case = Case::new();
    let mut red = Vec::new();
    base64::encode(&std::fs::read(root().join("fixtures/images/px1_red.png")).unwrap(), &mut red);
    let red = String::from_utf8(red).unwrap();
    let shown = |prompt: &str, answer: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"data:image/png;base64,{red}"}},{{"type":"text","text":"{prompt}"}}]}},{{"role":"assistant","content":"{answer}"}}]}}
"#
        )
    };
    let mut train = String::new();
    for of in 1..7 {
        train += &line(&words(of), &(words(of + 100) + "in all"));
        train += &line(&words(of), &(words(of + 100) + "in all."));
        // A long prompt in common is not enough.
        train += &line(&words(of), &words(of + 200));
    }
    train += &shown(&words(1), &(words(101) + "and more"));
    // One text with other images is no near one: the same text is counted once.
    train += &line("Is there a cat?", "yes");
    train += &shown("Is there a cat?", "yes");
    case.write("train.jsonl", train);
    case.write(
        "validation.jsonl",
        line(&(words(1) + "please"), &(words(101) + "in all")) + &line(&words(9), "no"),
    );
    let files = ["stats", "train.jsonl", "validation.jsonl"];
    let output = case.run(&files).ends(0).stdout;
    snapshots::check("stats-near-texts.txt", &output);
    let stats = parsed(&case.run(&[&files[..], &["--format", "json"]].concat()).ends(0).stdout);
    let near = |pointer: &str| at(&stats, &format!("/together/near_texts{pointer}")).to_string();
    assert_eq!([near("/groups"), near("/texts"), near("/across"), near("/more")], ["6", "14", "1", "0"]);
    assert_eq!([near("/first/0/members/0/line"), near("/first/0/members/0/similarity")], ["1", "100"]);
    assert_eq!(near("/first/0/members/2/same_pictures"), "false");
    assert_eq!(text(&stats, "/together/near_texts/first/0/members/3/file"), "validation.jsonl");
}

#[test]
fn counts_groups_and_pairs_that_are_not_listed() {
    let case = Case::new();
    let near = |of: usize| ["", "in all", "in the end"].map(|end| line(&words(of), &(words(of + 200) + end)));
    case.write(
        "set.jsonl",
        (0..60).flat_map(near).chain((0..55).map(|of| near(of)[0].clone())).collect::<String>(),
    );
    let output = case.run(&["stats", "set.jsonl"]).ends(0).stdout;
    assert!(output.contains("60 groups of near-duplicate texts, 180 texts in total"), "{output}");
    assert!(
        output.contains("  … and 57 more groups\n") && output.contains("  … and 52 more pairs\n"),
        "{output}"
    );
    let stats = parsed(&case.run(&["stats", "set.jsonl", "--format", "json"]).ends(0).stdout);
    assert_eq!(at(&stats, "/together/near_texts/more").to_string(), "10");
    assert_eq!(at(&stats, "/together/repeated/more").to_string(), "5");
}

#[test]
fn reports_manifest_mismatch() {
    let case = example();
    let train = case.read("prepared/train.jsonl");
    case.write(
        "prepared/train.jsonl",
        train.lines().take(3).map(|line| line.to_owned() + "\n").collect::<String>(),
    );
    case.write("prepared/more.jsonl", line("a", "b"));
    let output = case.run(&["stats", "prepared"]).ends(0).stdout;
    assert!(
        output.contains("it was changed") && output.contains("`more.jsonl` is in the directory"),
        "{output}"
    );
    case.write("prepared/manifest.json", "{");
    assert!(
        case.run(&["stats", "prepared"])
            .ends(0)
            .stdout
            .contains("manifest.json cannot be used: it is not JSON")
    );
}
