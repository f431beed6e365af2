//! Token ids, loss masks and counts of conversations in memory.

use std::path::{Path, PathBuf};

use pixtune::library::{self, Error, Model};
use pixtune_core::diagnostic::Finding;
use pixtune_core::spec::ModelSpec;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_io::config::choose;
use pixtune_io::image::Limits;
use pixtune_io::read::{Row, RowImage};
use pixtune_io::tokens::{Counted, Ids, RowCounter};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyByteArray, PyDict};

use crate::attend::Callbacks;
use crate::errors::raised;
use crate::table::TableRows;

/// A model's tokenizer and image grid.
#[pyclass(frozen, module = "pixtune._core")]
pub struct Encoder {
    encoder: ChatEncoder<'static>,
}

/// What is wanted of rows.
#[derive(Clone, Copy)]
struct Wanted<'w> {
    directory: &'w Path,
    ids: bool,
    threads: usize,
}

#[pymethods]
impl Encoder {
    /// The encoder of a known model or of a model directory, with a tokenizer file and a chat layout as in `pixtune tokens`.
    #[new]
    #[pyo3(signature = (model, tokenizer=None, layout="mistral-common"))]
    fn new(py: Python<'_>, model: &str, tokenizer: Option<PathBuf>, layout: &str) -> PyResult<Encoder> {
        let opened = py.detach(|| {
            library::guarded(|| {
                let found = Layout::find(layout);
                let layout =
                    choose("layout", layout, found, Layout::ALL.iter().map(|layout| layout.as_str()))?;
                Ok((Model::open(model, tokenizer.as_deref())?, layout))
            })
        });
        let (model, layout) = opened.map_err(|error| raised(py, &error))?;
        Ok(Encoder { encoder: ChatEncoder { spec: model.spec, tokenizer: model.vocabulary(), layout } })
    }

    /// The name of the model.
    #[getter]
    fn model(&self) -> &'static str {
        self.encoder.spec.id
    }

    /// The most tokens of a sample that the model reads.
    #[getter]
    fn context(&self) -> usize {
        self.encoder.spec.context
    }

    /// The number of tokens.
    #[getter]
    fn vocabulary_size(&self) -> usize {
        self.encoder.tokenizer.len()
    }

    /// Where the special tokens come from, if not from a file of their version.
    #[getter]
    fn special_tokens(&self) -> Option<&'static str> {
        self.encoder.special_tokens()
    }

    /// Counts conversations, each as JSON; `images` are the files that a row holds as bytes, by the names in its text.
    #[pyo3(signature = (rows, images, directory, ids=true, threads=None, progress=None))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn samples<'py>(
        &self,
        py: Python<'py>,
        rows: Vec<PyBackedBytes>,
        images: Vec<Vec<(String, PyBackedBytes)>>,
        directory: PathBuf,
        ids: bool,
        threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let row = |at: usize| {
            let images = images.get(at).map(Vec::as_slice).unwrap_or_default();
            let image = |(name, bytes): &(String, PyBackedBytes)| RowImage {
                name: name.clone(),
                bytes: (**bytes).into(),
            };
            Row { images: images.iter().map(image).collect(), ..Row::whole(&*rows[at]) }
        };
        let wanted = Wanted { directory: &directory, ids, threads: crate::threads(threads) };
        self.count(py, rows.len(), row, wanted, progress)
    }

    /// Counts the conversations of an Arrow table.
    #[pyo3(signature = (table, column=None, directory=PathBuf::new(), ids=true, threads=None, progress=None))]
    #[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn table<'py>(
        &self,
        py: Python<'py>,
        table: &Bound<'py, PyAny>,
        column: Option<&str>,
        directory: PathBuf,
        ids: bool,
        threads: Option<usize>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let rows = TableRows::new(table, column)?;
        let wanted = Wanted { directory: &directory, ids, threads: crate::threads(threads) };
        self.count(py, rows.count(), |at| rows.row(at), wanted, progress)
    }

    /// The ids of texts: four bytes each, and the index after each text's last.
    #[pyo3(signature = (texts, threads=None))]
    fn texts<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<PyBackedStr>,
        threads: Option<usize>,
    ) -> PyResult<(Bound<'py, PyByteArray>, Vec<usize>)> {
        let tokenizer = self.encoder.tokenizer;
        let (bytes, ends) = Callbacks::new(None, None).attend(py, |hear| {
            let (mut bytes, mut ends, mut next) = (Vec::new(), Vec::with_capacity(texts.len()), texts.iter());
            let sink = |ids: Vec<u32>| {
                bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
                ends.push(bytes.len() / size_of::<u32>());
                if hear.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
            };
            let work = |text: &PyBackedStr| tokenizer.encode(text);
            pixtune_io::parallel::ordered(crate::threads(threads), || Ok(next.next()), work, sink)?;
            Ok((bytes, ends))
        })?;
        Ok((PyByteArray::new(py, &bytes), ends))
    }
}

impl Encoder {
    /// The model, which divides images.
    pub fn spec(&self) -> &'static ModelSpec {
        self.encoder.spec
    }

    fn count<'py>(
        &self,
        py: Python<'py>,
        count: usize,
        row: impl Fn(usize) -> Row + Sync + Send,
        Wanted { directory, ids, threads }: Wanted<'_>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let limits = Limits::default();
        let ids = if ids { Ids::Yes } else { Ids::No };
        let counter = RowCounter { encoder: self.encoder, directory, limits: &limits, ids, threads };
        let batch = Callbacks::new(None, progress).attend(py, |hear| {
            let mut batch = Batch::default();
            counter.each(count, row, |counted| {
                batch.add(counted);
                hear.progress(batch.rows, count as u64);
                if hear.is_interrupted() { Err(Error::Interrupted) } else { Ok(()) }
            })?;
            Ok(batch)
        })?;
        batch.into_python(py)
    }
}

/// The results of rows, column by column, as bytes that NumPy reads without a copy. Numbers are little-endian.
#[derive(Default)]
struct Batch {
    rows: u64,
    /// All ids, `[tokens]` of 4 bytes.
    ids: Vec<u8>,
    /// Whether each token counts in the loss, `[tokens]` of 1 byte.
    mask: Vec<u8>,
    /// The index in `ids` after the last id of each row, `[rows]` of 8 bytes.
    ends: Vec<u8>,
    /// Tokens, tokens of text, of images, and trained ones, `[rows, 4]` of 8 bytes.
    counts: Vec<u8>,
    /// Width, height, columns, rows and tokens of each image, `[images, 5]` of 8 bytes.
    images: Vec<u8>,
    /// The index in `images` after the last image of each row, `[rows]` of 8 bytes.
    image_ends: Vec<u8>,
    number_of_images: u64,
    /// Why a row was refused: its index, and the finding as JSON.
    refused: Vec<(u64, String)>,
    /// Warnings: the index of the row, and the finding as JSON.
    warnings: Vec<(u64, String)>,
}

fn put(bytes: &mut Vec<u8>, number: u64) {
    bytes.extend_from_slice(&number.to_le_bytes());
}

impl Batch {
    fn add(&mut self, counted: Result<Counted, Finding>) {
        self.rows += 1;
        let at = self.rows - 1;
        let text = |finding: Finding| (at, finding.at("", at + 1).to_json());
        match counted {
            Err(finding) => {
                self.refused.push(text(finding));
                (0..4).for_each(|_| put(&mut self.counts, 0));
            }
            Ok(Counted { counts, warnings, sizes, ids }) => {
                let numbers =
                    [counts.tokens, counts.text_tokens(), counts.image_tokens, counts.trained_tokens];
                numbers.into_iter().for_each(|number| put(&mut self.counts, number as u64));
                for (grid, (width, height)) in counts.images.iter().zip(sizes) {
                    let numbers = [width, height, grid.columns, grid.rows].map(u64::from);
                    numbers.into_iter().for_each(|number| put(&mut self.images, number));
                    put(&mut self.images, grid.tokens() as u64);
                    self.number_of_images += 1;
                }
                if let Some(ids) = ids {
                    self.ids.extend(ids.iter().flat_map(|id| id.to_le_bytes()));
                    for run in &counts.runs {
                        self.mask.extend(std::iter::repeat_n(u8::from(run.trained), run.tokens));
                    }
                }
                self.warnings.extend(warnings.into_iter().map(text));
            }
        }
        put(&mut self.ends, (self.ids.len() / size_of::<u32>()) as u64);
        put(&mut self.image_ends, self.number_of_images);
    }

    fn into_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
        let out = PyDict::new(py);
        for (name, bytes) in [
            ("ids", &self.ids),
            ("mask", &self.mask),
            ("ends", &self.ends),
            ("counts", &self.counts),
            ("images", &self.images),
            ("image_ends", &self.image_ends),
        ] {
            out.set_item(name, PyByteArray::new(py, bytes))?;
        }
        out.set_item("refused", self.refused)?;
        out.set_item("warnings", self.warnings)?;
        Ok(out)
    }
}
