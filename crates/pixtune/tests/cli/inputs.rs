//! What people bring: datasets in the shapes of other tools, and content that must not be lost on the way.

mod splits;

use pixtune_core::json::Value;
use pixtune_io::base64;

use super::harness::{Case, Run, at, root, text};

/// Runs `prepare` on rows in a file of this name.
pub(super) fn prepare(name: &str, rows: impl AsRef<[u8]>, more: &[&str]) -> (Case, Run) {
    let case = Case::new();
    case.images();
    case.write(name, rows);
    let run =
        case.run(&[&["prepare", name, "--out", "out", "--validation", "0", "--dedup", "off"], more].concat());
    (case, run)
}

/// The samples as roles and texts, `<image>` for each image: `user:<image>What?|assistant:A cat.`
pub(super) fn samples(case: &Case, file: &str) -> Vec<String> {
    let part = |part: &Value<'_>| part.text("text").unwrap_or("<image>").to_owned();
    let message = |message: &Value<'_>| {
        let content = match message.get("content") {
            Some(Value::Array(parts)) => parts.iter().map(part).collect(),
            Some(content) => content.as_str().unwrap_or("?").to_owned(),
            None => "(calls)".to_owned(),
        };
        format!("{}:{content}", message.text("role").unwrap_or("?"))
    };
    let sample = |line: &Value<'_>| {
        let messages = line.get("messages").and_then(Value::as_array).unwrap_or_default();
        messages.iter().map(message).collect::<Vec<_>>().join("|")
    };
    case.lines(file).iter().map(sample).collect()
}

#[track_caller]
fn reads(name: &str, rows: &str, more: &[&str], expected: &[&str]) {
    let (case, run) = prepare(name, rows, more);
    run.ends(0);
    assert_eq!(samples(&case, "out/train.jsonl"), expected, "{rows}");
}

/// The run stops before it starts, with this in its message.
#[track_caller]
fn stops(name: &str, rows: &str, why: &str) {
    let (case, run) = prepare(name, rows, &[]);
    run.ends(2).prints(why);
    assert!(!case.path("out").exists());
}

/// Every row is rejected, by these rules.
#[track_caller]
fn rejects(name: &str, rows: &str, rules: &[&str]) {
    let (case, run) = prepare(name, rows, &[]);
    run.ends(1);
    assert_eq!(case.rejected(), rules, "{rows}");
    assert_eq!(case.read("out/train.jsonl"), "");
}

fn base64_of(image: &str) -> String {
    let bytes = std::fs::read(root().join("fixtures/images").join(image)).unwrap();
    let mut out = Vec::new();
    base64::encode(&bytes, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn never_trains_refused_responses() {
    let row = |label: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}],"label":{label}}}"#
        )
    };
    reads("rows.jsonl", &row("true"), &[], &["user:q|assistant:a"]);
    rejects("rows.jsonl", &row("false"), &["undesirable-response"]);
    rejects("data.csv", "prompt,completion,label\nq,a,False\n", &["undesirable-response"]);
    reads("rows.jsonl", &row("false"), &["--remove-columns", "label"], &["user:q|assistant:a"]);
    let refused = "this response is far from what we would like to see";
    for row in [
        format!(r#"{{"prompt":"q","chosen":"a","rejected":"{refused}"}}"#),
        format!(
            r#"{{"chosen":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}],"rejected":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"{refused}"}}]}}"#
        ),
        format!(
            r#"{{"prompt":[{{"role":"user","content":"q"}}],"chosen":[{{"role":"assistant","content":"a"}}],"rejected":[{{"role":"assistant","content":"{refused}"}}]}}"#
        ),
        format!(
            r#"{{"conversations":[{{"from":"human","value":"q"}}],"chosen":{{"from":"gpt","value":"a"}},"rejected":{{"from":"gpt","value":"{refused}"}}}}"#
        ),
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","content":"a"}}],"rejected_response":"{refused}"}}"#
        ),
        format!(
            r#"{{"input":{{"messages":[{{"role":"user","content":"q"}}]}},"preferred_output":[{{"role":"assistant","content":"a"}}],"non_preferred_output":[{{"role":"assistant","content":"{refused}"}}]}}"#
        ),
    ] {
        reads("rows.jsonl", &row, &[], &["user:q|assistant:a"]);
    }
}

#[test]
fn chooses_among_reference_answers_alike_in_json_and_tables() {
    let json = r#"{"image":"a.png","question":"q","answers":["no","yes","yes"]}"#;
    reads("rows.jsonl", json, &[], &["user:<image>q|assistant:yes"]);
    reads("rows.jsonl", json, &["--answers", "first"], &["user:<image>q|assistant:no"]);
    let each = ["user:<image>q|assistant:no", "user:<image>q|assistant:yes"];
    reads("rows.jsonl", json, &["--answers", "each"], &each);
    let table = "image,question,answer\na.png,q,\"['no', 'yes', 'yes']\"\n";
    reads("data.csv", table, &[], &["user:<image>q|assistant:yes"]);
    reads("data.csv", table, &["--answers", "each"], &each);
    let vqa = r#"{"image":"a.png","question":"q","answers":[{"answer":"net","answer_id":1},{"answer":"net","answer_id":2}]}"#;
    reads("rows.jsonl", vqa, &[], &["user:<image>q|assistant:net"]);
    // JSON in a column with a name in the singular is what the model shall write.
    reads("data.csv", "prompt,completion\nq,\"[\"\"a\"\"]\"\n", &[], &["user:q|assistant:[\"a\"]"]);
}

#[test]
fn each_answer_is_a_sample_also_after_a_kill() {
    let case = Case::new();
    let rows: String =
        (0..40).map(|n| format!("{{\"question\":\"q{n}\",\"answers\":[\"a\",\"b\",\"c\"]}}\n")).collect();
    case.write("rows.jsonl", rows);
    let args =
        |out: &'static str| ["prepare", "rows.jsonl", "--out", out, "--answers", "each", "--dedup", "off"];
    case.run(&args("whole")).ends(0);
    case.run(&args("again")).ends(0);
    std::fs::rename(case.path("again"), case.path("moved")).unwrap();
    case.run(&[&args("again")[..], &["--resume"]].concat()).ends(0);
    assert_eq!(case.read("whole/train.jsonl"), case.read("again/train.jsonl"));
    assert_eq!(case.lines("whole/train.jsonl").len() + case.lines("whole/validation.jsonl").len(), 120);
}

#[test]
fn rejects_media_that_the_model_cannot_read() {
    let video = r#"{"video":"a.mp4","conversations":[{"from":"human","value":"<video>\nWhat?"},{"from":"gpt","value":"A cat."}]}"#;
    rejects("rows.jsonl", video, &["unused-content"]);
    rejects("rows.jsonl", r#"{"audios":["a.wav"],"prompt":"p","completion":"c"}"#, &["unused-content"]);
    // An id that is an object with an image is content under the name of an id.
    let id = r#"{"id":{"path":"photo.webp"},"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let case = Case::new();
    case.write("rows.jsonl", id);
    case.run(&["prepare", "rows.jsonl", "--out", "out"])
        .ends(2)
        .prints("nothing uses `id`, which holds images");
    let part = r#"{"messages":[{"role":"user","content":[{"type":"video","video":"a.mp4"},{"type":"text","text":"q"}]},{"role":"assistant","content":"a"}]}"#;
    rejects("rows.jsonl", part, &["wrong-type"]);
}

#[test]
fn recognizes_image_columns_and_stops_at_content_that_nothing_uses() {
    let png = base64_of("grad_64x48.png");
    for (name, rows) in [
        ("rows.jsonl", format!(r#"{{"image_base64":"{png}","question":"q","answer":"a"}}"#)),
        ("rows.jsonl", r#"{"page_image":"a.png","question":"q","answer":"a"}"#.to_owned()),
        ("rows.jsonl", r#"{"scan":{"bytes":null,"path":"a.png"},"question":"q","answer":"a"}"#.to_owned()),
        ("data.csv", "Image Path,Question,Answer\na.png,q,a\n".to_owned()),
        ("data.csv", "image_name,question,answer\na.png,q,a\n".to_owned()),
    ] {
        reads(name, &rows, &[], &["user:<image>q|assistant:a"]);
    }
    let choices = r#"{"image":"a.png","question":"q","choices":["cat","dog"],"answer":0}"#;
    stops("rows.jsonl", choices, "nothing uses `choices`, which holds a list of texts");
    stops("rows.jsonl", choices, "`--remove-columns choices`");
    reads("rows.jsonl", choices, &["--remove-columns", "choices"], &["user:<image>q|assistant:0"]);
    stops("data.csv", "image_id,question,answer\n7,q,a\n", "numbers of images");
    stops(
        "rows.jsonl",
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"choices":["x","y"]}"#,
        "nothing uses `choices`",
    );
    let regions =
        r#"{"query":"Find <ref-object>","response":"<bbox>","objects":{"category":[1],"bbox":[[1,2,3,4]]}}"#;
    stops("rows.jsonl", regions, "nothing uses `objects`, which holds regions of the image");
    // A later row is rejected by itself.
    let plain = r#"{"image":"a.png","question":"q","answer":"a"}"#;
    let late = format!("{}\n{choices}\n", vec![plain; 40].join("\n"));
    let (case, run) = prepare("rows.jsonl", &late, &["--ignore", "lines"]);
    run.ends(1);
    assert_eq!(case.rejected(), ["unused-content"]);
}

/// What ms-swift makes of the boxes, in an image of 64 by 48 pixels.
#[test]
fn writes_the_regions_of_ms_swift_into_the_texts() {
    let row = |objects: &str| {
        format!(
            r#"{{"query":"<image>Find <ref-object>.","response":"At <bbox>","images":["a.png"],"objects":{objects}}}"#
        )
    };
    let filled = "user:<image>Find a cat.|assistant:At [(500,0),(1000,500)]";
    reads("rows.jsonl", &row(r#"{"ref":["a cat"],"bbox":[[32,0,64,24]]}"#), &[], &[filled]);
    let messages = r#"{"messages":[{"role":"user","content":"<image>Find <ref-object>."},{"role":"assistant","content":"At <bbox>"}],"images":["a.png"],"objects":{"ref":["a cat"],"bbox":[[0.5,0,1,0.5]],"bbox_type":"norm1"}}"#;
    reads("rows.jsonl", messages, &[], &[filled]);
    for objects in [r#"{"ref":["a cat"],"bbox":[]}"#, r#"{"ref":["a cat"],"bbox":[[1,2],[3,4]]}"#] {
        rejects("rows.jsonl", &row(objects), &["missing-field"]);
    }
    // Without the boxes, their placeholders would be trained as texts.
    let (case, run) = prepare("rows.jsonl", row(r#"{"bbox":[[1,2]]}"#), &["--remove-columns", "objects"]);
    run.ends(1).prints("the texts have `<ref-object>`, and nothing fills it");
    assert_eq!(case.rejected(), ["missing-field"]);
}

#[test]
fn converts_the_shapes_of_other_tools() {
    let png = base64_of("grad_64x48.png");
    let conversation = "user:q1|assistant:a1|user:q2|assistant:a2";
    for (row, expected) in [
        (r#"{"query":"q2","response":"a2","history":[["q1","a1"]]}"#.to_owned(), conversation),
        (r#"{"instruction":"q2","output":"a2","history":[["q1","a1"]]}"#.to_owned(), conversation),
        (
            r#"{"images":["a.png"],"texts":[{"user":"q1","assistant":"a1","source":"x"},{"user":"q2","assistant":"a2"}]}"#.to_owned(),
            "user:<image>q1|assistant:a1|user:q2|assistant:a2",
        ),
        (
            format!(
                r#"{{"systemInstruction":{{"parts":[{{"text":"s"}}]}},"contents":[{{"role":"user","parts":[{{"inlineData":{{"mimeType":"image/png","data":"{png}"}}}},{{"text":"q"}}]}},{{"role":"model","parts":[{{"text":"a"}}]}}]}}"#
            ),
            "system:s|user:<image>q|assistant:a",
        ),
        (
            r#"{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}"#.to_owned(),
            "user:q|assistant:a",
        ),
        (r#"{"image":"a.png","prefix":"caption en","suffix":"a"}"#.to_owned(), "user:<image>caption en|assistant:a"),
        (
            r#"{"messages":[{"role":"developer","content":"s"},{"role":"user","content":[{"type":"image","path":"a.png"},{"type":"input_text","text":"q"}]},{"role":"assistant","content":"a"}]}"#.to_owned(),
            "system:s|user:<image>q|assistant:a",
        ),
        (
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image","base64":"{png}"}},{{"type":"text","value":"q"}}]}},{{"role":"assistant","content":"a"}}]}}"#
            ),
            "user:<image>q|assistant:a",
        ),
        (
            format!(
                r#"{{"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{png}"}}}},{{"type":"text","text":"q"}}]}},{{"role":"assistant","content":"a"}}]}}"#
            ),
            "user:<image>q|assistant:a",
        ),
        (
            format!(r#"{{"messages":"[{{\"role\":\"user\",\"content\":\"<image>q\"}},{{\"role\":\"assistant\",\"content\":\"a\"}}]","image":"{png}"}}"#),
            "user:<image>q|assistant:a",
        ),
    ] {
        reads("rows.jsonl", &row, &[], &[expected]);
        // What `prepare` reads, `fix` converts, unless its shape is that of a table.
        if !row.contains("prefix") && !row.contains("\"[{") {
            let (case, _) = prepare("rows.jsonl", &row, &[]);
            case.run(&["fix", "--unsafe", "rows.jsonl", "--out", "fixed.jsonl"]).ends(0);
            case.run(&["prepare", "fixed.jsonl", "--out", "from-fixed", "--validation", "0"]).ends(0);
            assert_eq!(samples(&case, "from-fixed/train.jsonl"), [expected], "{row}");
        }
    }
}

#[test]
fn reads_lists_and_conversations_in_cells() {
    reads(
        "data.csv",
        "images,question,answer\n\"['a.png', 'c.png']\",q,a\n",
        &[],
        &["user:<image><image>q|assistant:a"],
    );
    reads(
        "data.csv",
        "images,question,answer\n\"[\"\"a.png\"\"]\",q,a\n",
        &[],
        &["user:<image>q|assistant:a"],
    );
    let python =
        "\"[{'role': 'user', 'content': '<image>q'}, {'role': 'assistant', 'content': \"\"it's\"\"}]\"";
    reads(
        "data.csv",
        &format!("messages,images\n{python},['a.png']\n"),
        &[],
        &["user:<image>q|assistant:it's"],
    );
    rejects("data.csv", "image,question,answer\n\"[a.png\",q,a\n", &["wrong-type"]);
}

#[test]
fn fix_never_deletes_content() {
    let case = Case::new();
    for (row, kept) in [
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"video":"a.mp4"}"#,
            "a.mp4",
        ),
        (
            r#"{"messages":[{"role":"user","content":"q","images":["a.jpg"]},{"role":"assistant","content":"a"}]}"#,
            "a.jpg",
        ),
        (
            r#"{"messages":[{"role":"user","content":[{"type":"image","unknown":"a.jpg"}]},{"role":"assistant","content":"a"}]}"#,
            "a.jpg",
        ),
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"label":false}"#,
            "label",
        ),
        (
            r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","reasoning_content":"first we look at the whole image"}]}"#,
            "first we look",
        ),
    ] {
        case.write("rows.jsonl", format!("{row}\n"));
        let _ = case.run(&["fix", "rows.jsonl", "--out", "out.jsonl", "--force"]);
        assert!(case.read("out.jsonl").contains(kept), "{row}\n{}", case.read("out.jsonl"));
    }
}

#[test]
fn names_the_cause_of_unusual_rows() {
    let (_, run) = prepare("rows.jsonl", "{'prompt': 'p', 'completion': \"it's\"}\n", &[]);
    run.ends(2).prints("the first row is a Python dict, not JSON");
    let case = Case::new();
    case.write("rows.jsonl", "{'prompt': 'p', 'completion': \"it's\"}\n");
    case.run(&["fix", "--unsafe", "rows.jsonl", "--out", "out.jsonl", "--ignore", "file"]).ends(0);
    assert!(case.read("out.jsonl").contains("it's"));
    let in_response = r#"{"image":"a.png","conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"see <image>"}]}"#;
    let (_, run) = prepare("rows.jsonl", in_response, &[]);
    run.ends(1).prints("the assistant message has `<image>`");
    let two = r#"{"image":["a.png","c.png"],"conversations":[{"from":"human","value":"<image>q"},{"from":"gpt","value":"a"}]}"#;
    let (_, run) = prepare("rows.jsonl", two, &[]);
    run.ends(1).prints("1 placeholder for 2 images");
    let calls = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"","function_call":[{"name":"f","arguments":"{}"}]}]}"#;
    reads("rows.jsonl", calls, &["--ignore", "tools"], &["user:q|assistant:(calls)"]);
}

#[test]
fn long_base64_never_reaches_the_terminal() {
    let png = "x".to_owned() + &"iVBORw0KGgo".repeat(3000);
    let (_, run) = prepare("rows.jsonl", format!(r#"{{"image":"{png}","question":"q","answer":"a"}}"#), &[]);
    let run = run.ends(1);
    assert!(
        run.stderr.len() < 1000 && run.stderr.contains("is not a path, a URL, a data URI"),
        "{}",
        run.stderr
    );
}

#[test]
fn finds_images_under_other_spellings_and_suggests_names() {
    let case = Case::new();
    case.fixture("M\u{fc}ller.png", "grad_64x48.png");
    case.fixture("a b.png", "grad_64x48.png");
    case.fixture("pool/images/1.png", "grad_64x48.png");
    case.fixture("IMG_01.PNG", "grad_64x48.png");
    case.write("data.csv", "image,prompt,completion\nMu\u{308}ller.png,p1,c\na%20b.png,p2,c\n");
    case.run(&["prepare", "data.csv", "--out", "out", "--ignore", "lines,image"]).ends(0);
    case.write(
        "roots.csv",
        "image,prompt,completion\n/mnt/old/images/1.png,p1,c\n\"C:\\Users\\me\\images\\1.png\",p2,c\n",
    );
    case.run(&["prepare", "roots.csv", "--out", "roots", "--image-folder", "pool"]).ends(0);
    case.write("near.csv", "image,prompt,completion\nimg_01.png,p1,c\n");
    case.run(&["prepare", "near.csv", "--out", "near"]).ends(1).prints("did you mean `IMG_01.PNG`?");
}

#[test]
fn all_references_are_kept_for_an_evaluation() {
    let case = Case::new();
    let rows: String = (0..20)
        .map(|n| format!("{{\"question\":\"q{n}\",\"answers\":[\"a{n}\",\"b{n}\",\"b{n}\"]}}\n"))
        .collect();
    case.write("rows.jsonl", rows);
    case.write("more.jsonl", "{\"prompt\":\"q\",\"completion\":\"one\"}\n");
    let args = ["prepare", "more.jsonl", "rows.jsonl", "--out", "out", "--validation", "5", "--threads"];
    case.run(&[&args[..], &["1"]].concat()).ends(0);
    let output = case.output();
    case.run(&[&args[..], &["3", "--force"]].concat()).ends(0);
    assert!(case.output() == output);
    let mut kept = 0;
    for split in ["train", "validation"] {
        let samples = case.lines(&format!("out/{split}.jsonl"));
        for line in case.lines(&format!("out/references-{split}.jsonl")) {
            let id = text(&line, "/id");
            let number: usize = id.strip_prefix(&format!("{split}.jsonl:")).unwrap().parse().unwrap();
            let prompt = text(&samples[number - 1], "/messages/0/content");
            let n = prompt.strip_prefix('q').unwrap();
            assert_eq!(at(&line, "/references").to_string(), format!("[\"a{n}\",\"b{n}\",\"b{n}\"]"));
            kept += 1;
        }
    }
    assert_eq!(kept, 20, "the row with one answer has no others");
    case.run(&["check", "out"]).ends(0);
    case.run(&["stats", "out"]).ends(0);

    // The first reference of every sample is right, though another one was trained.
    let answers = case
        .lines("out/validation.jsonl")
        .iter()
        .zip(1..)
        .map(|(sample, line)| {
            let prompt = text(sample, "/messages/0/content");
            format!("{{\"line\":{line},\"answer\":\"{}\"}}\n", prompt.replace('q', "a"))
        })
        .collect::<String>();
    case.write("answers.jsonl", answers);
    for data in ["out", "out/validation.jsonl"] {
        let args = [
            "evaluate",
            data,
            "--predictions",
            "answers.jsonl",
            "--metric",
            "exact",
            "--out",
            "scores",
            "--force",
        ];
        let run = case.run(&args).ends(0);
        assert!(run.stdout.contains("1.000"), "{}", run.stdout);
        run.prints("references: those in `out/references-validation.jsonl`");
    }
}
