//! `provenance.jsonl`: where a prepared sample is from, in every command.

use std::fs;

use crate::harness::{Case, root};

/// Twelve rows with one image each, of which the second is a duplicate and the third is rejected.
fn prepared() -> Case {
    let case = Case::new();
    let image = root().join("fixtures/images/grad_64x48.png");
    fs::create_dir(case.path("photos")).unwrap();
    fs::copy(image, case.path("photos/a.png")).unwrap();
    let mut rows = String::from(
        "image,prompt,completion\nphotos/a.png,one?,1\nphotos/a.png,one?,1\nphotos/none.png,two?,2\n",
    );
    // Rows that share an image are in one split.
    for row in 3..12 {
        let image = format!("photos/{row}.bmp");
        fs::write(case.path(&image), bmp(row)).unwrap();
        rows += &format!("{image},what is {row}?,it is {row}\n");
    }
    case.write("labels.csv", rows);
    case.run(&["prepare", "labels.csv", "--out", "prepared", "--validation", "3", "--exit-zero"]).ends(0);
    case
}

/// A 64 x 64 BMP of 24 bits with bars whose width is `row`.
fn bmp(row: usize) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for number in [54 + 64 * 64 * 3, 0, 54, 40, 64, 64, 24 << 16 | 1, 0, 0, 0, 0, 0, 0_u32] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(
        (0..64 * 64)
            .flat_map(|at| [if (at % 64 / row).is_multiple_of(2) { 255 } else { (at / 64 * row) as u8 }; 3]),
    );
    bytes
}

#[test]
fn names_the_source_row_of_each_sample() {
    let case = prepared();
    let provenance = case.read("prepared/provenance.jsonl");
    let mut lines = provenance.lines();
    for file in ["train", "validation"] {
        let samples = case.read(&format!("prepared/{file}.jsonl"));
        for (index, sample) in samples.lines().enumerate() {
            let line = lines.next().unwrap();
            assert!(
                line.starts_with(&format!("{{\"file\":\"{file}.jsonl\",\"line\":{},", index + 1)),
                "{line}"
            );
            assert!(line.contains(",\"images\":[\"photos/"), "{line}");
            let row: usize =
                line.split("\"row\":").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
            let source = case.read("labels.csv");
            let completion = source.lines().nth(row - 1).unwrap().rsplit(',').next().unwrap();
            assert!(sample.contains(&format!("\"{completion}\"")), "{completion}: {sample}");
        }
    }
    assert_eq!(lines.next(), None);
    let stats = case.run(&["stats", "prepared"]).ends(0);
    assert!(!(stats.stdout + &stats.stderr).contains("provenance"), "not a file of samples");
}

#[test]
fn files_without_samples_are_passed_over_and_named() {
    let case = Case::new();
    let row = |row: usize| {
        format!("{{\"prompt\":\"what is {row}?\",\"completion\":[\"{row}\",\"it is {row}\"]}}\n")
    };
    case.write("rows.jsonl", (0..12).map(row).chain([row(3)]).collect::<String>());
    let prepare = ["prepare", "rows.jsonl", "--out", "prepared", "--validation", "3", "--answers", "first"];
    case.run(&[&prepare[..], &["--exit-zero"]].concat()).ends(0);
    // The first row shows what a file is, whatever its name.
    let renamed = "prepared/answers.jsonl";
    fs::rename(case.path("prepared/references-validation.jsonl"), case.path(renamed)).unwrap();
    let program = env!("CARGO_BIN_EXE_pixtune");
    for command in [
        "check",
        "tokens",
        "stats",
        "plan",
        "report --out report.html",
        "check --format json",
        "check --format github",
        "tokens --format json",
        "stats --format json",
    ] {
        let run = case.shell(&format!("{program} {command} prepared/*.jsonl")).ends(0);
        let notes: Vec<&str> = run.stderr.lines().filter(|line| line.contains(": not read: ")).collect();
        let expected = [
            "prepared/answers.jsonl: not read: it lists reference answers, not samples",
            "prepared/provenance.jsonl: not read: it lists source rows, not samples",
            "prepared/references-train.jsonl: not read: it lists reference answers, not samples",
            "prepared/rejected.jsonl: not read: it lists rejected rows, not samples",
        ];
        assert_eq!(notes, expected, "{command}");
        assert!(command != "check" || run.stdout.contains("12 samples"), "{}", run.stdout);
    }
    case.write("prepared/rejected.jsonl", "");
    let run = case.shell(&format!("{program} check prepared/*.jsonl")).ends(0);
    run.prints("prepared/rejected.jsonl: not read: it lists rejected rows, not samples");
    // A split to which no sample belongs is an empty file.
    case.write("prepared/validation.jsonl", "");
    for command in ["check", "tokens", "stats"] {
        case.shell(&format!("{program} {command} prepared/*.jsonl")).ends(0);
    }
    let run = case.shell(&format!("{program} check prepared/*.jsonl")).ends(0);
    run.prints("prepared/validation.jsonl: not read: it has no samples");
    case.run(&["check", "prepared/validation.jsonl"]).ends(1);
    for command in ["check", "tokens", "stats", "plan", "report --out other.html"] {
        let run = case.shell(&format!("{program} {command} prepared/provenance.jsonl")).ends(2);
        run.prints("`prepared/provenance.jsonl` lists source rows, not samples");
    }
}

#[test]
fn findings_of_every_command_name_the_source_row() {
    let case = prepared();
    let limit = ["--max-images", "0"];
    let check =
        |format: &str| case.run(&[&["check", "prepared", "--format", format][..], &limit].concat()).stdout;
    let human = check("human");
    assert!(human.contains("prepared/train.jsonl:1") && human.contains(" (labels.csv:2) "), "{human}");
    let json = check("json");
    assert!(
        json.contains("\"source\":{\"file\":\"labels.csv\",\"row\":2,\"images\":[\"photos/a.png\"]}"),
        "{json}"
    );
    assert!(check("github").contains(" (labels.csv:2)"));
    let text = case.read("prepared/train.jsonl");
    case.write("prepared/train.jsonl", format!("{text}\n"));
    let moved = check("human");
    assert!(!moved.contains("train.jsonl:1 (labels.csv"), "lines may have moved: {moved}");
    assert!(moved.contains("(labels.csv:"), "those of the validation split have not: {moved}");
}
