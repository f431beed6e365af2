//! A survey for machines; `docs/stats-and-plan.md` describes the shape.

use std::collections::BTreeMap;

use pixtune_core::json::{self, Object, ToJson, fixed, list, members, object};
use pixtune_core::plan::SplitCounts;
use pixtune_core::quality::{
    Distinct, Example, Histogram, ImageSurvey, Kept, Observation, ResponseFormat, TextSurvey,
};
use pixtune_core::spec::ModelSpec;

use super::{FileSide, ImagePlace, Issue, NearDuplicates, NearGroup, NearImage, NearText, Pairs};
use super::{Source, Survey, Worst};
use crate::read::LinePlace;

/// The shares at which quantiles are given, and their names.
pub const QUANTILES: [(f64, &str); 6] =
    [(0.05, "p5"), (0.25, "p25"), (0.5, "median"), (0.75, "p75"), (0.95, "p95"), (0.99, "p99")];

/// So many frequent texts are given.
const MOST: usize = 20;

impl Survey {
    /// The survey as one JSON object.
    pub fn to_json(&self, source: &Source, spec: &ModelSpec, special_tokens: Option<&str>) -> String {
        let view = View { survey: self, source };
        json::line(object(|out| view.write(spec, special_tokens, out)))
    }

    /// The name of a file of samples, or of an image where there are only images.
    pub fn file_name<'s>(&self, source: &'s Source, file: u32) -> &'s str {
        let file = file as usize;
        match source.files.get(file) {
            Some(found) => &found.name,
            None => source.images.get(file).map_or("?", |(name, _)| name),
        }
    }
}

/// A survey with the files that its places are in.
#[derive(Clone, Copy)]
struct View<'v> {
    survey: &'v Survey,
    source: &'v Source,
}

impl View<'_> {
    fn write(self, spec: &ModelSpec, special_tokens: Option<&str>, out: &mut Object<'_>) {
        let Survey { train, validation, refused, rejected, .. } = self.survey;
        let mut lengths = train.lengths.clone();
        lengths.merge(&validation.lengths);
        out.field("model", spec.id).field("estimate", None::<&str>).field("files", self.files());
        out.optional("special_tokens", special_tokens);
        out.field("samples", self.survey.samples());
        out.field("refused", members(refused.iter().map(|(rule, kept)| (*rule, kept.count))));
        out.field("train", side(train)).field("validation", side(validation));
        out.field("tokens", histogram(&lengths)).field("over_context", lengths.above(spec.context as u64));
        out.field("pictures", self.images(&self.survey.images)).field("texts", texts(&self.survey.texts));
        out.field("together", self.together());
        let observations = self.survey.observations();
        out.field("observations", list(observations.iter().map(|observation| self.observation(observation))));
        out.field(
            "rejected",
            members(rejected.iter().map(|(rule, kept): (&String, &Kept)| (rule, kept.count))),
        );
        out.field("mismatches", list(&self.source.mismatches));
    }

    fn files(self) -> impl ToJson {
        list(self.source.files.iter().zip(&self.survey.lines).map(|(file, lines)| {
            object(move |out| {
                let side = if file.side == FileSide::Train { "train" } else { "validation" };
                out.field("name", &file.name).field("side", side);
                out.field("bytes", file.bytes).field("lines", lines);
            })
        }))
    }

    fn together(self) -> impl ToJson {
        let together = &self.survey.together;
        object(move |out| {
            out.field("repeated", self.pairs(&together.repeated));
            out.field("contradictions", self.pairs(&together.contradictions));
            out.field("shared_pictures", self.pairs(&together.shared_images));
            out.field("shared_samples", self.pairs(&together.shared_samples));
            out.field(
                "near_pictures",
                near_duplicates(&together.near, "pictures", move |member: &NearImage, out| {
                    self.image_place(member.place, out);
                    out.field("width", member.size.0).field("height", member.size.1);
                    out.field("distance", member.distance).field("same_pixels", member.same_pixels);
                }),
            );
            out.field(
                "near_texts",
                near_duplicates(&together.near_texts, "texts", move |member: &NearText, out| {
                    self.line_place(member.place, out);
                    out.field("similarity", member.similarity).field("same_pictures", member.same_images);
                }),
            );
        })
    }

    fn pairs(self, pairs: &Pairs) -> impl ToJson {
        let place = move |place: LinePlace| object(move |out| self.line_place(place, out));
        object(move |out| {
            out.field("count", pairs.count);
            out.field(
                "first",
                list(pairs.first.iter().map(|(one, other)| list([place(*one), place(*other)]))),
            );
            out.field("more", pairs.count - pairs.first.len() as u64);
        })
    }

    fn images(self, images: &ImageSurvey) -> impl ToJson {
        object(move |out| {
            out.field("count", images.count).field("distinct", self.survey.together.distinct_images);
            let formats = images.formats.iter().map(|(format, count)| (format.to_string(), *count));
            out.field("formats", members(formats));
            out.field("width", histogram(&images.widths)).field("height", histogram(&images.heights));
            out.field("longer_side", histogram(&images.longer_sides));
            out.field("bytes", histogram(&images.bytes)).field("tokens", histogram(&images.tokens));
            out.field("shrunk", images.shrunk);
            out.field("issues", list(self.survey.issues.kinds.iter().map(move |issue| self.issue(issue))));
        })
    }

    fn issue(self, issue: &Issue) -> impl ToJson {
        object(move |out| {
            out.field("rule", issue.rule.id).field("threshold", fixed(issue.threshold, 4));
            out.field("count", issue.broken.count).field("scores", list(&issue.scores));
            let worst = |worst: &Worst| {
                let (place, score) = (worst.place, worst.score);
                object(move |out| {
                    self.image_place(place, out);
                    out.field("score", fixed(score, 4));
                })
            };
            out.field("worst", list(issue.worst.iter().map(worst)));
        })
    }

    fn observation(self, observation: &Observation) -> impl ToJson {
        let example = move |Example { place, text }: &Example| {
            let (place, text) = (*place, text.clone());
            object(move |out| {
                out.field("file", self.survey.file_name(self.source, place.file)).field("line", place.line);
                let message = (place.message != u32::MAX).then_some(place.message);
                out.field("message", message).field("text", &text);
            })
        };
        object(move |out| {
            let rule = observation.rule;
            out.field("rule", rule.id).field("severity", rule.severity.as_str());
            out.field("count", observation.count).field("message", &observation.message);
            out.field("hint", observation.hint);
            out.field("examples", list(observation.examples.iter().map(example)));
        })
    }

    fn line_place(self, place: LinePlace, out: &mut Object<'_>) {
        out.field("file", self.survey.file_name(self.source, place.file)).field("line", place.line);
    }

    /// The place of an image, which is counted from 0 as the images of a line are.
    fn image_place(self, place: ImagePlace, out: &mut Object<'_>) {
        self.line_place(place.line, out);
        out.field("picture", place.index);
    }
}

/// `more` groups, and members of each, are counted and not listed.
fn near_duplicates<'a, Member>(
    found: &'a NearDuplicates<Member>,
    key: &'static str,
    member: impl Fn(&Member, &mut Object<'_>) + Copy + 'a,
) -> impl ToJson + 'a {
    let group = move |group: &'a NearGroup<Member>| {
        object(move |out| {
            out.field("count", group.count).field("across", group.across);
            out.field("members", list(group.members.iter().map(|one| object(move |out| member(one, out)))));
            out.field("more", group.count - group.members.len() as u64);
        })
    };
    object(move |out| {
        out.field("groups", found.groups).field(key, found.members).field("across", found.across);
        out.field("first", list(found.first.iter().map(group)));
        out.field("more", found.groups - found.first.len() as u64);
    })
}

fn histogram(values: &Histogram) -> impl ToJson {
    (values.count() > 0).then(|| {
        object(move |out| {
            out.field("count", values.count()).field("sum", values.sum());
            out.field("mean", fixed(values.mean(), 2)).field("min", values.min());
            out.fields(QUANTILES.iter().map(|(share, name)| (name, values.quantile(*share))));
            out.field("max", values.max());
        })
    })
}

fn side(side: &SplitCounts) -> impl ToJson {
    object(move |out| {
        out.field("samples", side.samples).field("tokens", side.tokens);
        out.field("image_tokens", side.image_tokens).field("trained_tokens", side.trained_tokens);
        out.field("pictures", side.images).field("bytes", side.bytes);
        out.field("lengths", histogram(&side.lengths));
    })
}

fn texts(texts: &TextSurvey) -> impl ToJson {
    object(move |out| {
        out.field("answers", texts.responses);
        out.field("distinct_answers", distinct(&texts.distinct_responses));
        out.field("distinct_prompts", distinct(&texts.distinct_prompts));
        out.field("answer_characters", histogram(&texts.response_characters));
        out.field("prompt_characters", histogram(&texts.prompt_characters));
        let formats: BTreeMap<&str, u64> = ResponseFormat::ALL
            .into_iter()
            .map(|format| (format.as_str(), texts.formats.count(format)))
            .filter(|(_, count)| *count > 0)
            .collect();
        out.field("formats", members(formats));
        let majority = texts.formats.majority().map(|majority| {
            object(move |out| {
                out.field("format", majority.format.as_str()).field("share", fixed(majority.share, 4));
            })
        });
        out.field("majority", majority);
        out.field("scripts", members(texts.scripts.iter().map(|(script, count)| (script.as_str(), *count))));
        let languages =
            texts.languages.iter().map(|(language, count)| (language.unwrap_or("undecided"), *count));
        out.field("languages", members(languages));
        out.field("most_frequent_responses", frequent(texts.most_frequent_responses(MOST)));
        out.field("most_frequent_prompts", frequent(texts.most_frequent_prompts(MOST)));
        let (openings, with_opening) = texts.openings(MOST);
        out.field(
            "openings",
            object(|out| {
                out.field("answers", with_opening).field("most_frequent", frequent(openings));
            }),
        );
    })
}

fn distinct(distinct: &Distinct) -> impl ToJson {
    object(move |out| {
        out.field("count", distinct.count()).field("exact", distinct.is_exact());
    })
}

fn frequent(texts: Vec<(&str, u64)>) -> impl ToJson {
    list(texts.into_iter().map(|(text, count)| {
        object(move |out| {
            out.field("text", text).field("count", count);
        })
    }))
}
