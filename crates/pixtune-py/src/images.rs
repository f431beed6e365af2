//! Grids, sizes and pixels of images.

use arrow_array::Array as _;
use pixtune::library::Error;
use pixtune_core::tokens::{Grid, grid, too_thin};
use pixtune_io::image::{ImageError, Limits, Loaded, check_structure, inspect, load_file, model_input};
use pixtune_io::parallel;
use pixtune_io::read::RowImage;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::FileOrBytes;
use crate::attend::Callbacks;
use crate::encoder::Encoder;
use crate::errors::argument;
use crate::table::{bytes_at, image_arrays};

/// Images that cannot be used: the index and the message of each.
type Refusals = Vec<(usize, String)>;

/// The grid of an image of this size: columns, rows, tokens, width and height in pixels as the model sees it, and whether older
/// servers refuse it.
#[pyfunction]
pub fn image_grid(
    py: Python<'_>,
    encoder: &Encoder,
    width: u32,
    height: u32,
) -> PyResult<(u32, u32, usize, u32, u32, bool)> {
    if width == 0 || height == 0 {
        return Err(argument(py, format!("`{width}x{height}` is not a size; each side is at least 1 pixel")));
    }
    let model = encoder.spec();
    let cut: Grid = grid(model, width, height);
    Ok((cut.columns, cut.rows, cut.tokens(), cut.width, cut.height, too_thin(model, width, height)))
}

/// The width and height of each image file in the first column of a table, `[images, 2]` of 8 bytes, and why an image cannot be
/// used: its index and the message. The bytes are read where Arrow has them.
#[pyfunction]
pub fn image_sizes<'py>(
    py: Python<'py>,
    table: &Bound<'py, PyAny>,
) -> PyResult<(Bound<'py, PyByteArray>, Refusals)> {
    let arrays = image_arrays(table)?;
    let (sizes, refused) = py.detach(|| {
        let (mut sizes, mut refused) = (Vec::new(), Vec::new());
        for array in &arrays {
            for at in 0..array.len() {
                let index = sizes.len() / (2 * size_of::<u64>());
                let size = bytes_at(array.as_ref(), at)
                    .ok_or_else(|| "the image is null".to_owned())
                    .and_then(|bytes| size_of_file(bytes).map_err(|error| error.to_string()));
                let (width, height) = size.unwrap_or_else(|message| {
                    refused.push((index, message));
                    (0, 0)
                });
                sizes.extend(u64::from(width).to_le_bytes());
                sizes.extend(u64::from(height).to_le_bytes());
            }
        }
        (sizes, refused)
    });
    Ok((PyByteArray::new(py, &sizes), refused))
}

/// What the text of a row calls an image that it holds as bytes.
#[pyfunction]
pub fn image_name(bytes: &[u8]) -> String {
    RowImage::unnamed(bytes).name
}

fn size_of_file(bytes: &[u8]) -> Result<(u32, u32), ImageError> {
    let header = inspect(bytes, &Limits::default())?;
    check_structure(bytes)?.accepted()?;
    Ok(header.reference_size())
}

/// The pixels of image files as the model sees them: height, width, and `[3, height, width]` floats of 4 bytes each. Where one cannot be
/// used, its index and the message.
#[pyfunction]
#[pyo3(signature = (encoder, images, threads=None))]
#[allow(clippy::type_complexity, reason = "a list of arrays, or the index and the reason of a refusal")]
pub fn pixels<'py>(
    py: Python<'py>,
    encoder: &Encoder,
    images: Vec<FileOrBytes>,
    threads: Option<usize>,
) -> PyResult<(Vec<(u32, u32, Bound<'py, PyByteArray>)>, Option<(usize, String)>)> {
    let model = encoder.spec();
    let (inputs, refused) = Callbacks::new(None, None).attend(py, |hear| {
        let limits = Limits::default();
        let input = |image: &FileOrBytes| {
            let loaded = match image {
                FileOrBytes::Bytes(bytes) => Loaded::new(bytes.to_vec(), &limits),
                FileOrBytes::File(path) => load_file(path, &limits),
            };
            loaded.and_then(|loaded| model_input(&loaded, model, &limits)).map_err(|error| error.to_string())
        };
        let (mut inputs, mut refused, mut next) = (Vec::new(), None, images.iter());
        let sink = |input| {
            match input {
                Ok(input) => inputs.push(input),
                Err(message) => {
                    refused.get_or_insert((inputs.len(), message));
                }
            }
            match hear.is_interrupted() {
                true => Err(Error::Interrupted),
                false => Ok(()),
            }
        };
        parallel::ordered(crate::threads(threads), || Ok(next.next()), input, sink)?;
        Ok((inputs, refused))
    })?;
    if refused.is_some() {
        return Ok((Vec::new(), refused));
    }
    let array = |input: pixtune_io::image::ModelInput| {
        let bytes = PyByteArray::new_with(py, 4 * input.pixels.len(), |bytes| {
            for (to, from) in bytes.chunks_exact_mut(4).zip(&input.pixels) {
                to.copy_from_slice(&from.to_le_bytes());
            }
            Ok(())
        })?;
        Ok((input.grid.height, input.grid.width, bytes))
    };
    Ok((inputs.into_iter().map(array).collect::<PyResult<_>>()?, None))
}
