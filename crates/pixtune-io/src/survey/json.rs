//! A survey for machines; `docs/stats-and-plan.md` describes the shape.

use std::collections::BTreeMap;
use std::fmt::Display;

use pixtune_core::json::quoted;
use pixtune_core::plan::Side;
use pixtune_core::quality::{AnswerFormat, Example, Histogram, ImageSurvey, Kept, Observation, TextSurvey};
use pixtune_core::spec::ModelSpec;

use super::{Alike, AlikeGroup, FileSide, ImagePlace, Issue, LinePlace, NearImage, NearText, Pairs};
use super::{Source, Survey, Worst};

/// The shares at which quantiles are given, and their names.
pub const QUANTILES: [(f64, &str); 6] =
    [(0.05, "p5"), (0.25, "p25"), (0.5, "median"), (0.75, "p75"), (0.95, "p95"), (0.99, "p99")];

/// So many frequent texts are given.
const MOST: usize = 20;

impl Survey {
    /// The survey as one JSON object.
    pub fn to_json(&self, source: &Source, spec: &ModelSpec, estimate: Option<&str>) -> String {
        let place = |place: &LinePlace| self.place(source, place.file, place.line);
        let pairs = |pairs: &Pairs| {
            let first = pairs.first.iter().map(|(one, other)| format!("[{},{}]", place(one), place(other)));
            let more = pairs.count - pairs.first.len() as u64;
            format!("{{\"count\":{},\"first\":[{}],\"more\":{more}}}", pairs.count, joined(first))
        };
        let files = source.files.iter().zip(&self.lines).map(|(file, lines)| {
            let side = if file.side == FileSide::Train { "train" } else { "validation" };
            format!(
                "{{\"name\":{},\"side\":\"{side}\",\"bytes\":{},\"lines\":{lines}}}",
                quoted(&file.name),
                file.bytes
            )
        });
        let mut all = self.train.lengths.clone();
        all.merge(&self.validation.lengths);
        let together = &self.together;
        let mismatches = source.mismatches.iter().map(|mismatch| quoted(mismatch));
        format!(
            "{{\"model\":{},\"estimate\":{},\"files\":[{}],\"samples\":{},\"refused\":{},\"train\":{},\"validation\":{},\
             \"tokens\":{},\"over_context\":{},\"pictures\":{},\"texts\":{},\
             \"together\":{{\"repeated\":{},\"contradictions\":{},\"shared_pictures\":{},\"shared_samples\":{},\"near_pictures\":{},\"near_texts\":{}}},\
             \"observations\":[{}],\"rejected\":{},\"mismatches\":[{}]}}\n",
            quoted(spec.id),
            estimate.map_or("null".to_owned(), quoted),
            joined(files),
            self.samples(),
            counts(self.refused.iter().map(|(rule, kept)| (*rule, kept.count))),
            side(&self.train),
            side(&self.validation),
            histogram(&all),
            all.above(spec.context as u64),
            images(&self.images, together.distinct_images, &self.issues(source)),
            texts(&self.texts),
            pairs(&together.repeated),
            pairs(&together.contradictions),
            pairs(&together.shared_images),
            pairs(&together.shared_samples),
            self.near(source),
            self.near_texts(source),
            joined(self.observations().iter().map(|seen| self.observation(source, seen))),
            counts(self.rejected.iter().map(|(rule, kept): (&String, &Kept)| (rule, kept.count))),
            joined(mismatches),
        )
    }

    fn place(&self, source: &Source, file: u32, line: u64) -> String {
        format!("{{\"file\":{},\"line\":{line}}}", quoted(self.file_name(source, file)))
    }

    fn near(&self, source: &Source) -> String {
        let member = |member: &NearImage| {
            format!(
                "{{{},\"width\":{},\"height\":{},\"distance\":{},\"same_pixels\":{}}}",
                self.image_place(source, member.place),
                member.size.0,
                member.size.1,
                member.distance,
                member.same_pixels
            )
        };
        alike(&self.together.near, "images", member)
    }

    fn near_texts(&self, source: &Source) -> String {
        let member = |member: &NearText| {
            let LinePlace { file, line } = member.place;
            format!(
                "{{\"file\":{},\"line\":{line},\"similarity\":{},\"same_pictures\":{}}}",
                quoted(self.file_name(source, file)),
                member.similarity,
                member.same_images
            )
        };
        alike(&self.together.near_texts, "texts", member)
    }

    fn issues(&self, source: &Source) -> String {
        let worst = |worst: &Worst| {
            format!("{{{},\"score\":{:.4}}}", self.image_place(source, worst.place), worst.score)
        };
        let kind = |kind: &Issue| {
            format!(
                "{{\"rule\":\"{}\",\"threshold\":{:.4},\"count\":{},\"scores\":[{}],\"worst\":[{}]}}",
                kind.rule.id,
                kind.threshold,
                kind.broken.count,
                joined(kind.scores.iter().map(u64::to_string)),
                joined(kind.worst.iter().map(worst))
            )
        };
        joined(self.issues.kinds.iter().map(kind))
    }

    /// `"file":…,"line":…,"image":…`, counted from 0 as the images of a line are.
    fn image_place(&self, source: &Source, place: ImagePlace) -> String {
        let LinePlace { file, line } = place.line;
        let name = quoted(self.file_name(source, file));
        format!("\"file\":{name},\"line\":{line},\"picture\":{}", place.index)
    }

    /// The name of a file of samples, or of an image where there are only images.
    pub fn file_name<'s>(&self, source: &'s Source, file: u32) -> &'s str {
        let file = file as usize;
        match source.files.get(file) {
            Some(found) => &found.name,
            None => source.images.get(file).map_or("?", |(name, _)| name),
        }
    }

    fn observation(&self, source: &Source, seen: &Observation) -> String {
        let examples = seen.examples.iter().map(|Example { place, text }| {
            let message = match place.message {
                u32::MAX => "null".to_owned(),
                message => message.to_string(),
            };
            format!(
                "{{\"file\":{},\"line\":{},\"message\":{message},\"text\":{}}}",
                quoted(self.file_name(source, place.file)),
                place.line,
                quoted(text)
            )
        });
        format!(
            "{{\"rule\":\"{}\",\"severity\":\"{}\",\"count\":{},\"message\":{},\"hint\":{},\"examples\":[{}]}}",
            seen.rule.id,
            seen.rule.severity.as_str(),
            seen.count,
            quoted(&seen.message),
            quoted(seen.hint),
            joined(examples)
        )
    }
}

/// `more` groups, and members of each, are counted and not listed.
fn alike<Member>(alike: &Alike<Member>, members: &str, member: impl Fn(&Member) -> String) -> String {
    let group = |group: &AlikeGroup<Member>| {
        format!(
            "{{\"count\":{},\"across\":{},\"members\":[{}],\"more\":{}}}",
            group.count,
            group.across,
            joined(group.members.iter().map(&member)),
            group.count - group.members.len() as u64
        )
    };
    format!(
        "{{\"groups\":{},\"{members}\":{},\"across\":{},\"first\":[{}],\"more\":{}}}",
        alike.groups,
        alike.members,
        alike.across,
        joined(alike.first.iter().map(group)),
        alike.groups - alike.first.len() as u64
    )
}

fn joined(values: impl Iterator<Item = String>) -> String {
    values.collect::<Vec<_>>().join(",")
}

fn counts<Name: Display>(counts: impl Iterator<Item = (Name, u64)>) -> String {
    format!("{{{}}}", joined(counts.map(|(name, count)| format!("{}:{count}", quoted(&name.to_string())))))
}

fn histogram(values: &Histogram) -> String {
    if values.count() == 0 {
        return "null".to_owned();
    }
    let quantiles = QUANTILES.iter().map(|(share, name)| format!("\"{name}\":{}", values.quantile(*share)));
    format!(
        "{{\"count\":{},\"sum\":{},\"mean\":{:.2},\"min\":{},{},\"max\":{}}}",
        values.count(),
        values.sum(),
        values.mean(),
        values.min(),
        joined(quantiles),
        values.max()
    )
}

fn side(side: &Side) -> String {
    format!(
        "{{\"samples\":{},\"tokens\":{},\"image_tokens\":{},\"trained_tokens\":{},\"pictures\":{},\"bytes\":{},\"lengths\":{}}}",
        side.samples,
        side.tokens,
        side.image_tokens,
        side.trained_tokens,
        side.images,
        side.bytes,
        histogram(&side.lengths)
    )
}

fn images(images: &ImageSurvey, distinct: u64, issues: &str) -> String {
    format!(
        "{{\"count\":{},\"distinct\":{distinct},\"formats\":{},\"width\":{},\"height\":{},\"longer_side\":{},\"bytes\":{},\"tokens\":{},\"shrunk\":{},\"issues\":[{issues}]}}",
        images.count,
        counts(images.formats.iter().map(|(format, count)| (format, *count))),
        histogram(&images.widths),
        histogram(&images.heights),
        histogram(&images.longer_sides),
        histogram(&images.bytes),
        histogram(&images.tokens),
        images.shrunk
    )
}

fn texts(texts: &TextSurvey) -> String {
    let distinct = |distinct: &pixtune_core::quality::Distinct| {
        format!("{{\"count\":{},\"exact\":{}}}", distinct.count(), distinct.is_exact())
    };
    let most = |most: Vec<(&str, u64)>| {
        let each =
            most.into_iter().map(|(text, count)| format!("{{\"text\":{},\"count\":{count}}}", quoted(text)));
        format!("[{}]", joined(each))
    };
    let formats: BTreeMap<&str, u64> = AnswerFormat::ALL
        .into_iter()
        .map(|format| (format.as_str(), texts.formats.count(format)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let majority = texts.formats.majority().map_or("null".to_owned(), |majority| {
        format!("{{\"format\":\"{}\",\"share\":{:.4}}}", majority.format.as_str(), majority.share)
    });
    let (openings, with_opening) = texts.openings(MOST);
    format!(
        "{{\"answers\":{},\"distinct_answers\":{},\"distinct_prompts\":{},\"answer_characters\":{},\"prompt_characters\":{},\
         \"formats\":{},\"majority\":{majority},\"scripts\":{},\"languages\":{},\"most_frequent_answers\":{},\
         \"most_frequent_prompts\":{},\"openings\":{{\"answers\":{with_opening},\"most_frequent\":{}}}}}",
        texts.answers,
        distinct(&texts.distinct_answers),
        distinct(&texts.distinct_prompts),
        histogram(&texts.answer_characters),
        histogram(&texts.prompt_characters),
        counts(formats.into_iter()),
        counts(texts.scripts.iter().map(|(script, count)| (script.as_str(), *count))),
        counts(texts.languages.iter().map(|(language, count)| (language.unwrap_or("undecided"), *count))),
        most(texts.most_frequent_answers(MOST)),
        most(texts.most_frequent_prompts(MOST)),
        most(openings),
    )
}
