//! Who judges, and what the judges found, on a terminal.

use pixtune_core::text::{counted, counted_as, grouped};
use pixtune_evaluate::{
    Evaluation, JudgeCost, JudgeOptions, JudgePlan, Judgement, PairJudgement, Price, Ratings,
};

use super::remote;
use crate::args::{EvaluateArgs, JudgeArgs};
use crate::error::Error;

/// The judges, who are asked under the same limits as the model.
pub fn plan(args: &EvaluateArgs) -> Result<Option<JudgePlan>, Error> {
    let judge = &args.judge;
    let (Some(endpoint), Some(model)) = (&judge.judge_endpoint, &judge.judge_model) else { return Ok(None) };
    if judge.judge_pairs && args.compare.is_empty() {
        return Err(Error::argument(
            "--judge-pairs needs `--compare`: a pair is the answers of two models to one sample",
        ));
    }
    let first = options(args, (endpoint, model), &judge.judge_api_key_env, judge.judge_price.as_deref())?;
    let second = match &judge.second_judge_model {
        None => None,
        Some(model) => Some(second(args, judge, (endpoint, model))?),
    };
    Ok(Some(JudgePlan { first, second, pairs: judge.judge_pairs }))
}

/// The second judge: at the endpoint of the first and with its key, unless it has its own.
fn second(
    args: &EvaluateArgs,
    judge: &JudgeArgs,
    (first_endpoint, model): (&String, &String),
) -> Result<JudgeOptions, Error> {
    let endpoint = judge.second_judge_endpoint.as_ref().unwrap_or(first_endpoint);
    if (Some(model), endpoint) == (judge.judge_model.as_ref(), first_endpoint) {
        return Err(Error::argument("--second-judge-model is the first judge: it would agree with itself"));
    }
    let own_key = judge.second_judge_endpoint.is_some().then_some("PIXTUNE_SECOND_JUDGE_API_KEY");
    let key = judge.second_judge_api_key_env.as_deref().or(own_key).unwrap_or(&judge.judge_api_key_env);
    options(args, (endpoint, model), key, judge.second_judge_price.as_deref())
}

fn options(
    args: &EvaluateArgs,
    (endpoint, model): (&str, &str),
    key: &str,
    given: Option<&str>,
) -> Result<JudgeOptions, Error> {
    let mut remote = remote(args, endpoint, model)?;
    remote.key = std::env::var(key).ok();
    Ok(JudgeOptions { remote, price: given.map(price).transpose()? })
}

/// US dollars for a million tokens, of the prompt and of the answer.
fn price(text: &str) -> Result<Price, Error> {
    let number =
        |text: &str| text.trim().parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    let parsed = text.split_once(',').and_then(|(prompt, completion)| {
        Some(Price { prompt: number(prompt)?, completion: number(completion)? })
    });
    parsed.ok_or_else(|| {
        Error::argument(format!(
            "the price {text} is not PROMPT,COMPLETION in US dollars per million tokens, such as 2.5,10"
        ))
    })
}

/// What stands beside the scores of a model.
pub fn notes(found: &Judgement) -> Vec<String> {
    let mean = |ratings: &Ratings| {
        ratings.averages().map_or("none".to_owned(), |found| format!("{:.2}", found.micro))
    };
    let unrated = |ratings: &Ratings| match (ratings.failed, &ratings.first_failure) {
        (0, _) => String::new(),
        (count, None) => format!(", {} not rated", counted(count, "answer")),
        (count, Some(first)) => format!(", {} not rated; first: {first}", counted(count, "answer")),
    };
    let mut out = vec![format!("rating of the judge {} of 10{}", mean(&found.first), unrated(&found.first))];
    if let Some(second) = &found.second {
        out.push(format!("rating of the second judge {} of 10{}", mean(second), unrated(second)));
    }
    if let Some(agreement) = found.agreement() {
        let correlation =
            agreement.correlation.map_or(String::new(), |number| format!(", correlation {number:.2}"));
        out.push(format!(
            "the judges rate {} of {} equally and {} at most 1 apart{correlation}",
            grouped(agreement.equal),
            counted(agreement.samples, "answer"),
            grouped(agreement.within_one)
        ));
    }
    out
}

/// The lines about pairs and costs, with their names.
pub fn lines(evaluation: &Evaluation) -> Vec<(&'static str, String)> {
    let mut out = Vec::new();
    if let Some(pairs) = &evaluation.pairs {
        preferences(pairs, &mut out);
    }
    for (name, cost) in ["judge cost", ""].into_iter().zip(&evaluation.costs) {
        out.push((name, price_text(cost)));
    }
    out
}

fn preferences(pairs: &PairJudgement, out: &mut Vec<(&'static str, String)>) {
    let tally = &pairs.tally;
    let (wins, losses) = (counted_as(tally.wins, "win", "wins"), counted_as(tally.losses, "loss", "losses"));
    let rate = tally.win_rate().map_or("none".to_owned(), |rate| format!("{rate:.3}"));
    out.push((
        "pairs",
        format!(
            "{} judged in both orders: {wins}, {losses}, {}; win rate {rate}, p {:.4}",
            counted(tally.pairs(), "pair"),
            counted(tally.ties, "tie"),
            tally.p_value()
        ),
    ));
    let changed = match tally.inconsistent {
        0 => String::new(),
        count => format!("; {} because the choice changed with the order", counted(count, "tie")),
    };
    out.push((
        "",
        format!(
            "the answer shown first was chosen {} of {} times{changed}",
            grouped(tally.shown_first),
            grouped(tally.choices)
        ),
    ));
    if pairs.failed > 0 {
        let first = pairs.first_failure.as_deref().unwrap_or_default();
        out.push(("", format!("{} not judged; first: {first}", counted(pairs.failed, "pair"))));
    }
    if let Some(agreement) = pairs.agreement() {
        let kappa = agreement.kappa.map_or(String::new(), |kappa| format!(", kappa {kappa:.2}"));
        out.push((
            "",
            format!(
                "the judges agree on {} of {}, {} opposite{kappa}",
                grouped(agreement.equal),
                counted(agreement.samples, "pair"),
                grouped(agreement.opposite)
            ),
        ));
    }
}

fn price_text(cost: &JudgeCost) -> String {
    let dollars = cost.dollars.map_or(String::new(), |dollars| format!(", ${dollars:.4}"));
    let unreported = match cost.unreported {
        0 => String::new(),
        count => format!(" ({} without token counts)", grouped(count)),
    };
    format!(
        "{}: {}{unreported}, {} prompt and {} completion tokens{dollars}",
        cost.judge,
        counted(cost.requests, "request"),
        grouped(cost.prompt_tokens),
        grouped(cost.completion_tokens)
    )
}
