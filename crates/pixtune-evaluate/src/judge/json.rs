//! Judgements in `scores.json`.

use pixtune_core::json::{Object, list, object};
use pixtune_core::score::{PreferenceAgreement, RatingAgreement};

use super::{JudgeCost, Judgement, PairJudgement, PairTally, Ratings};

/// The ratings of the answers of a model.
pub(crate) fn write_judgement(out: &mut Object<'_>, judgement: &Judgement) {
    write_ratings(out, &judgement.first);
    if let Some(second) = &judgement.second {
        out.field("second", object(|out| write_ratings(out, second)));
    }
    if let Some(found) = judgement.agreement() {
        let RatingAgreement { samples, equal, within_one, mean_difference, correlation } = found;
        out.field(
            "agreement",
            object(|out| {
                out.field("samples", samples).field("equal", equal).field("within_one", within_one);
                out.field("mean_difference", mean_difference).field("correlation", correlation);
            }),
        );
    }
}

fn write_ratings(out: &mut Object<'_>, ratings: &Ratings) {
    out.field("rated", ratings.ratings.len() as u64).field("not_rated", ratings.failed);
    let Some(averages) = ratings.averages() else { return };
    out.field("mean", averages.micro).field("mean_over_categories", averages.macro_categories);
    out.field("mean_mistral", averages.macro_mistral);
    out.field(
        "categories",
        list(averages.categories.iter().map(|(category, mean)| {
            object(move |out| {
                out.field("category", category).field("mean", *mean);
            })
        })),
    );
    out.field(
        "turns",
        list(averages.turns.iter().map(|(turn, mean)| {
            object(move |out| {
                out.field("turn", *turn as u64 + 1).field("mean", *mean);
            })
        })),
    );
}

/// The preferences between the answers of two models.
pub(crate) fn write_pairs(out: &mut Object<'_>, pairs: &PairJudgement) {
    write_tally(out, &pairs.tally);
    out.field("p_value", pairs.tally.p_value()).field("not_judged", pairs.failed);
    out.field(
        "categories",
        list(pairs.categories.iter().map(|(category, tally)| {
            object(move |out| {
                out.field("category", category);
                write_tally(out, tally);
            })
        })),
    );
    if let Some(second) = &pairs.second {
        out.field(
            "second",
            object(|out| {
                write_tally(out, &second.tally);
                out.field("not_judged", second.failed);
            }),
        );
    }
    if let Some(PreferenceAgreement { samples, equal, opposite, kappa }) = pairs.agreement() {
        out.field(
            "agreement",
            object(|out| {
                out.field("pairs", samples).field("equal", equal);
                out.field("opposite", opposite).field("kappa", kappa);
            }),
        );
    }
}

fn write_tally(out: &mut Object<'_>, tally: &PairTally) {
    out.field("pairs", tally.pairs()).field("wins", tally.wins).field("losses", tally.losses);
    out.field("ties", tally.ties).field("ties_because_of_order", tally.inconsistent);
    out.field("win_rate", tally.win_rate());
    out.field("choices", tally.choices).field("choices_of_the_first_shown", tally.shown_first);
}

/// What a judge cost.
pub(crate) fn write_cost(out: &mut Object<'_>, cost: &JudgeCost) {
    out.field("judge", &cost.judge).field("requests", cost.requests);
    out.field("prompt_tokens", cost.prompt_tokens).field("completion_tokens", cost.completion_tokens);
    out.field("requests_without_token_counts", cost.unreported).field("dollars", cost.dollars);
}
