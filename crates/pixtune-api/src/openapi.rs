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
                        for (name, examples) in examples() {
                            let parsed =
                                |text: &String| json::parse(text).map(|parsed| parsed.value.into_owned());
                            let parsed: Vec<Value<'_>> =
                                examples.iter().map(|text| parsed(text).unwrap_or(Value::Null)).collect();
                            schemas.field(name, &Schema(parsed.iter().collect()));
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
                    "Page" => "text/html",
                    _ => "application/json",
                };
                content.field(
                    content_type,
                    object(|media| {
                        media.field(
                            "schema",
                            object(|of| match schema {
                                "Bytes" | "Events" | "Page" => {
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

/// The schema of examples of one value: their types, and the members that all of them have. Where every example is null, it may
/// be anything.
struct Schema<'v, 'a>(Vec<&'v Value<'a>>);

impl<'v, 'a> Schema<'v, 'a> {
    /// The names of the types, without those of null.
    fn types(&self) -> Vec<&'static str> {
        let mut types: Vec<&'static str> = Vec::new();
        for value in &self.0 {
            let name = match value {
                Value::Null => continue,
                Value::Bool(_) => "boolean",
                Value::Number(number) if number.contains(['.', 'e', 'E']) => "number",
                Value::Number(_) => "integer",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            if !types.contains(&name) {
                types.push(name);
            }
        }
        if types.contains(&"number") {
            types.retain(|name| *name != "integer");
        }
        types
    }

    fn elements(&self) -> Schema<'v, 'a> {
        Schema(self.0.iter().copied().filter_map(Value::as_array).flatten().collect())
    }

    /// The names of members in order of appearance, each with its values.
    fn members(&self) -> Vec<(&'v str, Schema<'v, 'a>)> {
        let mut members: Vec<(&str, Schema<'v, 'a>)> = Vec::new();
        for (key, value) in self.0.iter().copied().filter_map(Value::as_object).flatten() {
            match members.iter_mut().find(|(known, _)| *known == key.as_ref()) {
                Some((_, values)) => values.0.push(value),
                None => members.push((key.as_ref(), Schema(vec![value]))),
            }
        }
        members
    }
}

impl ToJson for &Schema<'_, '_> {
    fn write_json(self, slot: json::Slot<'_>) {
        slot.object(|out| {
            let mut types = self.types();
            if types.is_empty() {
                return;
            }
            let (has_items, has_members) = (types.contains(&"array"), types.contains(&"object"));
            if self.0.iter().any(|value| matches!(value, Value::Null)) {
                types.push("null");
            }
            match types[..] {
                [name] => out.field("type", name),
                _ => out.field("type", list(types.iter().copied())),
            };
            if has_items {
                out.field("items", &self.elements());
            }
            if has_members {
                let members = self.members();
                let objects = self.0.iter().filter(|value| value.as_object().is_some()).count();
                let required = members.iter().filter(|(_, values)| values.0.len() == objects);
                out.field("required", list(required.map(|(key, _)| *key)));
                out.field(
                    "properties",
                    object(|properties| {
                        for (key, values) in &members {
                            properties.field(key, values);
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
    fn a_schema_is_what_its_examples_have_in_common() {
        let texts =
            [r#"{"a":1,"b":[{"c":"x"},{"c":null,"d":true}],"e":null}"#, r#"{"a":2.5,"b":[],"f":null}"#];
        let parsed = texts.map(|text| json::parse(text).unwrap().value.into_owned());
        let schema = json::text(&Schema(parsed.iter().collect()));
        let item = r#"{"type":"object","required":["c"],"properties":{"c":{"type":["string","null"]},"d":{"type":"boolean"}}}"#;
        let expected = format!(
            r#"{{"type":"object","required":["a","b"],"properties":{{"a":{{"type":"number"}},"b":{{"type":"array","items":{item}}},"e":{{}},"f":{{}}}}}}"#
        );
        assert_eq!(schema, expected);
    }

    #[test]
    fn every_answer_has_a_schema_from_an_example() {
        let document = document();
        let parsed = json::parse(&document).unwrap().value.into_owned();
        let schemas = parsed.get("components").unwrap().get("schemas").unwrap();
        for route in ROUTES {
            let known =
                matches!(route.answer, "Bytes" | "Events" | "Page") || schemas.get(route.answer).is_some();
            assert!(known, "{} has no schema `{}`", route.path, route.answer);
        }
        let file = schemas.get("File").unwrap().get("properties").unwrap();
        assert_eq!(json::text(file.get("bytes").unwrap()), r#"{"type":"integer"}"#);
        let job = schemas.get("Job").unwrap().get("properties").unwrap();
        assert_eq!(json::text(job.get("finished_at").unwrap()), r#"{"type":["integer","null"]}"#);
        assert_eq!(parsed.get("paths").unwrap().as_object().unwrap().len(), {
            let mut paths: Vec<&str> = ROUTES.iter().map(|route| route.path).collect();
            paths.sort_unstable();
            paths.dedup();
            paths.len()
        });
    }
}
