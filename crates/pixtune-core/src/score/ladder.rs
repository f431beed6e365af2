//! How strictly an answer is read: the whole text, the final answer that was found in it, or a reference anywhere.

use super::family::{Family, NoVariant, Variant};
use super::{
    Metric, ScoreError, chosen_option, final_answer, is_near, is_whole_object, option_index, python,
    score_fields,
};

/// How much of an answer had to be ignored for it to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// The whole text is right.
    Strict,
    /// The final answer that was found in the text is right.
    Parsed,
    /// A reference stands somewhere in the text.
    Anywhere,
    /// Nothing in it is right.
    Wrong,
}

impl Level {
    /// Every level, from strict to wrong.
    pub const ALL: [Level; 4] = [Level::Strict, Level::Parsed, Level::Anywhere, Level::Wrong];

    /// The name in files.
    pub fn id(self) -> &'static str {
        match self {
            Level::Strict => "strict",
            Level::Parsed => "parsed",
            Level::Anywhere => "anywhere",
            Level::Wrong => "wrong",
        }
    }
}

/// The part of an answer that a sample is scored on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The whole text.
    Whole,
    /// The final answer that is found in it; without one the score is 0.
    Final,
}

impl Part {
    /// The name in files.
    pub fn id(self) -> &'static str {
        match self {
            Part::Whole => "whole",
            Part::Final => "final",
        }
    }

    /// The part of a name.
    pub fn find(id: &str) -> Option<Part> {
        [Part::Whole, Part::Final].into_iter().find(|part| part.id() == id)
    }

    /// The part that a prompt asks for: one that mentions `Answer:` asks for a line with the final answer.
    pub fn asked_for(prompt: &str) -> Part {
        if prompt.to_lowercase().contains("answer:") { Part::Final } else { Part::Whole }
    }
}

/// The scores of one answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grade {
    /// Of the whole text, of the final answer, and of a reference anywhere; each in [0, 1].
    pub levels: [f64; 3],
    /// Whether a final answer was found.
    pub is_parsed: bool,
    /// The strictest level at which it is right.
    pub level: Level,
}

/// Scores answers by one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scorer {
    family: Family,
    variant: Option<Variant>,
    tolerance: f64,
}

impl Scorer {
    /// A scorer by a variant of the metric, or by its default.
    pub fn new(
        family: Family,
        variant: Option<Variant>,
        tolerance: Option<f64>,
    ) -> Result<Scorer, NoVariant> {
        if let Some(variant) = variant
            && !family.variants().contains(&variant)
        {
            return Err(NoVariant { family, variant });
        }
        let variant = variant.or(family.variants().first().copied());
        Ok(Scorer { family, variant, tolerance: tolerance.unwrap_or(family.tolerance()) })
    }

    /// The metric.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whose rules are applied, where programs differ.
    pub fn variant(&self) -> Option<Variant> {
        self.variant
    }

    /// How far numbers may be off; only of use for numbers and JSON fields.
    pub fn tolerance(&self) -> f64 {
        self.tolerance
    }

    /// The names of the three scores of a [`Grade`].
    pub fn names(&self) -> [&'static str; 3] {
        match (self.family, self.variant) {
            (Family::Relaxed, Some(Variant::Lmms)) => {
                ["relaxed_correctness_lmms", "relaxed_correctness_lmms_final", "contains"]
            }
            (Family::Relaxed | Family::Anywhere, _) => {
                [Metric::Relaxed.id(), Metric::RelaxedFinal.id(), Metric::Anywhere.id()]
            }
            (Family::Anls, Some(Variant::Mistral)) => ["anls", "anls_final", "contains"],
            (Family::Anls, _) => ["anls_official", "anls_official_final", "contains"],
            (Family::Vqa, Some(Variant::Lmms)) => ["vqa_lmms", "vqa_lmms_final", "contains"],
            (Family::Vqa, Some(Variant::Official)) => ["vqa_official", "vqa_official_final", "contains"],
            (Family::Vqa, _) => ["vqa_match", "vqa_match_final", "contains"],
            (Family::Choice, _) => ["mcq_letter", "mcq_mmmu", "contains"],
            (Family::Fields, _) => ["json_f1_whole_text", "json_f1", "json_recall"],
            (Family::Number, _) => ["number", "number_final", "number_anywhere"],
            (Family::Exact, _) => ["exact", "exact_final", "contains"],
            (Family::Contains, _) => ["contains", "contains_final", "contains"],
        }
    }

    /// The three scores of a [`Grade`], or what was made of them, by name; of two with one name only the first.
    pub fn named<T>(&self, levels: [T; 3]) -> Vec<(&'static str, T)> {
        let mut named: Vec<(&'static str, T)> = Vec::new();
        for (name, level) in self.names().into_iter().zip(levels) {
            if named.iter().all(|(known, _)| *known != name) {
                named.push((name, level));
            }
        }
        named
    }

    /// The index, in [`Grade::levels`], of the score that counts for a prompt that asks for this part.
    pub fn counted(&self, part: Part) -> usize {
        match (self.family, part) {
            (Family::Anywhere, _) => 2,
            (Family::Choice | Family::Fields, _) | (_, Part::Final) => 1,
            (_, Part::Whole) => 0,
        }
    }

    /// The scores of an answer. `options` are those of a multiple-choice question.
    pub fn grade(&self, answer: &str, references: &[&str], options: &[&str]) -> Result<Grade, ScoreError> {
        if references.is_empty() {
            return Err(ScoreError::NoReferences);
        }
        let (levels, is_parsed) = match self.family {
            Family::Choice => choice_levels(answer, references, options),
            Family::Fields => self.field_levels(answer, references)?,
            _ => self.text_levels(answer, references)?,
        };
        let right = levels.iter().position(|score| *score >= self.family.right_from());
        Ok(Grade { levels, is_parsed, level: right.map_or(Level::Wrong, |at| Level::ALL[at]) })
    }

    fn text_levels(&self, answer: &str, references: &[&str]) -> Result<([f64; 3], bool), ScoreError> {
        let parsed = final_answer(answer);
        let strict = self.score_text(answer, references)?;
        let of_final = match &parsed {
            Some(parsed) => self.score_text(parsed, references)?,
            None => 0.0,
        };
        let anywhere = match (self.family, self.variant) {
            (Family::Relaxed | Family::Anywhere, Some(Variant::Mistral)) => {
                Metric::Anywhere.score(answer, references)?
            }
            (Family::Number, _) => self.number_anywhere(answer, references),
            _ => Metric::Contains.score(answer, references)?,
        };
        Ok(([strict, of_final, anywhere], parsed.is_some()))
    }

    fn score_text(&self, answer: &str, references: &[&str]) -> Result<f64, ScoreError> {
        let metric = match (self.family, self.variant) {
            (Family::Relaxed, Some(Variant::Lmms)) => Metric::RelaxedLmms,
            (Family::Relaxed | Family::Anywhere, _) => Metric::Relaxed,
            (Family::Anls, Some(Variant::Mistral)) => Metric::Anls,
            (Family::Anls, _) => Metric::AnlsOfficial,
            (Family::Vqa, Some(Variant::Lmms)) => Metric::VqaLmms,
            (Family::Vqa, Some(Variant::Official)) => Metric::VqaOfficial,
            (Family::Vqa, _) => Metric::Vqa,
            (Family::Contains, _) => Metric::Contains,
            (Family::Number, _) => return Ok(self.number(python::strip(answer), references)),
            _ => Metric::Exact,
        };
        metric.score(answer, references)
    }

    fn number(&self, answer: &str, references: &[&str]) -> f64 {
        let is_right = |reference: &&str| is_near(answer, reference, self.tolerance) == Some(true);
        share(references.iter().any(is_right))
    }

    /// Whether one of the words of the text is the number.
    fn number_anywhere(&self, answer: &str, references: &[&str]) -> f64 {
        let is_digit = |c: char| c.is_ascii_digit();
        let words = answer.split(|c: char| !(is_digit(c) || "+-.,eE".contains(c)));
        let words = words.map(|word| word.trim_end_matches(['.', ',', 'e', 'E', '+', '-']));
        let mut words = words.filter(|word| word.contains(is_digit));
        share(words.any(|word| self.number(word, references) == 1.0))
    }

    fn field_levels(&self, answer: &str, references: &[&str]) -> Result<([f64; 3], bool), ScoreError> {
        let scores = references.iter().map(|reference| score_fields(answer, reference, self.tolerance));
        let scores: Vec<_> = scores.collect::<Option<_>>().ok_or(ScoreError::NotAnObject)?;
        let best = |score: &dyn Fn(&super::FieldScore) -> f64| scores.iter().map(score).fold(0.0, f64::max);
        let f1 = best(&|score| if score.is_object { score.f1() } else { 0.0 });
        let recall = best(&|score| if score.is_object { score.recall() } else { 0.0 });
        let whole = if is_whole_object(answer) { f1 } else { 0.0 };
        Ok(([whole, f1, recall], scores.iter().any(|score| score.is_object)))
    }
}

fn choice_levels(answer: &str, references: &[&str], options: &[&str]) -> ([f64; 3], bool) {
    let right: Vec<usize> =
        references.iter().filter_map(|reference| option_index(reference, options)).collect();
    let letter = |index: usize| u8::try_from(index).ok().and_then(|index| b'A'.checked_add(index));
    let alone = python::strip(answer);
    let is_letter =
        right.iter().filter_map(|index| letter(*index)).any(|letter| alone.as_bytes() == [letter]);
    let parsed = final_answer(answer);
    let chosen = chosen_option(parsed.as_deref().unwrap_or(answer), options)
        .or_else(|| option_index(parsed.as_deref().unwrap_or(answer), options));
    let lower = answer.to_lowercase();
    let texts = right.iter().filter_map(|index| options.get(*index));
    let stands = |text: &&&str| !text.trim().is_empty() && lower.contains(&text.trim().to_lowercase());
    let is_chosen = chosen.is_some_and(|chosen| right.contains(&chosen));
    let anywhere = is_chosen || texts.filter(stands).count() > 0;
    ([share(is_letter), share(is_chosen), share(anywhere)], chosen.is_some())
}

fn share(is_right: bool) -> f64 {
    f64::from(u8::from(is_right))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(family: Family, answer: &str, references: &[&str]) -> Grade {
        Scorer::new(family, None, None).unwrap().grade(answer, references, &[]).unwrap()
    }

    #[test]
    fn the_levels_are_those_of_mistral_evals() {
        assert_eq!(grade(Family::Relaxed, "6.0", &["6"]).level, Level::Strict);
        assert_eq!(grade(Family::Relaxed, "Bars.\nFinal Answer: **6.0**", &["6"]).level, Level::Parsed);
        assert_eq!(grade(Family::Relaxed, "there are 6 of them", &["6"]).level, Level::Anywhere);
        assert_eq!(grade(Family::Relaxed, "seven", &["6"]).level, Level::Wrong);
        assert!(!grade(Family::Relaxed, "6.0", &["6"]).is_parsed);
    }

    #[test]
    fn a_prompt_decides_which_part_counts() {
        let scorer = Scorer::new(Family::Relaxed, None, None).unwrap();
        assert_eq!(scorer.counted(Part::asked_for("How many?")), 0);
        assert_eq!(scorer.counted(Part::asked_for("How many? End with \"Final Answer: N\"")), 1);
    }

    #[test]
    fn fields_count_in_the_text_and_strictly_as_the_whole_text() {
        assert_eq!(grade(Family::Fields, "{\"a\": 1}", &["{\"a\":1}"]).level, Level::Strict);
        let fenced = grade(Family::Fields, "```json\n{\"a\": 1}\n```", &["{\"a\":1}"]);
        assert_eq!((fenced.level, fenced.is_parsed), (Level::Parsed, true));
        assert_eq!(grade(Family::Fields, "{\"a\": 1, \"b\": 2}", &["{\"a\":1}"]).level, Level::Anywhere);
        let scorer = Scorer::new(Family::Fields, None, None).unwrap();
        assert_eq!(scorer.grade("{}", &["x"], &[]), Err(ScoreError::NotAnObject));
        assert!(!grade(Family::Fields, "none", &["{}"]).is_parsed);
    }

    #[test]
    fn numbers_are_found_in_sentences() {
        assert_eq!(grade(Family::Number, "$1,020", &["1000"]).level, Level::Strict);
        assert_eq!(grade(Family::Number, "It is 1,020.", &["1000"]).level, Level::Anywhere);
        assert_eq!(grade(Family::Number, "It is 1,100.", &["1000"]).level, Level::Wrong);
    }

    #[test]
    fn an_option_is_named_by_its_letter_or_its_text() {
        let options = ["a cat", "a dog", "a bird"];
        let scorer = Scorer::new(Family::Choice, None, None).unwrap();
        let level = |answer, reference| scorer.grade(answer, &[reference], &options).unwrap().level;
        assert_eq!(level("B", "b"), Level::Strict);
        assert_eq!(level("(B)", "a dog"), Level::Parsed);
        assert_eq!(level("Final Answer: **B**", "(B)"), Level::Parsed);
        assert_eq!(level("a dog", "B"), Level::Parsed);
        assert_eq!(level("C", "B"), Level::Wrong);
    }

    #[test]
    fn a_missing_variant_is_named_with_those_there_are() {
        let error = Scorer::new(Family::Relaxed, Some(Variant::Official), None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the metric `relaxed` has no variant `official`; it has `mistral`, `lmms`"
        );
        for family in Family::ALL {
            assert_eq!(Family::find(family.id()), Some(family));
            let named = Scorer::new(family, None, None).unwrap().named([0, 1, 2]);
            let names: std::collections::BTreeSet<_> = named.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), named.len(), "{}", family.id());
        }
    }
}
