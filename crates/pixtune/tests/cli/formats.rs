//! The same rows in every format that `prepare` reads, written by the libraries that people use.

use std::fs;
use std::path::PathBuf;

use crate::harness::{Case, Run, root};

fn fixtures() -> PathBuf {
    root().join("fixtures/formats")
}

fn prepare(case: &Case, input: &str, more: &[&str]) -> Run {
    let input = fixtures().join(input).display().to_string();
    let args = ["prepare", &input, "--out", "out", "--validation", "0", "--force", "--quiet"];
    case.run(&[&args[..], more].concat())
}

#[test]
fn every_format_gives_the_training_file_of_plain_rows() {
    let case = Case::new();
    let mut names: Vec<String> = fs::read_dir(fixtures())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains('-') && ![".tar", ".zip", ".xlsx"].iter().any(|no| name.contains(no)))
        .collect();
    names.sort();
    assert!(names.len() > 35, "{names:?}");
    for name in names {
        prepare(&case, &format!("{}.jsonl", name.split('-').next().unwrap()), &[]).ends(0);
        let expected = case.read("out/train.jsonl");
        let run = prepare(&case, &name, &[]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{name}");
        assert!(case.read("out/train.jsonl") == expected, "{name}:\n{}", case.read("out/train.jsonl"));
    }
}

#[test]
fn output_does_not_depend_on_threads() {
    let case = Case::new();
    for input in ["flat-zstd.parquet", "flat-saved", "flat-table.csv.gz"] {
        prepare(&case, input, &["--threads", "1"]).ends(0);
        let one = case.output();
        prepare(&case, input, &["--threads", "5"]).ends(0);
        assert!(case.output() == one, "{input}");
    }
}

#[test]
fn duplicates_are_reread_from_every_format() {
    for name in ["flat-zstd.parquet", "flat-saved", "flat-lines.jsonl.gz", "flat-table.tsv.zst"] {
        let case = Case::new();
        let copy = |to: &str| {
            let from = fixtures().join(name).display().to_string();
            case.shell(&format!(
                "cp -r '{from}' '{to}' && cp -r '{}' .",
                fixtures().join("images").display()
            ))
            .ends(0);
        };
        copy(name);
        copy(&format!("again-{name}"));
        let args = ["prepare", name, &format!("again-{name}"), "--out", "out", "--validation", "0"];
        case.run(&args).ends(1).prints("the same images and text as");
        assert_eq!(case.rejected(), ["duplicate"; 5], "{name}");
        let rejected = case.read("out/rejected.jsonl");
        assert!(rejected.contains("\"prompt\"") && !rejected.contains("\\u0000"), "{name}: {rejected}");
    }
}

#[test]
fn interrupted_run_goes_on_with_the_same_bytes() {
    let case = Case::new();
    prepare(&case, "flat-datasets.parquet", &[]).ends(0);
    let whole = case.output();
    let input = fixtures().join("flat-datasets.parquet").display().to_string();
    case.shell("mv out whole").ends(0);
    let args = ["prepare", &input, "--out", "out", "--validation", "0", "--quiet"];
    case.run(&[&args[..], &["--max-reject", "0", "--columns", "completion=missing"]].concat()).ends(2);
    case.run(&[&args[..], &["--resume"]].concat()).ends(0);
    assert!(case.output() == whole);
}

#[test]
fn damaged_binary_files_are_errors_that_name_them() {
    let case = Case::new();
    for name in ["flat-snappy.parquet", "flat-lz4.feather", "flat-datasets.parquet"] {
        let bytes = fs::read(fixtures().join(name)).unwrap();
        for length in [0, 3, 8, bytes.len() / 2, bytes.len() - 1] {
            case.write(name, &bytes[..length]);
            let run = case.run(&["prepare", name, "--out", "out", "--force"]);
            assert_eq!(run.code, 2, "{name} of {length} bytes: {}", run.stderr);
            run.prints(name).prints("hint: ");
        }
        for at in (4..bytes.len()).step_by(bytes.len() / 60) {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0xff;
            case.write(name, &damaged);
            let run = case.run(&["prepare", name, "--out", "out", "--force", "--threads", "1"]);
            assert!(
                (0..=2).contains(&run.code) && !run.stderr.contains("bug"),
                "{name} at {at}: {}",
                run.stderr
            );
        }
    }
}

#[test]
fn bytes_in_the_place_of_a_text_reject_the_row() {
    let case = Case::new();
    prepare(&case, "flat-binary.parquet", &["--columns", "image=image,prompt=prompt,completion=image"])
        .ends(1);
    prepare(&case, "flat-binary.parquet", &["--columns", "prompt=image,completion=completion,image=id"])
        .ends(1);
    assert_eq!(case.rejected(), ["wrong-type"; 5]);
}

#[test]
fn ranges_of_shards_and_directories_are_expanded() {
    let case = Case::new();
    let rows = |count: usize| format!("{{\"prompt\": \"q{count}\", \"completion\": \"a\"}}\n");
    for shard in 8..=10 {
        case.write(&format!("rows-{shard:03}.jsonl"), rows(shard));
    }
    let args = ["prepare", "rows-{008..010}.jsonl", "--out", "out", "--validation", "0", "--quiet"];
    case.run(&args).ends(0);
    assert_eq!(case.lines("out/train.jsonl").len(), 3);
    case.run(&["prepare", "rows-{008..011}.jsonl", "--out", "no"]).ends(2).prints("rows-011.jsonl");
    let parquet = fs::read(fixtures().join("flat-snappy.parquet")).unwrap();
    case.write("hub/data/train-00000-of-00001.parquet", parquet);
    case.run(&["prepare", "hub", "--out", "hub-out", "--validation", "0", "--quiet"]).ends(0);
    assert_eq!(case.lines("hub-out/train.jsonl").len(), 5);
}

#[test]
fn other_commands_read_compressed_lines_and_name_prepare_for_tables() {
    let case = Case::new();
    prepare(&case, "messages.jsonl", &[]).ends(0);
    case.shell("gzip -k out/train.jsonl && cat out/train.jsonl.gz | gunzip > plain.jsonl").ends(0);
    for command in ["check", "tokens"] {
        let plain = case.run(&[command, "plain.jsonl"]).stdout;
        let packed = case.run(&[command, "out/train.jsonl.gz"]).stdout;
        assert_eq!(packed.replace("out/train.jsonl.gz", "plain.jsonl"), plain, "{command}");
    }
    for command in ["stats", "plan"] {
        case.run(&[command, "out/train.jsonl.gz"]).ends(2).prints("gzip-compressed").prints("gunzip");
    }
    for (name, what) in [("flat-snappy.parquet", "a Parquet file"), ("flat-lz4.feather", "an Arrow file")] {
        let path = fixtures().join(name).display().to_string();
        for command in ["check", "tokens", "stats", "plan"] {
            case.run(&[command, &path]).ends(2).prints(what).prints("pixtune prepare FILE --out DIR");
        }
    }
}
