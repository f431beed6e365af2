//! Everything that was found in a dataset as one list: errors before warnings before style.

use pixtune_core::diagnostic::{Rule, Severity};
use pixtune_core::quality::{Example, Observation};
use pixtune_core::rules;
use pixtune_core::text::{counted, counted_as, grouped};

use crate::read::LinePlace;
use crate::survey::{ImagePlace, NearDuplicates, Pairs, Source, Survey};

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Training cannot use the sample, or its validation is meaningless.
    Error,
    /// The model learns something that was probably not meant.
    Warning,
    /// Often intended.
    Style,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warning => "warning",
            Level::Style => "style",
        }
    }
}

/// What a repair of a problem starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// `pixtune fix`, with `--unsafe` or without.
    Fix { guesses: bool },
    /// `pixtune check` lists every place.
    Check,
    /// `pixtune prepare` with this option more.
    Prepare(&'static str),
    /// `pixtune stats` lists more places.
    List,
}

/// A kind of problem, with its first places.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// The name in links and filters, unique on the page.
    pub(super) key: &'static str,
    /// The rule.
    pub(super) rule: &'static str,
    pub(super) level: Level,
    /// What was found.
    pub(super) message: String,
    /// Why it matters.
    pub(super) why: &'static str,
    /// What to do about it.
    pub(super) hint: &'static str,
    pub(super) remedy: Remedy,
    /// How many samples or images are concerned.
    pub(super) count: u64,
    /// The first of them.
    pub(super) places: Vec<Spot>,
    /// Whether the section on duplicates shows them side by side.
    pub(super) side_by_side: bool,
}

/// A place of a problem.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    /// The sample and image, where there is one.
    pub(super) place: Option<ImagePlace>,
    /// What is there.
    pub(super) text: Detail,
}

/// What is at a place.
#[derive(Debug, Clone)]
pub(super) enum Detail {
    /// A text.
    Text(String),
    /// It belongs to another place.
    With(LinePlace),
    /// Others refer to it.
    First,
}

/// Rules whose violations are often intended.
const STYLE: [&Rule; 6] = [
    &rules::IMAGE_ODD_SIZE,
    &rules::IMAGE_ODD_ASPECT_RATIO,
    &rules::IMAGE_GRAYSCALE,
    &rules::IMAGE_PROFILE,
    &rules::PROMPT_REPEATED,
    &rules::ANSWER_LENGTH,
];

/// Image rules that `prepare --drop` accepts, with the option.
const DROPPED: [(&Rule, &str); 6] = [
    (&rules::IMAGE_DARK, "--drop=dark"),
    (&rules::IMAGE_LIGHT, "--drop=light"),
    (&rules::IMAGE_BLURRY, "--drop=blurry"),
    (&rules::IMAGE_LOW_INFORMATION, "--drop=low-information"),
    (&rules::IMAGE_TOO_SMALL, "--drop=too-small"),
    (&rules::IMAGE_SHRUNK, "--drop=shrunk"),
];

/// What to do about images of low quality.
const INSPECT: &str = "inspect the images; `prepare --drop` with the rule's name rejects them";

/// So many members of a group are places of its problem.
const OF_A_GROUP: usize = 3;

/// Every problem, the most important first; of one level those that concern more first.
pub(super) fn problems(source: &Source, found: &Survey, context: u64) -> Vec<Problem> {
    let mut all = refused(found);
    all.extend(too_long(found, context));
    all.extend(across(source, found));
    all.extend(pairs(source, found));
    all.extend(near(found));
    all.extend(found.observations().into_iter().map(observed));
    // The order within a level is that of the list above, which starts with what does the most harm.
    all.sort_by_key(|problem| problem.level);
    all
}

/// Whether `prepare` kept samples and images of both splits apart, and how to do so.
const APART: &str = "prepare the data again: `prepare` keeps linked samples in one split";

fn refused(found: &Survey) -> Vec<Problem> {
    let mut all: Vec<_> = found.refused.iter().collect();
    all.sort_by_key(|(rule, kept)| (std::cmp::Reverse(kept.count), **rule));
    let problem = |(id, kept): (&&'static str, &pixtune_core::quality::Kept)| {
        let rule = rules::find(id);
        let fix = rule.and_then(|rule| rule.fix);
        let level = match rule.map(|rule| rule.severity) {
            Some(Severity::Warning) => Level::Warning,
            _ => Level::Error,
        };
        let files = found.lines.is_empty();
        Problem {
            key: id,
            rule: id,
            level,
            message: match (files, level) {
                (true, _) => counted(kept.count, "invalid image"),
                (false, Level::Error) => counted(kept.count, "invalid sample"),
                (false, _) => counted_as(kept.count, "sample is not counted", "samples are not counted"),
            },
            why: rule.map_or("", |rule| rule.why),
            hint: "",
            remedy: match fix {
                Some(fix) if !files && !id.starts_with("image-") => {
                    Remedy::Fix { guesses: fix == pixtune_core::diagnostic::Fix::Unsafe }
                }
                _ => Remedy::Check,
            },
            count: kept.count,
            places: kept.first.iter().map(spot).collect(),
            side_by_side: false,
        }
    };
    all.into_iter().map(problem).collect()
}

fn too_long(found: &Survey, context: u64) -> Option<Problem> {
    let count = found.train.lengths.above(context) + found.validation.lengths.above(context);
    (count > 0).then(|| Problem {
        level: Level::Error,
        message: format!(
            "{} longer than the context of {} tokens",
            counted_as(count, "sample is", "samples are"),
            grouped(context)
        ),
        hint: "reject them with `prepare --max-tokens`, or split them",
        remedy: Remedy::Check,
        ..of_rule(&rules::CONTEXT_OVERFLOW, count, Vec::new())
    })
}

fn of_rule(rule: &'static Rule, count: u64, places: Vec<Spot>) -> Problem {
    Problem {
        key: rule.id,
        rule: rule.id,
        level: Level::Warning,
        message: String::new(),
        why: rule.why,
        hint: "",
        remedy: Remedy::List,
        count,
        places,
        side_by_side: false,
    }
}

/// What is in both splits.
fn across(source: &Source, found: &Survey) -> Vec<Problem> {
    let together = &found.together;
    let mut all = Vec::new();
    let mut add = |rule: &'static Rule, count: u64, message: String, places: Vec<Spot>| {
        if count > 0 {
            let remedy = if source.manifest.is_some() {
                Remedy::Prepare("--split random")
            } else {
                Remedy::Prepare("")
            };
            let side_by_side = true;
            all.push(Problem { message, hint: APART, remedy, side_by_side, ..of_rule(rule, count, places) });
        }
    };
    let samples = &together.shared_samples;
    let is_in_both = |count, one, many| format!("{} in both splits", counted_as(count, one, many));
    add(
        &rules::SHARED_SAMPLE,
        samples.count,
        is_in_both(samples.count, "sample is", "samples are"),
        of_pairs(samples),
    );
    let images = &together.shared_images;
    add(
        &rules::SHARED_IMAGE,
        images.count,
        is_in_both(images.count, "image is", "images are"),
        of_pairs(images),
    );
    let near = &together.near;
    add(
        &rules::SHARED_NEAR_IMAGE,
        near.across,
        is_in_both(near.across, "group of near-duplicate images is", "groups of near-duplicate images are"),
        of_groups(near, true, |member| member.place),
    );
    all
}

fn pairs(source: &Source, found: &Survey) -> Vec<Problem> {
    let together = &found.together;
    let mut all = Vec::new();
    let conflicts = &together.contradictions;
    if conflicts.count > 0 {
        all.push(Problem {
            message: format!(
                "{} the images and prompt of another sample, and a different response",
                counted_as(conflicts.count, "sample has", "samples have")
            ),
            hint: "keep the correct response and remove the other row",
            side_by_side: true,
            ..of_rule(&rules::CONTRADICTION, conflicts.count, of_pairs(conflicts))
        });
    }
    let repeated = &together.repeated;
    if repeated.count > 0 {
        let (message, remedy) = match source.files.is_empty() {
            true => (counted(repeated.count, "identical file"), Remedy::List),
            false => (counted(repeated.count, "duplicate sample"), Remedy::Prepare("--dedup exact")),
        };
        all.push(Problem {
            message,
            remedy,
            hint: "`prepare` rejects exact duplicates unless `--dedup off` is set",
            side_by_side: true,
            ..of_rule(&rules::DUPLICATE, repeated.count, of_pairs(repeated))
        });
    }
    all
}

/// Near-duplicates. Images without the same text are often intended: several questions about one scene.
fn near(found: &Survey) -> Vec<Problem> {
    let (images, texts) = (&found.together.near, &found.together.near_texts);
    let mut all = Vec::new();
    if texts.groups > 0 {
        let with_images =
            texts.first.iter().any(|group| group.members.iter().skip(1).any(|one| one.same_images));
        all.push(Problem {
            key: "near-duplicate-texts",
            level: if with_images || texts.across > 0 { Level::Warning } else { Level::Style },
            message: format!(
                "{} of near-duplicate texts with {}{}",
                counted(texts.groups, "group"),
                counted(texts.members, "text"),
                in_both_splits(texts.across)
            ),
            hint: "`prepare --dedup near` keeps one sample of each group whose images are near-duplicates too",
            remedy: Remedy::Prepare("--dedup near"),
            side_by_side: true,
            ..of_rule(
                &rules::NEAR_DUPLICATE,
                texts.members,
                of_groups(texts, false, |one| ImagePlace { line: one.place, index: 0 }),
            )
        });
    }
    if images.groups > 0 {
        all.push(Problem {
            key: "near-duplicate-images",
            level: Level::Style,
            message: format!(
                "{} of near-duplicate images with {}{}",
                counted(images.groups, "group"),
                counted(images.members, "image"),
                in_both_splits(images.across)
            ),
            why: "The same image re-encoded, resized or slightly cropped. Several questions about one image are fine; copies with the same question count double in training.",
            hint: "`prepare --dedup near` rejects a sample only where its text is a near-duplicate too",
            remedy: Remedy::Prepare("--dedup near"),
            side_by_side: true,
            ..of_rule(&rules::NEAR_DUPLICATE, images.members, of_groups(images, false, |one| one.place))
        });
    }
    all
}

fn in_both_splits(across: u64) -> String {
    match across {
        0 => String::new(),
        across => format!(", {} in both splits", counted_as(across, "group", "groups")),
    }
}

fn observed(seen: Observation) -> Problem {
    let drop = DROPPED.iter().find(|(rule, _)| rule.id == seen.rule.id);
    let level = match () {
        () if STYLE.iter().any(|rule| rule.id == seen.rule.id) => Level::Style,
        () if seen.rule.severity == Severity::Error => Level::Error,
        () => Level::Warning,
    };
    // The hint of `stats` leads to this page.
    let hint = if seen.hint.contains("in a report") { INSPECT } else { seen.hint };
    Problem {
        level,
        message: seen.message,
        hint,
        remedy: drop.map_or(Remedy::List, |(_, option)| Remedy::Prepare(option)),
        ..of_rule(seen.rule, seen.count, seen.examples.iter().map(spot).collect())
    }
}

fn spot(example: &Example) -> Spot {
    let Example { place, text } = example;
    let line = LinePlace { file: place.file, line: place.line };
    let place = (line.file != u32::MAX).then(|| ImagePlace { line, index: place.image.unwrap_or(0) });
    Spot { place, text: Detail::Text(text.clone()) }
}

fn of_pairs(pairs: &Pairs) -> Vec<Spot> {
    let at = |line| Some(ImagePlace { line, index: 0 });
    let mut out: Vec<Spot> = Vec::new();
    for (one, other) in &pairs.first {
        if !out.iter().any(|known| known.place == at(*one)) {
            out.push(Spot { place: at(*one), text: Detail::First });
        }
        out.push(Spot { place: at(*other), text: Detail::With(*one) });
    }
    out
}

fn of_groups<Member>(
    near: &NearDuplicates<Member>,
    only_across: bool,
    place: impl Fn(&Member) -> ImagePlace,
) -> Vec<Spot> {
    let groups = near.first.iter().filter(|group| group.across || !only_across);
    let mut out = Vec::new();
    for group in groups {
        let mut members = group.members.iter().take(OF_A_GROUP).map(&place);
        let Some(first) = members.next() else { continue };
        out.push(Spot { place: Some(first), text: Detail::First });
        out.extend(members.map(|one| Spot { place: Some(one), text: Detail::With(first.line) }));
    }
    out
}
