//! Errors as exceptions, with the message of the program.

use pixtune::library;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

pyo3::create_exception!(
    pixtune,
    Error,
    PyException,
    "A run that could not be done. The text is that of the program; `hint` is what to do about it, or None."
);

/// The exception of an error.
pub fn raised(py: Python<'_>, error: &library::Error) -> PyErr {
    let (message, hint) = library::message(error);
    with_hint(py, message, hint)
}

/// An exception about an argument.
pub fn argument(py: Python<'_>, message: impl ToString) -> PyErr {
    with_hint(py, message.to_string(), None)
}

fn with_hint(py: Python<'_>, message: String, hint: Option<String>) -> PyErr {
    let error = Error::new_err(message);
    let value = error.value(py);
    // The note is shown below the message, as the program shows it.
    let noted = hint
        .as_ref()
        .map_or(Ok(()), |hint| value.call_method1("add_note", (format!("hint: {hint}"),)).map(|_| ()));
    match noted.and_then(|()| value.setattr("hint", hint)) {
        Ok(()) => error,
        Err(failure) => failure,
    }
}
