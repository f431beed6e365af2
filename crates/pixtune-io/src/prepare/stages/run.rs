//! A run on an engine: its stages, one after the other.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value, list, object, raw};

use super::super::facts::Facts;
use super::super::journal::Replay;
use super::super::spool::JOURNAL;
use super::super::work::Work;
use super::super::{Preparation, PrepareError, Scanned, Watch};
use super::fragment::{Fragment, Index};
use super::scan::{FINDINGS, Summary};
use super::worker::TOKEN;
use super::workplace::{FRAGMENTS, unique};
use super::{Engine, Run, Stage, downloads, finding, number, unreadable};
use crate::fetch::FetchCounts;
use crate::progress::Progress;

/// The index of all inputs, which a resumed run compares with its own.
const INDEX: &str = "index";

/// Fails where the unfinished run in the work directory was cut into fragments.
pub(in super::super) fn refuse_fragments(work: &Work) -> Result<(), PrepareError> {
    let path = work.path().to_owned();
    match path.join(FRAGMENTS).exists() {
        true => Err(PrepareError::OtherPlan { path, difference: "it was started with fragments".to_owned() }),
        false => Ok(()),
    }
}

/// A run on an engine.
pub(super) struct Stages<'r> {
    plan: &'r Preparation,
    work: &'r Path,
    token: String,
    engine: &'r mut dyn Engine,
}

/// A fragment, what its scan counted, and whether an earlier run did it.
pub(super) type ScannedFragment = (Fragment, Summary, bool);

impl<'r> Stages<'r> {
    /// Prepares the work directory, and has every machine compare its plan.
    pub(super) fn start(
        plan: &'r Preparation,
        work: &'r Work,
        engine: &'r mut dyn Engine,
        rows: u64,
    ) -> Result<Stages<'r>, PrepareError> {
        let work = work.path();
        let other = |difference: String| PrepareError::OtherPlan { path: work.to_owned(), difference };
        if work.join(JOURNAL).exists() {
            return Err(other("it was started without fragments".to_owned()));
        }
        let before = match fs::read_to_string(work.join(INDEX)) {
            Ok(text) => json::parse(&text).ok().and_then(|index| number(&index.value, "rows")),
            Err(_) => None,
        };
        if let Some(before) = before.filter(|before| *before != rows) {
            return Err(other(format!("--fragment-rows is {rows}, was {before}")));
        }
        let stages = Stages { plan, work, token: unique(), engine };
        stages.clean().map_err(stages.write_error())?;
        let run = Run { plan, work, token: &stages.token };
        stages.engine.perform(&run, Stage::Check, &[String::new()], &mut |_, result| result.map(|_| ()))?;
        Ok(stages)
    }

    /// Removes what an earlier run has not finished, and takes over its fragments.
    fn clean(&self) -> io::Result<()> {
        let fragments = self.work.join(FRAGMENTS);
        pixtune_files::write(&self.work.join(TOKEN), self.token.as_bytes())?;
        fs::create_dir_all(&fragments)?;
        for entry in fs::read_dir(&fragments)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ending == "partial" || ending == "starts") {
                pixtune_files::remove(&path)?;
            }
        }
        Ok(())
    }

    pub(super) fn work(&self) -> &'r Path {
        self.work
    }

    /// The directory of a fragment.
    pub(super) fn home(&self, fragment: &Fragment) -> PathBuf {
        self.work.join(FRAGMENTS).join(fragment.name())
    }

    fn write_error(&self) -> impl Fn(io::Error) -> PrepareError + 'r {
        let work = self.work;
        move |source| PrepareError::Write { path: work.to_owned(), source }
    }

    /// Performs all tasks of a stage. One that fails is performed again, within a limit.
    pub(super) fn perform(
        &mut self,
        stage: Stage,
        tasks: &[String],
        each: &mut (dyn FnMut(usize, &str) -> Result<(), PrepareError> + Send),
    ) -> Result<(), PrepareError> {
        let run = Run { plan: self.plan, work: self.work, token: &self.token };
        let attempts = self.engine.attempts().max(1);
        let mut left: Vec<usize> = (0..tasks.len()).collect();
        let mut attempt = 1;
        while !left.is_empty() {
            let words: Vec<String> = left.iter().map(|index| tasks[*index].clone()).collect();
            let is_last = attempt == attempts;
            let mut finished = vec![false; words.len()];
            let mut failed: BTreeMap<usize, PrepareError> = BTreeMap::new();
            let mut has_ended = false;
            let performed = self.engine.perform(&run, stage, &words, &mut |at, result| {
                let Some(index) = left.get(at).copied() else { return Err(unreadable("a result")) };
                let passed = match result {
                    Ok(_) if finished[at] => Ok(()),
                    Ok(text) => {
                        finished[at] = true;
                        each(index, &text)
                    }
                    // What comes again without the engine comes at once.
                    Err(error) if attempts == 1 => Err(error),
                    Err(error) => {
                        failed.insert(at, error);
                        Ok(())
                    }
                };
                has_ended |= passed.is_err();
                passed
            });
            if has_ended {
                return performed;
            }
            if is_last && !finished.iter().all(|finished| *finished) {
                // The first in the order of the rows, if a task has failed by itself.
                return match failed.pop_first() {
                    Some((_, error)) => Err(error),
                    None => performed.and(Err(unreadable("a stage"))),
                };
            }
            left =
                left.into_iter().zip(finished).filter(|(_, finished)| !finished).map(|(at, _)| at).collect();
            attempt += 1;
        }
        Ok(())
    }

    /// Indexes all inputs. Those of a run that is resumed must not have changed.
    pub(super) fn index(&mut self, rows: u64) -> Result<Vec<Index>, PrepareError> {
        let inputs = 0..self.plan.inputs.len();
        let tasks: Vec<String> = inputs
            .map(|input| {
                json::text(object(|out| {
                    out.field("input", input).field("rows", rows);
                }))
            })
            .collect();
        let mut indexes: Vec<Option<Index>> = vec![None; tasks.len()];
        self.perform(Stage::Index, &tasks, &mut |input, text| {
            indexes[input] = Some(Index::parse(text).ok_or_else(|| unreadable("an index"))?);
            Ok(())
        })?;
        let indexes: Option<Vec<Index>> = indexes.into_iter().collect();
        let indexes = indexes.ok_or_else(|| unreadable("an index"))?;
        self.compare(&indexes)?;
        let text = json::line(object(|out| {
            let texts: Vec<String> = indexes.iter().map(Index::to_json).collect();
            out.field("rows", rows).field("inputs", list(texts.iter().map(|text| raw(text))));
        }));
        pixtune_files::write(&self.work.join(INDEX), text.as_bytes()).map_err(self.write_error())?;
        Ok(indexes)
    }

    /// Fails where an input differs from what an earlier run has indexed.
    fn compare(&self, indexes: &[Index]) -> Result<(), PrepareError> {
        let Ok(text) = fs::read_to_string(self.work.join(INDEX)) else { return Ok(()) };
        let Ok(before) = json::parse(&text) else { return Ok(()) };
        let before = before.value.get("inputs").and_then(Value::as_array).unwrap_or_default();
        for ((planned, now), before) in self.plan.inputs.iter().zip(indexes).zip(before) {
            if Index::of_value(before).is_none_or(|before| !before.is_of_same_content(now)) {
                let difference = format!("`{}` has changed", planned.input.name);
                return Err(PrepareError::OtherPlan { path: self.work.to_owned(), difference });
            }
        }
        Ok(())
    }

    /// Scans all fragments that are not scanned yet. Findings are reported in the order of the rows.
    pub(super) fn scan(
        &mut self,
        indexes: &[Index],
        watch: &mut dyn Watch,
    ) -> Result<Vec<ScannedFragment>, PrepareError> {
        let plan = self.plan;
        let mut fragments: Vec<Fragment> = Vec::new();
        for (input, index) in indexes.iter().enumerate() {
            fragments.extend(index.fragments(plan, input as u32, fragments.len() as u64));
        }
        let mut summaries: Vec<Option<(Summary, bool)>> = Vec::with_capacity(fragments.len());
        for fragment in &fragments {
            summaries.push(Summary::read(&self.home(fragment))?.map(|summary| (summary, true)));
        }
        let left: Vec<usize> = (0..fragments.len()).filter(|index| summaries[*index].is_none()).collect();
        let tasks: Vec<String> = left.iter().map(|index| fragments[*index].to_json()).collect();
        let mut progress = Progress { input_total: plan.input_bytes(), ..Progress::default() };
        let (mut rejected, mut reported) = (0, 0);
        let (is_here, mut downloaded) = (self.engine.is_here(), FetchCounts::default());
        for (fragment, summary) in fragments.iter().zip(&summaries) {
            if let Some((summary, _)) = summary {
                add(&mut progress, fragment, summary);
                rejected += summary.rejected;
            }
        }
        let homes: Vec<PathBuf> = fragments.iter().map(|fragment| self.home(fragment)).collect();
        let write_error = self.write_error();
        self.perform(Stage::Scan, &tasks, &mut |at, text| {
            let index = left[at];
            let summary = Summary::parse(text).ok_or_else(|| unreadable("a fragment"))?;
            add(&mut progress, &fragments[index], &summary);
            rejected += summary.rejected;
            if let (Some(fetcher), Some(counts)) = (plan.scanner.fetcher(), &summary.downloads) {
                downloads::add(&mut downloaded, counts);
                let counts = if is_here { fetcher.counts() } else { downloaded.clone() };
                watch.fetching(&counts);
            }
            summaries[index] = Some((summary, false));
            while let Some(Some((_, is_earlier))) = summaries.get(reported) {
                if !is_earlier {
                    report(plan, &fragments[reported], &homes[reported], watch).map_err(&write_error)?;
                }
                reported += 1;
            }
            watch.progress(progress);
            if watch.is_interrupted() {
                return Err(PrepareError::Interrupted);
            }
            plan.check_rejected(rejected, progress.rows, false)
        })?;
        let scanned = fragments.into_iter().zip(summaries);
        let scanned =
            scanned.map(|(fragment, summary)| summary.map(|(summary, earlier)| (fragment, summary, earlier)));
        scanned.collect::<Option<_>>().ok_or_else(|| unreadable("a fragment"))
    }

    /// Loads the records of all rows from the journals.
    pub(super) fn load(
        &self,
        fragments: &[ScannedFragment],
        indexes: &[Index],
    ) -> Result<Scanned, PrepareError> {
        let journals = fragments.iter().map(|(fragment, ..)| self.home(fragment).join(JOURNAL)).collect();
        let mut scanned = Scanned::new(Facts::of_journals(self.work, self.plan.options.memory, journals));
        for (fragment, summary, is_earlier) in fragments {
            let path = self.home(fragment).join(JOURNAL);
            let broken = |source| PrepareError::Write { path: path.clone(), source };
            let mut journal = Replay::new(BufReader::new(File::open(&path).map_err(broken)?));
            for _ in 0..summary.rows {
                let entry = journal.next_entry().map_err(broken)?;
                scanned.add(&entry.ok_or_else(|| broken(io::ErrorKind::UnexpectedEof.into()))?);
            }
            scanned.resumed += if *is_earlier { summary.rows } else { 0 };
        }
        scanned.inputs = indexes.iter().map(|index| index.fingerprint.clone()).collect();
        for (fragment, summary, _) in fragments {
            if let Some(fingerprint) = &summary.fingerprint {
                scanned.inputs[fragment.input as usize].clone_from(fingerprint);
            }
        }
        Ok(scanned)
    }
}

fn add(progress: &mut Progress, fragment: &Fragment, summary: &Summary) {
    progress.rows += summary.rows;
    progress.images += summary.images;
    progress.bytes += summary.bytes;
    progress.input_read = (progress.input_read + fragment.bytes).min(progress.input_total);
}

/// Reports the findings of a fragment.
fn report(plan: &Preparation, fragment: &Fragment, home: &Path, watch: &mut dyn Watch) -> io::Result<()> {
    let name = &plan.inputs[fragment.input as usize].input.name;
    for line in fs::read_to_string(home.join(FINDINGS))?.lines() {
        let (row, found) = finding::parse(line).ok_or(io::ErrorKind::InvalidData)?;
        watch.finding(&found.at(name, row));
    }
    Ok(())
}
