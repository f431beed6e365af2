//! `check` and `rules` from outside.

mod rules;

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use crate::harness::{Case, at, root, text};

const GOOD: &str =
    r#"{"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;

/// Different good samples, enough of them.
pub fn good_lines(count: usize) -> String {
    (0..count).map(|n| GOOD.replace("hello", &format!("hello {n}")) + "\n").collect()
}

#[test]
fn pixtune_toml_applies_to_data_in_subdirectories() {
    let case = Case::new();
    case.write("data/sets/rows.jsonl", good_lines(12) + "{\"id\":1,\"x\":null," + &GOOD[1..] + "\n");
    let check = |more: &[&str]| case.run(&[&["check", "data/sets/rows.jsonl"], more].concat());
    check(&[]).ends(1);
    case.write(
        "data/pixtune.toml",
        "[check]\nignore = [\"null-key\"]\n[check.severity]\nshape = \"error\"\nunknown-key = \"warning\"\n",
    );
    let run = check(&[]).ends(0);
    assert!(
        run.stdout.contains("warning[unknown-key]") && !run.stdout.contains("null-key"),
        "{}",
        run.stdout
    );
    // A flag counts more than the file, and the nearest file alone holds.
    check(&["--severity", "unknown-key=error"]).ends(1);
    check(&["--no-config"]).ends(1);
    check(&["--ignore", "unknown-key"]).ends(1);
    case.write("data/sets/pixtune.toml", "[check]\ntarget = \"openai\"\n");
    assert!(check(&[]).ends(0).stdout.contains("null-key"));
    check(&["--config", "data/pixtune.toml"]).ends(0);
    case.write("data/sets/pixtune.toml", "[check]\nseverities = {}\n");
    check(&[]).ends(2).prints("sets/pixtune.toml:2: `severities` is not a key; did you mean `severity`?");
    case.write("data/sets/pixtune.toml", "[check.severity]\nunknwn-key = \"error\"\n");
    check(&[]).ends(2).prints("did you mean `unknown-key`?");
    case.write("data/sets/pixtune.toml", "[check]\ntarget = \"mistral\"\n");
    case.write("data/more.jsonl", good_lines(12));
    check(&["data/more.jsonl"]).ends(2).prints("run them separately, or choose one with `--config`");
    check(&["data/more.jsonl", "--no-config"]).ends(1);
    check(&["--severity", "text"]).ends(2).prints("not of the form RULE=error");
    check(&["--severity", "text=fatal"]).ends(2).prints("choose one of error, warning");
}

#[test]
fn rejects_file_that_changes_while_it_is_read() {
    let case = Case::new();
    for change in ["grows", "shrinks"] {
        case.write("rows.jsonl", good_lines(20_000));
        let mut command =
            case.command(&["check", "rows.jsonl", "--format", "json", "--severity", "all=warning"]);
        // The reader of the output waits, so the program is in the middle of the file when that changes.
        case.write("rows.jsonl", good_lines(12) + &"{\n".repeat(400_000));
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut [0; 1000]).unwrap();
        let file = fs::File::options().append(true).open(case.path("rows.jsonl")).unwrap();
        match change {
            "grows" => (&file).write_all(good_lines(3).as_bytes()).unwrap(),
            _ => file.set_len(100).unwrap(),
        }
        std::io::copy(&mut out, &mut std::io::sink()).unwrap();
        let finished = child.wait_with_output().unwrap();
        let output = String::from_utf8(finished.stderr).unwrap();
        assert_eq!(finished.status.code(), Some(2), "{change}: {output}");
        assert!(output.contains("`rows.jsonl` changed while it was read"), "{change}: {output}");
    }
}

#[test]
fn reads_line_of_200_megabytes() {
    let case = Case::new();
    let mut rows = GOOD.as_bytes()[..GOOD.len() - 4].to_vec();
    rows.resize(200_000_000, b'x');
    rows.extend_from_slice(b"\"}]}\n");
    case.write("rows.jsonl", &rows);
    drop(rows);
    let run = case.run(&["check", "rows.jsonl", "--ignore", "file"]).ends(1);
    assert!(run.stdout.contains("[context-overflow]") && run.stdout.len() < 1000, "{}", run.stdout.len());
    let run = case.run(&["check", "rows.jsonl", "--max-line-bytes", "100MB", "--ignore", "file"]).ends(1);
    assert!(run.stdout.contains("[row-too-large]"), "{}", run.stdout);
    case.run(&["fix", "rows.jsonl", "--out", "out.jsonl", "--max-line-bytes", "100MB"])
        .ends(2)
        .prints("line 1 has 200,000,005 bytes")
        .prints("drop such lines with `--unsafe`");
    case.run(&["fix", "rows.jsonl", "--out", "out.jsonl", "--max-line-bytes", "100MB", "--unsafe"]).ends(1);
    assert_eq!(case.read("out.jsonl"), "");
}

#[test]
fn valid_data_has_no_findings() {
    let case = Case::new();
    case.write("train.jsonl", good_lines(12));
    let run = case.run(&["check", "train.jsonl"]).ends(0);
    assert_eq!(run.stdout, "12 samples in 1 file: nothing to report\n");
    assert_eq!(case.run(&["check", "train.jsonl", "--format", "json"]).ends(0).stdout, "");
}

#[test]
fn prints_json_lines_and_github_annotations() {
    let case = Case::new();
    case.write(
        "a,b.jsonl",
        format!(
            "{}{{\"messages\":[{{\"role\":\"user\",\"name\":\"n\",\"content\":\"x\"}}]}}\n",
            good_lines(12)
        ),
    );
    let run = case.run(&["check", "a,b.jsonl", "--format", "json"]).ends(1);
    let finding = pixtune_core::json::parse(run.stdout.lines().next().unwrap()).unwrap().value.into_owned();
    assert_eq!(text(&finding, "/rule"), "last-not-assistant", "{}", run.stdout);
    assert_eq!(at(&finding, "/line").to_string(), "13");
    assert_eq!(at(&finding, "/column").to_string(), "14");
    let second = run.stdout.lines().nth(1).unwrap();
    assert_eq!(
        second,
        r#"{"rule":"unknown-key","severity":"error","file":"a,b.jsonl","line":13,"column":36,"pointer":"/messages/0/name","message":"`name` is not part of the format","hint":null,"fix":"safe"}"#
    );
    let run = case.run(&["check", "a,b.jsonl", "--format", "github", "--select", "unknown-key"]).ends(1);
    assert_eq!(
        run.stdout,
        "::error file=a%2Cb.jsonl,line=13,col=36,title=unknown-key::/messages/0/name: `name` is not part of the format\n"
    );
}

#[test]
fn selects_and_ignores_rules() {
    let case = Case::new();
    case.write(
        "rows.jsonl",
        r#"{"messages":[{"role":"user","content":"[INST]"},{"role":"user","content":" "}]}"#,
    );
    let ids = |args: &[&str], code: i32| -> Vec<String> {
        let run = case.run(&[&["check", "rows.jsonl", "--format", "json"], args].concat()).ends(code);
        let id = |line: &str| text(&pixtune_core::json::parse(line).unwrap().value.into_owned(), "/rule");
        run.stdout.lines().map(id).collect()
    };
    assert_eq!(ids(&["--select", "text"], 0), ["control-token", "blank-text"]);
    assert_eq!(ids(&["--select", "text", "--ignore", "blank-text"], 0), ["control-token"]);
    assert_eq!(ids(&["--ignore", "order,file,text"], 0), Vec::<String>::new());
    assert_eq!(ids(&["--select", "control-token", "--target", "hf"], 1), ["control-token"]);
    case.run(&["check", "rows.jsonl", "--ignore", "blanktext"]).ends(2).prints("did you mean `blank-text`?");
    case.run(&["check", "rows.jsonl", "--target", "mistrl"]).ends(2).prints("is not a target");
}

#[test]
fn statistics_count_findings_per_rule() {
    let case = Case::new();
    case.write("rows.jsonl", good_lines(12) + "{\n[]\n{}\n{}\n");
    let run = case.run(&["check", "rows.jsonl", "--statistics"]).ends(1);
    assert_eq!(
        run.stdout,
        "        2  error    missing-field\n        1  error    json-not-object\n        1  error    json-syntax\n\
         16 samples in 1 file: 4 errors in 4 samples, 0 warnings\n\
         2 fixable with `pixtune fix`, 2 more with --unsafe\n"
    );
    let run = case.run(&["check", "rows.jsonl", "--statistics", "--format", "json"]).ends(1);
    assert!(
        run.stdout.contains(r#"{"rule":"missing-field","severity":"error","count":2}"#),
        "{}",
        run.stdout
    );
}

#[test]
fn output_does_not_depend_on_threads() {
    let case = Case::new();
    let bad: String = (0..500)
        .map(|n| format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"</s> {}\"}}]}}\n", n % 7))
        .collect();
    case.write("rows.jsonl", good_lines(300) + &bad + &good_lines(300));
    let run = |threads| case.run(&["check", "rows.jsonl", "--threads", threads]).ends(1).stdout;
    let one = run("1");
    assert!(one.contains("duplicate") && one.contains("control-token"));
    assert_eq!(run("2"), one);
    assert_eq!(run("7"), one);
}

#[test]
fn rejects_input_that_is_not_text() {
    let case = Case::new();
    case.write("rows.jsonl.bz2", b"BZh91AY&SY");
    case.run(&["check", "rows.jsonl.bz2"]).ends(2).prints("bzip2-compressed").prints("hint: unpack it with");
    case.write("rows.jsonl", b"\xff\xfe{\0");
    case.run(&["check", "rows.jsonl"]).ends(2).prints("UTF-16");
    case.run(&["check", "missing.jsonl"]).ends(2).prints("cannot read `missing.jsonl`");
    fs::create_dir(case.path("directory")).unwrap();
    case.run(&["check", "directory"]).ends(2).prints("`directory` has no conversations");
    case.write("table.csv", "image,prompt,completion\n");
    case.run(&["check", "table.csv"]).ends(2).prints("`table.csv` is a table").prints("pixtune prepare");
    case.run(&["tokens", "directory"]).ends(2).prints("`directory` has no conversations");
    case.fixture("a.png", "grad_64x48.png");
    case.run(&["check", "a.png"]).ends(2).prints("`a.png` is an image");
    case.run(&["check"]).ends(2);
    case.write("empty.jsonl", "");
    let run = case.run(&["check", "empty.jsonl"]).ends(1);
    assert!(run.stdout.contains("file-empty"), "{}", run.stdout);
}

#[test]
fn commands_that_reread_samples_reject_arrays_with_a_hint() {
    let case = Case::new();
    case.write("rows.json", format!("[{GOOD}]"));
    for line in
        ["stats rows.json", "report rows.json --out r.html", "plan rows.json", "train --data rows.json"]
    {
        let model = root().join("fixtures/tiny_pixtral/hf_bf16").display().to_string();
        let tokenizer = root().join("fixtures/tiny_tekken/tekken.json").display().to_string();
        let mut words: Vec<&str> = line.split(' ').collect();
        if line.starts_with("train") {
            words.extend(["--model", &model, "--tokenizer", &tokenizer, "--out", "run"]);
        }
        case.run(&words).ends(2).prints("`rows.json` is one JSON array").prints("pixtune fix FILE");
    }
}

#[test]
fn prepared_directory_stands_for_its_two_files() {
    let case = Case::new();
    case.write("out/train.jsonl", good_lines(12));
    case.write("out/validation.jsonl", good_lines(10));
    case.write("out/rejected.jsonl", "{}\n");
    let by_name = case.run(&["check", "out/train.jsonl", "out/validation.jsonl"]).ends(0).stdout;
    assert!(by_name.contains("22 samples in 2 files"), "{by_name}");
    assert_eq!(case.run(&["check", "out"]).ends(0).stdout, by_name);
}

#[test]
fn reads_standard_input_and_pipes() {
    let case = Case::new();
    let mut child =
        case.command(&["check", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(good_lines(12).as_bytes()).unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!(output, "12 samples in 1 file: nothing to report\n");
    #[cfg(unix)]
    {
        let made = std::process::Command::new("mkfifo").arg(case.path("pipe.jsonl")).status().unwrap();
        assert!(made.success());
        let child = case.command(&["check", "pipe.jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
        fs::write(case.path("pipe.jsonl"), good_lines(12)).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn closed_pipe_does_not_change_the_verdict() {
    let case = Case::new();
    case.write("rows.jsonl", "{\n".repeat(50_000));
    let mut child = case.command(&["check", "rows.jsonl"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn reports_long_conversation_but_not_long_text() {
    let case = Case::new();
    let row = |words: usize| GOOD.replace("hello", &"hello ".repeat(words)) + "\n";
    case.write("rows.jsonl", row(100_000) + &row(140_000));
    let run = case.run(&["check", "rows.jsonl", "--select", "length"]).ends(1);
    assert!(
        run.stdout.starts_with("error[context-overflow]: rows.jsonl:2: 140,006 tokens"),
        "{}",
        run.stdout
    );
    assert_eq!(run.stdout.matches("error[").count(), 1);
    case.run(&["check", "rows.jsonl", "--select", "length", "--model", "ministral-3-8b"]).ends(0);
}

#[test]
fn validation_file_has_size_limit_and_shares_no_samples() {
    let case = Case::new();
    case.write("train.jsonl", good_lines(12));
    case.write("val.jsonl", GOOD.replace("hello", &"long ".repeat(210_000)) + "\n" + &good_lines(1));
    let run = case.run(&["check", "train.jsonl", "val.jsonl", "--ignore", "length"]).ends(0);
    assert!(
        run.stdout.contains("validation-too-large") && run.stdout.contains("[shared-sample]"),
        "{}",
        run.stdout
    );
    case.write("train-2.jsonl", good_lines(12));
    let run = case.run(&["check", "train.jsonl", "train-2.jsonl", "val.jsonl", "--statistics"]).ends(1);
    assert!(run.stdout.contains("12  warning  duplicate"), "two training files repeat: {}", run.stdout);
}

#[test]
fn sets_limits_that_contradict_each_other() {
    let case = Case::new();
    fs::copy(root().join("fixtures/check/too-many-images.jsonl"), case.path("rows.jsonl")).unwrap();
    let run =
        |args: &[&str]| case.run(&[&["check", "rows.jsonl", "--select", "image"], args].concat()).stdout;
    assert!(run(&[]).contains("the sample has 9 images; the limit of mistral is 8"));
    assert!(run(&["--max-images", "9"]).contains("nothing to report"));
    assert!(run(&["--max-image-bytes", "50"]).contains("the limit is 50"));
}

#[test]
fn prepare_reports_conversations_by_the_same_rules() {
    let case = Case::new();
    let call =
        r#"{"role":"assistant","tool_calls":[{"id":"aaaaaaaaa","function":{"name":"f","arguments":"{1"}}]}"#;
    let result = r#"{"role":"tool","content":"1","tool_call_id":"zzzzzzzzz"}"#;
    let rows = [
        format!(r#"{{"messages":[{{"role":"user","content":"q"}},{call},{result},{{"role":"assistant","content":"a"}}]}}"#),
        GOOD.replace("\"hello\"", "\"\""),
        GOOD.replace("\"hello\"", "\"old\",\"content\":\"[INST]\""),
        r#"{"messages":[{"role":"assistant","content":"a"},{"role":"user","content":"q"},{"role":"user","content":"r"},{"role":"assistant","content":[{"type":"text","text":"b"}]}]}"#.into(),
    ];
    case.write("rows.jsonl", rows.join("\n") + "\n");
    let run = case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"]).ends(1);
    let run = [
        "warning[tool-undeclared]: rows.jsonl:1 /messages/1/tool_calls/0/function/name",
        "warning[tool-id-unmatched]: rows.jsonl:1 /messages/2/tool_call_id",
        "warning[tool-arguments]: rows.jsonl:1 /messages/1/tool_calls/0/function/arguments",
        "error[empty-prompt]: rows.jsonl:2 /messages/0/content",
        "warning[json-duplicate-key]: rows.jsonl:3 /messages/0/content",
        "warning[control-token]: rows.jsonl:3 /messages/0/content",
        "warning[assistant-first]: rows.jsonl:4 /messages/0",
        "warning[consecutive-roles]: rows.jsonl:4 /messages/2",
        "warning[answer-list]: rows.jsonl:4 /messages/3/content",
    ]
    .into_iter()
    .fold(run, |run, output| run.prints(output));
    assert!(!run.stderr.contains("image-form"), "{}", run.stderr);
    assert_eq!(case.rejected(), ["empty-prompt"]);
}

#[test]
fn prepare_warns_about_the_same_texts() {
    let case =
        Case::table("image,prompt,completion\na.png,what [INST] is it?,a cafÃ©\nb.jpg,and this?,a lake\n");
    case.prepare(&[]).ends(0).prints("warning[control-token]: data.csv:2").prints("warning[mojibake]");
}

/// The most memory that a process has had, in bytes.
#[cfg(target_os = "linux")]
fn peak_memory(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_grow_with_a_file_or_a_pipe() {
    use std::io::Write as _;
    const MOST: u64 = 96 << 20;
    let case = Case::new();
    // 150 MB, of short and of long lines.
    let lines = (0..20_000).map(|number| {
        let words = "words ".repeat(if number % 20 == 0 { 16_000 } else { 500 });
        GOOD.replace("hello", &format!("{number} {words}")) + "\n"
    });
    let mut file = std::io::BufWriter::new(fs::File::create(case.path("large.jsonl")).unwrap());
    lines.clone().for_each(|line| file.write_all(line.as_bytes()).unwrap());
    file.into_inner().unwrap();
    let mut command =
        case.command(&["check", "large.jsonl", "-", "--threads", "4", "--ignore", "lines", "--statistics"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = child.stdin.take().unwrap();
    lines.for_each(|line| pipe.write_all(line.as_bytes()).unwrap());
    // It waits for the end of the pipe, so it is there to be asked.
    let peak = peak_memory(child.id());
    drop(pipe);
    assert!(child.wait_with_output().unwrap().status.success());
    assert!(peak < MOST, "{peak} bytes");
}
