//! The better one of two answers, asked in both orders.

use pixtune_core::score::{
    PairChoice, Preference, PreferenceAgreement, is_consistent, mcnemar, pair_choice, pair_prompt,
    preference, preference_agreement,
};

use super::ask::{Case, Task};
use super::{Judge, Judges};
use crate::answers::AskError;

const CHOOSE: Task<PairChoice> = Task {
    instructions: "You are an impartial judge. Below is a conversation between a user and an assistant about the images \
        that you see, with a reference answer to each question, and then two answers to the last question, of assistant A and of \
        assistant B. Decide which of them is the better answer: correct, complete and helpful, compared with the reference. \
        Neither their order, nor their length, nor the names of the assistants may count. Explain your decision in a few \
        sentences. Then write it on the last line, in exactly this form: [[A]] if A is better, [[B]] if B is better, [[C]] if \
        they are equally good",
    reminder: "Write your decision in double brackets and nothing else: [[A]], [[B]], or [[C]] for a tie.",
    read,
    write: |out, choice| {
        out.field("choice", choice.id());
    },
    order: Some("model"),
};

const CHOOSE_SWAPPED: Task<PairChoice> = Task { order: Some("compared"), ..CHOOSE };

fn read(judgement: &str) -> Result<PairChoice, String> {
    pair_choice(judgement)
        .ok_or_else(|| "the judge gives no single choice of [[A]], [[B]] or [[C]]".to_owned())
}

/// The choices of a judge between two answers: where the model's is A, and where it is B.
type Choices = (PairChoice, PairChoice);

/// What the judges found of one pair.
pub(crate) struct JudgedPair {
    category: String,
    first: Result<Choices, String>,
    second: Option<Result<Choices, String>>,
    /// Lines of `judgements.jsonl`.
    pub(crate) lines: String,
}

impl JudgedPair {
    /// A pair that cannot be judged.
    pub(crate) fn failed(category: &str, why: &str, judges: &Judges<'_>) -> JudgedPair {
        let second = judges.second.as_ref().map(|_| Err(why.to_owned()));
        JudgedPair { category: category.to_owned(), first: Err(why.to_owned()), second, lines: String::new() }
    }

    /// Why a judgement is missing, if one is.
    pub(crate) fn failure(&self) -> Option<String> {
        let second = self.second.as_ref().and_then(|judged| judged.as_ref().err());
        self.first.as_ref().err().cloned().or_else(|| second.map(|why| format!("second judge: {why}")))
    }
}

/// Has the judges choose between the answers of the model and of the one it is compared with.
pub(crate) fn judge_pair(
    judges: &Judges<'_>,
    case: &Case<'_>,
    model: &str,
    compared: &str,
) -> Result<JudgedPair, AskError> {
    let turns = case.turns();
    let pairs: Vec<(&str, &str)> = turns.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
    let prompts = [pair_prompt(&pairs, model, compared), pair_prompt(&pairs, compared, model)];
    let mut lines = String::new();
    let first = judges.first.choose(case, &prompts, &mut lines)?;
    let second = match &judges.second {
        None => None,
        Some(judge) => Some(judge.choose(case, &prompts, &mut lines)?),
    };
    Ok(JudgedPair { category: case.sample.category.clone(), first, second, lines })
}

impl Judge<'_> {
    fn choose(
        &self,
        case: &Case<'_>,
        [model_first, compared_first]: &[String; 2],
        lines: &mut String,
    ) -> Result<Result<Choices, String>, AskError> {
        let one = match self.ask(case, &CHOOSE, model_first.clone(), lines)? {
            Ok(choice) => choice,
            Err(why) => return Ok(Err(why)),
        };
        Ok(self.ask(case, &CHOOSE_SWAPPED, compared_first.clone(), lines)?.map(|other| (one, other)))
    }
}

/// Preferences of one judge.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PairTally {
    /// Pairs in which the model's answer is better, in both orders.
    pub wins: u64,
    /// Pairs in which the other's is, in both orders.
    pub losses: u64,
    /// The others.
    pub ties: u64,
    /// Ties because the choice changed with the order.
    pub inconsistent: u64,
    /// Choices of the answer that was shown first, of those that are no tie.
    pub shown_first: u64,
    /// Choices that are no tie.
    pub choices: u64,
}

impl PairTally {
    /// Pairs.
    pub fn pairs(&self) -> u64 {
        self.wins + self.losses + self.ties
    }

    /// Wins and half of the ties, as a share of all pairs; `None` without pairs.
    pub fn win_rate(&self) -> Option<f64> {
        let pairs = self.pairs();
        (pairs > 0).then(|| (self.wins as f64 + self.ties as f64 / 2.0) / pairs as f64)
    }

    /// The p-value of the exact sign test of wins and losses.
    pub fn p_value(&self) -> f64 {
        mcnemar(self.losses, self.wins)
    }

    fn add(&mut self, (model_first, compared_first): Choices) -> Preference {
        let preferred = preference(model_first, compared_first);
        match preferred {
            Preference::Model => self.wins += 1,
            Preference::Compared => self.losses += 1,
            Preference::Tie => self.ties += 1,
        }
        self.inconsistent += u64::from(!is_consistent(model_first, compared_first));
        for choice in [model_first, compared_first] {
            self.shown_first += u64::from(choice == PairChoice::A);
            self.choices += u64::from(choice != PairChoice::Tie);
        }
        preferred
    }
}

/// What judges prefer, over all samples and phrasings that both models answered.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PairJudgement {
    /// The preferences that count.
    pub tally: PairTally,
    /// The same by category, in order of appearance.
    pub categories: Vec<(String, PairTally)>,
    /// Pairs without a judgement.
    pub failed: u64,
    /// What happened first.
    pub first_failure: Option<String>,
    /// Those of the second judge.
    pub second: Option<SecondChoices>,
    both: Vec<(Preference, Preference)>,
}

/// The preferences of the second judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SecondChoices {
    /// Its preferences.
    pub tally: PairTally,
    /// Pairs without a judgement.
    pub failed: u64,
}

impl PairJudgement {
    /// The win rate if the model lost every pair without a judgement.
    pub fn win_rate_with_failures(&self) -> f64 {
        let pairs = self.tally.pairs() as f64;
        self.tally.win_rate().unwrap_or(0.0) * pairs / (pairs + self.failed as f64).max(1.0)
    }

    /// How far the judges agree; `None` without a second judge.
    pub fn agreement(&self) -> Option<PreferenceAgreement> {
        preference_agreement(&self.both)
    }

    /// Pairs without a judgement by one of the judges.
    pub fn all_failed(&self) -> u64 {
        self.failed + self.second.as_ref().map_or(0, |second| second.failed)
    }

    pub(crate) fn add(&mut self, judged: JudgedPair) {
        let first = match judged.first {
            Ok(choices) => {
                let known = self.categories.iter().position(|(name, _)| *name == judged.category);
                let at = known.unwrap_or_else(|| {
                    self.categories.push((judged.category, PairTally::default()));
                    self.categories.len() - 1
                });
                self.categories[at].1.add(choices);
                Some(self.tally.add(choices))
            }
            Err(why) => {
                self.failed += 1;
                self.first_failure.get_or_insert(why);
                None
            }
        };
        let Some(second) = judged.second else { return };
        let of_second = self.second.get_or_insert_default();
        match second {
            Ok(choices) => {
                let preferred = of_second.tally.add(choices);
                self.both.extend(first.map(|first| (first, preferred)));
            }
            Err(_) => of_second.failed += 1,
        }
    }
}
