//! Everything that a client can send wrong.

use super::{Server, served};

#[test]
fn uploads_that_are_not_training_data_are_refused() {
    let (case, samples) = served();
    let server = Server::start(&case, &["--max-upload", "100kB", "--quota", "150kB"]);
    let refused = |name: &str, purpose: &str, content: &[u8], why: &str| {
        for prefix in ["/openai", "/mistral"] {
            let reply = server.upload(&format!("{prefix}/v1/files"), name, purpose, content);
            assert!((400..500).contains(&reply.status), "{name}: {}", reply.body);
            assert!(reply.text("error.message").contains(why), "{name}: {}", reply.body);
            assert_eq!(
                (reply.text("object"), reply.header("x-should-retry")),
                ("error".to_owned(), Some("false"))
            );
        }
    };
    let good = samples.concat();
    refused("a.csv", "fine-tune", good.as_bytes(), "has to be a .jsonl file");
    refused("a.jsonl", "fine-tune", b"", "the file is empty");
    refused("a.jsonl", "fine-tune", b"{}\n", "none of 1 sample is valid");
    refused("a.jsonl", "fine-tune", b"not JSON\n", "none of 1 sample is valid");
    refused("a.jsonl", "fine-tune", format!("[{}]", samples[2].trim()).as_bytes(), "the line is an array");
    refused(
        "a.jsonl",
        "fine-tune",
        samples[2].replacen('{', "{\n", 1).as_bytes(),
        "every sample has to be on one line",
    );
    refused("a.jsonl", "nonsense", good.as_bytes(), "`purpose` has to be one of");
    refused("a.jsonl", "fine-tune", &b"x".repeat(200_000), "more than 100000 bytes");
    let png = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"file:///etc/hostname"}]},{"role":"assistant","content":"a"}]}"#;
    refused("a.jsonl", "fine-tune", png.as_bytes(), "is not a data URI");
    refused(
        "a.jsonl",
        "fine-tune",
        png.replace("file:///etc/hostname", "http://127.0.0.1/x.png").as_bytes(),
        "is not a data URI",
    );
    let padded = |size: usize| format!("{good}{}", " ".repeat(size));
    assert_eq!(
        server.upload("/openai/v1/files", "a.jsonl", "fine-tune", padded(90_000).as_bytes()).status,
        200
    );
    assert_eq!(
        server
            .upload("/openai/v1/files", "b.jsonl", "fine-tune", padded(90_001).as_bytes())
            .text("error.code"),
        "storage_quota_exceeded"
    );
    assert!(!case.path("data/incoming").read_dir().unwrap().any(|_| true), "nothing half-received is left");
}

#[test]
fn samples_that_are_there_twice_are_warnings() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let twice = [samples.concat(), samples[2].clone()].concat();
    let reply = server.upload("/openai/v1/files", "twice.jsonl", "fine-tune", twice.as_bytes());
    assert_eq!(
        (reply.text("invalid_samples"), reply.text("findings.0.rule")),
        ("0".to_owned(), "duplicate".to_owned())
    );
    assert_eq!(reply.text("findings.0.message"), "twice.jsonl:3 has the same images and text");
    assert!(!reply.body.contains(&*case.path("data").to_string_lossy()), "{}", reply.body);
}

#[test]
fn a_large_file_is_checked_while_it_arrives_with_the_same_result() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let padded = |nth: usize| match nth % 500 {
        7 => "{\"messages\": 1}\n".to_owned(),
        _ => samples[0].replacen(
            "\"messages\"",
            &format!("\"note\":\"{nth} {}\",\"messages\"", "x".repeat(900)),
            1,
        ),
    };
    let content: String = (0..4000).map(padded).collect();
    let results = |reply: &crate::serve::client::Reply| {
        ["num_lines", "invalid_samples", "findings"].map(|key| reply.text(key))
    };
    let early = server.upload("/openai/v1/files", "large.jsonl", "fine-tune", content.as_bytes());
    assert_eq!(early.text("invalid_samples"), "8", "{}", early.body);
    // An upload in parts is checked when it is whole.
    case.write("large.jsonl", &content);
    let base = format!("http://{}/openai", server.address);
    let done = case.run(&["files", "upload", "large.jsonl", "--part-size", "1MB", "--base-url", &base]);
    let whole = server.get(&format!("/openai/v1/files/{}", done.stdout.trim()));
    assert_eq!(results(&early), results(&whole), "{}", done.stderr);
    for (name, content, why) in [
        ("none.jsonl", "{}\n".repeat(600_000), "none of 600,000 samples are valid"),
        ("objects.jsonl", "{\n  \"messages\": []\n}\n".repeat(100_000), "is not JSON Lines"),
    ] {
        let reply = server.upload("/openai/v1/files", name, "fine-tune", content.as_bytes());
        assert_eq!(reply.status, 422, "{name}: {}", reply.body);
        assert!(reply.text("error.message").contains(why), "{name}: {}", reply.body);
    }
}

#[test]
fn names_are_shown_and_never_paths() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    for (name, shown) in [
        ("../../../../etc/passwd.jsonl", "passwd.jsonl"),
        ("<script>alert(1)</script>.jsonl", "script>.jsonl"),
        ("é v.jsonl", "é v.jsonl"),
    ] {
        let reply = server.upload("/openai/v1/files", name, "fine-tune", samples.concat().as_bytes());
        assert_eq!(reply.text("filename"), shown);
        let content = server.get(&format!("/openai/v1/files/{}/content", reply.text("id")));
        assert_eq!((content.status, content.header("x-content-type-options")), (200, Some("nosniff")));
        assert!(content.header("content-disposition").unwrap().is_ascii());
    }
    for path in ["..%2f..%2fpixtune.db", "%2e%2e", "%00", "a'%20OR%201=1--", &"x".repeat(3000)] {
        let reply = server.get(&format!("/openai/v1/files/{path}/content"));
        assert_eq!(reply.status, 404, "{path}: {}", reply.body);
        assert_eq!(server.get(&format!("/openai/v1/fine_tuning/jobs/{path}")).status, 404);
        assert_eq!(server.get(&format!("/openai/v1/models/{path}")).status, 404);
    }
}

#[test]
fn broken_bodies_are_answered() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let jobs = "/openai/v1/fine_tuning/jobs";
    for (body, why) in [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "not an object"),
        (r#"{"model":"tiny"}"#, "at least one training file"),
        (r#"{"model":"tiny","training_file":"file-nope"}"#, "there is no file with the id `file-nope`"),
        (r#"{"model":"gpt-4o","training_file":"f"}"#, "there is no model `gpt-4o`; available: tiny"),
        (r#"{"model":"tiny","training_file":"f","method":{"type":"dpo"}}"#, "only `supervised` is"),
    ] {
        let reply = server.post(jobs, body);
        assert!((400..500).contains(&reply.status), "{body}: {}", reply.body);
        assert!(reply.text("error.message").contains(why), "{body}: {}", reply.body);
    }
    assert!(server.post(jobs, &"[".repeat(100_000)).text("error.message").contains("not valid JSON"));
    let form = [("Content-Type", "multipart/form-data; boundary=b")];
    for body in [
        "",
        "--b",
        "--b\r\n\r\n",
        "--b--\r\n",
        "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\nhalf",
    ] {
        assert_eq!(server.send("POST", "/openai/v1/files", &form, body.as_bytes()).status / 100, 4, "{body}");
    }
    assert_eq!(server.send("POST", "/openai/v1/files", &[("Content-Type", "text/plain")], b"x").status, 400);
    let zipped = [("Content-Encoding", "gzip"), ("Content-Type", "application/json")];
    assert_eq!(server.send("POST", jobs, &zipped, b"x").status, 400);
    assert_eq!(server.send("PUT", jobs, &[], b"").status, 405);
    assert_eq!(server.get("/openai/v1/nope").text("error.code"), "unknown_url");
    assert_eq!(server.get("/openai/v1/files?limit=0").status, 422);
    assert_eq!(server.get("/mistral/v1/fine_tuning/jobs?status=NOPE").status, 422);
    assert_eq!(server.get("/mistral/v1/fine_tuning/jobs?created_after=yesterday").status, 422);
}

#[test]
fn chats_that_cannot_be_answered_say_why() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let ask = |model: &str, messages: &str, more: &str| {
        server.post(
            "/openai/v1/chat/completions",
            &format!(r#"{{"model":"{model}","messages":{messages}{more}}}"#),
        )
    };
    let hello = r#"[{"role":"user","content":"hi"}]"#;
    for (reply, status, why) in [
        (ask("nope", hello, ""), 404, "there is no model `nope`; available: tiny"),
        (ask("tiny", "[]", ""), 422, "no messages"),
        (ask("tiny", r#"[{"role":"assistant","content":"a"}]"#, ""), 422, "has to come from the user"),
        (ask("tiny", hello, r#","max_tokens":100000000"#), 400, "exceed the model's limit"),
        (ask("tiny", hello, r#","max_tokens":100000000,"stream":true"#), 400, "exceed the model's limit"),
        (
            ask("tiny", hello, r#","response_format":{"type":"json_object"}"#),
            422,
            "is not supported by models on this machine",
        ),
        (
            ask(
                "tiny",
                r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://127.0.0.1:1/a.png"}}]}]"#,
                "",
            ),
            422,
            "URLs are not fetched",
        ),
        (
            ask(
                "tiny",
                r#"[{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"x"}}]}]"#,
                "",
            ),
            422,
            "messages",
        ),
    ] {
        assert_eq!(reply.status, status, "{}", reply.body);
        assert!(reply.text("error.message").contains(why), "{}", reply.body);
    }
}

#[test]
fn connections_that_send_slowly_are_closed() {
    use std::io::{Read as _, Write as _};
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let mut streams: Vec<_> =
        (0..50).map(|_| std::net::TcpStream::connect(&server.address).unwrap()).collect();
    for stream in &mut streams {
        stream.write_all(b"GET /v1/models HTTP/1.1\r\nHost: loc").unwrap();
        stream.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    }
    assert_eq!(server.get("/v1/models").status, 200);
    for stream in &mut streams {
        let mut rest = Vec::new();
        // Closed, with or without an answer that says so.
        assert!(stream.read_to_end(&mut rest).is_ok(), "a slow connection stays open");
    }
}
