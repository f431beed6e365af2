//! `export`: layouts, configurations, what is rejected, runs that are stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

use pixtune_core::json::Value;
use pixtune_export::trainer;
use pixtune_io::base64::data_uri;

use crate::harness::{Case, Run, finish, root, text};
use crate::snapshots;

const TRAINERS: [&str; 6] = ["trl", "trl-completion", "unsloth", "axolotl", "llama-factory", "ms-swift"];

/// A prepared dataset with images on and off the grid of patches, a system prompt, and several turns.
fn prepared() -> Case {
    let case = Case::new();
    case.images();
    let row = |messages: &str| format!("{{\"messages\":[{messages}]}}\n");
    let image = |name: &str| format!(r#"{{"type":"image_url","image_url":"{name}"}}"#);
    let user = |name: &str, text: &str| {
        format!(r#"{{"role":"user","content":[{},{{"type":"text","text":"{text}"}}]}}"#, image(name))
    };
    let answer = |text: &str| format!(r#"{{"role":"assistant","content":"{text}"}}"#);
    let mut rows = String::new();
    for index in 0..10 {
        let name = ["a.png", "b.jpg", "c.png", "d.webp"][index % 4];
        rows += &row(&[user(name, &format!("what is {index}?")), answer("a thing")].join(","));
    }
    let system = r#"{"role":"system","content":"Be brief."}"#;
    rows +=
        &row(&[system, &user("a.png", "first"), &answer("one"), &user("c.png", "second"), &answer("two")]
            .join(","));
    rows += &row(&[r#"{"role":"user","content":"no image"}"#, &answer("text")].join(","));
    case.write("rows.jsonl", rows);
    case.run(&["prepare", "rows.jsonl", "--out", "prepared", "--validation", "0.2", "--quiet"]).ends(0);
    case
}

fn export(case: &Case, to: &str, more: &[&str]) -> Run {
    case.run(&[&["export", "prepared", "--to", to, "--out", to], more].concat())
}

/// A fixture as a data URI.
fn inline(fixture: &str) -> String {
    let bytes = fs::read(root().join("fixtures/images").join(fixture)).unwrap();
    let mime = match fixture.rsplit_once('.').unwrap().1 {
        "jpg" => "image/jpeg",
        "webp" => "image/webp",
        _ => "image/png",
    };
    data_uri(mime, &bytes)
}

/// A line about an image.
fn about_image(fixture: &str, text: &str) -> String {
    let image = inline(fixture);
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{image}"}},{{"type":"text","text":"{text}"}}]}},{{"role":"assistant","content":"x"}}]}}"#
    ) + "\n"
}

/// Every file below a directory, by its relative name.
fn tree(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(directory).unwrap().display().to_string();
                files.insert(name, fs::read(&path).unwrap());
            }
        }
    }
    files
}

#[test]
fn every_layout_is_written_with_its_configuration() {
    let case = prepared();
    for trainer in trainer::ALL {
        // Fireworks does not take WebP, and one sample has two responses that are trained.
        let run = export(&case, trainer.id, &["--quiet"])
            .ends(i32::from(["fireworks", "trl-completion"].contains(&trainer.id)));
        assert_eq!(run.stdout, "");
        let files = tree(&case.path(trainer.id));
        let mut shown = String::new();
        for (name, bytes) in &files {
            let is_text = ["README.md", "sft.yaml", "train.py", "dataset_info.json"].contains(&name.as_str());
            shown += &match is_text {
                true => format!("== {name}\n{}", String::from_utf8(bytes.clone()).unwrap()),
                false => format!("== {name}\n"),
            };
        }
        snapshots::check(&format!("export/{}.txt", trainer.id), &shown);
    }
}

#[test]
fn prints_what_was_written() {
    let case = prepared();
    let run = export(&case, "llama-factory", &[]).ends(0);
    snapshots::check("export/llama-factory.stdout.txt", &run.stdout);
    snapshots::check("export/llama-factory.stderr.txt", &run.stderr);
    let run = export(&case, "webdataset", &["--format", "json"]).ends(0);
    snapshots::check("export/webdataset.json", &run.stdout);
}

#[test]
fn same_bytes_on_any_number_of_threads() {
    let case = prepared();
    for to in ["trl", "axolotl", "webdataset", "mds", "hf-dataset"] {
        export(&case, to, &["--quiet", "--threads", "1"]).ends(0);
        let one = tree(&case.path(to));
        export(&case, to, &["--quiet", "--threads", "4", "--force"]).ends(0);
        assert!(one == tree(&case.path(to)), "{to}");
    }
}

#[test]
fn stored_conversations_read_back_as_the_same_samples() {
    let case = prepared();
    let tokens = |directory: &str| {
        let files: Vec<String> =
            ["train", "validation"].iter().map(|split| format!("{directory}/{split}.jsonl")).collect();
        let args: Vec<&str> = ["tokens", "--ids", "--format", "json"]
            .into_iter()
            .chain(files.iter().map(String::as_str))
            .collect();
        let run = case.run(&args).ends(0);
        run.stdout.replace(&format!("\"{directory}/"), "\"")
    };
    export(&case, "hf-dataset", &["--quiet"]).ends(0);
    let args = ["prepare", "hf-dataset/data/*.parquet", "--out", "back", "--quiet", "--dedup", "off"];
    case.run(&args).ends(0);
    assert_eq!(tokens("back"), tokens("prepared"));
}

/// Lines of a sample that differ in one message.
fn sample(user: &str, more: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":"{user}"}},{{"role":"assistant","content":"x"{more}}}]}}"#
    ) + "\n"
}

#[test]
fn what_a_trainer_would_train_as_something_else_is_rejected() {
    let case = Case::new();
    let tools = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","content":"1","tool_call_id":"abcdefghi","name":"f"},{"role":"assistant","content":"a"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}]}"#;
    let untrained = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0},{"role":"user","content":"r"},{"role":"assistant","content":"b","weight":1}]}"#;
    let joint = format!(
        r#"{{"messages":[{{"role":"system","content":"Be brief."}},{{"role":"user","content":[{{"type":"text","text":"/etc"}},{{"type":"image_url","image_url":"{}"}},{{"type":"text","text":"b"}}]}},{{"role":"assistant","content":"x"}}]}}"#,
        inline("grad_64x48.png")
    );
    let rows = [
        sample("plain", "").as_str(),
        &sample("[IMG] in a text", ""),
        &sample("an <image> in a text", ""),
        &sample("<SPECIAL_20>", ""),
        &sample("{{ROUND0}}", ""),
        &(tools.to_owned() + "\n"),
        &(untrained.to_owned() + "\n"),
        &(joint + "\n"),
        &sample("not trained", r#","weight":0"#),
        "{\"messages\":[]}\n",
    ]
    .concat();
    case.write("train.jsonl", rows);
    let reasons = |to: &str| {
        case.run(&["export", "train.jsonl", "--to", to, "--out", to, "--quiet"]).ends(1);
        let rejected = case.lines(&format!("{to}/rejected.jsonl"));
        let reason = |line: &Value<'static>| {
            let number = line.get("line").map(Value::to_string).unwrap_or_default();
            format!("{number} {}: {}\n", text(line, "/rule"), text(line, "/message"))
        };
        rejected.iter().map(reason).collect::<String>()
    };
    let shown: String = TRAINERS.iter().map(|to| format!("== {to}\n{}", reasons(to))).collect();
    snapshots::check("export/rejected.txt", &shown);
    assert_eq!(reasons("webdataset").lines().count(), 2);
}

#[test]
fn images_that_were_not_prepared_are_warned_about() {
    let case = Case::new();
    let images = ["grad_1200x800.png", "exif6_160x90.jpg", "noise_32x32.png"];
    case.write("train.jsonl", images.map(|name| about_image(name, "")).concat());
    let run = case.run(&["export", "train.jsonl", "--to", "trl", "--out", "trl"]).ends(0);
    snapshots::check("export/not-fitted.txt", &run.stderr);
    let run = case
        .run(&["export", "train.jsonl", "--to", "trl", "--out", "exact", "--resize-to-patches", "--quiet"])
        .ends(0);
    assert!(!run.stderr.contains("multiples"), "{}", run.stderr);
}

#[test]
fn transparent_image_whose_pixels_are_damaged_is_rejected() {
    let case = Case::new();
    let good = about_image("noise_32x32.png", "");
    // The header of an image with alpha, and checksums that fit: only its pixels cannot be decoded.
    let chunk = |kind: &[u8], data: &[u8]| {
        let body = [kind, data].concat();
        [&(data.len() as u32).to_be_bytes()[..], &body, &crc(&body).to_be_bytes()].concat()
    };
    let header = [&16_u32.to_be_bytes()[..], &16_u32.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let png = [
        &b"\x89PNG\r\n\x1a\n"[..],
        &chunk(b"IHDR", &header),
        &chunk(b"IDAT", b"no deflate stream"),
        &chunk(b"IEND", b""),
    ];
    let bad = good.replace(&inline("noise_32x32.png"), &data_uri("image/png", &png.concat()));
    case.write("train.jsonl", [good, bad].concat());
    case.run(&["export", "train.jsonl", "--to", "trl", "--out", "trl", "--quiet"])
        .ends(1)
        .prints("train.jsonl:2");
}

/// CRC-32 of PNG.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn nothing_is_replaced_that_was_not_meant_to_be() {
    let case = prepared();
    export(&case, "trl", &["--quiet"]).ends(0);
    export(&case, "trl", &[]).ends(2).prints("`trl` exists already").prints("--force");
    export(&case, "trl", &["--force", "--quiet"]).ends(0);
    // A prepared dataset is no export, though it has a manifest.
    let into = ["export", "prepared", "--to", "trl", "--out", "prepared", "--force"];
    case.run(&into).ends(2).prints("holds something else than an export");
    case.write("mine/note.txt", "mine");
    case.run(&["export", "prepared", "--to", "trl", "--out", "mine", "--force"])
        .ends(2)
        .prints("something else");
    let other = ["export", "prepared", "--to", "trl", "--out", "small", "--model", "mistral-small-3.1"];
    case.run(&[&other[..], &["--base-model", "x"]].concat())
        .ends(2)
        .prints("prepared for pixtral-12b, and the export is for mistral-small-3.1");
    case.run(&other).ends(2).prints("--base-model");
    // A trainer's own template is that of Pixtral 12B.
    case.write("train.jsonl", sample("hello", ""));
    let other = [
        "export",
        "train.jsonl",
        "--to",
        "trl",
        "--out",
        "x",
        "--model",
        "pixtral-large",
        "--base-model",
        "x",
    ];
    case.run(&other)
        .ends(2)
        .prints("which the SentencePiece vocabulary of pixtral-large makes other tokens of");
    let other = other.map(|word| match word {
        "pixtral-large" => "mistral-small-3.2",
        "trl" => "llama-factory",
        same => same,
    });
    case.run(&other).ends(2).prints("has the layout of tokenizer v3, and mistral-small-3.2 has that of v11");
    case.run(&["export", "prepared", "--to", "torchtune", "--out", "x"]).ends(2).prints("possible values");
    export(&case, "mds", &["--shard-size", "1GB"]).ends(2).prints("have at most 268 MB");
    case.run(&["export", "none", "--to", "trl", "--out", "x"]).ends(2).prints("`none`");
    case.run(&["export", "prepared/rejected.jsonl", "--to", "trl", "--out", "x"]).ends(2);
    assert!(!case.path("x").exists() && !case.path("x.partial").exists());
}

#[test]
fn full_disk_leaves_no_output_and_resumes() {
    let case = prepared();
    export(&case, "webdataset", &["--shard-size", "20kB", "--quiet"]).ends(0);
    let expected = tree(&case.path("webdataset"));
    assert!(expected.len() > 6, "{:?}", expected.keys());
    fs::remove_dir_all(case.path("webdataset")).unwrap();
    let program = env!("CARGO_BIN_EXE_pixtune");
    let args = "export prepared --to webdataset --out webdataset --shard-size 20kB";
    let run = case.shell(&format!("trap '' XFSZ; ulimit -f 32; '{program}' {args} --quiet"));
    run.ends(2).prints("cannot write").prints("--resume");
    assert!(!case.path("webdataset").exists());
    case.run(&args.split(' ').collect::<Vec<_>>()).ends(2).prints("an unfinished export is in");
    let other = args.replace("20kB", "30kB") + " --resume";
    case.run(&other.split(' ').collect::<Vec<_>>()).ends(2).prints("`shard_bytes` was 20000, is 30000");
    case.run(&(args.to_owned() + " --resume --quiet").split(' ').collect::<Vec<_>>()).ends(0);
    assert!(tree(&case.path("webdataset")) == expected);
}

#[test]
fn resumed_export_writes_the_same_bytes_after_a_kill_at_any_moment() {
    let case = Case::new();
    let images = ["grad_64x48.png", "gray_200x120.jpg", "noise_32x32.png", "photo_300x200.webp"];
    let rows = images.map(|name| about_image(name, "QUESTION")).concat();
    let rows: String = (0..150).map(|index| rows.replace("QUESTION", &format!("question {index}"))).collect();
    case.write("train.jsonl", &rows);
    case.write("validation.jsonl", rows[..rows.len() / 3].rsplit_once('\n').unwrap().0);
    for to in ["webdataset", "trl", "ms-swift", "mds"] {
        let args = [
            "export",
            "train.jsonl",
            "validation.jsonl",
            "--to",
            to,
            "--out",
            to,
            "--shard-size",
            "300kB",
            "--quiet",
        ];
        case.run(&args).ends(0);
        let expected = tree(&case.path(to));
        for attempt in 1..=8_u64 {
            fs::remove_dir_all(case.path(to)).unwrap();
            let mut child = case.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(Duration::from_millis(12 * attempt));
            child.kill().unwrap();
            child.wait().unwrap();
            if !case.path(to).exists() {
                case.run(&[&args[..], &["--resume"]].concat()).ends(0);
            }
            assert!(tree(&case.path(to)) == expected, "{to}, attempt {attempt}");
        }
    }
}

#[test]
fn kept_system_prompts_are_noted() {
    let case = prepared();
    export(&case, "axolotl", &["--system", "keep"]).ends(0).prints("Axolotl drops system messages");
    export(&case, "ms-swift", &["--system", "keep"]).ends(0).prints("before the first `[INST]`");
    let run = export(&case, "trl", &["--system", "keep"]).ends(0);
    assert!(!run.stderr.contains("system"), "{}", run.stderr);
}

#[test]
fn layouts_that_hold_messages_keep_system_prompts() {
    let case = prepared();
    export(&case, "hf-dataset", &[]).ends(0);
    let manifest = case.read("hf-dataset/manifest.json");
    assert!(manifest.contains(r#""system": "keep""#), "{manifest}");
    let fold = ["--system", "fold", "--force"];
    export(&case, "openai", &fold).ends(2).prints("`--system fold` does not apply to OpenAI");
}

#[test]
fn every_trainer_with_a_configuration_is_one_that_plan_prints() {
    let case = prepared();
    for name in ["trl", "trl-completion", "unsloth", "axolotl", "llama-factory", "ms-swift"] {
        let plan = case.run(&["plan", "prepared", "--emit", name]).ends(0);
        assert!(plan.stdout.contains("pixtral"), "{name}: {}", plan.stdout);
    }
    case.run(&["plan", "prepared", "--emit", "openai"]).ends(2);
}

#[test]
fn other_versions_of_a_trainer_are_noted() {
    let case = prepared();
    for (name, warns) in
        [("trl-1.16.2", false), ("trl-1.160.0", true), ("trl-1.3.0", true), ("trlx-1.3.0", false)]
    {
        let packages = case.path("venv/lib/python3.12/site-packages");
        let _ = fs::remove_dir_all(&packages);
        fs::create_dir_all(packages.join(format!("{name}.dist-info"))).unwrap();
        let mut command = case.command(&["export", "prepared", "--to", "trl", "--out", "trl", "--force"]);
        command.env("VIRTUAL_ENV", case.path("venv"));
        let run = finish(command).ends(0);
        assert_eq!(
            run.stderr.contains("is installed in the active environment"),
            warns,
            "{name}: {}",
            run.stderr
        );
    }
}

#[test]
fn template_is_that_of_the_reference() {
    // The checks with the real TRL use the file that is exported.
    let template =
        fs::read_to_string(root().join("crates/pixtune-export/src/config/chat_template.jinja")).unwrap();
    let case = prepared();
    export(&case, "trl", &["--quiet"]).ends(0);
    assert_eq!(case.read("trl/chat_template.jinja"), template);
}
