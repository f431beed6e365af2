//! Batches of chats, in both APIs, through kills of the server, and with what cannot be asked.

use std::fs;

use pixtune_core::json::{self, Value};

use super::jobs::long_job;
use super::vllm::Vllm;
use super::{Server, served};

/// A line of a batch.
fn request(id: &str, text: &str, rest: &str) -> String {
    format!(
        r#"{{"custom_id":"{id}","method":"POST","url":"/v1/chat/completions","body":{{"messages":[{{"role":"user","content":"{text}"}}]{rest}}}}}"#
    ) + "\n"
}

fn upload(server: &Server, path: &str, lines: &[String]) -> String {
    let reply = server.upload(path, "requests.jsonl", "batch", lines.concat().as_bytes());
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.text("id")
}

/// The lines of a file: the client's name of each request, and the status.
fn lines(server: &Server, id: &str) -> Vec<(String, String)> {
    let content = server.get(&format!("/openai/v1/files/{id}/content")).body;
    let parsed: Vec<Value<'static>> =
        content.lines().map(|line| json::parse(line).unwrap().value.into_owned()).collect();
    let status = |line: &Value<'_>| json::text(line.get("response").unwrap().get("status_code").unwrap());
    parsed.iter().map(|line| (line.text("custom_id").unwrap().to_owned(), status(line))).collect()
}

#[test]
fn a_batch_of_mistral_has_an_answer_or_an_error_for_each_request() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let requests = [
        request("a", "hello", r#","max_tokens":2"#),
        request("b", "hello", r#","max_tokens":2,"temperature":9"#),
        request("c", "hello", r#","max_tokens":2,"stream":true"#),
    ];
    let file = upload(&server, "/mistral/v1/files", &requests);
    let body = format!(
        r#"{{"input_files":["{file}"],"endpoint":"/v1/chat/completions","model":"tiny","metadata":{{"k":"v"}},"timeout_hours":1}}"#
    );
    let created = server.post("/mistral/v1/batch/jobs", &body);
    assert_eq!((created.status, created.text("object")), (200, "batch".to_owned()), "{}", created.body);
    let path = format!("/mistral/v1/batch/jobs/{}", created.text("id"));
    let done = server.wait(&path, |status| !matches!(status, "QUEUED" | "RUNNING"));
    assert_eq!(done.text("status"), "SUCCESS", "{}", done.body);
    let counts =
        ["total", "completed", "succeeded", "failed"].map(|name| done.text(&format!("{name}_requests")));
    assert_eq!(counts, ["3", "3", "2", "1"].map(str::to_owned));
    let ok = |id: &str| (id.to_owned(), "200".to_owned());
    assert_eq!(lines(&server, &done.text("output_file")), [ok("a"), ok("c")]);
    assert_eq!(lines(&server, &done.text("error_file")), [("b".to_owned(), "422".to_owned())]);
    let inline = server.get(&format!("{path}?inline=true"));
    assert_eq!(inline.text("outputs.0.response.body.object"), "chat.completion");
    let listed = server.get("/mistral/v1/batch/jobs?status=SUCCESS&status=FAILED&model=tiny&page_size=5");
    assert_eq!((listed.text("total"), listed.text("data.0.metadata.k")), ("1".to_owned(), "v".to_owned()));
    assert_eq!(server.get("/mistral/v1/batch/jobs?status=RUNNING").text("total"), "0");
    assert_eq!(server.post(&format!("{path}/cancel"), "").status, 409);
    // A batch belongs to the API that created it.
    assert_eq!(server.get(&format!("/openai/v1/batches/{}", created.text("id"))).status, 404);
    assert_eq!(server.delete(&path).text("deleted"), "true");
    assert_eq!(server.get(&path).status, 404);
    assert!(!case.path("data/batches").join(created.text("id")).exists());
}

#[test]
fn requests_in_the_body_are_a_batch() {
    let (case, _) = served();
    let server = Server::start(&case, &[]);
    let requests = request("a", "hello", r#","max_tokens":2"#);
    let body =
        format!(r#"{{"requests":[{}],"endpoint":"/v1/chat/completions","model":"tiny"}}"#, requests.trim());
    let created = server.post("/v1/batch/jobs", &body);
    let path = format!("/v1/batch/jobs/{}", created.text("id"));
    let done = server.wait(&path, |status| !matches!(status, "QUEUED" | "RUNNING"));
    assert_eq!(
        (done.text("status"), done.text("succeeded_requests")),
        ("SUCCESS".into(), "1".into()),
        "{}",
        done.body
    );
}

#[test]
fn a_batch_of_openai_continues_after_kills_of_the_server() {
    let (case, _) = served();
    let mut server = Server::start(&case, &[]);
    let requests: Vec<String> = (0..400)
        .map(|number| {
            request(&format!("r{number}"), &format!("number {number}"), r#","model":"tiny","max_tokens":8"#)
        })
        .collect();
    let file = upload(&server, "/openai/v1/files", &requests);
    let body = format!(
        r#"{{"input_file_id":"{file}","endpoint":"/v1/chat/completions","completion_window":"24h","metadata":{{"k":"v"}}}}"#
    );
    let created = server.post("/openai/v1/batches", &body);
    assert_eq!(created.text("status"), "validating", "{}", created.body);
    let path = format!("/openai/v1/batches/{}", created.text("id"));
    assert_eq!(server.delete(&format!("/openai/v1/files/{file}")).status, 409);
    let output = case.path(&format!("data/batches/{}/output.jsonl", created.text("id")));
    for least in [1, 60_000] {
        while fs::metadata(&output).map_or(0, |about| about.len()) < least {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        server.kill();
        server = Server::start(&case, &[]);
        assert!(matches!(server.get(&path).text("status").as_str(), "in_progress" | "validating"));
    }
    let done = server.wait(&path, |status| !matches!(status, "validating" | "in_progress"));
    assert_eq!(done.text("status"), "completed", "{}", done.body);
    assert_eq!(done.text("request_counts.completed"), "400");
    let expected: Vec<(String, String)> =
        (0..400).map(|number| (format!("r{number}"), "200".to_owned())).collect();
    assert_eq!(lines(&server, &done.text("output_file_id")), expected);
    assert_eq!(done.text("error_file_id"), "null");
    let listed = server.get("/openai/v1/batches?limit=1");
    assert_eq!((listed.text("data.0.id"), listed.text("has_more")), (created.text("id"), "false".to_owned()));
}

#[test]
fn a_cancelled_batch_has_the_answers_so_far() {
    let (case, _) = served();
    let vllm = Vllm::start(&case.path("model"));
    let server = Server::start(&case, &["--upstream", &vllm.url]);
    let requests: Vec<String> =
        (0..20_000).map(|number| request(&format!("r{number}"), "hello", r#","model":"tiny""#)).collect();
    let file = upload(&server, "/openai/v1/files", &requests);
    let body = format!(
        r#"{{"input_file_id":"{file}","endpoint":"/v1/chat/completions","completion_window":"24h"}}"#
    );
    let path = format!("/openai/v1/batches/{}", server.post("/openai/v1/batches", &body).text("id"));
    server.wait(&path, |status| status == "in_progress");
    assert_eq!(server.post(&format!("{path}/cancel"), "").text("status"), "cancelling");
    let done = server.wait(&path, |status| status != "cancelling");
    assert_eq!(done.text("status"), "cancelled");
    let answered: usize = done.text("request_counts.completed").parse().unwrap();
    assert!(answered < 20_000);
    if answered > 0 {
        assert_eq!(lines(&server, &done.text("output_file_id")).len(), answered);
    }
    assert_eq!(server.post(&format!("{path}/cancel"), "").text("status"), "cancelled");
}

#[test]
fn batches_that_cannot_be_asked_say_why() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let good = request("a", "hello", "");
    let file = upload(&server, "/openai/v1/files", &[good.clone(), "{\n".to_owned()]);
    let refused = |body: &str| {
        let reply = server.post("/openai/v1/batches", body);
        (reply.status, reply.text("error.param"))
    };
    let of = |file: &str, rest: &str| {
        format!(r#"{{"input_file_id":"{file}","endpoint":"/v1/chat/completions"{rest}}}"#)
    };
    assert_eq!(refused(&of("file-nope", "")), (404, "input_file_id".to_owned()));
    assert_eq!(refused(&of(&file, r#","completion_window":"1h""#)), (422, "completion_window".to_owned()));
    assert_eq!(refused(r#"{"endpoint":"/v1/embeddings"}"#), (422, "endpoint".to_owned()));
    let training = server.training_file("/openai/v1/files", "train.jsonl", &samples);
    assert_eq!(refused(&of(&training, "")), (422, "input_file_id".to_owned()));
    let mistral =
        server.post("/mistral/v1/batch/jobs", r#"{"endpoint":"/v1/chat/completions","model":"tiny"}"#);
    assert_eq!((mistral.status, mistral.text("error.param")), (422, "input_files".to_owned()));
    let created = server.post("/openai/v1/batches", &of(&file, ""));
    let path = format!("/openai/v1/batches/{}", created.text("id"));
    let failed = server.wait(&path, |status| status != "validating");
    assert_eq!((failed.text("status"), failed.text("errors.data.0.line")), ("failed".into(), "2".into()));
    assert!(failed.text("errors.data.0.message").contains("the line is not JSON"), "{}", failed.body);
    // Jobs are trained while batches are answered.
    let job = long_job(&server, &samples, 1);
    assert_eq!(server.wait(&job, |status| status == "succeeded").status, 200);
}
