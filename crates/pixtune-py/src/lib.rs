//! The compiled part of the Python package: `pixtune._core`. What it gives to Python is plain (bytes, numbers, JSON); the package
//! makes objects and arrays of it.
#![allow(clippy::result_large_err, reason = "an error ends a run, so that its size does not matter")]

mod attend;
mod commands;
mod encoder;
mod errors;
mod images;
mod prepared;
mod score;
mod stages;
mod table;

use pyo3::prelude::*;

/// The functions and classes, for the package's own use.
#[pymodule(name = "_core")]
mod core_module {
    #[pymodule_export]
    use crate::commands::{adapter_check, check, convert, fix, flags, prepare, run_program};
    #[pymodule_export]
    use crate::encoder::Encoder;
    #[pymodule_export]
    use crate::errors::Error;
    #[pymodule_export]
    use crate::images::{image_grid, image_name, image_sizes, pixels};
    #[pymodule_export]
    use crate::prepared::Prepared;
    #[pymodule_export]
    use crate::score::score;
    #[pymodule_export]
    use crate::stages::{perform, run_plan};
    #[pymodule_export]
    use crate::table::addresses;

    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // Errors that are raised have their own.
        module.getattr("Error")?.setattr("hint", module.py().None())?;
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}

/// What is accepted where one of several kinds of text is: a path or bytes of a file.
#[derive(FromPyObject)]
enum FileOrBytes {
    #[pyo3(transparent)]
    Bytes(pyo3::pybacked::PyBackedBytes),
    #[pyo3(transparent)]
    File(std::path::PathBuf),
}

/// All CPUs, unless a number of threads is given.
fn threads(given: Option<usize>) -> usize {
    given
        .filter(|number| *number > 0)
        .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}
