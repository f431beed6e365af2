//! `scores.json`: every number of an evaluation, for programs.

use pixtune_core::json::{Object, ToJson, document, line, list, object};
use pixtune_core::score::{LabelReport, Level, Scorer, Spread, Tally, Variant};

use crate::compare::Comparison;
use crate::contest::Standing;
use crate::evaluation::{Evaluation, counted_part};
use crate::judge::{write_cost, write_judgement, write_pairs};
use crate::plan::EvaluatePlan;

/// The file. The same answers give the same bytes.
pub(crate) fn scores_json(plan: &EvaluatePlan, evaluation: &Evaluation) -> String {
    document(scores(plan, evaluation))
}

/// The same on one line.
pub fn scores_line(plan: &EvaluatePlan, evaluation: &Evaluation) -> String {
    line(scores(plan, evaluation))
}

fn scores(plan: &EvaluatePlan, evaluation: &Evaluation) -> impl ToJson {
    let scorer = evaluation.metric.scorer;
    object(move |out| {
        out.field("pixtune", env!("CARGO_PKG_VERSION"));
        out.field(
            "metric",
            object(|metric| {
                metric.field("name", scorer.family().id());
                metric.field("variant", scorer.variant().map(Variant::id));
                metric.field("chosen_because", evaluation.metric.because);
                metric.field("right_from", scorer.family().right_from());
                if scorer.tolerance() > 0.0 {
                    metric.field("tolerance", scorer.tolerance());
                }
            }),
        );
        out.field(
            "data",
            object(|data| {
                data.field("files", list(evaluation.files.iter().map(String::as_str)));
                data.field("samples", evaluation.samples).field("invalid", evaluation.invalid);
                data.field("limit", plan.limit);
            }),
        );
        out.field("model", object(|out| standing(out, &evaluation.standing, scorer)));
        if let Some(compared) = &evaluation.compared {
            out.field("compared", object(|out| standing(out, compared, scorer)));
        }
        if let Some(found) = &evaluation.comparison {
            out.field("comparison", object(|out| comparison(out, found, plan.seed)));
        }
        if let Some(pairs) = &evaluation.pairs {
            out.field("judged_pairs", object(|out| write_pairs(out, pairs)));
        }
        if !evaluation.costs.is_empty() {
            let costs = evaluation.costs.iter().map(|cost| object(|out| write_cost(out, cost)));
            out.field("judges", list(costs));
        }
        out.field(
            "thresholds",
            list(evaluation.thresholds.iter().map(|(threshold, reached)| {
                object(move |out| {
                    out.field("name", &threshold.name).field("least", threshold.least);
                    out.field("reached", *reached).field("missed", *reached < threshold.least);
                })
            })),
        );
    })
}

fn standing(out: &mut Object<'_>, standing: &Standing, scorer: Scorer) {
    let score = standing.score();
    out.field("name", &standing.name);
    out.field("score", score.map(|spread| spread.mean));
    out.field("score_with_failures_as_wrong", standing.score_with_failures());
    out.field("scored_part", counted_part(scorer, standing));
    out.field("answers", standing.count(|tally| tally.scored + tally.failed));
    out.field("scored", standing.count(|tally| tally.scored));
    out.field("right", standing.count(|tally| tally.right));
    out.field("right_at_looser_levels_only", standing.count(|tally| tally.loose));
    out.field("empty", standing.count(|tally| tally.empty));
    out.field("cut_at_max_tokens", standing.count(|tally| tally.cut));
    out.field("failed", standing.count(|tally| tally.failed));
    out.field(
        "failures",
        object(|out| {
            out.fields(standing.failures.kinds.iter().map(|(kind, count)| (kind, *count)));
        }),
    );
    if standing.phrasings.len() > 1 {
        out.field("score_over_phrasings", score.map(spread));
        out.field("spread_of_a_sample", standing.sample_spread.map(spread));
        out.field("samples_that_flip", standing.flips);
    }
    out.field(
        "phrasings",
        list(standing.phrasings.iter().map(|(template, tally)| {
            object(move |out| {
                out.field("phrasing", template);
                phrasing(out, tally, scorer);
            })
        })),
    );
    if let Some(judgement) = &standing.judgement {
        out.field("judge", object(|out| write_judgement(out, judgement)));
    }
    if let Some(labels) = &standing.labels {
        out.field("labels", object(|out| label_report(out, labels)));
    }
}

fn spread(spread: Spread) -> impl ToJson + Copy {
    #[derive(Clone, Copy)]
    struct Written(Spread);
    impl ToJson for Written {
        fn write_json(self, slot: pixtune_core::json::Slot<'_>) {
            slot.object(|out| {
                out.field("mean", self.0.mean).field("min", self.0.min).field("max", self.0.max);
                out.field("spread", self.0.width());
            });
        }
    }
    Written(spread)
}

fn phrasing(out: &mut Object<'_>, tally: &Tally, scorer: Scorer) {
    out.field("score", tally.score()).field("scored", tally.scored).field("failed", tally.failed);
    out.field("right", tally.right);
    let scores = scorer.named(tally.level_scores());
    out.field(
        "scores",
        object(|out| {
            out.fields(scores);
        }),
    );
    out.field(
        "right_first_at",
        object(|out| {
            out.fields(Level::ALL.map(|level| (level.id(), tally.levels[level as usize])));
        }),
    );
    out.field("without_final_answer", tally.unparsed);
    out.field("parse_failure_rate", tally.unparsed_share());
}

fn label_report(out: &mut Object<'_>, report: &LabelReport) {
    out.field("accuracy", report.accuracy()).field("macro_f1", report.macro_f1());
    out.field("samples", report.samples as u64).field("other_answers", report.unknown as u64);
    out.field(
        "labels",
        list(report.labels.iter().map(|(label, row)| {
            object(move |out| {
                out.field("label", label).field("samples", row.support as u64);
                out.field("predicted", row.predicted as u64).field("precision", row.precision());
                out.field("recall", row.recall()).field("f1", row.f1());
            })
        })),
    );
    out.field(
        "confusion",
        list(report.confusion.iter().map(|((label, predicted), count)| {
            object(move |out| {
                out.field("label", label).field("predicted", predicted.as_deref());
                out.field("count", *count as u64);
            })
        })),
    );
}

fn comparison(out: &mut Object<'_>, found: &Comparison, seed: u64) {
    out.field("samples", found.samples).field("difference", found.difference);
    out.field("interval", list([found.interval.low, found.interval.high]));
    out.field("confidence", 0.95).field("bootstrap_rounds", found.rounds).field("seed", seed);
    out.field("wins", found.wins).field("losses", found.losses);
    out.field("mcnemar_p", found.p_value);
}
