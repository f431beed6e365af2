//! The program, and its commands as functions of the words of their command lines.

use std::ffi::OsString;

use pixtune::library::{self, Hear};
use pyo3::prelude::*;

use crate::attend::Callbacks;

/// Runs the program and returns its exit code. The first word is its name; `program` are the words that start it once more.
#[pyfunction]
pub fn run_program(py: Python<'_>, words: Vec<OsString>, program: Vec<OsString>) -> u8 {
    py.detach(|| pixtune::run(words, || Ok(program)))
}

type Command = fn(&[OsString], &mut dyn Hear) -> Result<String, library::Error>;

fn run(
    py: Python<'_>,
    command: Command,
    words: &[OsString],
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    Callbacks::new(event, progress).attend(py, |hear| command(words, hear))
}

/// `pixtune prepare`; the JSON of its summary.
#[pyfunction]
#[pyo3(signature = (words, event=None, progress=None))]
pub fn prepare(
    py: Python<'_>,
    words: Vec<OsString>,
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, library::prepare, &words, event, progress)
}

/// `pixtune check`; the JSON of its summary.
#[pyfunction]
#[pyo3(signature = (words, event=None, progress=None))]
pub fn check(
    py: Python<'_>,
    words: Vec<OsString>,
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, library::check, &words, event, progress)
}

/// `pixtune fix`; the JSON of its summary.
#[pyfunction]
#[pyo3(signature = (words, event=None, progress=None))]
pub fn fix(
    py: Python<'_>,
    words: Vec<OsString>,
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, library::fix, &words, event, progress)
}

/// `pixtune convert`; the JSON of its report.
#[pyfunction]
#[pyo3(signature = (words, event=None, progress=None))]
pub fn convert(
    py: Python<'_>,
    words: Vec<OsString>,
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, library::convert, &words, event, progress)
}

/// `pixtune adapter check`; a line of JSON for each module, then one for all.
#[pyfunction]
#[pyo3(signature = (words, event=None, progress=None))]
pub fn adapter_check(
    py: Python<'_>,
    words: Vec<OsString>,
    event: Option<Py<PyAny>>,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    run(py, library::adapter_check, &words, event, progress)
}

/// The names of the options of a command.
#[pyfunction]
pub fn flags(command: &str) -> Vec<String> {
    library::flags(command)
}
