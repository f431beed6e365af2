//! `pixtune chat`.

use std::io::{BufRead as _, BufReader};

use pixtune_core::json::{self, Value, list, object};
use pixtune_io::base64::data_uri;
use pixtune_io::image::{Limits, load_file};

use super::{client, text};
use crate::Outcome;
use crate::args::ChatArgs;
use crate::error::Error;
use crate::ui::{self, Format, Verbosity};

/// Prints the answer as it arrives.
pub fn run(args: &ChatArgs, _: Verbosity) -> Result<Outcome, Error> {
    let client = client(&args.endpoint)?;
    let images = args.images.iter().map(|path| {
        let loaded = load_file(path, &Limits::default());
        let loaded = loaded.map_err(|error| Error::argument(format!("`{}` {error}", path.display())))?;
        Ok(data_uri(loaded.header.format.mime(), &loaded.bytes))
    });
    let images: Vec<String> = images.collect::<Result<_, Error>>()?;
    let body = json::text(object(|out| {
        out.field("model", &args.model).field("stream", true);
        out.field("max_tokens", args.max_tokens).field("temperature", args.temperature);
        out.field(
            "messages",
            list([object(|message| {
                message.field("role", "user");
                let parts =
                    images.iter().map(|image| (Some(image), None)).chain([(None, Some(&args.prompt))]);
                message.field(
                    "content",
                    list(parts.map(|(image, prompt)| {
                        object(move |part| {
                            match image {
                                Some(image) => part.field("type", "image_url").field("image_url", image),
                                None => part
                                    .field("type", "text")
                                    .field("text", prompt.map_or("", String::as_str)),
                            };
                        })
                    })),
                );
            })]),
        );
    }));
    let stream = BufReader::new(client.stream("/chat/completions", &body)?);
    for line in stream.lines() {
        let line = line.map_err(|error| Error::argument(format!("the answer was cut off: {error}")))?;
        let Some(chunk) = line.strip_prefix("data: ").filter(|data| data.starts_with('{')) else { continue };
        let chunk = json::parse(chunk)
            .map_err(|error| Error::argument(format!("the answer is not valid: {error}")))?
            .value
            .into_owned();
        if let Some(error) = chunk.get("error") {
            return Err(Error::argument(format!("the answer failed: {}", text(error, "message"))));
        }
        print(&chunk, args.endpoint.format)?;
    }
    if args.endpoint.format == Format::Human {
        ui::put("\n")?;
    }
    Ok(Outcome::Fine)
}

fn print(chunk: &Value<'static>, format: Format) -> Result<(), Error> {
    if format == Format::Json {
        return ui::put(&json::line(chunk));
    }
    let first = chunk.get("choices").and_then(Value::as_array).and_then(|choices| choices.first());
    let delta = first.and_then(|choice| choice.get("delta"));
    ui::put(&delta.map_or_else(String::new, |delta| text(delta, "content")))
}
