//! What `check` and `fix` share: from flags to a checker of lines.

use std::path::PathBuf;
use std::sync::Arc;

use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer};
use pixtune_io::check::{Checker, Fetching, ImagesFrom};
use pixtune_io::config::{ConfigSource, Flags, Settings};
use pixtune_io::fetch::Fetcher;
use pixtune_io::image::Limits;
use pixtune_io::prepare::parse_bytes;
use pixtune_io::verify::Verify;

use crate::args::LintArgs;
use crate::error::Error;
use crate::model::{Model, names_directory};

/// The checker that flags, and the file that applies to these data, ask for.
pub(super) fn checker(args: &LintArgs, data: &[PathBuf], verify: Verify) -> Result<Checker<'static>, Error> {
    let size = |text: &String| parse_bytes(text).map_err(Error::argument);
    let directory = args.model.as_deref().filter(|name| names_directory(name));
    let directory = directory.map(Model::open_without_option).transpose()?;
    let flags = Flags {
        model: args.model.clone(),
        model_directory: directory.as_ref().map(|directory| directory.spec),
        target: args.target.clone(),
        select: args.select.clone(),
        ignore: args.ignore.clone(),
        severity: args.severity.clone(),
        max_image_bytes: args.max_image_bytes.as_ref().map(size).transpose()?,
        max_images: args.max_images,
        config: config_source(args.config.as_ref(), args.no_config),
    };
    let Settings { model, target, selection } = Settings::resolve(&flags, data)?;
    let tokenizer =
        directory.map_or_else(|| Tokenizer::built_in(model.tokenizer), |directory| directory.vocabulary());
    let encoder = ChatEncoder { spec: model, tokenizer, layout: Layout::MistralCommon };
    let limits = Limits::of_target(&target);
    let fetching = fetching(args, &limits)?;
    let images_from = ImagesFrom::Anywhere;
    Ok(Checker {
        encoder,
        target,
        verify,
        measure: false,
        limits,
        selection,
        excerpts: true,
        fetching,
        images_from,
    })
}

/// The `pixtune.toml` that `--config` and `--no-config` choose.
pub(super) fn config_source(file: Option<&PathBuf>, off: bool) -> ConfigSource {
    match file {
        Some(path) => ConfigSource::File(path.clone()),
        None if off => ConfigSource::Off,
        None => ConfigSource::Nearest,
    }
}

fn fetching(args: &LintArgs, limits: &Limits) -> Result<Option<Arc<Fetching>>, Error> {
    let Some(options) = args.fetch.options(limits.max_bytes)? else { return Ok(None) };
    let path = options.cache.clone();
    let fetcher = Fetcher::new(options).map_err(|source| Error::Write { path, source })?;
    Ok(Some(Arc::new(Fetching::new(fetcher))))
}

/// The bytes of a line that are kept: never less than is read at a time.
pub(super) fn max_line(args: &LintArgs) -> Result<usize, Error> {
    let bytes = parse_bytes(&args.max_line_bytes).map_err(Error::argument)?;
    Ok(usize::try_from(bytes).unwrap_or(usize::MAX).max(256 << 10))
}
