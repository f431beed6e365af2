//! From an upload to an answer of the tuned model, as the clients of both vendors do it.

use super::{Reply, Server, served};

/// The texts of events, the oldest first.
fn messages(events: &Reply) -> Vec<String> {
    let value = events.json();
    let data = value.get("data").unwrap().as_array().unwrap();
    data.iter().rev().map(|event| event.text("message").unwrap().to_owned()).collect()
}

#[test]
fn an_openai_job_from_upload_to_chat() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let training = server.training_file("/openai/v1/files", "train.jsonl", &samples);
    let validation = server.training_file("/openai/v1/files", "valid.jsonl", &samples[2..]);
    assert_eq!(server.get(&format!("/openai/v1/files/{training}")).text("status"), "processed");
    let body = format!(
        r#"{{"model":"tiny","training_file":"{training}","validation_file":"{validation}","suffix":"mine","seed":7,
        "method":{{"type":"supervised","supervised":{{"hyperparameters":{{"n_epochs":3,"batch_size":2,"learning_rate_multiplier":100}}}}}},
        "metadata":{{"team":"x"}}}}"#
    );
    let created = server.post("/openai/v1/fine_tuning/jobs", &body);
    assert_eq!(created.status, 200, "{}", created.body);
    let id = created.text("id");
    let path = format!("/openai/v1/fine_tuning/jobs/{id}");
    let done = server.wait(&path, |status| !matches!(status, "queued" | "running"));
    assert_eq!(done.text("status"), "succeeded", "{}", done.body);
    assert_eq!(done.text("hyperparameters.n_epochs"), "3");
    let tuned = done.text("fine_tuned_model");
    assert!(tuned.starts_with("ft:tiny:pixtune:mine:"), "{tuned}");

    let events = messages(&server.get(&format!("{path}/events?limit=100")));
    assert_eq!(events[0], format!("Created fine-tuning job: {id}"));
    assert_eq!(events.last().unwrap(), "The job has successfully completed");
    assert!(
        events.iter().any(|event| event.starts_with("Step 1/") && event.contains("training loss=")),
        "{events:?}"
    );
    assert!(events.contains(&format!("New fine-tuned model created: {tuned}")));
    let first = server.get(&format!("{path}/events?limit=2"));
    assert_eq!(first.text("has_more"), "true");
    let after = server.get(&format!("{path}/events?limit=100&after={}", first.text("last_id")));
    assert_eq!(messages(&after).len() + 2, events.len());

    let checkpoints = server.get(&format!("{path}/checkpoints"));
    let checkpoint = checkpoints.text("data.0.fine_tuned_model_checkpoint");
    assert!(checkpoint.starts_with(&format!("{tuned}:ckpt-step-")));

    let result = done.text("result_files.0");
    let plain = server.get(&format!("/openai/v1/files/{result}/content?encoding=plain")).body;
    assert!(
        plain.starts_with("step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,"),
        "{plain}"
    );
    let encoded = server.get(&format!("/openai/v1/files/{result}/content")).body;
    assert_eq!(pixtune_io::base64::decode(&encoded).unwrap(), plain.as_bytes());

    let ask = |model: &str, more: &str| {
        server.post(
            "/openai/v1/chat/completions",
            &format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"say hello"}}],"temperature":0,"max_tokens":8{more}}}"#),
        )
    };
    let answer = ask(&tuned, "");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let content = answer.text("choices.0.message.content");
    assert_ne!(
        content,
        ask("tiny", "").text("choices.0.message.content"),
        "the tuned model answers as its base"
    );
    assert_eq!(ask(&checkpoint, "").status, 200);
    let streamed = ask(&tuned, r#","stream":true,"stream_options":{"include_usage":true}"#).body;
    assert!(streamed.ends_with("data: [DONE]\n\n"), "{streamed}");
    let pieces: String = streamed
        .lines()
        .filter_map(|line| line.strip_prefix("data: {"))
        .map(|rest| pixtune_core::json::parse(&format!("{{{rest}")).unwrap().value.into_owned())
        .filter_map(|chunk| {
            Some(chunk.get("choices")?.as_array()?.first()?.get("delta")?.text("content")?.to_owned())
        })
        .collect();
    assert_eq!(pieces, content);
    let two = ask(&tuned, r#","n":2,"logprobs":true,"top_logprobs":2"#);
    assert_eq!(two.text("choices.1.message.content"), content);
    assert!(two.text("choices.0.logprobs.content.0.top_logprobs.1.logprob").starts_with('-'));

    assert_eq!(server.get("/openai/v1/fine_tuning/jobs?metadata%5Bteam%5D=x").text("data.0.id"), id);
    assert_eq!(server.get("/openai/v1/fine_tuning/jobs?metadata%5Bteam%5D=y").text("data"), "[]");
    assert_eq!(server.delete(&format!("/openai/v1/models/{tuned}")).text("deleted"), "true");
    assert_eq!(ask(&tuned, "").status, 404);
    assert_eq!(server.delete(&format!("/openai/v1/files/{training}")).text("deleted"), "true");
    assert_eq!(server.get(&format!("/openai/v1/files/{training}")).status, 404);
    assert_eq!(server.end(), Some(0));
}

#[test]
fn a_mistral_job_waits_to_be_started() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let file = server.training_file("/mistral/v1/files", "train.jsonl", &samples);
    let listed = server.get("/mistral/v1/files?page=0&page_size=10&include_total=true");
    assert_eq!((listed.text("total"), listed.text("data.0.num_lines")), ("1".to_owned(), "5".to_owned()));
    let body = format!(
        r#"{{"model":"tiny","training_files":[{{"file_id":"{file}","weight":1.5}}],"hyperparameters":{{"training_steps":3,"learning_rate":0.01}},
        "auto_start":false,"suffix":"mine"}}"#
    );
    let dry = server.post("/mistral/v1/fine_tuning/jobs?dry_run=true", &body);
    assert_eq!((dry.text("training_steps"), dry.text("object")), ("3".to_owned(), "job.metadata".to_owned()));
    let created = server.post("/mistral/v1/fine_tuning/jobs", &body);
    assert_eq!(created.text("status"), "VALIDATED", "{}", created.body);
    let again = server.post("/mistral/v1/fine_tuning/jobs", &body);
    assert_eq!((again.status, again.header("x-should-retry")), (409, Some("false")));
    let path = format!("/mistral/v1/fine_tuning/jobs/{}", created.text("id"));
    assert_eq!(server.post(&format!("{path}/start"), "").text("status"), "QUEUED");
    assert_eq!(server.post(&format!("{path}/start"), "").status, 409);
    let done = server.wait(&path, |status| !matches!(status, "QUEUED" | "RUNNING"));
    assert_eq!(done.text("status"), "SUCCESS", "{}", done.body);
    assert_eq!(
        (done.text("hyperparameters.training_steps"), done.text("checkpoints.0.step_number")),
        ("3".to_owned(), "3".to_owned())
    );
    let tuned = done.text("fine_tuned_model");
    assert_eq!(tuned.split(':').nth(2), Some("mine"));
    let listed = server.get("/mistral/v1/fine_tuning/jobs?status=SUCCESS&page_size=5&suffix=mine&model=tiny");
    assert_eq!((listed.text("total"), listed.text("data.0.id")), ("1".to_owned(), created.text("id")));
    assert_eq!(
        server.get("/mistral/v1/fine_tuning/jobs?created_before=2020-01-01T00:00:00Z").text("total"),
        "0"
    );

    let models = server.get("/mistral/v1/models");
    assert_eq!(
        (models.text("data.0.type"), models.text("data.1.type")),
        ("base".to_owned(), "fine-tuned".to_owned())
    );
    let described =
        server.send("PATCH", &format!("/mistral/v1/fine_tuning/models/{tuned}"), &[], br#"{"name":"n"}"#);
    assert_eq!(
        (described.text("name"), described.text("model_type")),
        ("n".to_owned(), "completion".to_owned())
    );
    let archive = format!("/mistral/v1/fine_tuning/models/{tuned}/archive");
    assert_eq!(server.post(&archive, "").text("archived"), "true");
    let chat = format!(
        r#"{{"model":"{tuned}","messages":[{{"role":"user","content":"say hello"}}],"max_tokens":4,"random_seed":1}}"#
    );
    assert_eq!(server.post("/mistral/v1/chat/completions", &chat).status, 409);
    assert_eq!(server.delete(&archive).text("archived"), "false");
    assert_eq!(server.post("/mistral/v1/chat/completions", &chat).text("object"), "chat.completion");

    let url = server.get(&format!("/mistral/v1/files/{file}/url?expiry=1")).text("url");
    let path = url.split_once(&server.address).unwrap().1;
    assert_eq!(server.get(path).body, samples.concat());
    assert_ne!(server.get(&path.replace("signature=", "signature=00")).status, 500);
}

#[test]
fn clients_of_both_vendors_share_the_bare_path() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let api = |headers: &[(&str, &str)], path: &str| {
        let reply = server.send("GET", path, headers, b"");
        assert_eq!(reply.status, 200, "{}", reply.body);
        reply.header("x-pixtune-api").unwrap().to_owned()
    };
    assert_eq!(api(&[("User-Agent", "OpenAI/Python 3.51.0")], "/v1/files"), "openai");
    assert_eq!(api(&[("user-agent", "mistral-client-python/2.5.0")], "/v1/files"), "mistral");
    assert_eq!(api(&[("x-stainless-lang", "js")], "/v1/models"), "openai");
    assert_eq!(api(&[], "/v1/files?limit=1"), "openai");
    assert_eq!(api(&[], "/v1/v1/files?page=0"), "mistral");
    assert_eq!(api(&[("api-key", "k")], "/openai/files?api-version=2025-04-01"), "openai");
    let file = server.training_file("/v1/files", "a.jsonl", &samples);
    let job = server.post("/v1/fine_tuning/jobs", &format!(r#"{{"model":"tiny","training_file":"{file}"}}"#));
    assert_eq!(
        (job.header("x-pixtune-api"), job.text("object")),
        (Some("openai"), "fine_tuning.job".to_owned())
    );
    let azure = format!("/openai/deployments/{}/chat/completions?api-version=1", "tiny");
    let answer = server.post(&azure, r#"{"messages":[{"role":"user","content":"hi"}],"max_tokens":2}"#);
    assert_eq!(answer.text("model"), "tiny");
}

#[test]
fn a_repeated_request_is_the_job_that_exists() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let file = server.training_file("/openai/v1/files", "a.jsonl", &samples);
    let body = format!(r#"{{"model":"tiny","training_file":"{file}"}}"#);
    let create = |headers: &[(&str, &str)]| {
        let headers = [&[("Content-Type", "application/json")], headers].concat();
        server.send("POST", "/openai/v1/fine_tuning/jobs", &headers, body.as_bytes()).text("id")
    };
    let first = create(&[("x-stainless-retry-count", "0")]);
    assert_eq!(create(&[("x-stainless-retry-count", "1")]), first);
    let second = create(&[]);
    assert_ne!(second, first, "the same request without a sign of a repetition is another job");
    let named = create(&[("Idempotency-Key", "a")]);
    assert_eq!(create(&[("Idempotency-Key", "a")]), named);
    assert!(named != second && create(&[("Idempotency-Key", "b")]) != named);
}

#[test]
fn uploads_in_parts_become_one_file() {
    let (case, samples) = served();
    let server = Server::start(&case, &[]);
    let content = samples.concat();
    let (first, second) = content.as_bytes().split_at(100);
    let body = format!(
        r#"{{"bytes":{},"filename":"a.jsonl","mime_type":"application/jsonl","purpose":"fine-tune"}}"#,
        content.len()
    );
    let upload = server.post("/openai/v1/uploads", &body).text("id");
    let part = |bytes: &[u8]| {
        let head = b"--b\r\nContent-Disposition: form-data; name=\"data\"; filename=\"blob\"\r\n\r\n";
        let body = [&head[..], bytes, b"\r\n--b--\r\n"].concat();
        let headers = [("Content-Type", "multipart/form-data; boundary=b")];
        server.send("POST", &format!("/openai/v1/uploads/{upload}/parts"), &headers, &body)
    };
    // Parts may arrive in any order.
    let later = part(second).text("id");
    let earlier = part(first).text("id");
    assert_eq!(part(b"more").status, 422);
    let complete = |parts: &str| {
        server.post(&format!("/openai/v1/uploads/{upload}/complete"), &format!(r#"{{"part_ids":[{parts}]}}"#))
    };
    assert_eq!(complete(&format!(r#""{earlier}""#)).status, 422);
    let done = complete(&format!(r#""{earlier}","{later}""#));
    assert_eq!(done.text("status"), "completed", "{}", done.body);
    let file = done.text("file.id");
    assert_eq!(server.get(&format!("/openai/v1/files/{file}/content")).body, content);
    assert_eq!(complete("").text("file.id"), file);
    assert_eq!(server.post(&format!("/openai/v1/uploads/{upload}/cancel"), "").status, 409);
}
