//! Stages of `prepare` that Python has performed on other machines.

use pixtune::library;
use pixtune_io::prepare::{Done, Engine, PrepareError, Run, Stage};
use pyo3::prelude::*;

use crate::errors::raised;

/// How often a task that failed is performed.
const ATTEMPTS: usize = 3;

/// Performs the tasks of a stage through a function of Python: `perform(stage, tasks, run)` yields, for each task, its index and
/// its result or, instead of it, the node, message and hint of its error.
struct Cluster {
    perform: Py<PyAny>,
}

/// An index, and a result or an error.
type Yielded = (usize, Option<String>, Option<(String, String, Option<String>)>);

impl Engine for Cluster {
    fn perform(
        &mut self,
        run: &Run<'_>,
        stage: Stage,
        tasks: &[String],
        done: &mut Done<'_>,
    ) -> Result<(), PrepareError> {
        Python::attach(|py| {
            let failed = |error: PyErr| failure(py, stage, &error);
            let words = (stage.name(), tasks.to_vec(), run.to_json());
            let results = self.perform.call1(py, words).map_err(failed)?;
            for result in results.bind(py).try_iter().map_err(failed)? {
                let (index, text, error): Yielded =
                    result.and_then(|result| result.extract()).map_err(failed)?;
                let result = match (text, error) {
                    (Some(text), None) => Ok(text),
                    (_, Some((node, message, hint))) => Err(PrepareError::Task {
                        what: format!("{} on node {node}", stage.name()),
                        message,
                        hint,
                    }),
                    (None, None) => Ok(String::new()),
                };
                done(index, result)?;
            }
            Ok(())
        })
    }

    fn attempts(&self) -> usize {
        ATTEMPTS
    }

    fn is_here(&self) -> bool {
        false
    }
}

/// An exception of the function.
fn failure(py: Python<'_>, stage: Stage, error: &PyErr) -> PrepareError {
    let value = error.value(py);
    let hint = value.getattr("hint").ok().and_then(|hint| hint.extract::<Option<String>>().ok()).flatten();
    let name = error.get_type(py).name().map_or_else(|_| "error".to_owned(), |name| name.to_string());
    let message = match value.is_instance_of::<crate::errors::Error>() {
        true => value.to_string(),
        false => format!("{name}: {value}"),
    };
    PrepareError::Task { what: format!("stage {}", stage.name()), message, hint }
}

/// Runs a plan that `pixtune prepare --engine ray` wrote and returns the exit code of the program. What it prints is that of the
/// program.
#[pyfunction]
pub fn run_plan(py: Python<'_>, plan: &str, perform: Py<PyAny>) -> u8 {
    py.detach(|| pixtune::run_plan(plan, &mut Cluster { perform }))
}

/// Performs a task of a stage in this process.
#[pyfunction]
pub fn perform(py: Python<'_>, plan: &str, run: &str, stage: &str, task: &str) -> PyResult<String> {
    py.detach(|| library::perform(plan, run, stage, task)).map_err(|error| raised(py, &error))
}
