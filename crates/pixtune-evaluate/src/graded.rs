//! Scores of answers that somebody else asked for: training answers its validation samples itself, and its scores are those of an
//! evaluation.

use std::collections::HashMap;
use std::path::Path;

use pixtune_core::diagnostic::{Diagnostic, Finding};
use pixtune_core::rules;
use pixtune_core::score::{Grade, Part, ScoreError, Scorer};
use pixtune_io::read::Row;
use pixtune_io::tokens::parse_row;

use crate::data::{Key, Kind, SampleRow, instructions, read_references, with_row};
use crate::error::EvaluateError;

/// References that a file beside the samples has for them.
#[derive(Debug, Default)]
pub struct References(HashMap<Key, Vec<String>>);

impl References {
    /// Reads a file of references, one sample to a line. Lines that cannot be used are findings.
    pub fn read(
        path: &Path,
        threads: usize,
        hear: &mut (dyn FnMut(&Diagnostic) + Send),
    ) -> Result<References, EvaluateError> {
        let mut found = read_references(path, threads, hear)?;
        let mut unnamed: Vec<u64> = found
            .keys()
            .filter_map(|key| if let Key::Position(position) = key { Some(*position) } else { None })
            .collect();
        unnamed.sort_unstable();
        for position in unnamed {
            found.remove(&Key::Position(position));
            let message = "the line has no `id` and no `line`, so its sample is not known";
            let finding = Finding::new(&rules::MISSING_FIELD, "/id", message);
            hear(&finding.at(&path.display().to_string(), position + 1));
        }
        Ok(References(found))
    }

    /// Those of a sample, found by its id or by its line.
    fn of(&self, id: Option<&str>, line: u64) -> Option<&Vec<String>> {
        let keys = [id.map(Key::of_id), Some(Key::Line(line))];
        keys.into_iter().flatten().find_map(|key| self.0.get(&key))
    }
}

/// The score of an answer to a row, in [0, 1]; the finding is about a reference that the metric cannot be applied to. The
/// row's id or line finds its references in the file beside the samples.
pub fn score_row(
    row: &Row,
    line: u64,
    references: &References,
    scorer: Scorer,
    answer: &str,
) -> Result<f64, Finding> {
    let parsed = parse_row(row)?;
    with_row(parsed.value, Kind::Conversations, |mut sample| {
        if let Some(listed) = references.of(sample.id.as_deref(), line) {
            sample.references.clone_from(listed);
            sample.part = None;
        }
        match grade(scorer, &sample, answer) {
            Ok(scored) => Ok(scored.score),
            Err(error) => Err(sample.why_none.unwrap_or_else(|| unsuitable(&error))),
        }
    })?
}

/// The scores of an answer.
pub(crate) struct Graded {
    pub(crate) grade: Grade,
    pub(crate) part: Part,
    /// That of the part that counts.
    pub(crate) score: f64,
}

/// Scores an answer to a sample.
pub(crate) fn grade(scorer: Scorer, sample: &SampleRow<'_>, answer: &str) -> Result<Graded, ScoreError> {
    let references: Vec<&str> = sample.references.iter().map(String::as_str).collect();
    let options: Vec<&str> = sample.options.iter().map(String::as_str).collect();
    let grade = scorer.grade(answer, &references, &options)?;
    let part = sample.part.unwrap_or_else(|| Part::asked_for(&instructions(sample)));
    Ok(Graded { score: grade.levels[scorer.counted(part)], grade, part })
}

/// The finding about references without a score.
pub(crate) fn unsuitable(error: &ScoreError) -> Finding {
    let rule = match error {
        ScoreError::NoReferences => &rules::REFERENCE_MISSING,
        _ => &rules::REFERENCE_UNSUITABLE,
    };
    Finding::new(rule, "", error.to_string())
}
