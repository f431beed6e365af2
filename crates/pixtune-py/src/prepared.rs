//! Prepared data as `pixtune train` reads it: an index of samples that can be trained on, loaded one by one.

use std::path::PathBuf;

use pixtune::library::{self, Error, Event, Hear, Model};
use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_train::data::{DataFiles, Dataset, Indexing, data_files};
use pyo3::exceptions::PyIndexError;
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::attend::Callbacks;
use crate::errors::{argument, raised};

/// Samples that can be trained on.
#[pyclass(frozen, module = "pixtune._core")]
pub struct Prepared {
    dataset: Dataset<'static>,
    patch: usize,
}

/// Hears of the index.
struct Heard<'h>(&'h mut dyn Hear);

impl Indexing for Heard<'_> {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.0.event(Event::Finding(diagnostic));
    }

    fn read(&mut self, bytes: u64, of: u64) {
        self.0.progress(bytes, of);
    }
}

#[pymethods]
impl Prepared {
    /// Indexes a split of a directory that `prepare` wrote, or a file. Samples that cannot be trained on are findings.
    #[new]
    #[pyo3(signature = (data, split, model, tokenizer=None, max_tokens=None, threads=None, event=None, progress=None))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        data: PathBuf,
        split: &str,
        model: &str,
        tokenizer: Option<PathBuf>,
        max_tokens: Option<usize>,
        threads: Option<usize>,
        event: Option<Py<PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Prepared> {
        let is_validation = match split {
            "train" => false,
            "validation" => true,
            other => {
                return Err(argument(py, format!("`{other}` is not a split; choose train or validation")));
            }
        };
        Callbacks::new(event, progress).attend(py, |hear| {
            let model = Model::open(model, tokenizer.as_deref())?;
            let DataFiles { train, validation, .. } = data_files(&data, None).map_err(Error::from)?;
            let files = if is_validation { validation } else { train };
            let (spec, tokenizer) = (model.spec, model.vocabulary());
            let encoder = ChatEncoder { spec, tokenizer, layout: Layout::MistralCommon };
            let most = max_tokens.unwrap_or(spec.context);
            let mut heard = Heard(hear);
            let dataset = Dataset::index(&files, encoder, most, crate::threads(threads), &mut heard);
            Ok(Prepared { dataset: dataset.map_err(Error::from)?, patch: spec.patch as usize })
        })
    }

    fn __len__(&self) -> usize {
        self.dataset.entries().len()
    }

    /// The tokens of each sample, of images, and trained ones.
    fn counts(&self) -> Vec<(u32, u32, u32)> {
        let counts = self.dataset.entries().iter();
        counts.map(|entry| (entry.tokens, entry.image_tokens, entry.trained)).collect()
    }

    /// The file and the line of a sample.
    fn place(&self, index: u32) -> PyResult<(String, u64)> {
        self.known(index)?;
        let (file, line) = self.dataset.place(index);
        Ok((file.to_owned(), line))
    }

    /// A sample: its ids of 8 bytes, a byte for each that is 1 where it counts in the loss, and of each image height, width and
    /// `[3, height, width]` floats of 4 bytes. An image that cannot be read any more is an error.
    #[allow(clippy::type_complexity, reason = "three arrays, one of them per image")]
    fn load<'py>(
        &self,
        py: Python<'py>,
        index: u32,
    ) -> PyResult<(
        Bound<'py, PyByteArray>,
        Bound<'py, PyByteArray>,
        Vec<(usize, usize, Bound<'py, PyByteArray>)>,
    )> {
        self.known(index)?;
        let loaded = py.detach(|| library::guarded(|| self.dataset.load(index).map_err(Error::from)));
        let sample = loaded.map_err(|error| raised(py, &error))?;
        let sequence = sample.map_err(|finding| argument(py, finding))?.sequence;
        let ids: Vec<u8> = sequence.ids.iter().flat_map(|id| i64::from(*id).to_le_bytes()).collect();
        let mask: Vec<u8> = sequence.trained.iter().map(|trained| u8::from(*trained)).collect();
        let mut images = Vec::with_capacity(sequence.images.len());
        for image in &sequence.images {
            let bytes = PyByteArray::new_with(py, 4 * image.pixels.len(), |bytes| {
                for (to, from) in bytes.chunks_exact_mut(4).zip(&*image.pixels) {
                    to.copy_from_slice(&from.to_le_bytes());
                }
                Ok(())
            })?;
            images.push((image.rows * self.patch, image.columns * self.patch, bytes));
        }
        Ok((PyByteArray::new(py, &ids), PyByteArray::new(py, &mask), images))
    }
}

impl Prepared {
    fn known(&self, index: u32) -> PyResult<()> {
        let samples = self.dataset.entries().len();
        match (index as usize) < samples {
            true => Ok(()),
            false => Err(PyIndexError::new_err(format!("there is no sample {index}: there are {samples}"))),
        }
    }
}
