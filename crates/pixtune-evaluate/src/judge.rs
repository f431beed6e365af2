//! A model that rates answers from 1 to 10, in the form of MM-MT-Bench. Unlike its script, the judge is shown the images, is
//! asked a bounded number of times for a rating that can be read, and a rating outside the range is none.

use std::sync::Arc;

use pixtune_core::sample::{Assistant, Content, Message, Part, Sample};
use pixtune_core::score::{Averages, Rating, averages, judge_prompt, rating};
use pixtune_infer::{Request, Sampling};

use crate::answers::{Answered, AskError, Asker};
use crate::data::{SampleRow, message_text};

/// How often the judge is asked for one rating.
const ATTEMPTS: usize = 3;
/// Tokens of a judgement.
const MAX_TOKENS: usize = 1024;

/// What the judge has to do.
const INSTRUCTIONS: &str = "You are an impartial judge. Below is a conversation between a user and an assistant about the images \
    that you see, with a reference answer to each question, and then the assistant's answer to the last question. Judge only \
    that answer: whether it is correct, complete and helpful, compared with the reference. Explain your judgement in a few \
    sentences. Then rate the answer from 1 (useless) to 10 (perfect) on the last line, in exactly this form: [[5]]";

/// What a further attempt adds.
const REMINDER: &str = "Rate the answer from 1 to 10 and write the number in double brackets, such as [[5]].";

/// Ratings of the answers of one model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Judgement {
    /// The ratings, in the order of the samples.
    pub ratings: Vec<Rating>,
    /// Answers without a rating.
    pub failed: u64,
    /// What happened first.
    pub first_failure: Option<String>,
}

impl Judgement {
    /// The averages; `None` without ratings.
    pub fn averages(&self) -> Option<Averages> {
        averages(&self.ratings)
    }

    /// The mean rating if every answer without one had 0.
    pub fn mean_with_failures(&self) -> f64 {
        let sum: f64 = self.ratings.iter().map(|rating| rating.score).sum();
        sum / (self.ratings.len() as f64 + self.failed as f64).max(1.0)
    }

    pub(crate) fn add(&mut self, judged: Result<Rating, String>) {
        match judged {
            Ok(rating) => self.ratings.push(rating),
            Err(failure) => {
                self.failed += 1;
                self.first_failure.get_or_insert(failure);
            }
        }
    }
}

/// The rating of an answer, or why there is none.
pub(crate) fn judge(
    asker: &Asker<'_>,
    sample: &SampleRow<'_>,
    images: Vec<Arc<[u8]>>,
    answer: &str,
) -> Result<Result<Rating, String>, AskError> {
    let turns = turns(sample);
    let pairs: Vec<(&str, &str)> =
        turns.iter().map(|(question, reference)| (question.as_str(), reference.as_str())).collect();
    let turn = pairs.len() - 1;
    let parts = (0..images.len()).map(Part::Image);
    let user = Content::Parts(parts.chain([Part::Text(judge_prompt(&pairs, answer))]).collect());
    let mut messages = vec![Message::System(Content::Text(INSTRUCTIONS.to_owned())), Message::User(user)];
    let mut failure = String::new();
    for _ in 0..ATTEMPTS {
        let conversation = Sample { messages: messages.clone(), images: images.clone(), ..Sample::default() };
        let request = Request::new(conversation, Sampling::GREEDY, MAX_TOKENS);
        let text = match asker.ask(&request)?.0 {
            Answered::Text { text, .. } => text,
            Answered::Failed { message, .. } => {
                return Ok(Err(format!("the judge gave no answer: {message}")));
            }
        };
        match rating(&text) {
            Ok(Some(score)) if (1.0..=10.0).contains(&score) => {
                return Ok(Ok(Rating { score, category: sample.category.clone(), turn }));
            }
            Ok(Some(score)) => failure = format!("the judge rates {score}, which is not from 1 to 10"),
            Ok(None) => "the judge gives no rating in double brackets".clone_into(&mut failure),
            Err(error) => failure = error.to_string(),
        }
        let said = Some(Content::Text(text));
        messages.push(Message::Assistant(Assistant { content: said, ..Assistant::default() }));
        messages.push(Message::User(Content::Text(REMINDER.to_owned())));
    }
    Ok(Err(format!("{failure} ({ATTEMPTS} attempts)")))
}

/// Questions with their reference answers; the last one is the sample's.
fn turns(sample: &SampleRow<'_>) -> Vec<(String, String)> {
    let mut turns: Vec<(String, String)> = Vec::new();
    for message in &sample.messages {
        match message {
            Message::User(_) => turns.push((message_text(message), String::new())),
            Message::Assistant(_) => {
                if let Some((_, reference)) = turns.last_mut() {
                    *reference = message_text(message);
                }
            }
            Message::System(_) | Message::Tool(_) => {}
        }
    }
    let reference = sample.references.first().cloned().unwrap_or_default();
    match turns.last_mut() {
        Some((_, last)) => *last = reference,
        None => turns.push((sample.prompt.clone(), reference)),
    }
    turns
}
