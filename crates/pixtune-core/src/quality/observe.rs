//! What the texts of a whole dataset show.

use super::{Example, Formats, KEPT_EXAMPLES, Kept, Majority, ResponseFormat, TextSurvey};
use crate::diagnostic::Rule;
use crate::rules::{
    ANSWER_BOILERPLATE, ANSWER_CUT_OFF, ANSWER_FORMAT, ANSWER_IMBALANCE, ANSWER_KEYS, ANSWER_LANGUAGE,
    ANSWER_LENGTH, PROMPT_REPEATED,
};
use crate::text::{counted, counted_as};

/// A rule that a dataset violates: how often, and the first examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// The rule.
    pub rule: &'static Rule,
    /// What was found.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// How many responses it concerns.
    pub count: u64,
    /// The first of them.
    pub examples: Vec<Example>,
}

/// In datasets with fewer responses, shares mean nothing.
const LEAST: u64 = 20;

impl TextSurvey {
    /// Every observation, those about single responses first.
    pub fn observations(&self) -> Vec<Observation> {
        let mut out: Vec<Observation> = self.single.values().map(single).collect();
        out.extend(self.format_outliers());
        out.extend(self.missing_keys());
        out.extend(self.without_stop());
        out.extend(self.length_outliers());
        out.extend(self.other_language());
        out.extend(self.imbalance());
        out.extend(self.repeated_prompt());
        out.extend(self.boilerplate());
        out
    }

    fn share(&self, count: u64) -> f64 {
        count as f64 / self.responses.max(1) as f64
    }

    /// Answers in another format than nearly all others, or than nearly all others to the same prompt.
    fn format_outliers(&self) -> Option<Observation> {
        const HINT: &str =
            "convert them to the format of the others, or ask for the other format in the prompt";
        if let Some(majority) = self.formats.majority() {
            let kinds: Vec<(ResponseFormat, &Kept)> = self
                .by_format
                .iter()
                .filter(|(format, _)| majority.is_broken_by(**format))
                // Most questions are answered in sentences; `What does the sign say?` is not.
                .filter(|(format, _)| !(majority.format.is_prose() && format.is_short()))
                .map(|(format, kept)| (*format, kept))
                .collect();
            let count = kinds.iter().map(|(_, kept)| kept.count).sum();
            if count == 0 {
                return self.format_outliers_by_prompt(HINT).filter(|_| majority.format.is_prose());
            }
            let which: Vec<String> =
                kinds.iter().map(|(format, kept)| format!("{} {}", kept.count, format.as_str())).collect();
            let message = format!(
                "{} of responses are {}; {} not ({})",
                percent(majority.share),
                majority.format.in_words(),
                counted_as(count, "is", "are"),
                which.join(", ")
            );
            let mut examples: Vec<Example> =
                kinds.iter().flat_map(|(_, kept)| kept.first.iter().cloned()).collect();
            examples.sort_by_key(|example| example.place);
            examples.truncate(KEPT_EXAMPLES);
            return Some(Observation { rule: &ANSWER_FORMAT, message, hint: HINT, count, examples });
        }
        self.format_outliers_by_prompt(HINT)
    }

    fn format_outliers_by_prompt(&self, hint: &'static str) -> Option<Observation> {
        let broken = |formats: &Formats, majority: &Majority| -> u64 {
            let kinds = ResponseFormat::ALL.into_iter().filter(|format| majority.is_broken_by(*format));
            kinds.map(|format| formats.count(format)).sum()
        };
        let (mut count, mut prompts, mut examples) = (0, 0, Vec::new());
        for prompt in self.most_prompts.most(1000) {
            let Some(majority) = prompt.extra.formats.majority() else { continue };
            let outliers = broken(&prompt.extra.formats, &majority);
            prompts += u64::from(outliers > 0);
            count += outliers;
            for (format, place, start) in &prompt.extra.rare {
                if majority.is_broken_by(*format) && examples.len() < KEPT_EXAMPLES {
                    let text = format!(
                        "responses to `{}` are usually {}: {start}",
                        prompt.text,
                        majority.format.in_words()
                    );
                    examples.push(Example { place: *place, text });
                }
            }
        }
        let message = format!(
            "{} another format than nearly all responses to the same prompt ({})",
            counted_as(count, "response has", "responses have"),
            counted(prompts, "prompt")
        );
        (count > 0).then_some(Observation { rule: &ANSWER_FORMAT, message, hint, count, examples })
    }

    /// JSON responses without keys that nearly all others have, or with keys that nearly none has.
    fn missing_keys(&self) -> Option<Observation> {
        let objects = self.formats.count(ResponseFormat::JsonObject);
        let sets = self.key_sets.most(1024);
        let usual = sets.first()?;
        if objects < LEAST || (usual.count as f64) < 0.8 * objects as f64 || sets.len() == 1 {
            return None;
        }
        let split = |keys: &str| keys.split('\u{1f}').map(str::to_owned).collect::<Vec<_>>();
        let expected = split(&usual.text);
        let count = objects - usual.count;
        let mut examples = Vec::new();
        for set in &sets[1..] {
            let keys = split(&set.text);
            let missing: Vec<_> = expected.iter().filter(|key| !keys.contains(key)).collect();
            let more: Vec<_> = keys.iter().filter(|key| !expected.contains(key)).collect();
            let what = describe(&missing, &more);
            for example in &set.extra.first {
                examples.push(Example { place: example.place, text: format!("{what}: {}", example.text) });
            }
        }
        examples.sort_by_key(|example| example.place);
        examples.truncate(KEPT_EXAMPLES);
        let message = format!(
            "{} of JSON responses have the keys {}; {} others",
            percent(usual.count as f64 / objects as f64),
            listed(&expected.iter().collect::<Vec<_>>()),
            counted_as(count, "has", "have")
        );
        let hint = "write every key in every response, with null where there is no value";
        Some(Observation { rule: &ANSWER_KEYS, message, hint, count, examples })
    }

    /// Prose without a full stop at its end, where nearly all prose has one.
    fn without_stop(&self) -> Option<Observation> {
        let Kept { count, first } = &self.without_stop;
        let is_rare = *count > 0 && self.prose >= LEAST && *count * 10 <= self.prose;
        let message = format!(
            "{} of responses in sentences end with a full stop; {} not",
            percent(1.0 - *count as f64 / self.prose.max(1) as f64),
            counted_as(*count, "does", "do")
        );
        let hint = "if they were generated, the token limit was probably too low; generate them again";
        let examples = first.clone();
        is_rare.then_some(Observation { rule: &ANSWER_CUT_OFF, message, hint, count: *count, examples })
    }

    /// Answers far longer than all others: beyond Tukey's outer fence of the logarithms, and at least four times the
    /// upper quartile.
    fn length_outliers(&self) -> Option<Observation> {
        let lengths = &self.response_characters;
        if lengths.count() < LEAST {
            return None;
        }
        let quartile = |share| lengths.quantile(share).max(1) as f64;
        let (lower, upper) = (quartile(0.25), quartile(0.75));
        let fence = upper * (upper / lower).powi(3).max(4.0);
        let limit = fence.max(200.0) as u64;
        let count = lengths.above(limit);
        let message = format!(
            "{} more than {limit} characters; half of all have {} to {}",
            counted_as(count, "response has", "responses have"),
            lower,
            upper
        );
        let examples =
            self.longest.iter().filter(|(characters, _)| *characters > limit).map(|(characters, example)| {
                Example { place: example.place, text: format!("{characters} characters: {}", example.text) }
            });
        let hint = "inspect them: pasted documents, repeated generated text, several responses in one";
        (count > 0).then(|| Observation {
            rule: &ANSWER_LENGTH,
            message,
            hint,
            count,
            examples: examples.collect(),
        })
    }

    /// Answers in another language than their prompt, where nearly all are in the same.
    fn other_language(&self) -> Option<Observation> {
        let Kept { count, first } = &self.other_language;
        let is_rare =
            *count > 0 && self.detected_languages >= LEAST && *count * 10 <= self.detected_languages;
        let message = format!(
            "{} in another language than the prompt, of {} whose language can be detected",
            counted_as(*count, "response is", "responses are"),
            self.detected_languages
        );
        let hint = "translate them, or ask for the language in the prompt";
        let examples = first.clone();
        is_rare.then_some(Observation { rule: &ANSWER_LANGUAGE, message, hint, count: *count, examples })
    }

    /// One response for most prompts.
    fn imbalance(&self) -> Option<Observation> {
        let most = *self.most_responses.most(1).first()?;
        let share = self.share(most.count);
        let is_much = self.responses >= LEAST && share > 0.5;
        let message = format!(
            "{} of responses are `{}`: a model that always gives it is right as often",
            percent(share),
            most.text
        );
        let hint = "add samples with other responses, or drop some of these; evaluate the model by more than accuracy";
        let count = most.count;
        is_much.then(|| Observation { rule: &ANSWER_IMBALANCE, message, hint, count, examples: vec![] })
    }

    /// One prompt for nearly all responses.
    fn repeated_prompt(&self) -> Option<Observation> {
        let most = self.most_prompts.most(1).into_iter().next()?;
        let share = self.share(most.count);
        let is_much = self.responses >= LEAST && share > 0.95;
        let message = format!("{} of prompts are `{}`", percent(share), most.text);
        let hint = "fine for one fixed task; vary the wording if users will ask in their own words";
        let count = most.count;
        is_much.then(|| Observation { rule: &PROMPT_REPEATED, message, hint, count, examples: vec![] })
    }

    /// The same first words in much of the prose.
    fn boilerplate(&self) -> Option<Observation> {
        let most = *self.openings.most(1).first()?;
        let share = most.count as f64 / self.with_opening.max(1) as f64;
        let is_much = self.with_opening >= LEAST && share > 0.3;
        let message = format!("{} of longer responses start with `{}`", percent(share), most.text);
        let hint = "remove openings without content: every one of their tokens is trained and paid for";
        let count = most.count;
        is_much.then(|| Observation { rule: &ANSWER_BOILERPLATE, message, hint, count, examples: vec![] })
    }
}

fn single((rule, kept): &(&'static Rule, Kept)) -> Observation {
    let (one, many, hint) = match rule.id {
        "answer-refusal" => (
            "response is a refusal",
            "responses are refusals",
            "drop refusals, unless they are what the model should learn",
        ),
        "answer-placeholder" => (
            "response is a placeholder",
            "responses are placeholders",
            "write the responses or drop the samples",
        ),
        "answer-echo" => (
            "response starts with the whole prompt",
            "responses start with the whole prompt",
            "remove the prompt from the responses",
        ),
        _ => (
            "response seems cut off",
            "responses seem cut off",
            "generate such responses again with a higher token limit",
        ),
    };
    let message = counted_as(kept.count, one, many);
    Observation { rule, message, hint, count: kept.count, examples: kept.first.clone() }
}

/// A share in percent: never `100%` or `0%` unless it is exactly that.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    match percent {
        _ if share >= 1.0 => "100%".to_owned(),
        _ if percent > 99.0 => format!("{:.1}%", percent.min(99.9)),
        _ if percent > 0.0 && percent < 1.0 => format!("{:.1}%", percent.max(0.1)),
        _ => format!("{percent:.0}%"),
    }
}

fn listed(keys: &[&String]) -> String {
    let mut names: Vec<String> = keys.iter().take(8).map(|key| format!("`{}`", super::start(key))).collect();
    if keys.len() > 8 {
        names.push(format!("and {} more", keys.len() - 8));
    }
    names.join(", ")
}

fn describe(missing: &[&String], more: &[&String]) -> String {
    match (missing.is_empty(), more.is_empty()) {
        (false, true) => format!("lacks {}", listed(missing)),
        (true, _) => format!("also has {}", listed(more)),
        (false, false) => format!("lacks {}, has {}", listed(missing), listed(more)),
    }
}

#[cfg(test)]
mod tests;
