//! The body of a chat as an upstream server gets it.

use pixtune_core::json::{self, ToJson, Value, list, object};

use crate::error::ApiError;

/// Keys that are set here.
const OWN: [&str; 5] = ["model", "stream", "stream_options", "random_seed", "tool_choice"];

/// The body for the model with this name there: a stream with its usage, and Mistral's names of settings as OpenAI's.
pub(super) fn forwarded(
    body: &Value<'_>,
    model: &str,
    default_temperature: Option<f64>,
) -> Result<String, ApiError> {
    let members = body
        .as_object()
        .ok_or_else(|| ApiError::bad_request(format!("the body is {}, not an object", body.kind())))?;
    let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
    let messages = messages
        .ok_or_else(|| ApiError::invalid("messages", "`messages` is required, a list that is not empty"))?;
    refuse_urls(messages)?;
    let seed =
        body.get("seed").filter(|seed| **seed != Value::Null).is_none().then(|| body.get("random_seed"));
    let tool_choice = match body.text("tool_choice") {
        Some("any") => Some(&ANY),
        _ => body.get("tool_choice"),
    };
    let temperature = body.get("temperature").is_none_or(|value| *value == Value::Null);
    Ok(json::text(object(|out| {
        out.field("model", model);
        for (key, value) in members.iter().filter(|(key, _)| !OWN.contains(&&**key)) {
            match &**key {
                "messages" => out.field("messages", list(messages.iter().map(Rewritten))),
                "temperature" | "seed" if *value == Value::Null => continue,
                key => out.field(key, value),
            };
        }
        out.optional("seed", seed.flatten().filter(|seed| **seed != Value::Null));
        out.optional("tool_choice", tool_choice.filter(|choice| **choice != Value::Null));
        out.optional("temperature", default_temperature.filter(|_| temperature));
        out.field("stream", true).field(
            "stream_options",
            object(|options| {
                options.field("include_usage", true);
            }),
        );
    })))
}

/// Mistral's `any` is OpenAI's `required`.
static ANY: Value<'static> = Value::String(std::borrow::Cow::Borrowed("required"));

/// URLs would be fetched by the upstream server, from inside of its network.
fn refuse_urls(messages: &[Value<'_>]) -> Result<(), ApiError> {
    for (index, message) in messages.iter().enumerate() {
        let parts = message.get("content").and_then(Value::as_array).unwrap_or_default();
        for (place, part) in parts.iter().enumerate() {
            for (key, value) in part.as_object().unwrap_or_default() {
                let url = value.as_str().or_else(|| value.text("url"));
                if key.ends_with("_url") && url.is_some_and(|url| !url.starts_with("data:")) {
                    let at = format!("messages.{index}.content.{place}");
                    return Err(ApiError::invalid(
                        at,
                        "URLs are not fetched here: send the image as a data URI",
                    ));
                }
            }
        }
    }
    Ok(())
}

/// A message whose images are objects: Mistral's clients may send a string.
struct Rewritten<'v, 'a>(&'v Value<'a>);

impl ToJson for Rewritten<'_, '_> {
    fn write_json(self, slot: json::Slot<'_>) {
        match self.0 {
            Value::Object(members) => object(|out| {
                for (key, value) in members {
                    match (&**key, value) {
                        ("image_url", Value::String(url)) => out.field(
                            "image_url",
                            object(|image| {
                                image.field("url", &**url);
                            }),
                        ),
                        (key, value) => out.field(key, Rewritten(value)),
                    };
                }
            })
            .write_json(slot),
            Value::Array(values) => slot.list(values.iter().map(Rewritten)),
            value => value.write_json(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Result<String, ApiError> {
        forwarded(&json::parse(text).unwrap().value, "there", Some(0.7))
    }

    #[test]
    fn settings_of_mistral_get_the_names_of_openai() {
        let text = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":"data:image/png;base64,AA"}]}],
            "random_seed":7,"tool_choice":"any","stream":false,"response_format":{"type":"json_object"}}"#;
        assert_eq!(
            body(text).unwrap(),
            concat!(
                r#"{"model":"there","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}]}],"#,
                r#""response_format":{"type":"json_object"},"seed":7,"tool_choice":"required","temperature":0.7,"#,
                r#""stream":true,"stream_options":{"include_usage":true}}"#
            )
        );
        let own =
            body(r#"{"messages":[{"role":"user","content":"a"}],"seed":1,"random_seed":2,"temperature":0}"#)
                .unwrap();
        assert!(own.contains(r#""seed":1,"temperature":0,"stream":true"#), "{own}");
    }

    #[test]
    fn addresses_are_not_forwarded() {
        for content in [
            r#"[{"type":"image_url","image_url":{"url":"http://10.0.0.1/a"}}]"#,
            r#"[{"type":"text","text":"a"},{"type":"image_url","image_url":"file:///etc/passwd"}]"#,
            r#"[{"type":"video_url","video_url":{"url":"https://a/b"}}]"#,
        ] {
            let text = format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#);
            assert_eq!(body(&text).unwrap_err().status, 422, "{content}");
        }
        assert!(body(r#"{"messages":[]}"#).is_err() && body("[]").is_err());
    }
}
