//! The sections that need nothing but the survey.

use std::fmt::Write as _;

use pixtune_core::plan::Side;
use pixtune_core::quality::{AnswerFormat, Example, Histogram, Kept, percent};
use pixtune_core::spec::ModelSpec;

use super::chart::{Limit, grouped, histogram, ranked};
use super::page::{Section, escape, escape_start};
use crate::survey::{FileSide, Source, Survey};

/// So much of a text is shown.
const SHOWN: usize = 300;

pub(super) fn overview(source: &Source, found: &Survey, spec: &ModelSpec) -> Section {
    let (train, held_out) = (&found.train, &found.validation);
    let both = |take: fn(&Side) -> u64| take(train) + take(held_out);
    let tokens = both(|side| side.tokens);
    let mut cards = String::from("<div class=\"cards\">");
    let mut card = |value: String, what: &str, is_bad: bool| {
        let bad = if is_bad { " bad" } else { "" };
        let _ = write!(cards, "<div class=\"card{bad}\"><b>{value}</b><span>{}</span></div>", escape(what));
    };
    if !source.files.is_empty() {
        card(grouped(train.samples), "samples to train on", train.samples == 0);
        card(grouped(held_out.samples), "samples held out", false);
        card(grouped(tokens), "tokens", false);
        let trained = both(|side| side.trained_tokens);
        card(percent(trained as f64 / tokens.max(1) as f64), "of tokens are trained", false);
        let longest = train.lengths.max().max(held_out.lengths.max());
        let context = spec.context as u64;
        card(
            grouped(longest),
            &format!("tokens in the longest sample, of {}", grouped(context)),
            longest > context,
        );
    }
    card(grouped(found.pictures.count), "pictures", false);
    card(grouped(found.together.distinct_pictures), "different pictures", false);
    card(grouped(found.refused()), "lines or pictures that cannot be used", found.refused() > 0);
    let rejected: u64 = found.rejected.values().map(|kept| kept.count).sum();
    if !source.rejected.is_empty() {
        card(grouped(rejected), "rows rejected by prepare", false);
    }
    cards.push_str("</div>");
    let mut body = cards;
    for mismatch in &source.mismatches {
        let _ =
            write!(body, "<p><span class=\"tag error\">files</span> {}</p>", escape_start(mismatch, SHOWN));
    }
    if !source.files.is_empty() {
        body.push_str("<div class=\"panel scroll\"><table><tr><th>file</th><th>side</th><th class=\"n\">lines</th><th class=\"n\">MB</th></tr>");
        for (file, lines) in source.files.iter().zip(&found.lines).take(200) {
            let side = if file.side == FileSide::Train { "train" } else { "validation" };
            let _ = write!(
                body,
                "<tr><td>{}</td><td>{side}</td><td class=\"n\">{}</td><td class=\"n\">{:.2}</td></tr>",
                escape_start(&file.name, SHOWN),
                grouped(*lines),
                file.bytes as f64 / 1e6
            );
        }
        body.push_str("</table></div>");
    }
    if let Some(manifest) = &source.manifest {
        let _ = write!(
            body,
            "<details><summary>Options of prepare {}</summary><div class=\"scroll\"><table>",
            escape_start(&manifest.version, 40)
        );
        for (key, value) in manifest.plan.iter().take(100) {
            let _ = write!(
                body,
                "<tr><td>{}</td><td><code>{}</code></td></tr>",
                escape_start(key, 80),
                escape_start(value, SHOWN)
            );
        }
        body.push_str("</table></div></details>");
    }
    Section { id: "overview", title: "Overview", body }
}

fn places(found: &Survey, source: &Source, examples: &[Example], out: &mut String) {
    out.push_str("<ul class=\"places\">");
    for Example { place, text } in examples {
        let name = if place.file == u32::MAX { "" } else { found.file_name(source, place.file) };
        let place = match name {
            "" => String::new(),
            name => format!("<code>{}:{}</code> ", escape_start(name, 80), place.line),
        };
        let _ = write!(out, "<li>{place}{}</li>", escape_start(text, SHOWN));
    }
    out.push_str("</ul>");
}

pub(super) fn findings(source: &Source, found: &Survey) -> Section {
    let mut body = String::from("<div class=\"panel\">");
    let seen = found.observations();
    if seen.is_empty() && found.refused.is_empty() {
        body.push_str("<p><span class=\"tag ok\">fine</span> Nothing stands out.</p>");
    }
    for (rule, kept) in &found.refused {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag error\">{rule}</span> {} cannot be used</summary>",
            grouped(kept.count)
        );
        places(found, source, &kept.first, &mut body);
        body.push_str("</details>");
    }
    for seen in &seen {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag {}\">{}</span> {}</summary><p class=\"soft\">{}</p><p class=\"soft\">{}</p>",
            seen.rule.severity.as_str(),
            seen.rule.id,
            escape_start(&seen.message, SHOWN),
            escape(seen.hint),
            escape(seen.rule.why)
        );
        places(found, source, &seen.examples, &mut body);
        body.push_str("</details>");
    }
    body.push_str("</div>");
    Section { id: "findings", title: "Findings", body }
}

/// A spread as a line below a chart.
fn spread(values: &Histogram, unit: &str) -> String {
    format!(
        "<p class=\"note\">{} to {} {unit}, mean {:.0}, median {}, 95 % up to {}</p>",
        grouped(values.min()),
        grouped(values.max()),
        values.mean(),
        grouped(values.quantile(0.5)),
        grouped(values.quantile(0.95))
    )
}

pub(super) fn tokens(found: &Survey, spec: &ModelSpec, estimate: Option<&str>) -> Section {
    let (train, held_out) = (&found.train, &found.validation);
    let mut all = train.lengths.clone();
    all.merge(&held_out.lengths);
    let context = Limit { at: spec.context as u64, label: "context" };
    let mut body = format!(
        "<div class=\"panel\"><h3>Tokens a sample</h3>{}<p class=\"note\"><span class=\"key a\"></span>train{}</p>{}",
        histogram(&[&train.lengths, &held_out.lengths], "tokens", Some(context)),
        if held_out.samples > 0 { "<span class=\"key b\"></span>validation" } else { "" },
        spread(&all, "tokens")
    );
    match all.above(spec.context as u64) {
        0 => {}
        over => {
            let _ = write!(
                body,
                "<p><span class=\"tag error\">context-overflow</span> {} samples are longer than the context</p>",
                grouped(over)
            );
        }
    }
    if let Some(why) = estimate {
        let _ = write!(body, "<p class=\"note\">estimate: {}</p>", escape(why));
    }
    body.push_str("</div>");
    let tokens = train.tokens + held_out.tokens;
    let images = train.image_tokens + held_out.image_tokens;
    let trained = train.trained_tokens + held_out.trained_tokens;
    let parts = [
        ("pictures", images, "bg-b"),
        ("trained text", trained, "bg-a"),
        ("other text", tokens.saturating_sub(images + trained), "bg-c"),
    ];
    body.push_str("<div class=\"panel\"><h3>What the tokens are</h3><div class=\"stack\">");
    for (name, count, class) in parts {
        let share = count as f64 / tokens.max(1) as f64 * 100.0;
        let _ = write!(
            body,
            "<i class=\"{class}\" style=\"width:{share:.2}%\" title=\"{name}: {}\"></i>",
            grouped(count)
        );
    }
    body.push_str("</div><p class=\"note\">");
    let told = parts.map(|(name, count, _)| {
        format!("{name} {} ({})", grouped(count), percent(count as f64 / tokens.max(1) as f64))
    });
    body.push_str(&told.join(" · "));
    body.push_str("</p></div>");
    Section { id: "tokens", title: "Tokens", body }
}

pub(super) fn pictures(found: &Survey, spec: &ModelSpec, gallery: &str) -> Section {
    let pictures = &found.pictures;
    if pictures.count == 0 {
        return Section {
            id: "pictures",
            title: "Pictures",
            body: "<p class=\"note\">There is no picture: the samples are text alone.</p>".into(),
        };
    }
    let mut formats: Vec<(String, u64)> =
        pictures.formats.iter().map(|(format, count)| (format.to_string(), *count)).collect();
    formats.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), name.clone()));
    let seen = Limit { at: u64::from(spec.max_side), label: "what the model sees:" };
    let mut body = format!(
        "<div class=\"two\"><div class=\"panel\"><h3>Longer side in pixels</h3>{}{}</div>\
         <div class=\"panel\"><h3>Tokens a picture</h3>{}{}</div>\
         <div class=\"panel\"><h3>Width and height</h3>{}</div>\
         <div class=\"panel\"><h3>Formats</h3>{}<h3>Bytes</h3>{}</div></div>",
        histogram(&[&pictures.longer_sides], "pixels", Some(seen)),
        spread(&pictures.longer_sides, "pixels"),
        histogram(&[&pictures.tokens], "tokens", None),
        spread(&pictures.tokens, "tokens"),
        size_map(&pictures.size_map),
        ranked(&formats, pictures.count),
        spread(&pictures.bytes, "bytes")
    );
    if pictures.shrunk > 0 {
        let _ = write!(
            body,
            "<p class=\"note\">{} pictures are larger than the {} pixels that the model sees and will be shrunk.</p>",
            grouped(pictures.shrunk),
            spec.max_side
        );
    }
    if !gallery.is_empty() {
        let _ = write!(
            body,
            "<h3>A sample of them</h3><p class=\"note\">Chosen at random with a seed; a click or Enter shows the patches that the model reads.</p><div class=\"grid\">{gallery}</div>"
        );
    }
    Section { id: "pictures", title: "Pictures", body }
}

/// A map of sizes: each field half an octave wide and high, the darker the more pictures.
fn size_map(map: &std::collections::BTreeMap<(u8, u8), u64>) -> String {
    let most = map.values().copied().max().unwrap_or(1).max(1);
    let bounds = |take: fn(&(u8, u8)) -> u8| {
        let low = map.keys().map(take).min().unwrap_or(0);
        (low, map.keys().map(take).max().unwrap_or(0) - low + 1)
    };
    let ((left, columns), (low, rows)) = (bounds(|key| key.0), bounds(|key| key.1));
    let cell = (560.0 / f64::from(columns)).min(200.0 / f64::from(rows)).min(44.0);
    let (width, height) = (cell * f64::from(columns), cell * f64::from(rows));
    let pixels = |field: u8| 2f64.powf(f64::from(field) / 2.0).round();
    let mut out = format!(
        "<svg viewBox=\"-46 -4 640 {:.0}\" role=\"img\" aria-label=\"pictures by width and height\">",
        height + 32.0
    );
    for ((wide, high), count) in map {
        let strength = 0.15 + 0.85 * (*count as f64).ln_1p() / (most as f64).ln_1p();
        let _ = write!(
            out,
            "<rect class=\"a\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"2\" fill-opacity=\"{strength:.2}\"><title>about {:.0} × {:.0} pixels: {count}</title></rect>",
            f64::from(wide - left) * cell + 0.5,
            height - f64::from(high - low + 1) * cell + 0.5,
            cell - 1.0,
            cell - 1.0,
            pixels(*wide),
            pixels(*high)
        );
    }
    let _ = write!(
        out,
        "<path class=\"axis\" d=\"M0 {height:.1}H{width:.1}M0 0V{height:.1}\" fill=\"none\"/>\
         <text x=\"0\" y=\"{:.1}\">{:.0}</text><text x=\"{width:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} px wide</text>\
         <text x=\"-4\" y=\"{height:.1}\" text-anchor=\"end\">{:.0}</text><text x=\"-4\" y=\"9\" text-anchor=\"end\">{:.0}</text></svg>\
         <p class=\"note\">The stronger, the more pictures.</p>",
        height + 15.0,
        pixels(left),
        height + 15.0,
        pixels(left + columns),
        pixels(low),
        pixels(low + rows)
    );
    out
}

pub(super) fn texts(found: &Survey) -> Section {
    let texts = &found.texts;
    let owned = |most: Vec<(&str, u64)>| {
        most.into_iter().map(|(text, count)| (text.to_owned(), count)).collect::<Vec<_>>()
    };
    let mut forms: Vec<(&str, u64)> = AnswerFormat::ALL
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
        "<p class=\"note\">No form is kept by nine in ten.</p>".to_owned(),
        |majority| {
            format!(
                "<p class=\"note\">{} keep one form: {}.</p>",
                percent(majority.share),
                majority.format.in_words()
            )
        },
    );
    let distinct = |distinct: &pixtune_core::quality::Distinct| {
        format!("{}{}", if distinct.is_exact() { "" } else { "about " }, grouped(distinct.count()))
    };
    let body = format!(
        "<div class=\"two\"><div class=\"panel\"><h3>Forms of answers</h3>{}{majority}</div>\
         <div class=\"panel\"><h3>Characters an answer</h3>{}{}</div>\
         <div class=\"panel\"><h3>Most frequent answers, of {} different</h3>{}</div>\
         <div class=\"panel\"><h3>Most frequent prompts, of {} different</h3>{}</div>\
         <div class=\"panel\"><h3>Languages of answers</h3>{}<p class=\"note\">By common words; short answers stay undecided.</p></div>\
         <div class=\"panel\"><h3>Scripts of answers</h3>{}</div></div>",
        ranked(&forms, texts.answers),
        histogram(&[&texts.answer_characters], "characters", None),
        spread(&texts.answer_characters, "characters"),
        distinct(&texts.distinct_answers),
        ranked(&owned(texts.most_frequent_answers(10)), texts.answers),
        distinct(&texts.distinct_prompts),
        ranked(&owned(texts.most_frequent_prompts(10)), texts.answers),
        ranked(&languages, texts.answers),
        ranked(&scripts, texts.answers)
    );
    Section { id: "texts", title: "Texts", body }
}

pub(super) fn split(found: &Survey) -> Section {
    let (train, held_out) = (&found.train, &found.validation);
    if held_out.samples == 0 {
        return Section {
            id: "split",
            title: "Split",
            body: "<p class=\"note\">Nothing is held out: overfitting will not show.</p>".into(),
        };
    }
    let mut body = String::from(
        "<div class=\"panel scroll\"><table><tr><th></th><th class=\"n\">train</th><th class=\"n\">validation</th></tr>",
    );
    let mut row = |name: &str, value: &dyn Fn(&Side) -> String| {
        let _ = write!(
            body,
            "<tr><td>{name}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            value(train),
            value(held_out)
        );
    };
    let each = |value: u64, side: &Side| format!("{:.2}", value as f64 / side.samples.max(1) as f64);
    row("samples", &|side| grouped(side.samples));
    row("share of samples", &|side| percent(side.samples as f64 / found.samples().max(1) as f64));
    row("share of tokens", &|side| {
        percent(side.tokens as f64 / (train.tokens + held_out.tokens).max(1) as f64)
    });
    row("tokens a sample, median", &|side| grouped(side.lengths.quantile(0.5)));
    row("tokens a sample, 95 %", &|side| grouped(side.lengths.quantile(0.95)));
    row("trained tokens a sample", &|side| each(side.trained_tokens, side));
    row("pictures a sample", &|side| each(side.pictures, side));
    row("samples with a system prompt", &|side| {
        percent(side.with_system as f64 / side.samples.max(1) as f64)
    });
    row("MB", &|side| format!("{:.2}", side.bytes as f64 / 1e6));
    body.push_str("</table></div>");
    let together = &found.together;
    let tag = |count: u64, what: &str| {
        let (class, word) = if count == 0 { ("ok", "none") } else { ("error", "leak") };
        format!("<p><span class=\"tag {class}\">{word}</span> {} {what}</p>", grouped(count))
    };
    body.push_str(&tag(together.shared_samples.count, "samples stand on both sides"));
    body.push_str(&tag(together.shared_pictures.count, "pictures stand on both sides"));
    Section { id: "split", title: "Split", body }
}

pub(super) fn rejected(found: &Survey) -> Section {
    let mut rows: Vec<(&String, &Kept)> = found.rejected.iter().collect();
    rows.sort_by_key(|(rule, kept)| (std::cmp::Reverse(kept.count), rule.as_str()));
    let mut body = String::from("<div class=\"panel\">");
    if rows.is_empty() {
        body.push_str("<p><span class=\"tag ok\">none</span> No row was rejected.</p>");
    }
    for (rule, kept) in rows {
        let _ = write!(
            body,
            "<details><summary><span class=\"tag error\">{}</span> {}</summary><ul class=\"places\">",
            escape_start(rule, 60),
            grouped(kept.count)
        );
        for example in &kept.first {
            let _ = write!(body, "<li>{}</li>", escape_start(&example.text, SHOWN));
        }
        if kept.count > kept.first.len() as u64 {
            let _ = write!(
                body,
                "<li class=\"more\">… and {} more</li>",
                grouped(kept.count - kept.first.len() as u64)
            );
        }
        body.push_str("</ul></details>");
    }
    body.push_str("</div>");
    Section { id: "rejected", title: "Rejected rows", body }
}
