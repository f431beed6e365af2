//! What judges found: ratings, preferences, agreement and cost.

use std::fmt::Write as _;

use pixtune_core::text::{counted, grouped};
use pixtune_io::report::page::{Section, escape_short};

use super::Found;
use crate::contest::Standing;
use crate::judge::{JudgeCost, Judgement, PairJudgement, PairTally};

/// Categories that are listed.
const MOST_CATEGORIES: usize = 50;

/// The section, if there is a judge.
pub(super) fn judges(found: Found<'_>) -> Option<Section> {
    let evaluation = found.evaluation;
    evaluation.standing.judgement.as_ref()?;
    let mut body = String::new();
    for standing in [Some(&evaluation.standing), evaluation.compared.as_ref()].into_iter().flatten() {
        if let Some(judgement) = &standing.judgement {
            ratings(&mut body, standing, judgement);
        }
    }
    if let (Some(pairs), Some(base)) = (&evaluation.pairs, &evaluation.compared) {
        preferences(&mut body, pairs, &evaluation.standing, base);
    }
    costs(&mut body, &evaluation.costs);
    Some(Section { id: "judge", title: "Judge", body })
}

fn row(name: &str, value: &str) -> String {
    format!("<tr><td>{name}</td><td class=\"n\">{value}</td></tr>")
}

fn ratings(body: &mut String, standing: &Standing, judgement: &Judgement) {
    let _ = write!(
        body,
        "<div class=\"panel\"><h3>{}</h3><div class=\"scroll\"><table>",
        escape_short(&standing.name, 120)
    );
    let means = [
        Some(("rating, 1 to 10", &judgement.first)),
        judgement.second.as_ref().map(|second| ("rating of the second judge", second)),
    ];
    for (name, ratings) in means.into_iter().flatten() {
        let mean = ratings.averages().map_or("none".to_owned(), |averages| format!("{:.2}", averages.micro));
        *body += &row(name, &mean);
        if ratings.failed > 0 {
            *body += &row("answers without a rating", &grouped(ratings.failed));
        }
    }
    let averages = judgement.first.averages();
    let categories = averages.iter().flat_map(|averages| &averages.categories);
    for (category, mean) in categories.filter(|(name, _)| !name.is_empty()).take(MOST_CATEGORIES) {
        *body += &row(&format!("rating, {}", escape_short(category, 60)), &format!("{mean:.2}"));
    }
    if let Some(agreement) = judgement.agreement() {
        *body += &row("both judges rate equally", &of(agreement.equal, agreement.samples));
        *body += &row("at most 1 apart", &of(agreement.within_one, agreement.samples));
        *body += &row("second minus first, mean", &format!("{:+.2}", agreement.mean_difference));
        *body += &row("correlation", &number(agreement.correlation));
    }
    body.push_str("</table></div></div>");
}

fn preferences(body: &mut String, pairs: &PairJudgement, model: &Standing, base: &Standing) {
    let _ = write!(
        body,
        "<div class=\"panel\"><h3>{} against {}</h3><div class=\"scroll\"><table><tr><th>pairs, each judged in both orders</th><th class=\"n\">wins</th><th class=\"n\">losses</th><th class=\"n\">ties</th><th class=\"n\">win rate</th></tr>",
        escape_short(&model.name, 60),
        escape_short(&base.name, 60)
    );
    let mut tally = |name: &str, tally: &PairTally| {
        let counts = [tally.wins, tally.losses, tally.ties].map(grouped);
        let _ = write!(body, "<tr><td>{name}</td>");
        for value in counts.into_iter().chain([number(tally.win_rate())]) {
            let _ = write!(body, "<td class=\"n\">{value}</td>");
        }
        body.push_str("</tr>");
    };
    tally("judge", &pairs.tally);
    for (category, found) in
        pairs.categories.iter().filter(|(name, _)| !name.is_empty()).take(MOST_CATEGORIES)
    {
        tally(&escape_short(category, 60), found);
    }
    if let Some(second) = &pairs.second {
        tally("second judge", &second.tally);
    }
    let PairTally { inconsistent, shown_first, choices, .. } = pairs.tally;
    let _ = write!(
        body,
        "</table></div><p class=\"note\">{} because the choice changed with the order · the answer shown first was chosen {} times · p-value of the sign test {:.4}",
        counted(inconsistent, "tie"),
        of(shown_first, choices),
        pairs.tally.p_value()
    );
    if pairs.failed > 0 {
        let _ = write!(body, " · {} without a judgement", counted(pairs.failed, "pair"));
    }
    if let Some(agreement) = pairs.agreement() {
        let _ = write!(
            body,
            " · both judges agree on {}, prefer opposite answers in {}, Cohen’s kappa {}",
            of(agreement.equal, agreement.samples),
            grouped(agreement.opposite),
            number(agreement.kappa)
        );
    }
    body.push_str("</p></div>");
}

fn costs(body: &mut String, costs: &[JudgeCost]) {
    body.push_str("<div class=\"panel scroll\"><table><tr><th>cost</th><th class=\"n\">requests</th><th class=\"n\">prompt tokens</th><th class=\"n\">completion tokens</th><th class=\"n\">US dollars</th></tr>");
    for cost in costs {
        let dollars = cost.dollars.map_or("price not given".to_owned(), |dollars| format!("{dollars:.4}"));
        let least = if cost.unreported > 0 { "at least " } else { "" };
        let _ = write!(
            body,
            "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{least}{}</td><td class=\"n\">{least}{}</td><td class=\"n\">{dollars}</td></tr>",
            escape_short(&cost.judge, 80),
            grouped(cost.requests),
            grouped(cost.prompt_tokens),
            grouped(cost.completion_tokens)
        );
    }
    body.push_str("</table></div>");
}

fn of(count: u64, all: u64) -> String {
    format!("{} of {}", grouped(count), grouped(all))
}

fn number(value: Option<f64>) -> String {
    value.map_or("none".to_owned(), |value| format!("{value:.3}"))
}
