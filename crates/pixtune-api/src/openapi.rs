//! `openapi.json`: from the table of routes, and from examples of what is really written.

use std::sync::OnceLock;

use pixtune_core::json::{self, Object, ToJson, Value, list, object};
use pixtune_infer::Usage;

use crate::catalog::BaseModel;
use crate::error::ApiError;
use crate::request::job::JobRequest;
use crate::routes::{BodyKind, ROUTES, Route};
use crate::store::{Event, EventKind, File, Job, JobStatus, Level, Part, TunedModel, Upload, Wish};
use crate::vendor::{Dialect, Vendor};
use crate::wire::{self, Choice};

/// The document, made once.
pub fn document() -> String {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(make).clone()
}

fn make() -> String {
    json::document(object(|out| {
        out.field("openapi", "3.1.0");
        out.field("info", object(|info| {
            info.field("title", "pixtune serve").field("version", env!("CARGO_PKG_VERSION"));
            info.field("description", "The fine-tuning APIs of Mistral (/mistral/v1) and OpenAI (/openai/v1); /v1 is that of the client.");
        }));
        out.field(
            "servers",
            list(["/v1", "/openai/v1", "/mistral/v1"].map(|url| {
                object(move |server| {
                    server.field("url", url);
                })
            })),
        );
        out.field(
            "security",
            list([object(|security| {
                security.field("key", list(std::iter::empty::<&str>()));
            })]),
        );
        out.field("paths", object(paths));
        out.field(
            "components",
            object(|components| {
                components.field(
                    "securitySchemes",
                    object(|schemes| {
                        schemes.field(
                            "key",
                            object(|scheme| {
                                scheme.field("type", "http").field("scheme", "bearer");
                            }),
                        );
                    }),
                );
                components.field(
                    "schemas",
                    object(|schemas| {
                        for (name, example) in examples() {
                            let parsed = json::parse(&example)
                                .map(|parsed| parsed.value.into_owned())
                                .unwrap_or(Value::Null);
                            schemas.field(name, Schema(&parsed));
                        }
                    }),
                );
            }),
        );
    }))
}

fn paths(out: &mut Object<'_>) {
    let mut seen: Vec<&str> = Vec::new();
    for route in ROUTES {
        if !seen.contains(&route.path) {
            seen.push(route.path);
            out.field(
                route.path,
                object(|path| {
                    for route in ROUTES.iter().filter(|other| other.path == route.path) {
                        path.field(
                            route.method.to_ascii_lowercase(),
                            object(|operation| describe(operation, route)),
                        );
                    }
                }),
            );
        }
    }
}

fn describe(out: &mut Object<'_>, route: &Route) {
    let id: String = format!("{} {}", route.method.to_ascii_lowercase(), route.path);
    let id: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    out.field("summary", route.summary).field("operationId", id.trim_end_matches('_'));
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    out.field(
        "parameters",
        list(names.map(|name| {
            object(move |parameter| {
                parameter.field("name", name).field("in", "path").field("required", true);
                parameter.field(
                    "schema",
                    object(|schema| {
                        schema.field("type", "string");
                    }),
                );
            })
        })),
    );
    match route.body {
        BodyKind::None => {}
        BodyKind::Json => {
            out.field("requestBody", body("application/json", None));
        }
        BodyKind::Form(part) => {
            out.field("requestBody", body("multipart/form-data", Some(part)));
        }
    }
    out.field(
        "responses",
        object(|responses| {
            responses.field("200", answer("The answer", route.answer));
            responses.field("default", answer("An error", "Error"));
        }),
    );
}

fn body(content_type: &'static str, part: Option<&'static str>) -> impl ToJson {
    object(move |body| {
        body.field("required", true);
        body.field(
            "content",
            object(|content| {
                content.field(
                    content_type,
                    object(|media| {
                        media.field(
                            "schema",
                            object(|schema| {
                                schema.field("type", "object");
                                if let Some(part) = part {
                                    schema.field("required", list([part]));
                                    schema.field(
                                        "properties",
                                        object(|properties| {
                                            properties.field(
                                                part,
                                                object(|file| {
                                                    file.field("type", "string").field("format", "binary");
                                                }),
                                            );
                                        }),
                                    );
                                }
                            }),
                        );
                    }),
                );
            }),
        );
    })
}

fn answer(description: &'static str, schema: &'static str) -> impl ToJson {
    object(move |answer| {
        answer.field("description", description);
        answer.field(
            "content",
            object(|content| {
                let content_type = match schema {
                    "Bytes" => "application/octet-stream",
                    "Events" => "text/event-stream",
                    _ => "application/json",
                };
                content.field(
                    content_type,
                    object(|media| {
                        media.field(
                            "schema",
                            object(|of| match schema {
                                "Bytes" | "Events" => {
                                    of.field("type", "string");
                                }
                                name => {
                                    of.field("$ref", &format!("#/components/schemas/{name}"));
                                }
                            }),
                        );
                    }),
                );
            }),
        );
    })
}

/// The schema of an example: the types of its values. A null may be anything.
struct Schema<'v, 'a>(&'v Value<'a>);

impl ToJson for Schema<'_, '_> {
    fn write_json(self, slot: json::Slot<'_>) {
        slot.object(|out| match self.0 {
            Value::Null => {}
            Value::Bool(_) => {
                out.field("type", "boolean");
            }
            Value::Number(number) => {
                out.field("type", if number.contains(['.', 'e', 'E']) { "number" } else { "integer" });
            }
            Value::String(_) => {
                out.field("type", "string");
            }
            Value::Array(values) => {
                out.field("type", "array");
                match values.first() {
                    Some(value) => out.field("items", Schema(value)),
                    None => out.field("items", object(|_| {})),
                };
            }
            Value::Object(members) => {
                out.field("type", "object");
                out.field(
                    "properties",
                    object(|properties| {
                        for (key, value) in members {
                            properties.field(key, Schema(value));
                        }
                    }),
                );
            }
        });
    }
}

/// Names of schemas, and an example of each.
fn examples() -> Vec<(&'static str, String)> {
    let (file, upload, event) = (file(), upload(), event());
    let request = r#"{"model":"m","training_file":"file-1","training_files":["file-1"]}"#;
    let body = json::parse(request).map(|parsed| parsed.value.into_owned()).unwrap_or(Value::Null);
    let dialect = |vendor| Dialect { vendor, is_azure: false, is_mistral_v0: false };
    let job = |vendor| {
        let job = Job { vendor, ..job(request) };
        let events = [event.clone(), Event { kind: EventKind::Checkpoint, ..event.clone() }];
        JobRequest::parse(vendor, &body)
            .map_or_else(|error| error.body(), |of| wire::job_json(&job, &of, dialect(vendor), Some(&events)))
    };
    let base = BaseModel { context: 131_072, ..BaseModel::gone("pixtral-12b") };
    let (mistral, openai) = (job(Vendor::Mistral), job(Vendor::OpenAi));
    let of = self::job(request);
    let either = format!(r#"{{"mistral":{mistral},"openai":{openai}}}"#);
    let file_json = wire::file_json(&file);
    let choice = Choice { content: "text".to_owned(), finish_reason: "stop", ..Choice::default() };
    let model = wire::base_model_json(&base, 0);
    let page = |object: &str| wire::page(&[object.to_owned()], &["id"], 1, false);
    vec![
        ("Error", ApiError::invalid("param", "message").body()),
        ("FileList", page(&file_json)),
        ("File", file_json),
        ("Deleted", wire::deleted("file-1", "file")),
        ("Url", r#"{"url":"http://localhost"}"#.to_owned()),
        ("Upload", wire::upload_json(&upload, Some(&file))),
        (
            "Part",
            wire::part_json(
                "upload-1",
                &Part { id: "part-1".to_owned(), blob: String::new(), bytes: 1, created_at: 0 },
            ),
        ),
        ("Job", either),
        ("JobList", page(&openai)),
        ("EventList", page(&wire::event_json(&of, &event))),
        ("CheckpointList", page(&wire::checkpoint_json(&of, &event, "ft:m"))),
        ("Model", model.clone()),
        ("ModelList", page(&model)),
        ("TunedModel", wire::tuned_model_out_json(&tuned(), Some(&base))),
        ("Archived", r#"{"id":"ft:m","object":"model","archived":true}"#.to_owned()),
        ("Completion", wire::completion("chatcmpl-1", 0, "m", &[choice], Usage::default())),
        ("Object", "{}".to_owned()),
    ]
}

fn file() -> File {
    File {
        seq: 1,
        id: "file-1".to_owned(),
        project: "default".to_owned(),
        name: "train.jsonl".to_owned(),
        purpose: "fine-tune".to_owned(),
        source: "upload".to_owned(),
        blob: String::new(),
        bytes: 1,
        samples: Some(1),
        invalid: 0,
        invalid_lines: Vec::new(),
        findings: Some("[]".to_owned()),
        created_at: 0,
        expires_at: Some(0),
    }
}

fn upload() -> Upload {
    Upload {
        id: "upload-1".to_owned(),
        project: "default".to_owned(),
        name: "train.jsonl".to_owned(),
        purpose: "fine-tune".to_owned(),
        bytes: 1,
        status: "completed".to_owned(),
        file: Some("file-1".to_owned()),
        created_at: 0,
        expires_at: 0,
    }
}

fn event() -> Event {
    let data =
        r#"{"step":1,"total_steps":2,"train_loss":1.5,"valid_loss":1.5,"valid_mean_token_accuracy":0.5}"#;
    Event {
        seq: 1,
        kind: EventKind::Metrics,
        level: Level::Info,
        message: "Step 1/2".to_owned(),
        data: Some(data.to_owned()),
        created_at: 0,
    }
}

fn tuned() -> TunedModel {
    TunedModel {
        id: "ft:m".to_owned(),
        project: "default".to_owned(),
        base: "m".to_owned(),
        job: "job".to_owned(),
        adapter: std::path::PathBuf::new(),
        step: None,
        name: Some("name".to_owned()),
        description: Some("description".to_owned()),
        created_at: 0,
        is_archived: false,
    }
}

/// A job that has ended well.
fn job(request: &str) -> Job {
    Job {
        seq: 1,
        id: "ftjob-1".to_owned(),
        project: "default".to_owned(),
        vendor: Vendor::OpenAi,
        status: JobStatus::Succeeded,
        wish: Wish::Run,
        request: request.to_owned(),
        model: "m".to_owned(),
        suffix: Some("suffix".to_owned()),
        priority: 0,
        created_at: 0,
        modified_at: 0,
        started_at: Some(0),
        finished_at: Some(0),
        attempts: 1,
        process: None,
        slot: Some("cpu".to_owned()),
        samples: 1,
        steps: Some(1),
        epochs: Some(1),
        trained_tokens: Some(1),
        tuned_model: Some("ft:m".to_owned()),
        result_file: Some("file-2".to_owned()),
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_schema_from_an_example() {
        let document = document();
        let parsed = json::parse(&document).unwrap().value.into_owned();
        let schemas = parsed.get("components").unwrap().get("schemas").unwrap();
        for route in ROUTES {
            let known = matches!(route.answer, "Bytes" | "Events") || schemas.get(route.answer).is_some();
            assert!(known, "{} has no schema `{}`", route.path, route.answer);
        }
        let file = schemas.get("File").unwrap().get("properties").unwrap();
        assert_eq!(json::text(file.get("bytes").unwrap()), r#"{"type":"integer"}"#);
        assert_eq!(parsed.get("paths").unwrap().as_object().unwrap().len(), {
            let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
            paths.sort_unstable();
            paths.dedup();
            paths.len()
        });
    }
}
