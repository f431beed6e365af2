//! Text as programs other than ours write it: encodings, separators, line ends, and JSON that is neither lines nor an array.

use std::fs;

use super::harness::Case;
use super::inputs::{prepare, samples};

#[track_caller]
fn reads(name: &str, bytes: &[u8], note: &str, expected: &[&str]) {
    let (case, run) = prepare(name, bytes, &[]);
    let run = run.ends(0);
    if !note.is_empty() {
        run.prints(note);
    }
    assert_eq!(samples(&case, "out/train.jsonl"), expected, "{}", String::from_utf8_lossy(bytes));
}

const TABLE: &str = "image;prompt;completion\na.png;Was, bitte?;Grün, glaube ich\n";
const SAMPLE: &[&str] = &["user:<image>Was, bitte?|assistant:Grün, glaube ich"];

fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

#[test]
fn reads_tables_with_other_separators_and_line_ends() {
    let note = "cells are separated by";
    reads("data.csv", TABLE.as_bytes(), "cells are separated by `;`", SAMPLE);
    reads("data.csv", TABLE.replace(';', "|").as_bytes(), "`|`", SAMPLE);
    reads("data.csv", TABLE.replace(';', "\t").as_bytes(), "by tabs", SAMPLE);
    reads("data.txt", TABLE.as_bytes(), note, SAMPLE);
    reads("data.csv", TABLE.replace('\n', "\r").as_bytes(), note, SAMPLE);
    reads("data.csv", TABLE.replace('\n', "\r\n").as_bytes(), note, SAMPLE);
    reads("data.csv", format!("sep=;\r\n{TABLE}").as_bytes(), "", SAMPLE);
    let (case, run) = prepare("data.csv", TABLE.replace(';', "^"), &["--separator", "^"]);
    run.ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), SAMPLE);
    let (_, run) = prepare("data.csv", TABLE, &["--separator", "ab"]);
    run.ends(2).prints("`ab` is not a separator");
}

#[test]
fn reads_text_in_other_encodings() {
    let with_mark = format!("\u{feff}{TABLE}");
    for bytes in [
        utf16(TABLE, u16::to_le_bytes),
        utf16(TABLE, u16::to_be_bytes),
        utf16(&with_mark, u16::to_le_bytes),
        utf16(&with_mark, u16::to_be_bytes),
    ] {
        reads("data.csv", &bytes, "not UTF-8; read as UTF-16", SAMPLE);
    }
    let found =
        "not UTF-8; read as windows-1252, for example \u{201c}a.png;Was, bitte?;Grün, glaube ich\u{201d}";
    reads("data.csv", &latin1(TABLE), found, SAMPLE);
    let (case, run) = prepare("data.csv", latin1(TABLE), &["--encoding", "latin2"]);
    run.ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), SAMPLE);
    let (case, run) = prepare("data.csv", latin1(TABLE), &["--encoding", "utf-8"]);
    run.ends(1);
    assert_eq!(case.rejected(), ["invalid-utf8"]);
    let (_, run) = prepare("data.csv", TABLE, &["--encoding", "klingon"]);
    run.ends(2).prints("`klingon` is not an encoding");
    // Bytes that the encoding does not have reject their row alone.
    let mut bytes = utf16(TABLE, u16::to_le_bytes);
    bytes.extend(utf16("a.png;q;", u16::to_le_bytes));
    bytes.extend([0, 0xd8, b'\n', 0]);
    let (case, run) = prepare("data.csv", &bytes, &[]);
    run.ends(1);
    assert_eq!(case.rejected(), ["invalid-utf8"]);
    assert_eq!(samples(&case, "out/train.jsonl"), SAMPLE);
}

#[test]
fn rows_in_other_encodings_are_reread() {
    let rows: String = (0..50).map(|n| format!("a.png;Wofür {};Grün\n", n % 7)).collect();
    let text = format!("image;prompt;completion\n{rows}");
    let train = |bytes: &[u8], threads: &str| {
        let case = Case::new();
        case.images();
        case.write("data.csv", bytes);
        case.prepare(&["--validation", "0", "--dedup", "exact", "--threads", threads]).ends(0);
        assert_eq!(case.rejected().len(), 43);
        case.read("out/train.jsonl")
    };
    let expected = train(text.as_bytes(), "1");
    for bytes in [latin1(&text), utf16(&text, u16::to_be_bytes)] {
        assert_eq!(train(&bytes, "3"), expected);
    }
}

#[test]
fn names_what_a_line_in_another_encoding_may_mean() {
    let case = Case::new();
    let line = r#"{"messages":[{"role":"user","content":"Wie heißt die Straße?"},{"role":"assistant","content":"Königsallee"}]}"#;
    case.write("rows.jsonl", latin1(line));
    for command in ["check", "tokens"] {
        let run = case.run(&[command, "rows.jsonl"]).ends(1);
        let printed = run.stdout + &run.stderr;
        assert!(
            printed.contains("in windows-1252 it reads \u{201c}") && printed.contains("heißt"),
            "{printed}"
        );
    }
}

#[test]
fn reads_json_that_is_neither_lines_nor_an_array() {
    let sample = &["user:<image>q1|assistant:a1", "user:<image>q2|assistant:a2"];
    let one = r#"{"image":"a.png","question":"q1","answer":"a1"}"#;
    let two = r#"{"image":"c.png","question":"q2","answer":"a2"}"#;
    for (text, note) in [
        (
            format!("{{\"version\":\"1.0\",\"data\":[{one},{two}],\"extra\":[1]}}"),
            "the elements of `data` are the rows",
        ),
        (format!("{{\n  \"dataset\": {{}},\n  \"samples\": [\n {one},\n {two}\n]\n}}\n"), "`samples`"),
        (format!("{{\"17\":{one},\"18\":{two}}}"), "its members are the rows"),
        (format!("{}\n{}\n", one.replace(',', ",\n  "), two.replace(',', ",\n  ")), "over several lines"),
    ] {
        reads("rows.json", text.as_bytes(), note, sample);
        reads("rows.jsonl", text.as_bytes(), note, sample);
    }
    let (_, run) = prepare("rows.json", r#"{"pairs":[{"q":1}],"n":1}"#, &[]);
    run.ends(2).prints("which list in it has the rows is not known: pairs").prints("jq -c");
}

#[test]
fn reads_sets_of_captions() {
    let sample = &["user:<image>|assistant:a cat", "user:<image>|assistant:noise"];
    let coco = r#"{"info":{"year":2017},"images":[{"id":9,"file_name":"a.png","width":64},{"id":4,"file_name":"c.png"}],
        "annotations":[{"image_id":9,"id":1,"caption":"a cat"},{"image_id":4,"id":2,"caption":"noise"}]}"#;
    reads("captions.json", coco.as_bytes(), "COCO", sample);
    let missing = coco.replace("\"image_id\":4", "\"image_id\":5");
    let (case, run) = prepare("captions.json", &missing, &[]);
    run.ends(1).prints("`images` has no image with the id 5");
    assert_eq!(case.rejected(), ["row-unreadable"]);
    let boxes = coco.replace("\"caption\":\"a cat\"", "\"caption\":\"a cat\",\"bbox\":[1,2,3,4]");
    let (_, run) = prepare("instances.json", &boxes, &[]);
    run.ends(2).prints("`bbox`");

    let karpathy = r#"{"images":[
        {"filepath":"val2014","filename":"a.png","imgid":0,"split":"restval","sentids":[1,2],"cocoid":391895,
         "sentences":[{"raw":"a cat","tokens":["a","cat"],"sentid":1},{"raw":"one cat","tokens":["one","cat"],"sentid":2}]},
        {"filepath":"val2014","filename":"c.png","imgid":1,"split":"train","sentids":[3],"cocoid":522418,
         "sentences":[{"raw":"noise","tokens":["noise"],"sentid":3}]}],"dataset":"coco"}"#;
    let case = Case::new();
    case.images();
    for image in ["a.png", "c.png"] {
        case.write(&format!("val2014/{image}"), fs::read(case.path(image)).unwrap());
    }
    case.write("dataset_coco.json", karpathy);
    let run = case.run(&[
        "prepare",
        "dataset_coco.json",
        "--out",
        "out",
        "--validation",
        "0",
        "--answers",
        "first",
    ]);
    run.ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), sample);

    reads("captions.json", br#"{"a.png":"a cat","c.png":"noise"}"#, "its members are the rows", sample);
}

#[test]
fn reads_tasks_of_label_studio() {
    let task = |value: &str, more: &str| {
        format!(
            r#"[{{"id":1,"data":{{"image":"a.png","question":"What?"}},"annotations":[{{"id":7,"was_cancelled":false,
            "result":[{{"type":{value},"from_name":"answer","to_name":"image"}}]}}{more}],"predictions":[]}}]"#
        )
    };
    let textarea = task(r#""textarea","value":{"text":["A cat."]}"#, "");
    reads("export.json", textarea.as_bytes(), "", &["user:<image>What?|assistant:A cat."]);
    let choices = task(r#""choices","value":{"choices":["cat"]}"#, r#",{"was_cancelled":true,"result":[]}"#);
    reads("export.json", choices.as_bytes(), "", &["user:<image>What?|assistant:cat"]);
    for refused in [
        task(r#""rectanglelabels","value":{"x":1,"y":2,"rectanglelabels":["cat"]}"#, ""),
        task(
            r#""choices","value":{"choices":["cat"]}"#,
            r#",{"result":[{"type":"choices","value":{"choices":["dog"]}}]}"#,
        ),
    ] {
        let (case, run) = prepare("export.json", &refused, &[]);
        run.ends(1);
        assert_eq!(case.rejected(), ["missing-field"]);
    }
}

#[test]
fn check_and_fix_know_objects_over_several_lines() {
    let case = Case::new();
    let sample = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let pretty = sample
        .replace("[{", "[\n    {")
        .replace('}', "\n  }")
        .replace(":{", ": {\n")
        .replace("{\"messages", "{\n  \"messages");
    case.write("rows.json", format!("{pretty}\n{pretty}\n"));
    let run = case.run(&["check", "rows.json", "--ignore", "file"]).ends(1);
    assert!(run.stdout.contains("error[json-array]"), "{}", run.stdout);
    assert!(run.stdout.contains("JSON objects over several lines"), "{}", run.stdout);
    assert!(!run.stdout.contains("json-syntax"), "{}", run.stdout);
    case.run(&["fix", "rows.json", "--out", "rows.jsonl"]).ends(0);
    assert_eq!(case.lines("rows.jsonl").len(), 2);
    case.run(&["check", "rows.jsonl", "--ignore", "file"]).ends(0);
}
