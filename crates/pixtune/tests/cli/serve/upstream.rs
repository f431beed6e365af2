//! Chats that an upstream server answers, and adapters that are loaded there.

use std::fs;
use std::net::TcpListener;

use super::jobs::{has_event, long_job, wait_for_event};
use super::vllm::Vllm;
use super::{Reply, Server, served};
use crate::harness::Case;

fn server(case: &Case, vllm: &Vllm, more: &[&str]) -> Server {
    let args = [&["--upstream", &vllm.url], more].concat();
    Server::start_with(case, &args, &[("PIXTUNE_UPSTREAM_KEY", "its-key".to_owned())])
}

fn ask(server: &Server, api: &str, model: &str, rest: &str) -> Reply {
    let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hello"}}]{rest}}}"#);
    server.send(
        "POST",
        &format!("{api}/chat/completions"),
        &[("Content-Type", "application/json"), ("Authorization", "Bearer clients-key")],
        body.as_bytes(),
    )
}

/// Trains a model; returns its id and the path of its job.
fn tuned(server: &Server, samples: &[String]) -> (String, String) {
    let path = long_job(server, samples, 1);
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    (done.text("fine_tuned_model"), path)
}

#[test]
fn base_models_answer_through_the_upstream_server() {
    let (case, _) = served();
    let vllm = Vllm::start(&case.path("model"));
    vllm.state.lock().unwrap().key = Some("its-key".to_owned());
    let server = server(&case, &vllm, &[]);
    let whole = ask(&server, "/openai/v1", "tiny", "");
    assert_eq!(
        (whole.text("choices.0.message.content"), whole.text("model")),
        ("I am served".into(), "tiny".into())
    );
    assert_eq!(
        (whole.text("usage.prompt_tokens"), whole.text("usage.completion_tokens")),
        ("7".into(), "3".into())
    );
    let two = ask(&server, "/openai/v1", "tiny", r#","n":2,"response_format":{"type":"json_object"}"#);
    assert_eq!(two.text("choices.1.message.content"), "I am served");
    let streamed =
        ask(&server, "/openai/v1", "tiny", r#","stream":true,"stream_options":{"include_usage":true}"#);
    assert!(streamed.body.contains(r#""content":"I am "#), "{}", streamed.body);
    assert!(
        streamed.body.ends_with("data: [DONE]\n\n")
            && streamed.body.contains(r#""choices":[],"usage":{"prompt_tokens":7"#)
    );
    // Mistral's clients read the usage from the last chunk, take a call whole, and name settings in their own way.
    let tools = r#","stream":true,"random_seed":3,"tool_choice":"any","tools":[{"type":"function","function":{"name":"weather","parameters":{}}}]"#;
    let calls = ask(&server, "/mistral/v1", "tiny", tools);
    assert!(calls.body.contains(r#""name":"weather","arguments":"{\"city\":\"Bern\"}""#), "{}", calls.body);
    assert!(calls.body.contains(r#""finish_reason":"tool_calls""#), "{}", calls.body);
    let bodies = vllm.bodies("POST /v1/chat/completions");
    assert!(
        bodies[3].contains(r#""seed":3,"tool_choice":"required","temperature":0.7,"stream":true"#),
        "{}",
        bodies[3]
    );
    let keys: Vec<String> = vllm.state.lock().unwrap().asked.iter().map(|(_, key, _)| key.clone()).collect();
    assert!(keys.iter().all(|key| key == "Bearer its-key"), "{keys:?}");
}

#[test]
fn a_tuned_model_is_loaded_there_and_unloaded() {
    let (case, samples) = served();
    let vllm = Vllm::start(&case.path("model"));
    let server = server(&case, &vllm, &[]);
    let (model, path) = tuned(&server, &samples);
    wait_for_event(&server, &path, "The model is loaded on the upstream server");
    let there = vllm.state.lock().unwrap().adapters[&model].clone();
    let config = fs::read_to_string(format!("{there}/adapter_config.json")).unwrap();
    assert!(config.contains("LORA"), "{config}");
    assert_eq!(
        ask(&server, "/openai/v1", &model, "").text("choices.0.message.content"),
        format!("I am {model}")
    );
    // A server that is started again has forgotten its adapters.
    vllm.state.lock().unwrap().adapters.clear();
    assert_eq!(
        ask(&server, "/openai/v1", &model, "").text("choices.0.message.content"),
        format!("I am {model}")
    );
    let checkpoints = server.get(&format!("{path}/checkpoints"));
    let checkpoint = checkpoints.text("data.0.fine_tuned_model_checkpoint");
    assert_eq!(
        ask(&server, "/openai/v1", &checkpoint, "").text("choices.0.message.content"),
        format!("I am {checkpoint}")
    );
    assert_eq!(server.delete(&format!("/openai/v1/models/{model}")).status, 200);
    assert!(!vllm.state.lock().unwrap().adapters.contains_key(&model));
    assert!(!fs::exists(&there).unwrap());
    assert_eq!(ask(&server, "/openai/v1", &model, "").status, 404);
}

#[test]
fn adapters_that_the_upstream_server_would_not_apply_are_refused() {
    let (case, samples) = served();
    let vllm = Vllm::start(&case.path("model"));
    let server = server(&case, &vllm, &["--upstream-max-lora-rank", "8"]);
    let (model, path) = tuned(&server, &samples);
    wait_for_event(&server, &path, "the upstream server would not answer with the tuned model");
    let refused = ask(&server, "/openai/v1", &model, "");
    assert_eq!((refused.status, refused.text("error.code")), (409, "adapter_not_applied".to_owned()));
    assert!(refused.text("error.message").contains("rank 16 is above --max-lora-rank 8"), "{}", refused.body);
    assert!(vllm.bodies("POST /v1/load_lora_adapter").is_empty());
}

#[test]
fn failures_of_the_upstream_server_are_errors_that_clients_understand() {
    let (case, samples) = served();
    let vllm = Vllm::start(&case.path("model"));
    vllm.state.lock().unwrap().is_dynamic = false;
    let server = server(&case, &vllm, &["--upstream-timeout", "4"]);
    let (model, path) = tuned(&server, &samples);
    let fails = |model: &str, text: &str| {
        let body = format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":{text}}}]}}"#);
        let reply = server.post("/openai/v1/chat/completions", &body);
        assert!(reply.status >= 400, "{}", reply.body);
        let code = reply.json().get("error").unwrap().text("code").unwrap_or_default().to_owned();
        (reply.status, code, reply.text("error.message"))
    };
    let (status, code, message) = fails(&model, "\"x\"");
    assert_eq!((status, code.as_str()), (502, "upstream_error"));
    assert!(message.contains("VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"), "{message}");
    assert!(has_event(&server, &path, "the upstream server does not load adapters while it runs"));
    let (status, code, message) = fails("tiny", "\"too long\"");
    assert_eq!((status, code.as_str()), (400, "context_length_exceeded"));
    assert!(message.contains("maximum context length is 4096"), "{message}");
    assert_eq!(fails("tiny", "\"slow\"").0, 504);
    let (status, _, message) = fails("tiny", "\"boom\"");
    assert_eq!((status, message.as_str()), (502, "the upstream server failed: EngineCore died"));
    let url = r#"[{"type":"image_url","image_url":{"url":"http://169.254.169.254/latest"}}]"#;
    assert_eq!(fails("tiny", url).0, 422);
    vllm.state.lock().unwrap().key = Some("another".to_owned());
    let (status, _, message) = fails("tiny", "\"x\"");
    assert_eq!(status, 502);
    assert!(message.contains("refuses the key") && !message.contains("its-key"), "{message}");
}

#[test]
fn a_server_that_is_down_or_has_other_models_is_named() {
    let (case, _) = served();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&case, &["--upstream", &format!("http://{free}/v1")]);
    let down = ask(&server, "/openai/v1", "tiny", "");
    assert_eq!((down.status, down.text("error.code")), (503, "upstream_unreachable".to_owned()));
    drop(server);
    let vllm = Vllm::start(&case.path("elsewhere"));
    let server = Server::start(&case, &["--upstream", &vllm.url]);
    let other = ask(&server, "/openai/v1", "tiny", "");
    assert_eq!(other.status, 502);
    assert!(
        other.text("error.message").contains("it serves served: name it with `--upstream-model tiny=NAME`")
    );
    drop(server);
    let server = Server::start(&case, &["--upstream", &vllm.url, "--upstream-model", "tiny=served"]);
    assert_eq!(ask(&server, "/openai/v1", "tiny", "").text("choices.0.message.content"), "I am served");
    drop(server);
    // Models that are not named answer on this machine.
    let more = ["--upstream", &vllm.url, "--upstream-model", "other=served", "--models", "other=model"];
    let server = Server::start(&case, &more);
    assert_eq!(ask(&server, "/openai/v1", "other", "").text("choices.0.message.content"), "I am served");
    assert_ne!(
        ask(&server, "/openai/v1", "tiny", r#","max_tokens":2"#).text("choices.0.message.content"),
        "I am served"
    );
}
