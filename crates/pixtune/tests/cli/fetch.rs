//! `--fetch`, against a server in the test.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use crate::harness::{Case, read_directory, root};
use crate::tokenizers::tekken_of;

/// Serves `fixtures/images`; gives back the address. Other paths have a status, or are the first response of a server that
/// has none to give yet.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let seen = Arc::clone(&seen);
            std::thread::spawn(move || respond(stream, &seen));
        }
    });
    address
}

fn respond(mut stream: TcpStream, seen: &Mutex<BTreeSet<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
    lines.take_while(|line| !line.is_empty()).for_each(drop);
    let is_first = seen.lock().unwrap().insert(path.clone());
    let (name, query) = path.trim_start_matches('/').split_once('?').unwrap_or((&path[1..], ""));
    let file = fs::read(root().join("fixtures/images").join(name));
    let (status, body) = match (query, file) {
        (_, Err(_)) => ("404 Not Found", Vec::new()),
        ("busy", _) if is_first => ("503 Service Unavailable\r\nretry-after: 0", Vec::new()),
        ("page", _) => ("200 OK", b"<!DOCTYPE html><html><body>log in</body></html>".to_vec()),
        (_, Ok(body)) => ("200 OK", body),
    };
    if let Some(milliseconds) = query.strip_prefix("wait=") {
        sleep(Duration::from_millis(milliseconds.parse().unwrap()));
    }
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.into_bytes(), body].concat());
}

fn chat(url: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{url}"}}]}},{{"role":"assistant","content":"a"}}]}}"#
    ) + "\n"
}

#[test]
fn checks_and_embeds_images_at_urls() {
    let server = server();
    let case = Case::new();
    case.write(
        "rows.jsonl",
        chat(&format!("{server}/px2x2.png")) + &chat(&format!("{server}/line_1x4000.png")),
    );
    let args = ["check", "rows.jsonl", "--select", "image"];
    let run = case.run(&args).ends(0);
    assert!(run.stdout.contains("is not fetched, verified or counted"), "{}", run.stdout);
    let run = case.run(&[&args[..], &["--fetch", "--fetch-cache", "cache"]].concat()).ends(1);
    assert!(
        run.stdout.contains("[image-unreachable]") && run.stdout.contains("on a private network"),
        "{}",
        run.stdout
    );
    let run =
        case.run(&[&args[..], &["--fetch", "--fetch-private", "--fetch-cache", "cache"]].concat()).ends(0);
    assert!(run.stdout.contains("it was fetched and verified"), "{}", run.stdout);
    assert!(run.stdout.contains("warning[image-too-thin]: rows.jsonl:2"), "{}", run.stdout);

    case.run(&[
        "fix",
        "rows.jsonl",
        "--out",
        "fixed.jsonl",
        "--fetch",
        "--fetch-private",
        "--fetch-cache",
        "cache",
    ])
    .ends(0);
    assert_eq!(case.read("fixed.jsonl").matches("data:image/png;base64,").count(), 2);
    let run = case.run(&["check", "fixed.jsonl", "--select", "image-url,image-unreachable"]).ends(0);
    assert!(run.stdout.contains("nothing to report"), "{}", run.stdout);
}

#[test]
fn reports_images_that_cannot_be_downloaded() {
    let server = server();
    let case = Case::new();
    case.write("rows.jsonl", chat(&format!("{server}/none.png")) + &chat(&format!("{server}/README.md")));
    let run = case
        .run(&[
            "check",
            "rows.jsonl",
            "--select",
            "image",
            "--fetch",
            "--fetch-private",
            "--fetch-cache",
            "cache",
        ])
        .ends(1);
    let output = run.stdout.replace(&server, "http://server");
    crate::snapshots::check("check/image-unreachable.txt", &output);
    case.run(&[
        "fix",
        "rows.jsonl",
        "--out",
        "fixed.jsonl",
        "--unsafe",
        "--fetch",
        "--fetch-private",
        "--fetch-cache",
        "cache",
    ])
    .ends(1);
    assert_eq!(case.read("fixed.jsonl"), "", "both samples are left out");
    case.run(&["check", "rows.jsonl", "--fetch-private"]).ends(2);
}

/// Rows whose images come quickly, late, at the second attempt, and not at all.
fn table(server: &str, rows: usize) -> Case {
    let case = Case::new();
    let mut table = "image,prompt,completion\n".to_owned();
    for row in 0..rows {
        let image = match row % 8 {
            0 => format!("grad_64x48.png?{row}"),
            1 => format!("gray_200x120.jpg?wait={}", row * 37 % 50),
            2 => "grad_64x48.png".to_owned(),
            3 => format!("missing.png?{row}"),
            4 => "noise_32x32.png?busy".to_owned(),
            5 => "photo_300x200.webp?page".to_owned(),
            6 => "README.md".to_owned(),
            _ => format!("photo_300x200.webp?wait={}", row * 17 % 50),
        };
        table.push_str(&format!("{server}/{image},question {row}?,answer\n"));
    }
    case.write("data.csv", table);
    case
}

const FETCH: [&str; 6] = ["--fetch", "--fetch-private", "--fetch-cache", "cache", "--validation", "0.3"];

#[test]
fn prepare_embeds_images_at_urls() {
    let server = server();
    let case = table(&server, 16);
    let run = case.prepare(&[&FETCH[..], &["--dedup", "off"]].concat()).ends(1);
    assert!(run.stdout.contains("downloaded      8 images with 13 requests, "), "{}", run.stdout);
    assert!(run.stdout.contains("  failed        2 not an image, 2 status 404"), "{}", run.stdout);
    let finding = "error[image-unreachable]: data.csv:5 /image: ";
    assert!(
        run.stderr.contains(finding) && run.stderr.contains("responds with status 404"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("page` is an HTML page, not an image"), "{}", run.stderr);
    let rules = ["image-unreachable", "image-unreadable", "image-unreadable"];
    assert_eq!(case.rejected(), [rules, rules].concat());
    let written = case.read("out/train.jsonl") + &case.read("out/validation.jsonl");
    assert_eq!((written.lines().count(), written.matches("data:image/").count()), (10, 10));
    assert!(!written.contains("http://"));
}

#[test]
fn downloads_do_not_change_the_output() {
    let server = server();
    let case = table(&server, 64);
    case.prepare(&[&FETCH[..], &["--threads", "1", "--fetch-connections", "1"]].concat()).ends(1);
    let expected = case.output();
    for threads in ["1", "3"] {
        fs::remove_dir_all(case.path("cache")).unwrap();
        case.prepare(&[&FETCH[..], &["--force", "--threads", threads]].concat()).ends(1);
        assert_eq!(case.output(), expected, "{threads} threads");
    }
    let run = case.prepare(&[&FETCH[..], &["--force", "--format", "json"]].concat()).ends(1);
    assert_eq!(case.output(), expected, "from the cache");
    assert!(run.stdout.contains(r#""downloads":{"images":0,"#), "{}", run.stdout);
}

#[test]
fn a_killed_download_is_resumed() {
    let server = server();
    let case = table(&server, 96);
    let args = [&FETCH[..], &["--threads", "2", "--fetch-connections", "4"]].concat();
    case.prepare(&args).ends(1);
    let expected = case.output();
    for moment in [20, 60, 100, 150, 200, 300] {
        fs::remove_dir_all(case.path("out")).unwrap();
        fs::remove_dir_all(case.path("cache")).unwrap();
        let mut command = case.command(&[&["prepare", "data.csv", "--out", "out"], &args[..]].concat());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        sleep(Duration::from_millis(moment));
        child.kill().unwrap();
        child.wait().unwrap();
        case.prepare(&[&args[..], &["--resume"]].concat()).ends(1);
        assert_eq!(case.output(), expected, "killed after {moment} ms");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_download_is_resumed() {
    use std::process::Command;

    let server = server();
    let case = table(&server, 96);
    let args = [&FETCH[..], &["--threads", "2", "--fetch-connections", "2"]].concat();
    case.prepare(&args).ends(1);
    let expected = case.output();
    let mut interrupted = 0;
    for moment in [100, 150, 200, 300] {
        fs::remove_dir_all(case.path("out")).unwrap();
        fs::remove_dir_all(case.path("cache")).unwrap();
        let mut command = case.command(&[&["prepare", "data.csv", "--out", "out"], &args[..]].concat());
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // Signals are handled before the directory of the run is made.
        while !case.path("out.partial").exists() && !case.path("out").exists() {
            sleep(Duration::from_millis(2));
        }
        sleep(Duration::from_millis(moment));
        let _ = Command::new("kill").args(["-INT", &child.id().to_string()]).stderr(Stdio::null()).status();
        let output = child.wait_with_output().unwrap();
        if output.status.code() == Some(130) {
            assert!(String::from_utf8_lossy(&output.stderr).contains("`--resume`"));
            interrupted += 1;
        }
        case.prepare(&[&args[..], &["--resume"]].concat()).ends(1);
        assert_eq!(case.output(), expected, "interrupted after {moment} ms");
    }
    assert!(interrupted > 0, "every run was over before it could be interrupted");
}

#[test]
fn evaluate_sends_images_at_urls_to_the_model() {
    let case = Case::new();
    for (name, bytes) in read_directory(&root().join("fixtures/tiny_pixtral/hf_bf16")) {
        case.write(&format!("model/{name}"), bytes);
    }
    let image = r#"{"image_patch_size":16,"max_image_size":128,"spatial_merge_size":1}"#;
    case.write("model/tekken.json", tekken_of("v3", 143, image));
    case.write("data.jsonl", chat(&format!("{}/grad_64x48.png", server())));
    let args = [
        "evaluate",
        "data.jsonl",
        "--model",
        "model",
        "--metric",
        "exact",
        "--max-tokens",
        "2",
        "--out",
        "out",
    ];
    let refused = case.run(&args).ends(2);
    assert!(refused.stderr.contains("URL"), "{}", refused.stderr);
    let fetch = ["--fetch", "--fetch-private", "--fetch-cache", "cache", "--force"];
    case.run(&[&args[..], &fetch].concat()).ends(0);
    assert_eq!(case.lines("out/predictions.jsonl").len(), 1);
    assert!(case.read("out/report.html").contains("data:image/"));
}

#[test]
fn a_cache_that_cannot_be_written_ends_the_run() {
    let case = table("http://127.0.0.1:1", 1);
    case.write("cache", "a file");
    case.prepare(&FETCH).ends(2).prints("cannot write `cache`");
    case.write("rows.jsonl", chat("http://127.0.0.1:1/a.png"));
    case.run(&["check", "rows.jsonl", "--fetch", "--fetch-cache", "cache"])
        .ends(2)
        .prints("cannot write `cache`");
    case.prepare(&["--fetch-timeout", "3"]).ends(2).prints("--fetch");
}
