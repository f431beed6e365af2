//! A server with models of several versions.

use super::{Server, served};
use crate::family::write_model;

/// Which only versions from 13 on read.
const THINKING: &str = r#"{"messages":[{"role":"user","content":"why"},{"role":"assistant","content":[{"type":"thinking","thinking":"so"},{"type":"text","text":"because"}]}]}
"#;

#[test]
fn a_file_is_checked_for_the_models_and_again_for_the_model_of_a_job() {
    let (case, samples) = served();
    write_model(&case, "ministral", "tiny_ministral3", "v13");
    let server = Server::start(&case, &["--models", "ministral=ministral"]);
    let content = [samples.concat(), THINKING.to_owned()].concat();
    let reply = server.upload("/openai/v1/files", "a.jsonl", "fine-tune", content.as_bytes());
    assert_eq!((reply.status, reply.text("invalid_samples")), (200, "0".to_owned()), "{}", reply.body);
    let job = |model: &str| {
        let body = format!(
            r#"{{"model":"{model}","training_file":"{}","hyperparameters":{{"n_epochs":1}}}}"#,
            reply.text("id")
        );
        server.post("/openai/v1/fine_tuning/jobs", &body)
    };
    let refused = job("tiny");
    assert_eq!(refused.text("status"), "failed", "{}", refused.body);
    let message = refused.text("error.message");
    assert!(message.contains("1 of") && message.contains("thinking"), "{message}");
    let trained = job("ministral").text("id");
    let path = format!("/openai/v1/fine_tuning/jobs/{trained}");
    let ended = server.wait(&path, |status| matches!(status, "succeeded" | "failed" | "cancelled"));
    assert_eq!(ended.text("status"), "succeeded", "{}", ended.body);
}
