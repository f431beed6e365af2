//! `openapi.json`: from the table of routes, and from examples of what is really written.

mod examples;

use std::sync::OnceLock;

use pixtune_core::json::{self, Object, ToJson, Value, list, object};

use crate::routes::{BodyKind, ROUTES, Route};
use examples::examples;

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
