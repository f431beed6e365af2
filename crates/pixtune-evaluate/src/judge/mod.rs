//! Models that judge answers: ratings from 1 to 10 in the form of MM-MT-Bench, and the better one of two answers, asked in both
//! orders. A second judge judges the same, to see how far judges agree.
//!
//! Unlike the script of MM-MT-Bench, a judge is shown the images, is asked a bounded number of times for a judgement that can be
//! read, and a rating outside the range is none.

mod ask;
mod cost;
mod json;
mod pairs;
mod rate;

use pixtune_infer::RemoteModel;
use pixtune_io::post::PostError;

use crate::answers::{AnswerLog, Asker};
use crate::plan::{JudgeOptions, JudgePlan, Price};

pub use cost::JudgeCost;
pub use pairs::{PairJudgement, PairTally, SecondChoices};
pub use rate::{Judgement, Ratings};

pub(crate) use ask::Case;
pub(crate) use json::{write_cost, write_judgement, write_pairs};
pub(crate) use pairs::{JudgedPair, judge_pair};
pub(crate) use rate::{Rated, rate};

/// The judges of a plan, in their order.
fn all(plan: &JudgePlan) -> impl Iterator<Item = &JudgeOptions> {
    [Some(&plan.first), plan.second.as_ref()].into_iter().flatten()
}

/// The models behind the judges of a plan.
pub(crate) fn judge_models(plan: &JudgePlan) -> Result<Vec<RemoteModel>, PostError> {
    all(plan).map(|judge| RemoteModel::new(judge.remote.clone())).collect()
}

/// A judge that can be asked.
pub(crate) struct Judge<'j> {
    name: &'j str,
    asker: Asker<'j>,
    price: Option<Price>,
}

/// The judges of a run.
pub(crate) struct Judges<'j> {
    first: Judge<'j>,
    second: Option<Judge<'j>>,
}

impl<'j> Judges<'j> {
    /// The judges of a plan, asked through [`judge_models`]. `None` without a model.
    pub(crate) fn new(
        plan: &'j JudgePlan,
        models: &'j [RemoteModel],
        log: &'j AnswerLog,
        concurrency: usize,
    ) -> Option<Judges<'j>> {
        let mut judges = all(plan).zip(models).map(|(options, model)| {
            let identity = format!("{} at {}", options.remote.model, options.remote.endpoint);
            let asker = Asker::new(model, identity, log, concurrency);
            Judge { name: &options.remote.model, asker, price: options.price }
        });
        Some(Judges { first: judges.next()?, second: judges.next() })
    }

    /// What each judge has cost until now.
    pub(crate) fn costs(&self) -> Vec<JudgeCost> {
        let all = [Some(&self.first), self.second.as_ref()].into_iter().flatten();
        all.map(|judge| JudgeCost::new(judge.name, &judge.asker.expense(), judge.price)).collect()
    }
}
