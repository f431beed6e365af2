//! The length of samples, and their tokens by kind.

use std::fmt::Write as _;

use pixtune_core::quality::percent;
use pixtune_core::text::{counted_as, grouped};

use super::{View, spread};
use crate::report::chart::{Counted, Limit, histogram};
use crate::report::page::{Section, escape};

const TOKENS: Counted = Counted { unit: "tokens", what: "samples" };

pub(in crate::report) fn tokens(view: View<'_>) -> Section {
    let (train, validation) = (&view.found.train, &view.found.validation);
    let mut all = train.lengths.clone();
    all.merge(&validation.lengths);
    let context = Limit { at: view.spec.context as u64, label: "context" };
    let key = match validation.samples {
        0 => "",
        _ => {
            "<p class=\"note\"><span class=\"key a\"></span>train<span class=\"key b\"></span>validation</p>"
        }
    };
    let mut body = format!(
        "<div class=\"panel\"><h3>Tokens per sample</h3>{}{key}{}",
        histogram("tokens", &[&train.lengths, &validation.lengths], TOKENS, Some(context)),
        spread(&all, "tokens")
    );
    match all.above(view.spec.context as u64) {
        0 => {}
        over => {
            let over = counted_as(over, "sample is", "samples are");
            let _ = write!(
                body,
                "<p><span class=\"tag error\">context-overflow</span> {over} longer than the context</p>"
            );
        }
    }
    if let Some(origin) = view.special_tokens {
        let _ = write!(body, "<p class=\"note\">special tokens: {}</p>", escape(origin));
    }
    body.push_str("</div>");
    let tokens = train.tokens + validation.tokens;
    let images = train.image_tokens + validation.image_tokens;
    let trained = train.trained_tokens + validation.trained_tokens;
    let parts = [
        ("images", images, "b"),
        ("trained text", trained, "a"),
        ("other text", tokens.saturating_sub(images + trained), "c"),
    ];
    let share = |count: u64| count as f64 / tokens.max(1) as f64;
    body.push_str("<div class=\"panel\"><h3>Tokens by kind</h3><div class=\"stack\" data-chart=\"parts\">");
    for (name, count, class) in parts {
        let _ = write!(
            body,
            "<i class=\"bg-{class}\" style=\"width:{:.2}%\" title=\"{name}: {}\"></i>",
            share(count) * 100.0,
            grouped(count)
        );
    }
    body.push_str("</div><p class=\"note\">");
    for (name, count, class) in parts {
        let _ = write!(
            body,
            "<span class=\"part\"><span class=\"key {class}\"></span>{name} {} ({})</span> ",
            grouped(count),
            percent(share(count))
        );
    }
    body.push_str("</p></div>");
    Section { id: "tokens", title: "Tokens", body }
}
