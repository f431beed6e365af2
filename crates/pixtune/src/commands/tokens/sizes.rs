//! The grids of image sizes, without images.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use pixtune_core::json::{self, list, object};
use pixtune_core::rules;
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::counted;
use pixtune_core::tokens::{Grid, grid, too_thin};
use pixtune_io::read::ReadError;

use super::ends_quietly;
use crate::Outcome;
use crate::error::Error;
use crate::ui::{self, Format};

/// The grid of one size.
pub(super) fn one(size: &str, model: &ModelSpec, format: Format) -> Result<Outcome, Error> {
    let (width, height) = parse_size(size, 'x')?;
    ui::put(&match format {
        Format::Json => grid_json(model, width, height),
        Format::Human => grid_text(model, width, height),
    })?;
    Ok(Outcome::Fine)
}

/// The grid of each line of a file.
pub(super) fn each(path: &Path, model: &ModelSpec) -> Result<Outcome, Error> {
    let broken = |source| ReadError::Io { path: path.to_owned(), source };
    let source: Box<dyn io::Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(broken)?)
    };
    let mut out = BufWriter::new(io::stdout().lock());
    for line in BufReader::new(source).lines() {
        let line = line.map_err(broken)?;
        if line.trim().is_empty() {
            continue;
        }
        let (width, height) = parse_size(&line, ' ')?;
        if let Err(source) = out.write_all(grid_json(model, width, height).as_bytes()) {
            return ends_quietly(Error::Output { source });
        }
    }
    out.flush().map_or_else(|source| ends_quietly(Error::Output { source }), |()| Ok(Outcome::Fine))
}

/// Reads `3000x2000` or `3000 2000`.
fn parse_size(text: &str, separator: char) -> Result<(u32, u32), Error> {
    let wrong = || {
        Error::argument(format!(
            "`{text}` is not a size; write WIDTH{separator}HEIGHT in pixels, each at least 1"
        ))
    };
    let (width, height) = text.trim().split_once(separator).ok_or_else(wrong)?;
    let side = |text: &str| text.trim().parse().ok().filter(|side| *side > 0).ok_or_else(wrong);
    Ok((side(width)?, side(height)?))
}

fn grid_json(model: &ModelSpec, width: u32, height: u32) -> String {
    let grid = grid(model, width, height);
    let mut line = json::text(object(|size| {
        size.field("width", width).field("height", height);
        size.field("columns", grid.columns).field("rows", grid.rows).field("tokens", grid.tokens());
        size.field("pixel_width", grid.width).field("pixel_height", grid.height);
        if too_thin(model, width, height) {
            let rule = object(|warning| {
                warning.field("rule", rules::IMAGE_TOO_THIN.id);
            });
            size.field("warnings", list([rule]));
        }
    }));
    line.push('\n');
    line
}

fn grid_text(model: &ModelSpec, width: u32, height: u32) -> String {
    let grid = grid(model, width, height);
    let Grid { width: pixel_width, height: pixel_height, columns, rows, shrunk, .. } = grid;
    let smaller = if shrunk { ", downscaled" } else { "" };
    let thin = if too_thin(model, width, height) {
        "too elongated for older servers (image-too-thin)\n"
    } else {
        ""
    };
    format!(
        "{width}x{height} pixels: {} for {}\n\
         {} and {} of patches, {pixel_width}x{pixel_height} pixels{smaller}\n{thin}",
        counted(grid.tokens() as u64, "token"),
        model.id,
        counted(u64::from(columns), "column"),
        counted(u64::from(rows), "row"),
    )
}
