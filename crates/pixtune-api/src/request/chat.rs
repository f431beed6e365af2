//! The body of a chat completion.

use std::path::Path;
use std::sync::Arc;

use pixtune_core::conversation;
use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::json::{self, Value};
use pixtune_core::sample::{Image, ImageSource, Message, Sample};
use pixtune_infer::{Request, Sampling};
use pixtune_io::image::{Limits, Resolver, load};

use crate::error::ApiError;
use crate::ids;
use crate::vendor::Vendor;

/// A chat completion as it was asked for.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    /// What to answer; its seed is that of the first choice.
    pub request: Request,
    /// How the answer is sent.
    pub shape: ChatShape,
}

/// How an answer is sent, whoever gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatShape {
    /// The model, in the client's words.
    pub model: String,
    /// Choices.
    pub choices: u64,
    /// The answer has log-probabilities.
    pub has_logprobs: bool,
    /// The answer is sent as it is generated.
    pub streams: bool,
    /// The usage ends a stream.
    pub includes_usage: bool,
}

impl ChatShape {
    /// Reads the settings of a body that decide it.
    pub fn parse(body: &Value<'_>) -> Result<ChatShape, ApiError> {
        let fields = Settings { body };
        let model = fields.text("model")?.ok_or_else(|| ApiError::invalid("model", "`model` is required"))?;
        Ok(ChatShape {
            model: model.to_owned(),
            choices: fields.number("n", 1.0, MOST_CHOICES)?.map_or(1, |choices| choices as u64),
            has_logprobs: fields.flag("logprobs")?,
            streams: fields.flag("stream")?,
            includes_usage: body.get("stream_options").and_then(|options| options.get("include_usage"))
                == Some(&Value::Bool(true)),
        })
    }
}

/// The most choices of one request.
const MOST_CHOICES: f64 = 16.0;

/// The tokens of an answer, where the client sets no limit.
const DEFAULT_TOKENS: usize = 1024;

/// OpenAI's limits: texts that end an answer, and most likely tokens in each place.
const MOST_STOPS: usize = 4;
const MOST_LOGPROBS: f64 = 20.0;

/// Mistral's API uses a temperature of each model; this one is that of the cards that this server answers.
pub const MISTRAL_TEMPERATURE: f64 = 0.7;

/// Settings with an effect, or with one value that has none.
const SUPPORTED: &[&str] = &[
    "model",
    "messages",
    "tools",
    "temperature",
    "top_p",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "stop",
    "seed",
    "random_seed",
    "stream",
    "stream_options",
    "logprobs",
    "top_logprobs",
    "tool_choice",
    "response_format",
    "parallel_tool_calls",
    "user",
    "metadata",
    "store",
    "safety_identifier",
    "prompt_cache_key",
];

impl ChatRequest {
    /// Reads a body. A setting that would change the answer and is not supported is an error.
    pub fn parse(vendor: Vendor, body: &Value<'_>) -> Result<ChatRequest, ApiError> {
        if body.as_object().is_none() {
            return Err(ApiError::bad_request(format!("the body is {}, not an object", body.kind())));
        }
        refuse_unsupported(body)?;
        let fields = Settings { body };
        let default = if vendor == Vendor::Mistral { MISTRAL_TEMPERATURE } else { 1.0 };
        let temperature = fields.number("temperature", 0.0, 2.0)?.unwrap_or(default);
        let seed = match fields.count("seed")? {
            None => fields.count("random_seed")?,
            seed => seed,
        };
        let seed = seed.unwrap_or_else(|| u64::from_le_bytes(ids::random()));
        let top_p = fields.number("top_p", 0.0, 1.0)?.unwrap_or(1.0);
        let sampling = Sampling::new(temperature, seed)
            .map_err(|error| ApiError::invalid("temperature", error.to_string()))?;
        let sampling =
            sampling.within(top_p).map_err(|error| ApiError::invalid("top_p", error.to_string()))?;
        let max_tokens = match fields.count("max_completion_tokens")? {
            None => fields.count("max_tokens")?,
            tokens => tokens,
        };
        let max_tokens = max_tokens.map_or(Ok(DEFAULT_TOKENS), usize::try_from).unwrap_or(usize::MAX);
        let top = fields.number("top_logprobs", 0.0, MOST_LOGPROBS)?.map(|count| count as usize);
        let shape = ChatShape::parse(body)?;
        let logprobs = shape.has_logprobs.then(|| top.unwrap_or(0));
        let conversation = conversation(body)?;
        let request =
            Request { logprobs, stop: fields.stop()?, ..Request::new(conversation, sampling, max_tokens) };
        Ok(ChatRequest { request, shape })
    }
}

/// The name of the model and whether the answer is streamed: enough to forward a request.
pub fn model_of<'v>(body: &'v Value<'_>) -> Result<&'v str, ApiError> {
    body.text("model").ok_or_else(|| ApiError::invalid("model", "`model` is required, a string"))
}

struct Settings<'v, 'a> {
    body: &'v Value<'a>,
}

impl<'v> Settings<'v, '_> {
    fn get(&self, key: &str) -> Option<&'v Value<'v>> {
        self.body.get(key).filter(|value| **value != Value::Null)
    }

    fn text(&self, key: &str) -> Result<Option<&'v str>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| wrong(key, "a string", value))
    }

    fn flag(&self, key: &str) -> Result<bool, ApiError> {
        match self.get(key) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(value) => Err(wrong(key, "true or false", value)),
        }
    }

    fn number(&self, key: &str, least: f64, most: f64) -> Result<Option<f64>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Number(text) => text.parse::<f64>().ok().filter(|number| (least..=most).contains(number)),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong(key, &format!("a number from {least} to {most}"), value))
    }

    fn count(&self, key: &str) -> Result<Option<u64>, ApiError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let number = match value {
            Value::Number(text) => text.parse::<u64>().ok(),
            _ => None,
        };
        number.map(Some).ok_or_else(|| wrong(key, "a whole number", value))
    }

    fn stop(&self) -> Result<Vec<String>, ApiError> {
        let texts: Vec<&str> = match self.get("stop") {
            None => Vec::new(),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => {
                let texts = values
                    .iter()
                    .map(|value| value.as_str().ok_or_else(|| wrong("stop", "a list of strings", value)));
                texts.collect::<Result<_, _>>()?
            }
            Some(value) => return Err(wrong("stop", "a string or a list of strings", value)),
        };
        match texts.len() > MOST_STOPS || texts.iter().any(|text| text.is_empty()) {
            true => Err(ApiError::invalid(
                "stop",
                format!("`stop` takes up to {MOST_STOPS} texts that are not empty"),
            )),
            false => Ok(texts.into_iter().map(str::to_owned).collect()),
        }
    }
}

fn wrong(key: &str, expected: &str, found: &Value<'_>) -> ApiError {
    let found: String = json::text(found).chars().take(60).collect();
    ApiError::invalid(key, format!("`{key}` has to be {expected}, not {found}"))
}

/// Settings that change the answer at the vendors and cannot be followed here.
fn refuse_unsupported(body: &Value<'_>) -> Result<(), ApiError> {
    let refuse = |key: &str, why: &str| {
        Err(ApiError::invalid(key, format!("`{key}` {why}")).coded("unsupported_parameter"))
    };
    for (key, value) in body.as_object().unwrap_or_default() {
        let has_effect = match value {
            Value::Null | Value::Bool(false) => false,
            Value::Number(text) => text.parse::<f64>().is_ok_and(|number| number != 0.0),
            Value::Array(values) => !values.is_empty(),
            _ => true,
        };
        match &**key {
            "response_format" if !matches!(value.text("type"), Some("text") | None) => {
                return refuse(
                    key,
                    "is not supported by models on this machine: ask for JSON in the prompt, or use `--upstream`",
                );
            }
            "tool_choice" if !matches!(value.as_str(), Some("auto" | "none")) && has_effect => {
                return refuse(key, "can only be `auto` or `none` with models on this machine");
            }
            key if !SUPPORTED.contains(&key) && has_effect => {
                return refuse(key, "is not supported by models on this machine");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The conversation with its images, which have to be in the body.
fn conversation(body: &Value<'_>) -> Result<Sample<Arc<[u8]>>, ApiError> {
    let members = body.as_object().unwrap_or_default();
    let settings: Vec<&str> =
        members.iter().map(|(key, _)| &**key).filter(|key| !matches!(*key, "messages" | "tools")).collect();
    let (read, findings) = conversation::read(body, &settings);
    let wrong = |finding: &Finding| {
        ApiError::invalid(param(&finding.pointer), format!("{}: {}", finding.pointer, finding.message))
    };
    if let Some(finding) = findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(wrong(finding));
    }
    let Sample { mut messages, mut tools, images, settings } = read;
    if body.text("tool_choice") == Some("none") {
        tools.clear();
    }
    if let Some(Message::Assistant(last)) = messages.last_mut() {
        let message = match last.prefix {
            true => "continuing a message (`prefix`) is not supported by models on this machine",
            false => "the last message has to come from the user or a tool",
        };
        return Err(ApiError::invalid("messages", message));
    }
    let images = images.iter().map(image).collect::<Result<_, _>>()?;
    Ok(Sample { messages, tools, images, settings })
}

fn image(image: &Image) -> Result<Arc<[u8]>, ApiError> {
    let refused =
        |message: String| ApiError::invalid(param(&image.pointer), format!("{}: {message}", image.pointer));
    match &image.source {
        ImageSource::Url(_) => {
            Err(refused("URLs are not fetched here: send the image as a data URI".to_owned()))
        }
        ImageSource::File(_) => Err(refused("an image has to be a data URI".to_owned())),
        source => {
            let loaded = load(source, &Resolver::new(Path::new("")), &Limits::default());
            loaded.map(|loaded| loaded.bytes.into()).map_err(|error| refused(format!("the image {error}")))
        }
    }
}

/// A JSON pointer as the parameter of an error: `messages.0.content`.
fn param(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace('/', ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<ChatRequest, ApiError> {
        ChatRequest::parse(Vendor::OpenAi, &json::parse(body).unwrap().value)
    }

    fn refused(rest: &str) -> String {
        parse(&format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}],{rest}}}"#))
            .unwrap_err()
            .message
    }

    #[test]
    fn settings_of_both_vendors_are_read() {
        let body = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"n":2,"stop":["x"],"logprobs":true,
            "top_logprobs":3,"random_seed":7,"temperature":0,"max_completion_tokens":5,"stream":true,"stream_options":{"include_usage":true}}"#;
        let chat = parse(body).unwrap();
        let shape = &chat.shape;
        assert_eq!((shape.choices, shape.streams, shape.includes_usage), (2, true, true));
        assert_eq!(
            (chat.request.max_tokens, chat.request.logprobs, chat.request.sampling.seed()),
            (5, Some(3), 7)
        );
        assert_eq!(chat.request.stop, ["x"]);
    }

    #[test]
    fn what_cannot_be_followed_is_refused() {
        for rest in [
            r#""response_format":{"type":"json_object"}"#,
            r#""tool_choice":"required""#,
            r#""frequency_penalty":0.5"#,
        ] {
            assert!(refused(rest).contains("models on this machine"), "{rest}");
        }
        assert!(parse(r#"{"model":"m","messages":[{"role":"user","content":"x"}],"frequency_penalty":0,"response_format":{"type":"text"}}"#).is_ok());
        assert!(refused(r#""temperature":-1"#).contains("from 0 to 2"));
        assert!(refused(r#""stop":[""]"#).contains("up to 4"));
    }

    #[test]
    fn images_have_to_be_in_the_body() {
        for (url, why) in [
            ("http://127.0.0.1/a.png", "URLs are not fetched"),
            ("file:///etc/passwd", "has to be a data URI"),
            ("data:image/png;base64,AA==", "the image"),
        ] {
            let body = format!(
                r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{url}"}}}}]}}]}}"#
            );
            let error = parse(&body).unwrap_err();
            assert!(error.message.contains(why), "{}", error.message);
            assert!(error.param.unwrap().starts_with("messages.0.content.0"));
        }
    }
}
