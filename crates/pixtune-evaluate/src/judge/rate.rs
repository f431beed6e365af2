//! Ratings from 1 to 10.

use pixtune_core::score::{
    Averages, Rating, RatingAgreement, averages, judge_prompt, rating, rating_agreement,
};

use super::Judges;
use super::ask::{Case, Task};
use crate::answers::AskError;

const RATE: Task<f64> = Task {
    instructions: "You are an impartial judge. Below is a conversation between a user and an assistant about the images \
        that you see, with a reference answer to each question, and then the assistant's answer to the last question. Judge only \
        that answer: whether it is correct, complete and helpful, compared with the reference. Explain your judgement in a few \
        sentences. Then rate the answer from 1 (useless) to 10 (perfect) on the last line, in exactly this form: [[5]]",
    reminder: "Rate the answer from 1 to 10 and write the number in double brackets, such as [[5]].",
    read,
    write: |out, score| {
        out.field("rating", *score);
    },
    order: None,
};

fn read(judgement: &str) -> Result<f64, String> {
    match rating(judgement) {
        Ok(Some(score)) if (1.0..=10.0).contains(&score) => Ok(score),
        Ok(Some(score)) => Err(format!("the judge rates {score}, which is not from 1 to 10")),
        Ok(None) => Err("the judge gives no rating in double brackets".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The ratings of one answer.
pub(crate) struct Rated {
    pub(crate) first: Result<Rating, String>,
    pub(crate) second: Option<Result<Rating, String>>,
    /// Lines of `judgements.jsonl`.
    pub(crate) lines: String,
}

impl Rated {
    /// An answer that cannot be judged.
    pub(crate) fn failed(why: &str, judges: &Judges<'_>) -> Rated {
        let second = judges.second.as_ref().map(|_| Err(why.to_owned()));
        Rated { first: Err(why.to_owned()), second, lines: String::new() }
    }

    /// Why a rating is missing, if one is.
    pub(crate) fn failure(&self) -> Option<String> {
        let second = self.second.as_ref().and_then(|rated| rated.as_ref().err());
        self.first.as_ref().err().cloned().or_else(|| second.map(|why| format!("second judge: {why}")))
    }
}

/// Has the judges rate an answer.
pub(crate) fn rate(judges: &Judges<'_>, case: &Case<'_>, answer: &str) -> Result<Rated, AskError> {
    let turns = case.turns();
    let pairs: Vec<(&str, &str)> = turns.iter().map(|(one, other)| (one.as_str(), other.as_str())).collect();
    let prompt = judge_prompt(&pairs, answer);
    let turn = pairs.len() - 1;
    let with = |score| Rating { score, category: case.sample.category.clone(), turn };
    let mut lines = String::new();
    let first = judges.first.ask(case, &RATE, prompt.clone(), &mut lines)?.map(with);
    let second = match &judges.second {
        None => None,
        Some(judge) => Some(judge.ask(case, &RATE, prompt, &mut lines)?.map(with)),
    };
    Ok(Rated { first, second, lines })
}

/// Ratings of the answers of one model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// Those that count.
    pub first: Ratings,
    /// Those of the second judge.
    pub second: Option<Ratings>,
    /// The ratings of answers that both rated.
    both: Vec<(f64, f64)>,
}

/// Ratings by one judge.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Ratings {
    /// The ratings, in the order of the samples.
    pub ratings: Vec<Rating>,
    /// Answers without a rating.
    pub failed: u64,
    /// What happened first.
    pub first_failure: Option<String>,
}

impl Ratings {
    /// The averages; `None` without ratings.
    pub fn averages(&self) -> Option<Averages> {
        averages(&self.ratings)
    }

    /// The mean rating if every answer without one had 0.
    pub fn mean_with_failures(&self) -> f64 {
        let sum: f64 = self.ratings.iter().map(|rating| rating.score).sum();
        sum / (self.ratings.len() as f64 + self.failed as f64).max(1.0)
    }

    fn add(&mut self, rated: Result<Rating, String>) {
        match rated {
            Ok(rating) => self.ratings.push(rating),
            Err(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }
}

impl Judgement {
    /// Answers without a rating by one of the judges.
    pub fn failed(&self) -> u64 {
        self.first.failed + self.second.as_ref().map_or(0, |second| second.failed)
    }

    /// How far the judges agree; `None` without a second judge.
    pub fn agreement(&self) -> Option<RatingAgreement> {
        rating_agreement(&self.both)
    }

    pub(crate) fn add(&mut self, rated: Rated) {
        let Rated { first, second, .. } = rated;
        if let (Ok(one), Some(Ok(other))) = (&first, &second) {
            self.both.push((one.score, other.score));
        }
        self.first.add(first);
        if let Some(second) = second {
            self.second.get_or_insert_default().add(second);
        }
    }
}
