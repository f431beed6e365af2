//! Who may do what.

use super::{Server, served};

fn key(case: &crate::harness::Case, arguments: &[&str]) -> String {
    let run = case.run(&[&["serve", "keys", "create", "--data-dir", "data"], arguments].concat());
    assert_eq!(run.code, 0, "{}", run.stderr);
    run.stdout.trim().to_owned()
}

#[test]
fn keys_limit_what_a_client_reaches() {
    let (case, samples) = served();
    let (ann, bob) = (key(&case, &["ann", "--project", "a"]), key(&case, &["bob", "--project", "b"]));
    let reader = key(&case, &["reader", "--project", "a", "--scope", "read"]);
    let server = Server::start(&case, &[]);
    let bearer = |key: &str| format!("Bearer {key}");
    let get = |key: &str, path: &str| server.send("GET", path, &[("Authorization", &bearer(key))], b"");
    assert_eq!(server.get("/openai/v1/files").status, 401);
    assert_eq!(get("pixtune-wrong", "/openai/v1/files").text("error.code"), "invalid_api_key");
    let content = samples.concat();
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\r\n--b--\r\n"
    );
    let upload = |key: &str| {
        let headers =
            [("Authorization", bearer(key)), ("Content-Type", "multipart/form-data; boundary=b".to_owned())];
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        server.send("POST", "/openai/v1/files", &headers, body.as_bytes())
    };
    let file = upload(&ann).text("id");
    assert_eq!(upload(&reader).status, 403);
    assert_eq!(get(&reader, &format!("/openai/v1/files/{file}")).status, 200);
    assert_eq!(get(&bob, &format!("/openai/v1/files/{file}")).status, 404);
    assert_eq!(get(&bob, &format!("/openai/v1/files/{file}/content")).status, 404);
    assert_eq!(get(&bob, "/openai/v1/files").text("data"), "[]");
    let job = format!(r#"{{"model":"tiny","training_file":"{file}"}}"#);
    let headers = [("Authorization", bearer(&bob)), ("Content-Type", "application/json".to_owned())];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(server.send("POST", "/openai/v1/fine_tuning/jobs", &headers, job.as_bytes()).status, 404);
    let url = get(&ann, &format!("/mistral/v1/files/{file}/url")).text("url");
    let path = url.split_once(&server.address).unwrap().1;
    assert_eq!(server.get(path).body, content);
    assert_eq!(server.get(&path.replace("project=a", "project=b")).status, 401);
    let revoked = case.run(&["serve", "keys", "revoke", "ann", "--data-dir", "data"]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    assert_eq!(get(&ann, "/openai/v1/files").status, 401);
    let listed = case.run(&["serve", "keys", "list", "--data-dir", "data"]).stdout;
    assert!(listed.contains("ann  project a  write  revoked") && !listed.contains(&bob), "{listed}");
    assert!(!String::from_utf8_lossy(&std::fs::read(case.path("data/pixtune.db")).unwrap()).contains(&bob));
}

#[test]
fn a_key_decides_whose_shapes_its_answers_have() {
    let (case, _) = served();
    let (mistral, openai) = (key(&case, &["m", "--v1", "mistral"]), key(&case, &["o", "--v1", "openai"]));
    let server = Server::start(&case, &["--v1", "mistral"]);
    let shape = |key: &str, path: &str| {
        let reply = server.send("GET", path, &[("Authorization", &format!("Bearer {key}"))], b"");
        reply.header("x-pixtune-api").map(str::to_owned)
    };
    assert_eq!(shape(&mistral, "/v1/files").as_deref(), Some("mistral"));
    assert_eq!(shape(&openai, "/v1/files").as_deref(), Some("openai"));
    // A path decides before the key.
    assert_eq!(shape(&openai, "/mistral/v1/files").as_deref(), Some("mistral"));
    let listed = case.run(&["serve", "keys", "list", "--data-dir", "data"]).stdout;
    assert!(listed.contains("o  project default  write  answered as openai"), "{listed}");
}

#[test]
fn reports_open_by_a_signed_url_and_show_no_file_of_the_server() {
    let (case, samples) = served();
    let ann = key(&case, &["ann"]);
    let server = Server::start(&case, &[]);
    let headers = [
        ("Authorization", format!("Bearer {ann}")),
        ("Content-Type", "multipart/form-data; boundary=b".to_owned()),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let photo = case.path("photo.png");
    std::fs::copy(crate::harness::root().join("fixtures/images/grad_64x48.png"), &photo).unwrap();
    let local = format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"file://{}"}},{{"type":"text","text":"secret"}}]}},{{"role":"assistant","content":"a"}}]}}"#,
        photo.display()
    );
    let content = samples.concat() + &local;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.jsonl\"\r\n\r\n{content}\n\r\n--b--\r\n"
    );
    let file = server.send("POST", "/openai/v1/files", &headers, body.as_bytes()).text("id");
    let other =
        server.send("POST", "/openai/v1/files", &headers, body.replace("a.jsonl", "b.jsonl").as_bytes());
    let path = format!("/v1/pixtune/files/{file}/report");
    assert_eq!(server.get(&path).status, 401);
    let url = server.send("GET", &format!("{path}/url"), &headers[..1], b"").text("url");
    let signed = url.split_once(&server.address).unwrap().1.to_owned();
    let page = server.get(&signed);
    assert_eq!(page.status, 200, "{}", page.body);
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("sandbox allow-scripts") && !policy.contains("allow-same-origin"), "{policy}");
    assert!(page.body.contains("a.jsonl") && page.body.contains("say hello"), "{}", &page.body[..500]);
    for hidden in ["secret", &*case.path("data").to_string_lossy()] {
        let at = page.body.find(hidden).map(|at| &page.body[at.saturating_sub(200)..at + 100]);
        assert_eq!(at, None);
    }
    assert_eq!(server.get(&signed).body, page.body);
    // The signature is of this page alone.
    for wrong in [
        signed.replace(&file, &other.text("id")),
        signed.replace("/pixtune/files/", "/files/").replace("/report?", "/content?"),
        signed.replace("project=default", "project=other"),
    ] {
        assert_eq!(server.get(&wrong).status, 401, "{wrong}");
    }
    let deleted =
        server.send("DELETE", &format!("/openai/v1/files/{}", other.text("id")), &headers[..1], b"");
    assert_eq!(deleted.status, 200);
    assert_eq!(std::fs::read_dir(case.path("data/reports")).unwrap().count(), 1);
    server.send("DELETE", &format!("/openai/v1/files/{file}"), &headers[..1], b"");
    assert_eq!(std::fs::read_dir(case.path("data/reports")).unwrap().count(), 0);
}

#[test]
fn other_machines_need_keys() {
    let (case, _) = served();
    let run = case.run(&["serve", "--data-dir", "data", "--listen", "0.0.0.0:0", "--models", "tiny=model"]);
    assert_eq!(run.code, 2);
    assert!(
        run.stderr.contains("the server has no keys") && run.stderr.contains("pixtune serve keys create"),
        "{}",
        run.stderr
    );
}

#[test]
fn pages_of_other_sites_are_refused() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let get = |headers: &[(&str, &str)]| server.send("GET", "/v1/models", headers, b"").status;
    assert_eq!(get(&[("Origin", "https://evil.example")]), 403);
    assert_eq!(get(&[("Origin", &format!("http://{}", server.address))]), 200);
    let rebound =
        server.raw(b"GET /v1/models HTTP/1.1\r\nHost: evil.example:8000\r\nConnection: close\r\n\r\n");
    assert_eq!(rebound.status, 403);
}

#[test]
fn backups_are_whole_databases() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let file = server.training_file("/openai/v1/files", "a.jsonl", &samples);
    let run = case.run(&["serve", "backup", "copy", "--data-dir", "data"]);
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(case.run(&["serve", "backup", "copy", "--data-dir", "data"]).code, 2);
    server.kill();
    std::fs::rename(case.path("data/blobs"), case.path("copy/blobs")).unwrap();
    std::fs::remove_dir_all(case.path("data")).unwrap();
    std::fs::rename(case.path("copy"), case.path("data")).unwrap();
    let server = Server::start(&case, &[]);
    assert_eq!(server.get(&format!("/openai/v1/files/{file}/content")).body, samples.concat());
}
