//! `fix` from outside: what it repairs, what it leaves, and that its output passes `check`.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use pixtune_core::diagnostic::Fix;
use pixtune_core::rules;

use crate::harness::{Case, Run, root, text};
use crate::snapshots;

const GOOD: &str =
    r#"{"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":"world"}]}"#;

/// Fixtures whose samples no safe change makes usable, though others of the rule are; addresses need `--fetch`.
const NOT_ALL_SAFE: [&str; 6] =
    ["image-url", "missing-field", "wrong-type", "unknown-role", "part-kind", "image-bad-data-uri"];

/// Different good samples, enough of them.
fn good_lines(count: usize) -> String {
    (0..count).map(|n| GOOD.replace("hello", &format!("hello {n}")) + "\n").collect()
}

/// The names of the fixtures, without their extension.
fn fixtures(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join("fixtures").join(directory)).unwrap();
    let name =
        |path: &Path| path.file_name().unwrap().to_str().unwrap().strip_suffix(".jsonl").map(str::to_owned);
    let mut names: Vec<String> = entries.filter_map(|entry| name(&entry.unwrap().path())).collect();
    names.sort();
    names
}

fn fix(case: &Case, input: &str, out: &str, more: &[&str]) -> Run {
    let run = case.run(&[&["fix", input, "--out", out, "--force"], more].concat());
    assert!(run.code < 2, "{input}: {}{}", run.stdout, run.stderr);
    run
}

#[test]
fn fixed_fixtures_pass_and_do_not_change_again() {
    let names = fixtures("check");
    std::thread::scope(|scope| {
        for names in names.chunks(names.len().div_ceil(4)) {
            scope
                .spawn(|| names.iter().filter(|name| !name.contains('.')).for_each(|name| is_repaired(name)));
        }
    });
}

fn is_repaired(name: &str) {
    let case = Case::new();
    let mut rows = fs::read(root().join("fixtures/check").join(format!("{name}.jsonl"))).unwrap();
    rows.extend_from_slice(good_lines(12).as_bytes());
    case.write("rows.jsonl", &rows);

    let run = fix(&case, "rows.jsonl", "safe.jsonl", &[]);
    let safe = run.stdout;
    let again = fix(&case, "safe.jsonl", "again.jsonl", &[]);
    assert!(!again.stdout.contains("fixed["), "{name} is repaired twice:\n{}", again.stdout);
    assert_eq!(fs::read(case.path("again.jsonl")).unwrap(), fs::read(case.path("safe.jsonl")).unwrap());
    let rule = rules::find(name).unwrap();
    if rule.fix == Some(Fix::Safe) && !NOT_ALL_SAFE.contains(&name) {
        let left = case.run(&["check", "safe.jsonl", "--select", name]).ends(0).stdout;
        assert!(left.contains("nothing to report"), "{name}:\n{left}");
    }

    let run = fix(&case, "rows.jsonl", "unsafe.jsonl", &["--unsafe"]);
    snapshots::check(&format!("fix/{name}.txt"), &format!("{safe}\n--unsafe\n{}", run.stdout));
    case.run(&["check", "unsafe.jsonl", "--verify", "full"]).ends(0);
    let again = fix(&case, "unsafe.jsonl", "again.jsonl", &["--unsafe"]);
    assert!(!again.stdout.contains("fixed["), "{name} is repaired twice:\n{}", again.stdout);
    assert_eq!(fs::read(case.path("again.jsonl")).unwrap(), fs::read(case.path("unsafe.jsonl")).unwrap());
    assert_eq!(fs::read(case.path("rows.jsonl")).unwrap(), rows, "the input is never touched");
}

#[test]
fn writes_array_as_lines() {
    for name in ["llava", "alpaca", "sharegpt"] {
        let case = Case::new();
        let directory = root().join("fixtures/fix");
        fs::copy(directory.join("a.png"), case.path("a.png")).unwrap();
        let rows = fs::read_to_string(directory.join(format!("{name}.jsonl"))).unwrap();
        case.write("rows.jsonl", &rows);
        // As `json.dump` writes them, in one line and indented.
        let rows: Vec<&str> = rows.lines().collect();
        case.write("line.json", format!("[{}]", rows.join(", ")));
        case.write("lines.json", format!("[\n  {}\n]\n", rows.join(",\n  ").replace(", \"", ",\n    \"")));
        let lines = fix(&case, "rows.jsonl", "of-lines.jsonl", &[]).stdout;
        for array in ["line.json", "lines.json"] {
            let run = fix(&case, array, "of-array.jsonl", &[]);
            let output = run.stdout.replace(array, "rows.jsonl");
            let of_array = output.lines().find(|line| line.contains("json-array")).unwrap();
            assert!(of_array.contains("count its elements"), "{of_array}");
            let others = |output: &str| -> Vec<String> {
                let others = output.lines().filter(|line| line.starts_with("fixed[") && *line != of_array);
                others.map(str::to_owned).collect()
            };
            assert_eq!(others(&output), others(&lines), "{name}");
            assert_eq!(case.read("of-array.jsonl"), case.read("of-lines.jsonl"), "{name} {array}");
        }
        if name == "llava" {
            snapshots::check("fix/json-array.txt", &fix(&case, "lines.json", "of-array.jsonl", &[]).stdout);
        }
        case.run(&["check", "of-array.jsonl", "--ignore", "file"]).ends(0);
    }
}

#[test]
fn finds_images_in_the_given_directory() {
    let case = Case::new();
    case.fixture("photos/coco/a.png", "grad_64x48.png");
    case.write(
        "data/llava.json",
        r#"[{"id":"1","image":"coco/a.png","conversations":[{"from":"human","value":"<image>\nWhat?"},{"from":"gpt","value":"A gradient."}]}]"#,
    );
    let fix = |more: &[&str]| {
        case.run(&[&["fix", "data/llava.json", "--out", "out.jsonl", "--force"], more].concat())
    };
    let run = fix(&[]).ends(1);
    assert!(run.stdout.contains("`--image-folder` sets the directory of relative paths"), "{}", run.stdout);
    fix(&["--image-folder", "photo"]).ends(2).prints("did you mean `photos`?");
    fix(&["--image-folder", "data/llava.json"]).ends(2).prints("Not a directory");
    let run = fix(&["--image-folder", "photos"]).ends(0);
    assert!(run.stdout.contains("the file `coco/a.png` embedded"), "{}", run.stdout);
    case.run(&["check", "out.jsonl", "--ignore", "file"]).ends(0);
}

#[test]
fn truncated_array_is_fixed_as_far_as_it_goes() {
    let case = Case::new();
    case.write("rows.json", format!("[{GOOD},{GOOD},"));
    let run = case.run(&["fix", "rows.json", "--out", "out.jsonl"]).ends(1);
    assert!(run.stdout.contains("the JSON array is never closed"), "{}", run.stdout);
    assert_eq!(case.read("out.jsonl"), format!("{GOOD}\n{GOOD}\n"));
    case.write("rows.json", format!("[{GOOD}]{GOOD}"));
    let run = case.run(&["check", "rows.json"]).ends(1);
    assert!(run.stdout.contains("there is text after the end of the JSON array"), "{}", run.stdout);
}

#[test]
fn converts_samples_of_other_tools() {
    for name in fixtures("fix") {
        for target in ["mistral", "openai"] {
            let case = Case::new();
            let directory = root().join("fixtures/fix");
            for file in [format!("{name}.jsonl"), "a.png".into()] {
                fs::copy(directory.join(&file), case.path(&file)).unwrap();
            }
            let run = fix(&case, &format!("{name}.jsonl"), "out.jsonl", &["--target", target]).ends(0);
            case.run(&["check", "out.jsonl", "--target", target, "--ignore", "file", "--verify", "full"])
                .ends(0);
            let output = format!("{}\n{}", run.stdout, case.read("out.jsonl"));
            snapshots::check(&format!("fix/formats/{name}.{target}.txt"), &output);
        }
    }
}

#[test]
fn copies_valid_lines_byte_for_byte() {
    let case = Case::new();
    let rows = format!("{{ \"messages\" : {}\r\n{GOOD}", &GOOD[12..]);
    case.write("rows.jsonl", &rows);
    let run = fix(&case, "rows.jsonl", "out.jsonl", &[]).ends(0);
    assert_eq!(case.read("out.jsonl"), rows);
    assert_eq!(run.stdout, "2 samples written: 0 changes in 0 lines\n");
}

#[test]
fn writes_log_as_json() {
    let case = Case::new();
    case.write("rows.jsonl", "{\"id\":7,".to_owned() + &GOOD[1..] + "\n{\"messages\":[]}\n");
    let run = fix(&case, "rows.jsonl", "out.jsonl", &["--format", "json"]).ends(1);
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert_eq!(
        lines[0],
        r#"{"rule":"unknown-key","fixed":"safe","file":"rows.jsonl","line":1,"pointer":"/id","message":"removed `id`: not part of the format"}"#
    );
    let left = pixtune_core::json::parse(lines[1]).unwrap().value.into_owned();
    assert_eq!((text(&left, "/rule"), text(&left, "/fix")), ("no-messages".into(), "unsafe".into()));
    assert_eq!(lines.len(), 2);
}

#[test]
fn repairs_only_selected_rules() {
    let case = Case::new();
    case.write("rows.jsonl", "{\"id\":7,\"x\":null,".to_owned() + &GOOD[1..] + "\n");
    fix(&case, "rows.jsonl", "out.jsonl", &["--select", "null-key"]).ends(0);
    assert_eq!(case.read("out.jsonl"), "{\"id\":7,".to_owned() + &GOOD[1..] + "\n");
    fix(&case, "rows.jsonl", "out.jsonl", &["--ignore", "shape"]).ends(0);
    assert_eq!(case.read("out.jsonl"), case.read("rows.jsonl"));
}

#[test]
fn rejects_input_that_is_not_text() {
    let case = Case::new();
    case.write("rows.jsonl", b"\x1f\x8b\x08\0\0\0\0\0");
    case.run(&["fix", "rows.jsonl", "--out", "out.jsonl"]).ends(2).prints("gzip-compressed and truncated");
    fs::create_dir(case.path("directory")).unwrap();
    case.run(&["fix", "directory", "--out", "out.jsonl"]).ends(2).prints("cannot read `directory`");
    case.run(&["fix", "missing.jsonl", "--out", "out.jsonl"]).ends(2).prints("cannot read `missing.jsonl`");
    assert!(!case.path("out.jsonl").exists());
    case.write("rows.jsonl", "[".repeat(100_000) + "\n{\"" + &"k".repeat(10_000_000) + "\":1}\n");
    fix(&case, "rows.jsonl", "out.jsonl", &[]).ends(1);
    assert_eq!(case.read("out.jsonl"), case.read("rows.jsonl"));
    fix(&case, "rows.jsonl", "out.jsonl", &["--unsafe"]).ends(1);
    assert_eq!(case.read("out.jsonl"), "");
}

#[test]
fn does_not_overwrite_input_or_other_files() {
    let case = Case::new();
    case.write("rows.jsonl", good_lines(1));
    case.run(&["fix", "rows.jsonl", "--out", "./rows.jsonl", "--force"])
        .ends(2)
        .prints("which is never changed");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("rows.jsonl", case.path("link.jsonl")).unwrap();
        case.run(&["fix", "rows.jsonl", "--out", "link.jsonl", "--force"])
            .ends(2)
            .prints("which is never changed");
    }
    case.write("kept.jsonl", "precious");
    case.run(&["fix", "rows.jsonl", "--out", "kept.jsonl"]).ends(2).prints("replace it with `--force`");
    assert_eq!(case.read("kept.jsonl"), "precious");
    case.run(&["fix", "rows.jsonl", "--out", "no/such/directory.jsonl"]).ends(2).prints("cannot write");
    case.run(&["fix", "rows.jsonl"]).ends(2);
    assert_eq!(case.read("rows.jsonl"), good_lines(1));
}

#[cfg(unix)]
#[test]
fn full_disk_leaves_no_output() {
    let case = Case::new();
    case.write("rows.jsonl", good_lines(2000));
    let mut command = std::process::Command::new("sh");
    let program = case.command(&[]).get_program().to_owned();
    command.current_dir(case.path(".")).arg("-c");
    command.arg("trap '' XFSZ; ulimit -f 8; exec \"$0\" fix rows.jsonl --out out.jsonl").arg(program);
    crate::harness::finish(command).ends(2).prints("cannot write `out.jsonl`");
    let names: Vec<_> =
        fs::read_dir(case.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["rows.jsonl"]);
}

#[test]
fn fixes_pipes_with_log_on_standard_error() {
    let case = Case::new();
    let mut child = case
        .command(&["fix", "-", "--out", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(format!("\n{}\n", GOOD.replace("user", "human")).as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{GOOD}\n"));
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("fixed[json-blank-line]: -:1") && log.contains("fixed[unknown-role]: -:2"), "{log}");
}

#[test]
fn output_does_not_depend_on_threads() {
    let case = Case::new();
    let bad = GOOD.replace("user", "human").replace("hello", "</s>");
    case.write("rows.jsonl", good_lines(200) + &format!("{bad}\n{{\n").repeat(200) + &good_lines(100));
    let run = |threads| {
        let run = fix(&case, "rows.jsonl", "out.jsonl", &["--unsafe", "--threads", threads]).ends(0);
        (run.stdout, case.read("out.jsonl"))
    };
    let one = run("1");
    assert!(one.0.contains("200 samples dropped"), "{}", one.0);
    assert_eq!(run("2"), one);
    assert_eq!(run("5"), one);
}
