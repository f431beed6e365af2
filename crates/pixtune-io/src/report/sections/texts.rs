//! The responses and prompts of a dataset.

use pixtune_core::quality::{ResponseFormat, percent};
use pixtune_core::text::grouped;

use super::{View, spread};
use crate::report::chart::{Counted, histogram, ranked};
use crate::report::page::Section;

pub(in crate::report) fn texts(view: View<'_>) -> Section {
    let texts = &view.found.texts;
    let owned = |most: Vec<(&str, u64)>| {
        most.into_iter().map(|(text, count)| (text.to_owned(), count)).collect::<Vec<_>>()
    };
    let mut forms: Vec<(&str, u64)> = ResponseFormat::ALL
        .into_iter()
        .map(|form| (form.in_words(), texts.formats.count(form)))
        .filter(|(_, count)| *count > 0)
        .collect();
    forms.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let mut languages: Vec<(&str, u64)> =
        texts.languages.iter().map(|(language, count)| (language.unwrap_or("undecided"), *count)).collect();
    languages.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let mut scripts: Vec<(&str, u64)> =
        texts.scripts.iter().map(|(script, count)| (script.as_str(), *count)).collect();
    scripts.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let majority = texts.formats.majority().map_or(
        "<p class=\"note\">No format is used by nine of ten responses.</p>".to_owned(),
        |majority| {
            format!(
                "<p class=\"note\">{} have one format: {}.</p>",
                percent(majority.share),
                majority.format.in_words()
            )
        },
    );
    let distinct = |distinct: &pixtune_core::quality::Distinct| {
        format!("{}{}", if distinct.is_exact() { "" } else { "about " }, grouped(distinct.count()))
    };
    let body = format!(
        "<div class=\"two\"><div class=\"panel\"><h3>Formats of responses</h3>{}{majority}</div>\
         <div class=\"panel\"><h3>Characters per response</h3>{}{}</div>\
         <div class=\"panel\"><h3>Most frequent responses, of {} different</h3>{}</div>\
         <div class=\"panel\"><h3>Most frequent prompts, of {} different</h3>{}</div>\
         <div class=\"panel\"><h3>Languages of responses</h3>{}<p class=\"note\">Detected by common words; short responses stay undecided.</p></div>\
         <div class=\"panel\"><h3>Scripts of responses</h3>{}</div></div>",
        ranked("forms", &forms, texts.responses),
        histogram(
            "characters",
            &[&texts.response_characters],
            Counted { unit: "characters", what: "responses" },
            None
        ),
        spread(&texts.response_characters, "characters"),
        distinct(&texts.distinct_responses),
        ranked("answers", &owned(texts.most_frequent_responses(10)), texts.responses),
        distinct(&texts.distinct_prompts),
        ranked("prompts", &owned(texts.most_frequent_prompts(10)), texts.responses),
        ranked("languages", &languages, texts.responses),
        ranked("scripts", &scripts, texts.responses)
    );
    Section { id: "texts", title: "Texts", body }
}
