//! The server that answers in place of models on this machine.

use std::time::Duration;

use pixtune_api::UpstreamOptions;
use pixtune_model::adapter::check::{Server, ServerOptions};

use crate::args::{ServeOptions, UpstreamFormatArg};

/// The variable with the key of the upstream server.
const KEY: &str = "PIXTUNE_UPSTREAM_KEY";

/// The upstream server of `--upstream`.
pub(super) fn options(args: &ServeOptions) -> Option<UpstreamOptions> {
    let model = |text: &String| match text.split_once('=') {
        Some((name, there)) => (name.to_owned(), Some(there.to_owned())),
        None => (text.clone(), None),
    };
    Some(UpstreamOptions {
        url: args.upstream.clone()?,
        key: std::env::var(KEY).ok(),
        models: args.upstream_model.iter().map(model).collect(),
        adapters: args.upstream_adapters.clone(),
        adapters_there: args.upstream_adapters_there.clone(),
        server: args.upstream_format.map(|format| match format {
            UpstreamFormatArg::Hf => Server::VllmHf,
            UpstreamFormatArg::Mistral => Server::VllmMistral,
        }),
        adapter_options: ServerOptions {
            max_rank: usize::from(args.upstream_max_lora_rank),
            tower_connector: args.upstream_tower_lora,
            ..ServerOptions::default()
        },
        timeout: Duration::from_secs(u64::from(args.upstream_timeout)),
    })
}
