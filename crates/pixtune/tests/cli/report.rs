//! `report` from outside. How it looks and is used is tested in a browser, by `tests/browser`.

use crate::harness::Case;
use crate::stats::{example, line};

#[test]
fn report_is_one_file_and_escapes_hostile_data() {
    let case = example();
    let hostile = "</script><script>document.title='x'</script><img src=x onerror=alert(1)>\u{202e}";
    case.write(
        "prepared/train.jsonl",
        case.read("prepared/train.jsonl") + &line(hostile, &hostile.repeat(500)),
    );
    case.run(&["report", "prepared", "--quiet", "--samples", "200"]).ends(0);
    let page = case.read("report.html");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<script").count(), 1);
    assert!(!page.contains("onerror=alert(1)>") && !page.contains('\u{202e}'));
    for section in [
        "overview",
        "findings",
        "tokens",
        "images",
        "worst",
        "duplicates",
        "texts",
        "split",
        "rejected",
        "samples",
    ] {
        assert!(page.contains(&format!("<section id=\"{section}\"")), "{section}");
    }
    case.run(&["report", "prepared", "--quiet"]).ends(2).prints("exists already");
    case.run(&["report", "prepared", "--quiet", "--force", "--samples", "0"]).ends(0);
    let again = case.read("report.html");
    case.run(&["report", "prepared", "--quiet", "--force", "--samples", "0", "--threads", "1"]).ends(0);
    assert!(again == case.read("report.html"), "the same on any number of threads");
}

#[test]
fn writes_report_for_minimal_input() {
    let case = Case::new();
    case.write("empty.jsonl", "");
    case.write("one.jsonl", line("a", "b"));
    case.fixture("images/a.png", "px1_red.png");
    for input in ["empty.jsonl", "one.jsonl", "images"] {
        case.run(&["report", input, "--quiet", "--force"]).ends(0);
        assert!(!case.read("report.html").contains("NaN"), "{input}");
    }
}

#[test]
fn report_appears_whole_or_not_at_all() {
    let case = Case::new();
    case.write("one.jsonl", line("a", "b"));
    let program = env!("CARGO_BIN_EXE_pixtune");
    // A limit on file sizes is a disk that is full after 4 KiB; where its signal is not ignored, it kills.
    let full = case.shell(&format!("trap '' XFSZ; ulimit -f 8; {program} report one.jsonl --quiet"));
    full.ends(2).prints("report.html");
    assert!(!case.path("report.html").exists() && !case.path("report.html.partial").exists());
    let killed = case.shell(&format!("ulimit -f 8; {program} report one.jsonl --quiet"));
    assert!(killed.code != 0 && !case.path("report.html").exists());
    case.run(&["report", "one.jsonl", "--quiet"]).ends(0);
    std::fs::remove_file(case.path("report.html")).unwrap();
    case.run(&["report", "one.jsonl", "--out", "nowhere/report.html"]).ends(2).prints("nowhere/report.html");
    case.run(&["report", "nowhere", "--out", "report.html"]).ends(2).prints("cannot read `nowhere`");
    case.write("directory/notes.txt", "no image");
    case.run(&["report", "directory"]).ends(2).prints("has neither JSON Lines files nor images");
    assert!(!case.path("report.html").exists() && !case.path("report.html.partial").exists());
}

#[test]
fn reports_unreadable_and_flat_images() {
    let case = Case::new();
    case.write("images/broken.png", "no PNG");
    case.write("images/empty.jpg", "");
    case.fixture("images/flat.png", "px1_red.png");
    case.run(&["report", "images", "--quiet"]).ends(1);
    let page = case.read("report.html");
    assert!(page.contains("image-unreadable") && page.contains("image-too-small") && !page.contains("NaN"));
}

#[test]
fn report_opens_with_a_verdict_and_every_link_has_a_target() {
    let case = Case::new();
    let good: String = (0..30).map(|n| line(&format!("What is {n}?"), &format!("It is {n}."))).collect();
    let conflict = line("What is 1?", "It is not one.");
    let cut = line("What is 77?", "It is 77, which is more than");
    let invalid = "{\"messages\":[{\"role\":\"robot\",\"content\":\"x\"}]}\n";
    case.write("data.jsonl", good + &conflict + &cut + invalid);
    case.run(&["report", "data.jsonl", "--quiet"]).ends(1);
    let page = case.read("report.html");
    assert!(page.contains("<b>Fix these first</b>: 1 sample is invalid"), "the verdict");
    let order: Vec<usize> = ["class=\"finding error\"", "class=\"finding warning\""]
        .iter()
        .map(|finding| page.find(finding).unwrap_or_else(|| panic!("{finding}")))
        .collect();
    assert!(order.is_sorted(), "errors come first");
    assert!(page.contains("id=\"finding-contradiction\""), "conflicting labels are a finding");
    assert!(page.contains("<code class=\"line\">{&quot;messages&quot;:[{&quot;role&quot;:&quot;robot&quot;"));
    let targets: Vec<&str> =
        page.split("href=\"#").skip(1).filter_map(|link| link.split('"').next()).collect();
    assert!(targets.len() > 10, "{targets:?}");
    for target in targets {
        assert!(page.contains(&format!("id=\"{target}\"")), "#{target}");
    }
    // A conversation that is a finding is shown, whatever the random selection is.
    case.run(&["report", "data.jsonl", "--quiet", "--force", "--samples", "1"]).ends(1);
    assert!(case.read("report.html").contains("data-problems=\"answer-cut-off\""));
}

#[test]
fn rejected_rows_are_listed_once() {
    let case = Case::new();
    case.write("table.csv", "prompt,completion\nWhat?,It.\nWhy?,\n");
    case.run(&["prepare", "table.csv", "--out", "prepared", "--validation", "0", "--quiet"]).ends(1);
    case.run(&["report", "prepared", "--quiet"]).ends(0);
    let page = case.read("report.html");
    assert_eq!(
        page.matches("column <code>completion</code> is empty").count()
            + page.matches("column `completion` is empty").count(),
        1
    );
    assert!(
        page.contains("pixtune prepare table.csv --out prepared-2 --validation 0"),
        "the command repeats the options"
    );
}

#[test]
fn repeated_commands_name_the_columns_that_were_given() {
    let case = Case::new();
    case.write("table.csv", "note,q,completion\nx,What?,It.\ny,Why?,\n");
    let prepare = ["prepare", "table.csv", "--out", "prepared", "--validation", "0", "--quiet"];
    case.run(&[&prepare[..], &["--columns", "prompt=q", "--remove-columns", "note"]].concat()).ends(1);
    let manifest = case.read("prepared/manifest.json");
    assert!(
        manifest.contains(r#""prompt": "q", "completion": "completion", "guessed": ["completion"]"#),
        "{manifest}"
    );
    case.run(&["report", "prepared", "--quiet"]).ends(0);
    let command =
        "pixtune prepare table.csv --out prepared-2 --columns prompt=q --validation 0 --remove-columns note";
    assert!(case.read("report.html").contains(command));
    // The command works.
    let words: Vec<&str> = command.split(' ').skip(1).chain(["--quiet"]).collect();
    case.run(&words).ends(1);
}
