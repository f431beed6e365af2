//! Ratings by a judge model, in the form of MM-MT-Bench (mistral-evals d61811f, `eval/tasks/mm_mt_bench.py`).

use super::ScoreError;
use super::python::decimal;

/// What a judge is shown beside its instructions: the conversation with its reference answers, then the answer to rate.
/// `turns` are question and reference answer.
pub fn judge_prompt(turns: &[(&str, &str)], answer: &str) -> String {
    conversation(turns, &format!("### Assistant's answer:\n{answer}\n\n"))
}

/// The conversation with its reference answers, then `answers`.
pub(super) fn conversation(turns: &[(&str, &str)], answers: &str) -> String {
    let mut out = String::from("<|The Start of Conversation with User|>\n\n");
    for (question, reference) in turns {
        out += &format!("### User:\n{question}\n\n### Reference answer:\n{reference}\n\n");
    }
    out + &format!("\n\n{answers}<|The End of Conversation with User|>\n\n\n")
}

/// The first rating in double brackets, `[[7.5]]`; `None` where there is none. The range is the caller's to check.
///
/// A number with leading zeros is no literal in Python: the reference fails there.
pub fn rating(judgement: &str) -> Result<Option<f64>, ScoreError> {
    let starts = judgement.match_indices("[[").map(|(at, _)| &judgement[at + 2..]);
    let Some(literal) = starts.filter_map(bracketed_number).next() else { return Ok(None) };
    let whole = literal.split('.').next().unwrap_or_default();
    let is_padded = whole.len() > 1 && whole.starts_with('0') && whole.contains(|c| c != '0');
    if !literal.is_ascii() || (is_padded && !literal.contains('.')) {
        return Err(ScoreError::Literal { text: literal.to_owned() });
    }
    Ok(literal.parse().ok())
}

/// Digits, perhaps a period and more digits, up to `]]`.
fn bracketed_number(text: &str) -> Option<&str> {
    let literal = &text[..text.find("]]")?];
    let (whole, fraction) = literal.split_once('.').unwrap_or((literal, ""));
    let all_digits = |text: &str| text.chars().all(|c| decimal(c).is_some());
    (!whole.is_empty() && all_digits(whole) && all_digits(fraction)).then_some(literal)
}

/// A rating with what it is averaged by.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating {
    /// The judge's number.
    pub score: f64,
    /// The category of the conversation.
    pub category: String,
    /// The turn of the conversation, from 0.
    pub turn: usize,
}

/// Averages of ratings.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Averages {
    /// Over all ratings.
    pub micro: f64,
    /// Over the averages of the categories.
    pub macro_categories: f64,
    /// Over the averages of categories and of turns together, as mistral-evals prints it.
    pub macro_mistral: f64,
    /// By category, in order of appearance.
    pub categories: Vec<(String, f64)>,
    /// By turn, in order of appearance.
    pub turns: Vec<(usize, f64)>,
}

/// Averages ratings; `None` without ratings.
pub fn averages(ratings: &[Rating]) -> Option<Averages> {
    if ratings.is_empty() {
        return None;
    }
    // The reference sums categories and turns in the order in which each first appears, and so must we: sums of
    // floats depend on it.
    let mut groups: Vec<(Group<'_>, Mean)> = Vec::new();
    let mut all = Mean::default();
    for Rating { score, category, turn } in ratings {
        all.add(*score);
        for group in [Group::Category(category), Group::Turn(*turn)] {
            let at = groups.iter().position(|(known, _)| *known == group).unwrap_or_else(|| {
                groups.push((group, Mean::default()));
                groups.len() - 1
            });
            groups[at].1.add(*score);
        }
    }
    let mut averages = Averages { micro: all.value(), ..Averages::default() };
    let (mut both, mut categories) = (Mean::default(), Mean::default());
    for (group, mean) in &groups {
        both.add(mean.value());
        match group {
            Group::Category(name) => {
                categories.add(mean.value());
                averages.categories.push(((*name).to_owned(), mean.value()));
            }
            Group::Turn(turn) => averages.turns.push((*turn, mean.value())),
        }
    }
    (averages.macro_mistral, averages.macro_categories) = (both.value(), categories.value());
    Some(averages)
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Group<'a> {
    Category(&'a str),
    Turn(usize),
}

/// A mean in the order of its numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    sum: f64,
    count: usize,
}

impl Mean {
    fn add(&mut self, number: f64) {
        self.sum += number;
        self.count += 1;
    }

    fn value(self) -> f64 {
        self.sum / self.count as f64
    }
}
