//! The clients of a server: `pixtune files`, `jobs`, `models` and `chat`.

mod chat;
mod files;
mod jobs;
mod models;

use pixtune_api::Client;
use pixtune_core::json::{self, Value, line};

use crate::args::EndpointArgs;
use crate::error::Error;
use crate::ui::{self, Format};

pub use chat::run as chat;
pub use files::run as files;
pub use jobs::run as jobs;
pub use models::run as models;

fn client(args: &EndpointArgs) -> Result<Client, Error> {
    let key = std::env::var(&args.key_env).ok().or_else(|| std::env::var("MISTRAL_API_KEY").ok());
    Ok(Client::new(&args.base_url, key)?)
}

/// An id as a part of a path: everything else than plain characters is escaped.
fn segment(id: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    id.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The text of a member; of anything else than a string, its JSON.
fn text(value: &Value<'_>, key: &str) -> String {
    match value.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.to_string(),
        Some(value) => json::text(value),
    }
}

/// The objects of a list.
fn listed<'v>(value: &'v Value<'static>) -> &'v [Value<'static>] {
    value.get("data").and_then(Value::as_array).unwrap_or_default()
}

/// Prints a list: a table of some members, or a JSON object per line.
fn print_list(list: &Value<'static>, columns: &[&str], format: Format) -> Result<(), Error> {
    let rows = listed(list);
    if format == Format::Json {
        return ui::put(&rows.iter().map(line).collect::<String>());
    }
    let cells: Vec<Vec<String>> =
        rows.iter().map(|row| columns.iter().map(|column| text(row, column)).collect()).collect();
    let width = |at: usize| cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let row = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    ui::put(&cells.iter().map(row).collect::<String>())
}

/// Prints an object: a member per line, or JSON.
fn print_object(value: &Value<'static>, format: Format) -> Result<(), Error> {
    if format == Format::Json {
        return ui::put(&line(value));
    }
    let members = value.as_object().unwrap_or_default();
    let width = members.iter().map(|(key, _)| key.len()).max().unwrap_or(0);
    let shown = members.iter().filter(|(_, value)| *value != Value::Null);
    ui::put(&shown.map(|(key, _)| format!("{key:width$}  {}\n", text(value, key))).collect::<String>())
}
