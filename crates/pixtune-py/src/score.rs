//! Scores of answers by the metrics of `pixtune evaluate`.

use pixtune::library::{self, Error};
use pixtune_core::score::{Family, Part, Scorer, Variant};
use pixtune_io::config::choose;
use pyo3::prelude::*;

use crate::errors::raised;

/// The score of each answer, in [0, 1], by its references.
#[pyfunction]
#[pyo3(signature = (answers, references, options, metric, variant=None, part="whole", tolerance=None))]
#[allow(clippy::too_many_arguments, reason = "they are keywords in Python")]
pub fn score(
    py: Python<'_>,
    answers: Vec<String>,
    references: Vec<Vec<String>>,
    options: Vec<Vec<String>>,
    metric: &str,
    variant: Option<&str>,
    part: &str,
    tolerance: Option<f64>,
) -> PyResult<Vec<f64>> {
    let scored = py.detach(|| {
        library::guarded(|| {
            let (scorer, part) = scorer(metric, variant, part, tolerance)?;
            let counted = scorer.counted(part);
            let rows = answers.iter().zip(&references).enumerate();
            let score = |(at, (answer, references)): (usize, (&String, &Vec<String>))| {
                let references: Vec<&str> = references.iter().map(String::as_str).collect();
                let options = options.get(at).map(Vec::as_slice).unwrap_or_default();
                let options: Vec<&str> = options.iter().map(String::as_str).collect();
                let grade = scorer.grade(answer, &references, &options);
                let grade = grade.map_err(|error| Error::argument(format!("answer {}: {error}", at + 1)))?;
                Ok(grade.levels[counted])
            };
            rows.map(score).collect::<Result<Vec<_>, Error>>()
        })
    });
    scored.map_err(|error| raised(py, &error))
}

fn scorer(
    metric: &str,
    variant: Option<&str>,
    part: &str,
    tolerance: Option<f64>,
) -> Result<(Scorer, Part), Error> {
    const VARIANTS: [Variant; 3] = [Variant::Mistral, Variant::Lmms, Variant::Official];
    let family =
        choose("metric", metric, Family::find(metric), Family::ALL.iter().map(|family| family.id()))?;
    let find = |name: &str| {
        let found = VARIANTS.into_iter().find(|variant| variant.id() == name);
        choose("variant", name, found, VARIANTS.iter().map(|variant| variant.id()))
    };
    let variant = variant.map(find).transpose()?;
    let parts = [Part::Whole, Part::Final];
    let part = choose("part", part, Part::find(part), parts.iter().map(|part| part.id()))?;
    Ok((Scorer::new(family, variant, tolerance).map_err(Error::argument)?, part))
}
