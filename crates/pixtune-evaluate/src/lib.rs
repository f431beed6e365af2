//! What a model got right: its answers to the samples of a dataset, their scores, a comparison with another model, a report.
//!
//! [`evaluate`] is the work of the command: it reads the samples, gets an answer to each from a [`Contestant`], scores the
//! answers with [`pixtune_core::score`], and writes a directory that appears whole or not at all.

mod answers;
mod benchmark;
mod compare;
mod contest;
mod data;
mod error;
mod evaluation;
mod graded;
mod judge;
mod junit;
mod metric;
mod pairs;
mod plan;
mod predictions;
mod report;
mod run;
mod scores;
mod watch;
mod written;

pub use benchmark::{Benchmark, BenchmarkChoice};
pub use compare::Comparison;
pub use contest::{Failures, Standing};
pub use error::EvaluateError;
pub use evaluation::Evaluation;
pub use graded::{References, score_row};
pub use judge::{JudgeCost, Judgement, PairJudgement, PairTally, Ratings, SecondChoices};
pub use junit::junit;
pub use metric::Choice;
pub use plan::{AnswerSource, Contestant, EvaluatePlan, Existing, JudgeOptions, JudgePlan, Price, Threshold};
pub use run::evaluate;
pub use scores::scores_line;
pub use watch::Watch;
