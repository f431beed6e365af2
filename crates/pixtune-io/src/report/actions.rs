//! Whether a dataset is ready, and the next three things to do, with their commands.

use std::path::Path;

use pixtune_core::text::{counted, counted_as, shell_word};

use super::again;
use super::problems::{Level, Problem, Remedy};
use crate::survey::{Source, Survey};

/// So many actions are shown.
const ACTIONS: usize = 3;
/// A larger share of rejected rows, besides duplicates, means that the source is not what was meant.
const MOST_REJECTED: f64 = 0.1;

/// Whether training can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) is_ready: bool,
    /// Why, as phrases.
    pub(super) reasons: Vec<String>,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Action {
    /// What, as a sentence; backticks are code.
    pub(super) what: String,
    /// The section or problem that it is about, as a fragment.
    pub(super) about: Option<String>,
    /// The command, for a POSIX shell.
    pub(super) command: Option<String>,
}

/// Rows that `prepare` rejected for another reason than being duplicates.
pub(super) fn rejected(found: &Survey) -> u64 {
    let is_duplicate = |rule: &str| matches!(rule, "duplicate" | "near-duplicate");
    found.rejected.iter().filter(|(rule, _)| !is_duplicate(rule)).map(|(_, kept)| kept.count).sum()
}

pub(super) fn verdict(source: &Source, found: &Survey, problems: &[Problem]) -> Verdict {
    let count = |level| problems.iter().filter(|problem| problem.level == level).count() as u64;
    let mut reasons: Vec<String> = Vec::new();
    let errors: u64 =
        problems.iter().filter(|problem| problem.level == Level::Error).map(|problem| problem.count).sum();
    if errors > 0 {
        let what =
            if source.files.is_empty() { ("image is", "images are") } else { ("sample is", "samples are") };
        reasons.push(format!("{} invalid", counted_as(errors, what.0, what.1)));
    }
    if !source.files.is_empty() && found.train.samples == 0 {
        reasons.push("there is no sample to train on".to_owned());
    }
    let (rejected, kept) = (rejected(found), found.samples());
    if rejected as f64 > MOST_REJECTED * (rejected + kept) as f64 {
        reasons.push(format!(
            "`prepare` rejected {} of {}",
            pixtune_core::text::grouped(rejected),
            counted(rejected + kept, "row")
        ));
    }
    let is_ready = reasons.is_empty();
    if is_ready && !source.files.is_empty() {
        let validation = match found.validation.samples {
            0 => "none for validation".to_owned(),
            some => format!("{} for validation", pixtune_core::text::grouped(some)),
        };
        reasons.push(format!("{}, {validation}", counted(found.train.samples, "training sample")));
    }
    match (count(Level::Warning), count(Level::Style)) {
        (0, 0) => {}
        (0, style) => reasons.push(counted_as(style, "finding about style", "findings about style")),
        (warnings, _) => reasons.push(format!("{} to check", counted(warnings, "warning"))),
    }
    Verdict { is_ready, reasons }
}

/// The most useful things to do: problems in their order, then rejected rows, then training.
pub(super) fn actions(source: &Source, found: &Survey, problems: &[Problem]) -> Vec<Action> {
    let commands = Commands { source };
    let serious = problems.iter().filter(|problem| problem.level != Level::Style);
    let mut errors: Vec<Action> = Vec::new();
    let mut warnings: Vec<Action> = Vec::new();
    for problem in serious {
        let command = commands.of(problem);
        let to = if problem.level == Level::Error { &mut errors } else { &mut warnings };
        // One command for several problems is one action.
        if command.is_none() || !to.iter().any(|known| known.command == command) {
            to.push(Action { what: what(problem), about: Some(format!("finding-{}", problem.key)), command });
        }
    }
    let rejected = rejected(found);
    let mut all = errors;
    if rejected > 0 {
        let one =
            found.rejected.iter().max_by_key(|(_, kept)| kept.count).map_or("", |(rule, _)| rule.as_str());
        all.push(Action {
            what: format!(
                "Correct {} in the source, most often `{one}`, and prepare it again",
                counted(rejected, "rejected row")
            ),
            about: Some("rejected".to_owned()),
            command: Some(commands.prepare("")),
        });
    }
    all.extend(warnings);
    if !source.files.is_empty() && found.train.samples > 0 && verdict(source, found, problems).is_ready {
        // What comes after the warnings, where there are few of them.
        all.truncate(ACTIONS - 1);
        let data = commands.data();
        all.push(Action {
            what: "Plan the training: steps, memory, time and the settings".to_owned(),
            about: None,
            command: Some(format!("pixtune plan {data}")),
        });
        if found.validation.samples == 0 {
            all.push(Action {
                what: "Add a validation split: without one, overfitting cannot be detected".to_owned(),
                about: Some("split".to_owned()),
                command: Some(commands.prepare("--validation 0.1")),
            });
        }
    }
    all.truncate(ACTIONS);
    all
}

/// An action as a sentence.
fn what(problem: &Problem) -> String {
    match problem.remedy {
        Remedy::Fix { guesses: false } => format!("Convert {} ({})", problem.message, problem.rule),
        Remedy::Fix { guesses: true } => {
            format!("Repair {} ({}); verify what is guessed", problem.message, problem.rule)
        }
        _ if problem.hint.is_empty() => format!("{} ({})", problem.message, problem.rule),
        _ => format!("{}: {}", problem.message, problem.hint),
    }
}

/// Commands on the files of a report.
struct Commands<'s> {
    source: &'s Source,
}

impl Commands<'_> {
    /// The command that repairs a problem, or lists all of its places.
    fn of(&self, problem: &Problem) -> Option<String> {
        if self.source.files.is_empty() {
            return None;
        }
        let file =
            problem.places.first().and_then(|spot| self.source.files.get(spot.place?.line.file as usize));
        match problem.remedy {
            Remedy::Fix { guesses } => {
                let path = &file?.path;
                let fixed = path.with_extension("fixed.jsonl");
                let option = if guesses { " --unsafe" } else { "" };
                Some(format!("pixtune fix {} --out {}{option}", word(path), word(&fixed)))
            }
            Remedy::Check => {
                let files: Vec<String> = match file {
                    Some(file) => vec![word(&file.path)],
                    None => self.files(),
                };
                Some(format!("pixtune check {} --select {} --verify full", files.join(" "), problem.rule))
            }
            Remedy::Prepare(option) => Some(self.prepare(option)),
            Remedy::List => Some(format!("pixtune stats {} --examples 50", self.data())),
        }
    }

    /// The prepared directory, or the files.
    fn data(&self) -> String {
        let parent = self.source.files.first().and_then(|file| file.path.parent());
        match parent.filter(|_| self.source.manifest.is_some()) {
            Some(directory) => word(directory),
            None => self.files().join(" "),
        }
    }

    fn files(&self) -> Vec<String> {
        self.source.files.iter().take(8).map(|file| word(&file.path)).collect()
    }

    /// The run of `prepare` that wrote the directory, into a new directory, with a further option.
    fn prepare(&self, option: &str) -> String {
        match &self.source.manifest {
            Some(manifest) => {
                let directory = self.source.files.first().and_then(|file| file.path.parent());
                let mut out = directory.unwrap_or(Path::new("prepared")).as_os_str().to_owned();
                out.push("-2");
                again::command(manifest, &word(Path::new(&out)), option)
            }
            None => {
                let further = if option.is_empty() { "" } else { " " };
                format!("pixtune prepare {} --out prepared{further}{option}", self.files().join(" "))
            }
        }
    }
}

fn word(path: &Path) -> String {
    shell_word(&path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::problems::problems;
    use super::*;
    use crate::read::LinePlace;
    use crate::survey::{DataFile, FileSide, Pairs};
    use pixtune_core::quality::{Kept, Location};

    fn source() -> Source {
        let file = |name: &str, side| DataFile {
            name: name.to_owned(),
            path: PathBuf::from(format!("my data/{name}")),
            side,
            bytes: 9,
        };
        let files =
            vec![file("train.jsonl", FileSide::Train), file("validation.jsonl", FileSide::Validation)];
        Source { files, ..Source::default() }
    }

    fn survey() -> Survey {
        let mut found = Survey { lines: vec![9, 9], ..Survey::default() };
        (found.train.samples, found.validation.samples) = (9, 9);
        found
    }

    fn kept(count: u64) -> Kept {
        let mut kept = Kept::default();
        let place = Location { file: 1, line: 3, message: u32::MAX, image: None };
        (0..count).for_each(|_| kept.add(place, || "what".to_owned()));
        kept
    }

    fn of(found: &Survey) -> (Verdict, Vec<Action>) {
        let source = source();
        let problems = problems(&source, found, 1000);
        (verdict(&source, found, &problems), actions(&source, found, &problems))
    }

    #[test]
    fn a_clean_dataset_is_ready_and_leads_to_the_plan() {
        let (verdict, actions) = of(&survey());
        assert_eq!(
            (verdict.is_ready, &verdict.reasons[..]),
            (true, &["9 training samples, 9 for validation".to_owned()][..])
        );
        let command = "pixtune plan 'my data/train.jsonl' 'my data/validation.jsonl'";
        assert_eq!(actions[0].command.as_deref(), Some(command));
    }

    #[test]
    fn errors_come_first_and_name_the_file_that_has_them() {
        let mut found = survey();
        found.refused.insert("role-order", kept(2));
        found.refused.insert("image-url", kept(5));
        let place = |line| LinePlace { file: 0, line };
        found.together.contradictions = Pairs { count: 1, first: vec![(place(1), place(2))] };
        found.rejected.insert("image-missing".to_owned(), kept(20));
        let (verdict, actions) = of(&found);
        assert_eq!(
            verdict.reasons,
            ["2 samples are invalid", "`prepare` rejected 20 of 38 rows", "2 warnings to check"]
        );
        assert!(!verdict.is_ready);
        assert_eq!(
            actions[0].command.as_deref(),
            Some("pixtune fix 'my data/validation.jsonl' --out 'my data/validation.fixed.jsonl' --unsafe")
        );
        assert_eq!(actions[1].about.as_deref(), Some("rejected"));
        assert_eq!((actions.len(), actions[2].about.as_deref()), (3, Some("finding-image-url")));
    }

    #[test]
    fn rejected_duplicates_are_no_reason_to_wait() {
        let mut found = survey();
        found.rejected.insert("duplicate".to_owned(), kept(50));
        assert!(of(&found).0.is_ready);
        found.train.samples = 0;
        assert_eq!(of(&found).0.reasons[0], "there is no sample to train on");
    }
}
