//! `pixtune serve`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use pixtune_api::{DATABASE, EVENTS, Key, Limits, LogEntry, Options, Scope, Server, Store, Trainer, Vendor};
use pixtune_core::json::{line, object};
use pixtune_io::prepare::parse_bytes;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

mod trainer;
mod upstream;
mod webhooks;

use super::threads;
use crate::Outcome;
use crate::args::{KeysCommand, LogFormatArg, ScopeArg, ServeArgs, ServeCommand, ServeOptions};
use crate::error::Error;
use crate::ui::{self, Format, Verbosity};

/// Serves until Ctrl-C or SIGTERM, or manages keys. `program` are the words that start this program.
pub fn run(
    args: &ServeArgs,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
    verbosity: Verbosity,
) -> Result<Outcome, Error> {
    match &args.command {
        None => serve(&args.options, program, &args.data_dir, verbosity),
        Some(ServeCommand::Keys(command)) => keys(command, &args.data_dir),
        Some(ServeCommand::Webhooks(command)) => webhooks::run(command, &store(&args.data_dir)?),
        Some(ServeCommand::Backup { out }) => backup(&args.data_dir, out),
    }
}

fn serve(
    args: &ServeOptions,
    program: impl FnOnce() -> io::Result<Vec<OsString>>,
    data: &Path,
    verbosity: Verbosity,
) -> Result<Outcome, Error> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|source| Error::Signal { source })?;
    let program = program().map_err(|error| Error::argument(format!("cannot find this program: {error}")))?;
    let options = options(args, program, data, verbosity)?;
    let server = Server::start(&options)?;
    print_addresses(&server, options.log);
    server.run(move || {
        signals.forever().next();
    });
    Ok(Outcome::Fine)
}

fn options(
    args: &ServeOptions,
    program: Vec<OsString>,
    data: &Path,
    verbosity: Verbosity,
) -> Result<Options, Error> {
    let size = |text: &str| parse_bytes(text).map_err(Error::argument);
    let models: Vec<(Option<String>, PathBuf)> = args.models.iter().map(|text| model(text)).collect();
    let external = trainer::external(args, models.iter().map(|(_, path)| path.as_path()))?;
    let slots = trainer::slots(args.gpus.as_deref(), external.is_some())?;
    Ok(Options {
        data: data.to_owned(),
        listen: args.listen,
        models,
        aliases: args.alias.iter().map(|text| alias(text)).collect::<Result<_, _>>()?,
        slots,
        trainer: Trainer { program, external },
        vendor: args.v1.vendor(),
        limits: Limits {
            upload: size(&args.max_upload)?,
            body: 64 << 20,
            quota: size(&args.quota)?,
            jobs: args.max_jobs,
            min_free: size(&args.min_free)?,
            threads: threads(args.threads.map(usize::from)),
        },
        upstream: upstream::options(args),
        loaded_models: usize::from(args.loaded_models),
        log: match (verbosity, args.log_format) {
            (Verbosity::Quiet, _) => |_| {},
            (_, LogFormatArg::Text) => |entry| print(&entry.text()),
            (_, LogFormatArg::Json) => |entry| print(entry.json().trim_end()),
        },
    })
}

/// A line on standard error. That it is closed ends nothing.
fn print(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// `DIR` or `NAME=DIR`; a directory whose own name has a `=` is taken as it is.
fn model(text: &str) -> (Option<String>, PathBuf) {
    match text.split_once('=') {
        Some((name, path)) if !Path::new(text).exists() => (Some(name.to_owned()), path.into()),
        _ => (None, text.into()),
    }
}

fn alias(text: &str) -> Result<(String, String), Error> {
    let (name, model) = text
        .split_once('=')
        .filter(|(name, model)| !name.is_empty() && !model.is_empty())
        .ok_or_else(|| {
            Error::argument(format!(
                "--alias takes NAME=MODEL, such as gpt-4o-mini=pixtral-12b, not `{text}`"
            ))
        })?;
    Ok((name.to_owned(), model.to_owned()))
}

fn print_addresses(server: &Server, log: fn(&LogEntry<'_>)) {
    let address = server.address();
    log(&LogEntry::Note { text: &format!("listening on http://{address}") });
    log(&LogEntry::Note {
        text: &format!("  OpenAI's clients:  OPENAI_BASE_URL=http://{address}/openai/v1"),
    });
    log(&LogEntry::Note { text: &format!("  Mistral's clients: server_url=\"http://{address}/mistral\"") });
}

fn store(data: &Path) -> Result<Store, Error> {
    fs::create_dir_all(data).map_err(|source| Error::Write { path: data.to_owned(), source })?;
    Ok(Store::open(data).map_err(pixtune_api::ServeError::from)?)
}

fn keys(command: &KeysCommand, data: &Path) -> Result<Outcome, Error> {
    let store = store(data)?;
    let failed = pixtune_api::ServeError::from;
    match command {
        KeysCommand::Create { name, project, scope, v1 } => {
            let scope = match scope {
                ScopeArg::Read => Scope::Read,
                ScopeArg::Write => Scope::Write,
                ScopeArg::Admin => Scope::Admin,
            };
            let (_, secret) = store.create_key(name, project, scope, v1.vendor()).map_err(failed)?;
            ui::put(&format!("{secret}\n"))?;
        }
        KeysCommand::List { format } => {
            let keys = store.keys().map_err(failed)?;
            let text: String = match format {
                Format::Human => keys.iter().map(key_line).collect(),
                Format::Json => keys.iter().map(key_json).collect(),
            };
            ui::put(&text)?;
        }
        KeysCommand::Revoke { key } => {
            if !store.revoke_key(key).map_err(failed)? {
                return Err(Error::argument(format!(
                    "no valid key has the id or name `{key}`; `pixtune serve keys list` lists them"
                )));
            }
        }
    }
    Ok(Outcome::Fine)
}

fn key_line(key: &Key) -> String {
    let revoked = if key.revoked_at.is_some() { "  revoked" } else { "" };
    let vendor = key.vendor.map_or(String::new(), |vendor| format!("  answered as {}", vendor.as_str()));
    format!("{}  {}  project {}  {}{vendor}{revoked}\n", key.id, key.name, key.project, key.scope.as_str())
}

fn key_json(key: &Key) -> String {
    line(object(|out| {
        out.field("id", &key.id).field("name", &key.name).field("project", &key.project);
        out.field("vendor", key.vendor.map(Vendor::as_str));
        out.field("scope", key.scope.as_str())
            .field("created_at", key.created_at)
            .field("revoked_at", key.revoked_at);
    }))
}

/// Copies the databases. Contents of files and runs are files that any program copies.
fn backup(data: &Path, out: &Path) -> Result<Outcome, Error> {
    fs::create_dir_all(out).map_err(|source| Error::Write { path: out.to_owned(), source })?;
    for name in [DATABASE, EVENTS] {
        let to = out.join(name);
        if to.exists() {
            return Err(Error::argument(format!(
                "`{}` exists already: choose an empty directory",
                to.display()
            )));
        }
        Store::backup(&data.join(name), &to).map_err(pixtune_api::ServeError::from)?;
    }
    Ok(Outcome::Fine)
}
