//! What the program says to everything that can be wrong: all commands to paths, `prepare` to the rest.

use std::fs;

use crate::harness::{Case, Run, png_header};

/// One row whose image is this file.
fn with_image(bytes: &[u8]) -> (Case, Run) {
    let case = Case::table("image,prompt,completion\nimage.jpg,what?,something\n");
    case.write("image.jpg", bytes);
    let run = case.prepare(&[]).ends(1);
    (case, run)
}

/// The fixture, cut short.
fn cut(fixture: &str, keep: usize) -> Vec<u8> {
    let bytes = fs::read(crate::harness::root().join("fixtures/images").join(fixture)).unwrap();
    bytes[..bytes.len() * keep / 100].to_vec()
}

#[test]
fn reports_missing_column_with_existing_ones() {
    let case = Case::table("photo,question,answer\na.png,q,a\n");
    let run = case.prepare(&["--columns", "image=photo,prompt=q"]).ends(2);
    run.prints("there is no column `q`; the columns are `photo`, `question`, `answer`").prints("hint: ");
    assert!(!case.path("out").exists() && !case.path("out.partial").exists());
}

#[test]
fn reports_missing_input_or_pattern() {
    let case = Case::new();
    case.prepare(&[]).ends(2).prints("cannot read `data.csv`: ");
    case.run(&["prepare", "x*.csv", "--out", "out"]).ends(2).prints("nothing matches `x*.csv`");
    case.write("empty.csv", "");
    case.run(&["prepare", "empty.csv", "--out", "out"]).ends(2).prints("`empty.csv` is empty");
    case.write("header.csv", "image,prompt,completion\n");
    case.run(&["prepare", "header.csv", "--out", "out"]).ends(2).prints("`header.csv` is empty");
    case.write("directory/a.txt", "");
    case.run(&["prepare", "directory", "--out", "out"]).ends(2).prints("no metadata.csv or metadata.jsonl");
    case.write("array.json", "[]");
    case.run(&["prepare", "array.json", "--out", "out"]).ends(2).prints("`array.json` is empty");
    case.write("wide.csv", b"\xff\xfe\0\0i\0\0\0");
    case.run(&["prepare", "wide.csv", "--out", "out"]).ends(2).prints("UTF-32");
    assert!(!case.path("out").exists());
}

#[test]
fn suggests_paths_near_a_missing_one() {
    let case = Case::new();
    case.write("data/train.jsonl", "");
    case.write("model/notes.txt", "");
    for (line, hint) in [
        ("prepare data/trian.jsonl --out out", "did you mean `data/train.jsonl`?"),
        ("check data/TRAIN.jsonl", "did you mean `data/train.jsonl`?"),
        ("check data/other", "the path is relative to the current directory `"),
        ("fix data/trian.jsonl --out out.jsonl", "did you mean `data/train.jsonl`?"),
        ("tokens dada/train.jsonl", "did you mean `data/train.jsonl`?"),
        ("tokens dada/other.jsonl", "the directory `dada` does not exist"),
        (
            "tokens data/train.jsonl --tokenizer tekken.json",
            "the path is relative to the current directory `",
        ),
        ("stats dat", "did you mean `data`?"),
        ("report dat", "did you mean `data`?"),
        ("plan dat", "did you mean `data`?"),
        ("train --model modle --data data --out out", "did you mean `model`?"),
        ("generate --model modle --prompt hello", "did you mean `model`?"),
        ("convert modle out --to hf", "did you mean `model`?"),
        ("convert --inspect modle", "did you mean `model`?"),
        ("adapter check adapter --base modle --server transformers", "did you mean `model`?"),
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        let run = case.run(&words).ends(2).prints("error: cannot read `");
        assert!(run.stderr.contains(&format!("hint: {hint}")), "{line}:\n{}", run.stderr);
    }
    let nowhere = case.path("nowhere").display().to_string();
    case.run(&["check", &nowhere]).ends(2).prints("hint: the directory `");
}

#[test]
fn names_the_type_of_files_that_are_not_images() {
    with_image(b"<!DOCTYPE html><html><body>Sign in</body></html>").1.prints("is an HTML page, not an image");
    with_image(b"just some words").1.prints("is a text file, not an image");
    with_image(b"").1.prints("`image.jpg` is empty");
    with_image(b"%PDF-1.7 ...").1.prints("image.jpg` is a");
}

#[test]
fn rejects_truncated_images() {
    for fixture in [
        "gray_200x120.jpg",
        "photo_prog_500x375.jpg",
        "grad_64x48.png",
        "photo_300x200.webp",
        "shapes_400x300.gif",
    ] {
        for keep in [30, 60, 95] {
            let (case, _) = with_image(&cut(fixture, keep));
            assert_eq!(case.rejected(), ["image-unreadable"], "{fixture} at {keep} %");
        }
    }
}

#[test]
fn rejects_truncated_image_without_decoding() {
    for fixture in ["gray_200x120.jpg", "photo_prog_500x375.jpg", "grad_64x48.png", "photo_300x200.webp"] {
        let case = Case::table("image,prompt,completion\nimage,q,a\n");
        case.write("image", cut(fixture, 80));
        case.prepare(&["--images", "keep", "--verify", "header"]).ends(1);
        assert_eq!(case.rejected(), ["image-unreadable"], "{fixture}");
    }
}

#[test]
fn rejects_decompression_bombs_by_header() {
    let (case, run) = with_image(&png_header(20_000, 20));
    run.prints("is `20000x20` pixels; the limit for a side is `10000`");
    assert_eq!(case.rejected(), ["image-too-large"]);
    let case = Case::table("image,prompt,completion\nimage.jpg,q,a\n");
    case.write("image.jpg", png_header(60_000, 60_000));
    case.prepare(&["--max-image-side", "100000"]).ends(1).prints("once decoded");
}

#[test]
fn rejects_animation_and_directory() {
    let case = Case::table("image,prompt,completion\nmoves.gif,q,a\ndirectory,q,a\nmissing.png,q,a\n");
    case.fixture("moves.gif", "anim_50x40.gif");
    fs::create_dir(case.path("directory")).unwrap();
    case.prepare(&[])
        .ends(1)
        .prints("`directory` is a directory, not an image")
        .prints("`missing.png` does not exist");
    assert_eq!(case.rejected(), ["image-animated", "image-unreadable", "image-missing"]);
}

#[cfg(unix)]
#[test]
fn symbolic_link_cycles_end() {
    let case = Case::table("image,prompt,completion\nloop.png,q,a\n");
    std::os::unix::fs::symlink("loop.png", case.path("loop.png")).unwrap();
    case.prepare(&[]).ends(1).prints("`loop.png` cannot be read: ");
    case.write("directory/metadata.csv", "file_name,text\nx.png,hello\n");
    std::os::unix::fs::symlink("../directory", case.path("directory/again")).unwrap();
    case.run(&["prepare", "directory", "--out", "other"]).ends(1).prints("`x.png` does not exist");
}

#[cfg(unix)]
#[test]
fn does_not_read_devices() {
    let case = Case::table("image,prompt,completion\n/dev/zero,q,a\n");
    case.prepare(&[]).ends(1).prints("`/dev/zero` is not a regular file");
}

#[test]
fn reports_empty_prompts_and_responses() {
    let case = Case::table("image,prompt,completion\na.png,,x\nb.jpg,q,\nc.png,q,  \n");
    case.prepare(&[]).ends(1).prints("data.csv:2 /prompt: column `prompt` is empty");
    assert_eq!(case.rejected(), ["empty-prompt", "empty-answer", "empty-answer"]);
}

#[test]
fn reports_invalid_bytes_and_rows() {
    let case = Case::table(
        b"image,prompt,completion\na.png,caf\xe9,x\nb.jpg,q\nc.png,\"open,x\nd.webp,q,\xc3\xa4\xc3\xb6\n",
    );
    case.prepare(&[])
        .ends(1)
        .prints("byte 10 of the row is not UTF-8")
        .prints("in windows-1252 it reads")
        .prints("the row has 2 cells, the header 3");
    assert_eq!(case.rejected(), ["invalid-utf8", "row-wrong-length", "unclosed-quote"]);
    let rejected = case.lines("out/rejected.jsonl");
    assert_eq!(crate::harness::text(&rejected[0], "/row"), "a.png,caf\u{fffd},x");
}

#[test]
fn reports_where_a_json_document_breaks_off() {
    let case = Case::new();
    let row = |n: u32| format!("{{\"prompt\":\"q{n}\",\"completion\":\"a\"}}");
    for (text, place) in [
        (format!("[\n{},\n{},\n", row(1), row(2)), "line 4, column 1: the JSON array is never closed"),
        (
            format!("[\n{}, {}]\n\n {}", row(1), row(2), row(3)),
            "line 4, column 2: there is text after the end",
        ),
        (
            format!("{{\"data\": [\n{},{},", row(1), row(2)),
            "line 2, column 67: the JSON array is never closed",
        ),
    ] {
        case.write("rows.json", &text);
        case.run(&["prepare", "rows.json", "--out", "out", "--validation", "0", "--force"])
            .ends(1)
            .prints(&format!("error[row-unreadable]: rows.json:3: {place}"));
        assert_eq!(case.lines("out/train.jsonl").len(), 2, "{text}");
    }
    let sample = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    case.write("cut.json", format!("[{sample},\n"));
    case.write("good.jsonl", format!("{sample}\n"));
    let found = "error[row-unreadable]: cut.json:2: line 2, column 1: the JSON array is never closed";
    for command in [
        &["check", "cut.json", "good.jsonl"][..],
        &["tokens", "cut.json", "good.jsonl"],
        &["fix", "cut.json", "--out", "fixed.jsonl"],
    ] {
        let run = case.run(command).ends(1);
        assert!((run.stdout.clone() + &run.stderr).contains(found), "{command:?}: {}", run.stdout);
    }
    assert_eq!(case.read("fixed.jsonl"), format!("{sample}\n"));
}

#[test]
fn reports_invalid_json_lines() {
    let case = Case::new();
    let good = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    case.write(
        "rows.jsonl",
        format!("{good}\n{{\"messages\":}}\n[1]\n{{\"prompt\":\"q\"}}\n{{\"messages\":[]}}\n"),
    );
    case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"])
        .ends(1)
        .prints("byte 13 of the line");
    assert_eq!(case.rejected(), ["json-syntax", "json-not-object", "missing-field", "no-messages"]);
}

#[test]
fn skips_cell_of_200_megabytes_in_bounded_memory() {
    let case = Case::new();
    case.images();
    let mut table = b"image,prompt,completion\na.png,\"".to_vec();
    table.resize(table.len() + 200_000_000, b'x');
    table.extend_from_slice(b"\",x\nc.png,q,a\n");
    case.write("data.csv", &table);
    case.prepare(&["--max-row-bytes", "1MB", "--validation", "0"]).ends(1).prints("data.csv:2");
    assert_eq!(case.rejected(), ["row-too-large"]);
    assert_eq!(case.read("out/train.jsonl").lines().count(), 1);
    assert!(fs::metadata(case.path("out/rejected.jsonl")).unwrap().len() < 100_000);
}

#[test]
fn warns_about_duplicate_ids() {
    let case = Case::table("id,image,prompt,completion\n7,a.png,q,a\n7,b.jpg,q,a\n");
    case.prepare(&[])
        .ends(0)
        .prints("warning[duplicate-id]: data.csv:3: the id of this row is that of data.csv:2");
}

#[test]
fn writes_empty_files_if_all_rows_are_rejected() {
    let case = Case::table("image,prompt,completion\nno.png,q,a\n");
    let run = case.prepare(&[]).ends(1);
    assert!(run.stdout.contains("all rows were rejected"), "{}", run.stdout);
    assert_eq!(
        (case.read("out/train.jsonl"), case.read("out/validation.jsonl")),
        (String::new(), String::new())
    );
}

#[test]
fn too_many_rejected_rows_leave_no_output() {
    for limit in ["1", "50%"] {
        let case = Case::table("image,prompt,completion\nno.png,q,a\nno.png,r,a\na.png,q,a\n");
        case.prepare(&["--max-reject", limit]).ends(2).prints("rows were rejected; the limit is");
        assert!(!case.path("out").exists() && !case.path("out.partial").exists());
    }
    let case = Case::table("image,prompt,completion\nno.png,q,a\na.png,q,a\n");
    case.prepare(&["--max-reject", "1"]).ends(1);
}

#[test]
fn replaces_existing_output_only_with_force() {
    let case = Case::table("image,prompt,completion\na.png,q,a\n");
    case.prepare(&[]).ends(0);
    let before = case.output();
    case.prepare(&[]).ends(2).prints("`out` exists already").prints("--force");
    case.prepare(&["--force", "--jpeg-quality", "70"]).ends(0);
    assert_ne!(case.output()["manifest.json"], before["manifest.json"]);
    case.write("mine/notes.txt", "precious");
    for flag in ["--force", "--resume"] {
        case.run(&["prepare", "data.csv", "--out", "mine", flag]).ends(2).prints("is not replaced");
    }
    assert_eq!(case.read("mine/notes.txt"), "precious");
}

#[test]
fn rejects_the_same_input_twice() {
    let case = Case::table("image,prompt,completion\na.png,q,a\n");
    case.run(&["prepare", "data.csv", "./data.csv", "--out", "out"])
        .ends(2)
        .prints("`./data.csv` is given twice");
}

#[test]
fn invalid_arguments_list_the_valid_ones() {
    let case = Case::table("image,prompt,completion\na.png,q,a\n");
    case.prepare(&["--model", "gpt-4"])
        .ends(2)
        .prints("`gpt-4` is not a model or a model directory; choose one of pixtral-12b");
    case.prepare(&["--target", "x"]).ends(2).prints("choose one of mistral, openai");
    case.prepare(&["--validation", "1.5"]).ends(2).prints("`1.5` is not a share");
    case.prepare(&["--split", "halves"]).ends(2).prints("choose random, group, stratify=COLUMN or auto");
    case.prepare(&["--split", "group"]).ends(2).prints("has no column for the group");
    case.prepare(&["--max-reject", "many"]).ends(2).prints("`many` is neither");
    case.prepare(&["--columns", "picture=image"]).ends(2).prints("`picture` is not a role of a column");
}

#[test]
fn reports_samples_without_trained_tokens() {
    let case = Case::new();
    let chat = |messages: &str| format!("{{\"messages\":[{messages}]}}\n");
    let user = r#"{"role":"user","content":"q"}"#;
    case.write(
        "rows.jsonl",
        [
            chat(&format!(r#"{user},{{"role":"assistant","content":"a"}}"#)),
            chat(&format!(r#"{user},{{"role":"assistant","content":"a","weight":0}}"#)),
            chat(user),
            chat(&format!(r#"{user},{{"role":"assistant","content":""}}"#)),
            chat(&format!(r#"{user},{{"role":"assistant","content":"{}"}}"#, "word ".repeat(140_000))),
        ]
        .concat(),
    );
    case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"]).ends(1);
    let rejected = case.rejected();
    assert_eq!(rejected.len(), 4);
    assert_eq!((rejected[0].as_str(), rejected[3].as_str()), ("nothing-to-train", "context-overflow"));
    case.run(&["prepare", "rows.jsonl", "--out", "out", "--force", "--max-tokens", "4"])
        .ends(1)
        .prints("too-many-tokens");
}

#[cfg(unix)]
#[test]
fn reports_unwritable_directory_and_full_disk() {
    let case = Case::table("image,prompt,completion\na.png,q,a\n");
    case.write("file", "");
    case.run(&["prepare", "data.csv", "--out", "file/out"]).ends(2).prints("cannot write `file/out.partial`");
    // A limit on the size of files stands in for a full disk; the rows that fit are kept for --resume.
    case.write(
        "many.csv",
        format!("prompt,completion\n{}", (0..500).map(|n| format!("{n}?,{n}\n")).collect::<String>()),
    );
    let limited = |out: &str, more: &str| {
        let mut command = case.command(&[]);
        let program = command.get_program().to_owned();
        command = std::process::Command::new("sh");
        command.current_dir(case.path(".")).arg("-c");
        command
            .arg(format!("trap '' XFSZ; ulimit -f 8; exec \"$0\" prepare many.csv --out {out} {more}"))
            .arg(program);
        crate::harness::finish(command)
    };
    limited("out", "")
        .ends(2)
        .prints("cannot write `out.partial`: File too large")
        .prints("run again with `--resume`");
    assert!(!case.path("out").exists());
    case.run(&["prepare", "many.csv", "--out", "out", "--resume"]).ends(0);
    case.run(&["prepare", "many.csv", "--out", "undisturbed"]).ends(0);
    assert_eq!(case.output(), crate::harness::read_directory(&case.path("undisturbed")));
}

#[test]
fn reports_keys_that_only_later_rows_have() {
    let case = Case::new();
    case.write(
        "rows.jsonl",
        "{\"prompt\":\"q\",\"answer\":\"a\"}\n{\"prompt\":\"r\",\"answer\":\"b\",\"system\":\"s\"}\n",
    );
    let run = case.run(&["prepare", "rows.jsonl", "--out", "out"]).ends(0);
    run.prints("warning[unknown-key]: rows.jsonl:2 /system: `system` is not in the first row of the file");
}

#[test]
fn a_text_far_beyond_the_context_is_rejected_without_counting_its_tokens() {
    let case = Case::table(format!("prompt,completion\nq,{}\nq,a\n", "x".repeat(16 << 20)));
    case.prepare(&[])
        .ends(1)
        .prints("error[context-overflow]: data.csv:2: at least ")
        .prints("in a text of 16,777,216 bytes");
    assert_eq!(case.rejected(), ["context-overflow"]);
    assert!(case.read("out/rejected.jsonl").len() < 100_000);
}
