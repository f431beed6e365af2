//! What `prepare` makes of good data.

mod images;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use pixtune_core::json::Value;
use pixtune_io::base64;

use crate::harness::{Case, at, root, text};

const THREE: &str =
    "image,prompt,completion\na.png,what?,a gradient\nb.jpg,what?,a gray one\nbig.png,what?,a large one\n";

/// Everything that is kept, training first.
fn kept(case: &Case) -> Vec<Value<'static>> {
    let mut lines = case.lines("out/train.jsonl");
    lines.extend(case.lines("out/validation.jsonl"));
    lines
}

fn image(reference: &str) -> (String, Vec<u8>) {
    let (header, payload) = reference.split_once(";base64,").expect("a data URI");
    (header.to_owned(), base64::decode(payload).unwrap())
}

#[test]
fn prepares_array_like_json_lines() {
    let directory = root().join("fixtures/fix");
    for name in ["llava", "sharegpt", "alpaca", "openai-chat", "images-beside"] {
        let case = Case::new();
        fs::copy(directory.join("a.png"), case.path("a.png")).unwrap();
        let rows = fs::read_to_string(directory.join(format!("{name}.jsonl"))).unwrap();
        let rows = rows + "{\"neither\": \"this\"}\n";
        case.write("rows.jsonl", &rows);
        case.write("rows.json", format!("[\n {}\n]\n", rows.trim_end().replace('\n', " ,\n ")));
        let run = |input: &str, out: &str| {
            let run = case.run(&["prepare", input, "--out", out, "--validation", "0"]);
            assert_eq!(run.code, 1, "{name}: {}", run.stderr);
            ["train.jsonl", "rejected.jsonl"]
                .map(|file| case.read(&format!("{out}/{file}")).replace("rows.jsonl", "rows.json"))
        };
        assert_eq!(run("rows.json", "of-array"), run("rows.jsonl", "of-lines"), "{name}");
    }
}

#[test]
fn reads_samples_of_other_tools_as_conversations() {
    let case = Case::new();
    case.fixture("photos/a.png", "grad_64x48.png");
    let prepare = |rows: &str, more: &[&str]| {
        case.write("rows.jsonl", rows);
        let args = ["prepare", "rows.jsonl", "--out", "out", "--validation", "0", "--force"];
        case.run(&[&args[..], &["--image-folder", "photos"], more].concat())
    };
    let shape = |index: usize| {
        let line = &case.lines("out/train.jsonl")[index];
        let Value::Array(messages) = at(line, "/messages") else { panic!("{line}") };
        let output = messages.iter().map(|message| match message.get("content") {
            Some(Value::Array(parts)) => {
                let part = |part: &Value<'_>| match part.get("text") {
                    Some(text) => text.as_str().unwrap().to_owned(),
                    None => "IMAGE".to_owned(),
                };
                format!(
                    "{}: {}",
                    text(message, "/role"),
                    parts.iter().map(part).collect::<Vec<_>>().join(" + ")
                )
            }
            Some(content) => format!("{}: {}", text(message, "/role"), content.as_str().unwrap()),
            None => format!("{}: calls", text(message, "/role")),
        });
        output.collect::<Vec<_>>().join(" | ")
    };
    // LLaVA
    let llava = r#"{"id":"1","image":"a.png","conversations":[{"from":"human","value":"<image>What?"},{"from":"gpt","value":"Dots."}]}"#;
    let no_place = llava.replace("<image>", "");
    let two_places = llava.replace("<image>", "<image><image>");
    let run = prepare(&[llava, &no_place, &two_places].join("\n"), &["--dedup", "off"]).ends(1);
    run.prints("rows.jsonl: samples in the format of another tool")
        .prints("the messages have 2 placeholders for 1 image in `image`");
    assert_eq!(case.rejected(), ["image-placeholders"]);
    assert_eq!([shape(0), shape(1)], ["user: IMAGE + What? | assistant: Dots."; 2]);
    prepare(&no_place, &["--image-position", "last"]).ends(0);
    assert_eq!(shape(0), "user: What? + IMAGE | assistant: Dots.");
    // LLaMA-Factory, ms-swift, TRL
    let beside = r#"{"messages":[{"role":"user","content":"<image> or <image>?"},{"role":"assistant","content":"Both."}],"images":["a.png",{"path":"a.png"}]}"#;
    prepare(beside, &[]).ends(0);
    assert_eq!(shape(0), "user: IMAGE +  or  + IMAGE + ? | assistant: Both.");
    let plain = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let run = prepare(&[plain, beside].join("\n"), &[]).ends(0);
    run.prints("warning[unknown-key]: rows.jsonl:2: in the format of another tool, unlike the first row");
    prepare(&beside.replace("{\"path\":\"a.png\"}", "7"), &[])
        .ends(1)
        .prints("images must be paths, URLs or data URIs");
    // ShareGPT and Alpaca
    let fixture = |name: &str| fs::read_to_string(root().join("fixtures/fix").join(name)).unwrap();
    let first = |name: &str| fixture(name).lines().next().unwrap().to_owned();
    prepare(&first("sharegpt.jsonl"), &[]).ends(0);
    let expected = "system: Be brief. | user: How warm is it in Lyon? | assistant: calls | tool: {\"celsius\": 21} | assistant: 21 degrees.";
    assert_eq!(shape(0), expected);
    prepare(&first("alpaca.jsonl"), &[]).ends(0);
    assert_eq!(shape(0), "user: Name the colour.\nA ripe banana | assistant: Yellow");
    // Columns that are named count more than what a row looks like.
    prepare(&first("alpaca.jsonl"), &["--columns", "prompt=instruction,completion=output"]).ends(0);
    assert_eq!(shape(0), "user: Name the colour. | assistant: Yellow");
}

#[test]
fn finds_images_in_the_given_directory() {
    let case = Case::table(THREE);
    case.run(&["prepare", "data.csv", "--out", "beside", "--validation", "0"]).ends(0);
    case.write("tables/data.csv", THREE);
    let prepare = |out: &str, more: &[&str]| {
        case.run(&[&["prepare", "tables/data.csv", "--out", out, "--validation", "0"], more].concat())
    };
    prepare("no", &[]).ends(1);
    assert!(case.read("no/rejected.jsonl").contains("sets where relative paths start"));
    prepare("out", &["--image-folder", "nowhere"]).ends(2).prints("cannot read `nowhere`");
    prepare("out", &["--image-folder", "."]).ends(0);
    assert_eq!(case.read("out/train.jsonl"), case.read("beside/train.jsonl"));
    assert!(case.read("out/manifest.json").contains("\"image_folder\": \".\""));
}

#[test]
fn output_is_deterministic_on_any_number_of_threads() {
    let dataset = root().join("examples/visual-qa/dataset.csv");
    let case = Case::new();
    let run = |out: &str, threads: &str| {
        let dataset = dataset.to_str().unwrap();
        case.run(&["prepare", dataset, "--out", out, "--threads", threads, "--validation", "0.2", "-q"])
            .ends(0);
        crate::harness::read_directory(&case.path(out))
    };
    let once = run("one", "1");
    assert!(
        once["train.jsonl"].len() > once["validation.jsonl"].len() && !once["validation.jsonl"].is_empty()
    );
    assert_eq!(run("again", "1"), once);
    assert_eq!(run("two", "2"), once);
    assert_eq!(run("seven", "7"), once);
}

#[test]
fn writes_each_row_to_exactly_one_file() {
    let case = Case::new();
    let dataset = root().join("examples/messy/dataset.csv");
    case.run(&["prepare", dataset.to_str().unwrap(), "--out", "out"]).ends(1);
    let count = |name: &str| case.read(name).lines().count();
    assert_eq!(count("out/train.jsonl") + count("out/validation.jsonl") + count("out/rejected.jsonl"), 18);
    let manifest = case.read("out/manifest.json");
    assert!(manifest.contains("\"rows\": 18"), "{manifest}");
    assert!(!manifest.contains(root().to_str().unwrap()), "no absolute path in the manifest");
}

#[test]
fn reads_tabs_byte_order_mark_backslashes_and_quoted_line_ends() {
    let case = Case::new();
    case.images();
    case.write("sub/a.png", fs::read(case.path("a.png")).unwrap());
    case.write(
        "data.tsv",
        "\u{feff}image\tprompt\tcompletion\r\nsub\\a.png\t\"one\ntwo \"\"x\"\"\"\tyes\r\n",
    );
    case.run(&["prepare", "data.tsv", "--out", "out", "--validation", "0"]).ends(0);
    assert_eq!(text(&kept(&case)[0], "/messages/0/content/1/text"), "one\ntwo \"x\"");
}

#[test]
fn puts_images_at_their_placeholders() {
    let case = Case::table(
        "image,prompt,completion\n\"[\"\"a.png\"\", \"\"c.png\"\"]\",compare <image> with <image> please,x\n\"[\"\"a.png\"\",\"\"c.png\"\"]\",both,y\n",
    );
    case.prepare(&["--validation", "0"]).ends(0);
    let lines = kept(&case);
    let kinds = |line: usize| -> Vec<String> {
        let parts = at(&lines[line], "/messages/0/content").as_array().unwrap();
        parts.iter().map(|part| text(part, "/type")).collect()
    };
    assert_eq!(kinds(0), ["text", "image_url", "text", "image_url", "text"]);
    assert_eq!(kinds(1), ["image_url", "image_url", "text"]);
    case.prepare(&["--validation", "0", "--image-position", "last", "--force"]).ends(0);
    let last = kept(&case);
    assert_eq!(text(&last[1], "/messages/0/content/0/text"), "both");
}

#[test]
fn numbered_columns_are_several_images() {
    let case = Case::table("image_1,image_2,question,answer\na.png,c.png,q,a\nb.jpg,,q2,a2\n");
    case.prepare(&["--validation", "0"]).ends(0).prints("image=image_1, image=image_2");
    let lines = kept(&case);
    assert_eq!(at(&lines[0], "/messages/0/content").as_array().unwrap().len(), 3);
    assert_eq!(at(&lines[1], "/messages/0/content").as_array().unwrap().len(), 2);
}

#[test]
fn reads_mistral_and_openai_conversations_and_keeps_tools() {
    let case = Case::new();
    case.images();
    let inline = format!("data:image/png;base64,{}", encoded(&fs::read(case.path("c.png")).unwrap()));
    let file = format!("file://{}", case.path("a.png").display());
    case.write(
        "chats.jsonl",
        format!(
            concat!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"one"}},{{"type":"image_url","image_url":"a.png"}}]}},{{"role":"assistant","content":"x"}}]}}"#,
                "\n",
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{}"}}}},{{"type":"image_url","image_url":{{"url":"{}"}}}}]}},{{"role":"assistant","content":"y"}}]}}"#,
                "\n",
                r#"{{"tools":[{{"type":"function","function":{{"name":"f","description":"","parameters":{{"type":"object","properties":{{}}}}}}}}],"messages":[{{"role":"user","content":"go"}},{{"role":"assistant","tool_calls":[{{"id":"abcdefghi","type":"function","function":{{"name":"f","arguments":"{{}}"}}}}]}},{{"role":"tool","tool_call_id":"abcdefghi","name":"f","content":"42"}},{{"role":"assistant","content":"it is 42"}}]}}"#,
                "\n"
            ),
            inline, file
        ),
    );
    case.run(&["prepare", "chats.jsonl", "--out", "out", "--validation", "0"]).ends(0);
    let lines = kept(&case);
    assert_eq!(
        image(&text(&lines[1], "/messages/0/content/0/image_url")).1,
        fs::read(case.path("c.png")).unwrap()
    );
    assert_eq!(
        image(&text(&lines[1], "/messages/0/content/1/image_url")).1,
        fs::read(case.path("a.png")).unwrap()
    );
    assert_eq!(text(&lines[2], "/messages/1/tool_calls/0/function/arguments"), "{}");
    assert_eq!(text(&lines[2], "/tools/0/function/name"), "f");
}

fn encoded(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    base64::encode(bytes, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn reads_image_folders_globs_and_standard_input() {
    let case = Case::new();
    case.images();
    for (name, image) in [("directory/train/x.png", "a.png"), ("directory/test/y.png", "c.png")] {
        case.write(name, fs::read(case.path(image)).unwrap());
    }
    case.write("directory/train/metadata.csv", "file_name,text\nx.png,a gradient\n");
    case.write("directory/test/metadata.jsonl", "{\"file_name\":\"y.png\",\"text\":\"noise\"}\n");
    let random = ["--validation", "0", "--split", "random"];
    case.run(&[&["prepare", "directory", "--out", "out"], &random[..]].concat()).ends(0);
    assert_eq!(kept(&case).len(), 2);
    case.run(&[&["prepare", "directory/*/metadata.*", "--out", "globbed"], &random[..]].concat()).ends(0);
    assert_eq!(case.read("globbed/train.jsonl"), case.read("out/train.jsonl"));
    let mut command = case.command(&["prepare", "-", "--out", "piped", "--validation", "0"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(THREE.as_bytes()).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(case.read("piped/train.jsonl").lines().count(), 3);
}

#[test]
fn validation_split_fits_the_given_size() {
    let mut table = "prompt,completion\n".to_owned();
    (0..300).for_each(|index| {
        table.push_str(&format!("question {index}?,{}\n", "answer ".repeat(1 + index % 7)));
    });
    let case = Case::table(&table);
    case.prepare(&["--validation", "5kB"]).ends(0);
    let bytes = fs::metadata(case.path("out/validation.jsonl")).unwrap().len();
    assert!((4_500..=5_000).contains(&bytes), "{bytes}");
}

#[test]
fn the_openai_target_writes_objects() {
    let case = Case::table(THREE);
    case.prepare(&["--target", "openai", "--validation", "0"]).ends(0);
    assert!(
        text(&kept(&case)[0], "/messages/0/content/0/image_url/url").starts_with("data:image/png;base64,")
    );
}

#[test]
fn rejects_duplicates_but_not_questions_about_one_image() {
    let table = "image,prompt,completion\na.png,q,a\na.png,other,a\na.png,q,a\n";
    let case = Case::table(table);
    case.prepare(&["--validation", "0"]).ends(0).prints("the same images and text as data.csv:2");
    assert_eq!((kept(&case).len(), case.rejected()), (2, vec!["duplicate".to_owned()]));
    case.prepare(&["--validation", "0", "--dedup-by", "image", "--force"]).ends(0);
    assert_eq!(kept(&case).len(), 1);
    case.prepare(&["--validation", "0", "--dedup", "off", "--force"]).ends(0);
    assert_eq!(kept(&case).len(), 3);
}

#[test]
fn token_counts_match_the_reference() {
    // <s> [INST] 12 images tokens (4 columns and a break, 3 rows), `what?` [/INST] `a gradient` </s>
    let case = Case::table("image,prompt,completion\na.png,what?,a gradient\n");
    case.prepare(&["--validation", "0"]).ends(0);
    let manifest = case.read("out/manifest.json");
    assert!(
        manifest.contains("\"tokens\": {\"total\": 23, \"image\": 15, \"trained\": 3, \"max_sample\": 23}"),
        "{manifest}"
    );
}

#[test]
fn show_plan_does_nothing_else() {
    let case = Case::table(THREE);
    let run = case.prepare(&["--show-plan"]).ends(0);
    assert!(run.stdout.contains("\"completion\": \"completion\""), "{}", run.stdout);
    assert!(!case.path("out").exists() && !case.path("out.partial").exists());
}

#[test]
fn limits_of_pixtune_toml_apply_to_the_output() {
    let case = Case::new();
    let photo = fs::read(root().join("examples/visual-qa/images/floor-sign.jpg")).unwrap();
    case.write("data/one.jpg", &photo);
    let row = |text: &str, photos: usize| {
        let image = r#",{"type":"image_url","image_url":"one.jpg"}"#.repeat(photos);
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"{text}"}}{image}]}},{{"role":"assistant","content":"It is a cat."}}]}}"#
        ) + "\n"
    };
    case.write("data/rows.jsonl", row("one", 1) + &row("two", 2) + &row("three", 1));
    let prepare = |limits: &str| {
        case.write("data/pixtune.toml", format!("[check.limits]\n{limits}\n"));
        case.run(&[
            "prepare",
            "data/rows.jsonl",
            "--out",
            "out",
            "--force",
            "--validation",
            "0",
            "--dedup",
            "off",
        ])
    };
    prepare("max-images = 2").ends(0);
    prepare("max-images = 1").ends(0).prints("the sample has 2 images; mistral accepts 1");
    assert!(case.read("out/manifest.json").contains("\"target_max_images\": 1"));
    let line = case.read("out/train.jsonl").lines().next().unwrap().len();
    prepare(&format!("max-file-bytes = {}", line * 5 / 2)).ends(0);
    let names: BTreeSet<String> = fs::read_dir(case.path("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("train"))
        .collect();
    assert!(names.len() > 1, "{names:?}");
    // An image above the limit is written anew; where that is not enough, its row is rejected.
    prepare(&format!("max-image-bytes = {}", photo.len() / 2)).ends(1).prints("error[image-too-large]");
}

#[test]
fn pixtune_toml_sets_ignored_and_rejecting_rules() {
    let case = Case::new();
    let messages = r#""messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]"#;
    case.write("data/rows.jsonl", format!("{{\"x\":1,\"y\":null,{messages}}}\n"));
    let prepare = |more: &[&str]| {
        let run = case.run(
            &[&["prepare", "data/rows.jsonl", "--out", "out", "--force", "--validation", "0"], more].concat(),
        );
        (run.stderr.clone(), run.code)
    };
    let (output, code) = prepare(&[]);
    assert!(output.contains("unknown-key") && output.contains("null-key") && code == 0, "{output}");
    case.write(
        "data/pixtune.toml",
        "[check]\nignore = [\"null-key\"]\n[check.severity]\nunknown-key = \"error\"\n",
    );
    let (output, code) = prepare(&[]);
    assert!(output.contains("error[unknown-key]") && !output.contains("null-key") && code == 1, "{output}");
    let manifest = case.read("out/manifest.json");
    assert!(
        manifest.contains("\"drop\": [\"unknown-key\"]") && manifest.contains("\"ignore\": [\"null-key\"]"),
        "{manifest}"
    );
    // A flag counts more than the file.
    let (output, code) = prepare(&["--drop", "null-key"]);
    assert!(output.contains("error[null-key]") && code == 1, "{output}");
    let (output, _) = prepare(&["--ignore", "unknown-key"]);
    assert!(output.contains("warning[null-key]"), "{output}");
    assert_eq!(prepare(&["--no-config"]).1, 0);
    // Errors that make a row useless are reported whatever the file contains.
    case.write("data/rows.jsonl", format!("{{{messages}}}\n{{\n"));
    case.write("data/pixtune.toml", "[check]\nignore = [\"json\"]\n");
    assert!(prepare(&[]).0.contains("error[json-syntax]"));
    case.write("data/pixtune.toml", "[check]\ntarget = \"hf\"\n");
    let (output, code) = prepare(&[]);
    assert!(
        output.contains("`hf` is not a target of prepare; choose one of mistral") && code == 2,
        "{output}"
    );
}
