//! `pixtune serve webhooks`.

use pixtune_api::{LastDelivery, Store, Webhook, webhook_secret};
use pixtune_core::json::{line, list, object};
use pixtune_core::text::counted;

use crate::Outcome;
use crate::args::WebhooksCommand;
use crate::error::Error;
use crate::ui::{self, Format};

/// Adds, lists or removes webhooks. A server that runs notices it.
pub(super) fn run(command: &WebhooksCommand, store: &Store) -> Result<Outcome, Error> {
    let failed = pixtune_api::ServeError::from;
    match command {
        WebhooksCommand::Add { url, project, events, allow_private } => {
            check(url)?;
            let webhook = store.create_webhook((project, url), events, *allow_private).map_err(failed)?;
            ui::put(&format!("{}\n", webhook_secret(&webhook.secret)))?;
        }
        WebhooksCommand::List { format } => {
            let webhooks = store.webhooks().map_err(failed)?;
            let text: String = match format {
                Format::Human => webhooks.iter().map(webhook_line).collect(),
                Format::Json => webhooks.iter().map(webhook_json).collect(),
            };
            ui::put(&text)?;
        }
        WebhooksCommand::Remove { id } => {
            if !store.remove_webhook(id).map_err(failed)? {
                return Err(Error::argument(format!(
                    "no webhook has the id `{id}`; `pixtune serve webhooks list` lists them"
                )));
            }
        }
    }
    Ok(Outcome::Fine)
}

fn check(url: &str) -> Result<(), Error> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next()).unwrap_or_default();
    match host.is_empty() || host.contains('@') || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        true => Err(Error::argument(format!(
            "a webhook has an http or https URL without a password, not `{url}`"
        ))),
        false => Ok(()),
    }
}

fn webhook_line((webhook, last): &(Webhook, Option<LastDelivery>)) -> String {
    let events = if webhook.events.is_empty() { "all events".to_owned() } else { webhook.events.join(", ") };
    let last = match last {
        None => "no notice yet".to_owned(),
        Some(LastDelivery { kind, delivered_at: Some(_), .. }) => format!("{kind} accepted"),
        Some(LastDelivery { kind, attempts, next_at, error, .. }) => {
            let error = error.as_deref().map_or(String::new(), |error| format!(": {error}"));
            let next = if next_at.is_some() { "" } else { ", given up" };
            format!("{kind} not accepted after {}{next}{error}", counted(u64::from(*attempts), "attempt"))
        }
    };
    format!("{}  {}  project {}  {events}  {last}\n", webhook.id, webhook.url, webhook.project)
}

fn webhook_json((webhook, last): &(Webhook, Option<LastDelivery>)) -> String {
    line(object(|out| {
        out.field("id", &webhook.id).field("url", &webhook.url).field("project", &webhook.project);
        out.field("events", list(webhook.events.iter())).field("allow_private", webhook.allows_private);
        out.field("created_at", webhook.created_at);
        out.optional(
            "last",
            last.as_ref().map(|last| {
                object(move |out| {
                    out.field("type", &last.kind).field("attempts", u64::from(last.attempts));
                    out.field("delivered_at", last.delivered_at).field("next_at", last.next_at);
                    out.field("error", last.error.as_deref());
                })
            }),
        );
    }))
}
