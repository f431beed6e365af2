//! `prepare` in fragments writes the bytes of a run in one piece.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Case, Run, read_directory, root};

/// Rows of several formats: good ones, bad ones, repeated ones, and rows over several lines.
fn inputs() -> Case {
    let case = Case::new();
    case.images();
    case.fixture("turned.jpg", "exif6_160x90.jpg");
    let image = |index: usize| ["a.png", "b.jpg", "c.png", "d.webp", "missing.png", "turned.jpg"][index % 6];
    let mut table = "\u{feff}image,prompt,completion\r\n".to_owned();
    for index in 0..90 {
        let line_end = if index % 5 == 0 { "\n" } else { " " };
        table.push_str(&format!("{},\"question{line_end}{}?\",answer\r\n", image(index), index % 70));
        if index % 11 == 0 {
            table.push_str("\r\n");
        }
    }
    case.write("data.csv", table);
    let mut lines = String::new();
    for index in 0..60 {
        let split =
            ["train", "validation", "test"][usize::from(index % 7 == 0) + usize::from(index % 13 == 0)];
        lines.push_str(&format!(
            "{{\"image\":\"{}\",\"prompt\":\"what {}?\",\"completion\":\"{index}\",\"id\":\"{}\",\"kind\":\"{}\",\"split\":\"{split}\"}}\n",
            image(index),
            index % 40,
            index % 50,
            index % 3
        ));
    }
    case.write("rows.jsonl", &lines);
    case.shell("gzip -k rows.jsonl && mkdir packed && mv rows.jsonl.gz *.png *.jpg packed/ && cp packed/*.png packed/*.jpg .").ends(0);
    case
}

fn prepare(case: &Case, out: &str, words: &[&str]) -> Run {
    case.run(&[&["prepare", "--out", out, "--format", "json"], words].concat())
}

/// The same run in one piece and in fragments of several sizes.
fn compare(case: &Case, words: &[&str]) {
    let whole = prepare(case, "whole", words);
    assert!(whole.code < 2, "{words:?}: {}", whole.stderr);
    let expected = read_directory(&case.path("whole"));
    for (rows, threads) in [("1", "3"), ("7", "1"), ("64", "4")] {
        let run = prepare(case, "out", &[words, &["--fragment-rows", rows, "--threads", threads]].concat());
        assert_eq!((run.code, &run.stdout), (whole.code, &whole.stdout), "{words:?} {rows}: {}", run.stderr);
        let found = read_directory(&case.path("out"));
        assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{words:?} {rows}");
        for (name, bytes) in found {
            assert!(bytes == expected[&name], "{name} differs: {words:?} with fragments of {rows}");
        }
        assert!(!case.path("out.partial").exists());
        fs::remove_dir_all(case.path("out")).unwrap();
    }
    fs::remove_dir_all(case.path("whole")).unwrap();
}

#[test]
fn fragments_give_the_bytes_of_one_piece() {
    let case = inputs();
    compare(&case, &["data.csv", "--validation", "0.3"]);
    compare(
        &case,
        &["data.csv", "rows.jsonl", "packed/rows.jsonl.gz", "--dedup", "near", "--remove-columns", "kind"],
    );
    compare(&case, &["rows.jsonl", "--write-test", "--remove-columns", "kind"]);
    compare(&case, &["rows.jsonl", "--dedup-by", "image", "--split", "stratify=kind"]);
    compare(&case, &["rows.jsonl", "--dedup", "off", "--split", "group", "--columns", "group=kind"]);
    compare(&case, &["data.csv", "--drop", "too-small,grayscale", "--validation", "20KB"]);
    case.write("pixtune.toml", "[check.limits]\nmax-file-bytes = 20000\n");
    compare(&case, &["data.csv", "rows.jsonl", "--remove-columns", "kind", "--dedup", "off"]);
}

#[test]
fn fragments_of_every_format_give_the_bytes_of_one_piece() {
    let case = Case::new();
    let formats = root().join("fixtures/formats");
    for name in [
        "flat-zstd.parquet",
        "flat-saved",
        "flat-table.csv.gz",
        "flat-json.tar.gz",
        "flat-folder.zip",
        "flat-array.json.gz",
        "flat-pandas.xlsx",
        "lists-datasets.parquet",
        "messages-datasets.parquet",
    ] {
        compare(&case, &[&formats.join(name).display().to_string()]);
    }
}

#[test]
fn killed_run_goes_on_with_the_fragments_that_are_not_scanned() {
    let case = inputs();
    let words = ["prepare", "data.csv", "rows.jsonl", "--remove-columns", "kind", "--threads", "2"];
    let run = |more: &[&str]| case.run(&[&words[..], more].concat());
    run(&["--out", "whole"]).ends(1);
    let fragments = ["--out", "out", "--fragment-rows", "5"];
    let mut interrupted = 0;
    for attempt in 0..40u64 {
        let mut child = case
            .command(&[&words[..], &fragments[..]].concat())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        sleep(Duration::from_millis(20 + 15 * attempt));
        child.kill().unwrap();
        child.wait().unwrap();
        // A run that was killed behind its last rename is finished, and resuming it only cleans up.
        if case.path("out.partial/index").exists() && !case.path("out").exists() {
            interrupted += 1;
            run(&fragments).ends(2).prints("an unfinished run is in `out.partial`");
            let other = ["--out", "out", "--fragment-rows", "6", "--resume"];
            run(&other).ends(2).prints("--fragment-rows is 6, was 5");
            run(&["--out", "out", "--resume"]).ends(2).prints("it was started with fragments");
        }
        run(&[&fragments[..], &["--resume"]].concat()).ends(1);
        assert_eq!(read_directory(&case.path("out")), read_directory(&case.path("whole")));
        fs::remove_dir_all(case.path("out")).unwrap();
    }
    assert!(interrupted > 3, "{interrupted}");
}

#[test]
fn changed_input_ends_a_run_that_is_resumed() {
    let case = inputs();
    let words = ["prepare", "data.csv", "--out", "out", "--fragment-rows", "10"];
    let program = env!("CARGO_BIN_EXE_pixtune");
    // A limit on the size of files stops the run behind its first fragments.
    case.shell(&format!("trap '' XFSZ; ulimit -f 40; exec {program} {} --threads 1", words.join(" ")))
        .ends(2)
        .prints("run again with `--resume`");
    let table = case.read("data.csv");
    case.write("data.csv", table.replacen("question 3?", "question X?", 1));
    case.run(&[&words[..], &["--resume"]].concat()).ends(2).prints("`data.csv` has changed");
    case.write("data.csv", table);
    case.run(&[&words[..], &["--resume"]].concat()).ends(1);
}
