//! `--fetch`, against a server in the test.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::harness::{Case, root};

/// Serves `fixtures/images` and answers 404 to the rest; gives back the address.
fn server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let found = fs::read(root().join("fixtures/images").join(path.trim_start_matches('/')));
            let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.into_bytes(), body].concat());
        }
    });
    address
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
    let run = case.run(&[&args[..], &["--fetch"]].concat()).ends(1);
    assert!(
        run.stdout.contains("[image-unreachable]") && run.stdout.contains("on a private network"),
        "{}",
        run.stdout
    );
    let run = case.run(&[&args[..], &["--fetch", "--fetch-private"]].concat()).ends(0);
    assert!(run.stdout.contains("it was fetched and verified"), "{}", run.stdout);
    assert!(run.stdout.contains("warning[image-too-thin]: rows.jsonl:2"), "{}", run.stdout);

    case.run(&["fix", "rows.jsonl", "--out", "fixed.jsonl", "--fetch", "--fetch-private"]).ends(0);
    assert_eq!(case.read("fixed.jsonl").matches("data:image/png;base64,").count(), 2);
    let run = case.run(&["check", "fixed.jsonl", "--select", "image-url,image-unreachable"]).ends(0);
    assert!(run.stdout.contains("nothing to report"), "{}", run.stdout);
}

#[test]
fn reports_images_that_cannot_be_downloaded() {
    let server = server();
    let case = Case::new();
    case.write("rows.jsonl", chat(&format!("{server}/none.png")) + &chat(&format!("{server}/README.md")));
    let run = case.run(&["check", "rows.jsonl", "--select", "image", "--fetch", "--fetch-private"]).ends(1);
    let output = run.stdout.replace(&server, "http://server");
    crate::snapshots::check("check/image-unreachable.txt", &output);
    case.run(&["fix", "rows.jsonl", "--out", "fixed.jsonl", "--unsafe", "--fetch", "--fetch-private"])
        .ends(1);
    assert_eq!(case.read("fixed.jsonl"), "", "both samples are left out");
    case.run(&["check", "rows.jsonl", "--fetch-private"]).ends(2);
}
