//! What judges cost.

use crate::answers::Expense;
use crate::plan::Price;

/// The requests of one judge and their tokens, as its endpoint counts them. Judgements of an earlier run that are used again are
/// included, so the numbers are those of the whole result; requests that failed are not, because nobody reports their tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgeCost {
    /// The judge.
    pub judge: String,
    /// Requests that were answered.
    pub requests: u64,
    /// Tokens of the requests.
    pub prompt_tokens: u64,
    /// Tokens of the judgements.
    pub completion_tokens: u64,
    /// Requests whose answers report no tokens. With any of them the cost is a lower bound.
    pub unreported: u64,
    /// US dollars, where the price is known.
    pub dollars: Option<f64>,
}

impl JudgeCost {
    pub(super) fn new(judge: &str, expense: &Expense, price: Option<Price>) -> JudgeCost {
        let (prompt_tokens, completion_tokens) = (expense.prompt_tokens, expense.completion_tokens);
        let dollars = |price: Price| {
            (prompt_tokens as f64 * price.prompt + completion_tokens as f64 * price.completion) / 1e6
        };
        JudgeCost {
            judge: judge.to_owned(),
            requests: expense.requests(),
            prompt_tokens,
            completion_tokens,
            unreported: expense.unreported,
            dollars: price.map(dollars),
        }
    }
}
