//! A report on a set: one HTML file that needs nothing else, of a size that does not grow with the set.
//!
//! [`page`] and [`chart`] are the frame, for any report; the rest shows what a [`Survey`] found.

pub mod chart;
mod collect;
mod conversation;
mod fetch;
pub mod page;
mod sections;

use std::borrow::Cow;
use std::fmt::Write as _;

use pixtune_core::sample::{Message, Picture, Sample};
use pixtune_core::tokens::ChatEncoder;

use crate::prepare::Progress;
use crate::survey::{Looker, Pairs, Source, Survey, SurveyError, picture_bytes, survey};
use chart::grouped;
use collect::{EXTREMES, Picks, PicturePlace};
use fetch::{Fetch, Thumbnail};
use page::{Page, Section, escape, escape_start};

/// What a report shows.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Seed of the random choice.
    pub seed: u64,
    /// Conversations in the browser.
    pub samples: usize,
    /// Pictures in the gallery.
    pub pictures: usize,
    /// Threads to work on.
    pub threads: usize,
}

/// Surveys a source and writes a page about it.
pub fn report(
    source: &Source,
    title: &str,
    looker: &Looker<'_>,
    estimate: Option<&str>,
    choice: Choice,
    progress: &mut (dyn FnMut(Progress) + Send),
) -> Result<(Survey, String), SurveyError> {
    let spec = looker.encoder.spec;
    let mut picks = Picks::new(choice.seed, (choice.samples, choice.pictures), spec.max_side, progress);
    let found = survey(source, looker, choice.threads, &mut picks)?;
    let Picks { samples, gallery, worst, measured, alike, .. } = picks;
    let mut fetch = Fetch::new(source, spec);
    let browser = browser(&found, source, &looker.encoder, &samples.into_sorted(), &mut fetch);
    let mut worst_body = String::new();
    for (extreme, worst) in EXTREMES.iter().zip(&worst) {
        let mut pictures = String::new();
        for (score, place, _) in &worst.kept {
            let told = (extreme.told)(*score);
            pictures.push_str(&picture(&found, source, &mut fetch, *place, &told, 160));
        }
        if !pictures.is_empty() {
            let _ = write!(
                worst_body,
                "<h3>{}</h3><p class=\"note\">{}</p><div class=\"grid\">{pictures}</div>",
                extreme.title,
                escape(extreme.about)
            );
        }
    }
    let duplicates = duplicates(&found, source, &alike, &mut fetch);
    let mut shown = String::new();
    for (place, ()) in gallery.into_sorted() {
        shown.push_str(&picture(&found, source, &mut fetch, place, "", 320));
    }
    let mut sections = vec![sections::overview(source, &found, spec), sections::findings(source, &found)];
    if found.samples() > 0 {
        sections.push(sections::tokens(&found, spec, estimate));
    }
    sections.push(sections::pictures(&found, spec, &shown));
    if measured > 0 {
        let lead = "<p class=\"note\">Ranked, not judged: the farthest of each kind are shown, also where nothing is wrong with them.</p>";
        sections.push(Section { id: "extremes", title: "Extremes", body: format!("{lead}{worst_body}") });
    }
    sections.push(duplicates);
    if found.texts.answers > 0 {
        sections.push(sections::texts(&found));
        sections.push(sections::split(&found));
    }
    if !source.rejected.is_empty() {
        sections.push(sections::rejected(&found));
    }
    sections.extend(browser);
    let left_out = match fetch.left_out {
        0 => String::new(),
        more => format!(" {} pictures were left out to keep the file small.", grouped(more)),
    };
    let page = Page {
        title: title.to_owned(),
        lead: format!("counted for {}", spec.id),
        foot: format!(
            "pixtune {}. Random choices were made with the seed {}.{left_out}",
            env!("CARGO_PKG_VERSION"),
            choice.seed
        ),
        sections,
    };
    Ok((found, page.html()))
}

/// A place as people read it.
fn place_name(found: &Survey, source: &Source, place: PicturePlace) -> String {
    let name = found.file_name(source, place.line.file);
    if source.files.is_empty() { name.to_owned() } else { format!("{name}:{}", place.line.line) }
}

/// A picture that opens large, with its patches.
fn picture(
    found: &Survey,
    source: &Source,
    fetch: &mut Fetch<'_>,
    place: PicturePlace,
    told: &str,
    side: u32,
) -> String {
    let name = place_name(found, source, place);
    let Some(Thumbnail { uri, size, grid }) = fetch.thumbnail(place, side) else { return String::new() };
    let about = format!(
        "{name} · {} × {} pixels · {} × {} patches, {} tokens{}{}",
        size.0,
        size.1,
        grid.columns,
        grid.rows,
        grouped(grid.tokens() as u64),
        if grid.shrunk { ", shrunk by the model" } else { "" },
        if told.is_empty() { String::new() } else { format!(" · {told}") }
    );
    let below = if told.is_empty() {
        format!("{} × {}", size.0, size.1)
    } else {
        format!("<b>{}</b>", escape(told))
    };
    format!(
        "<button class=\"pic\" type=\"button\" data-columns=\"{}\" data-rows=\"{}\" data-about=\"{}\"><img loading=\"lazy\" alt=\"{}\" src=\"{uri}\"><span>{below}<br>{}</span></button>",
        grid.columns,
        grid.rows,
        escape(&about),
        escape(&name),
        escape_start(&name, 60)
    )
}

fn duplicates(
    found: &Survey,
    source: &Source,
    alike: &(u64, Vec<(PicturePlace, PicturePlace)>),
    fetch: &mut Fetch<'_>,
) -> Section {
    let mut body = String::new();
    if alike.0 > 0 {
        let _ = write!(
            body,
            "<div class=\"panel\"><h3>{} pictures that look the same and are other files</h3><p class=\"note\">Equal perceptual hashes: the same picture encoded, scaled or cropped anew.</p>",
            grouped(alike.0)
        );
        for (one, other) in &alike.1 {
            let _ = write!(
                body,
                "<div class=\"pair\">{}{}</div>",
                picture(found, source, fetch, *one, "", 160),
                picture(found, source, fetch, *other, "", 160)
            );
        }
        body.push_str("</div>");
    }
    let together = &found.together;
    let repeated =
        if source.files.is_empty() { "files with the same bytes" } else { "samples that stand twice" };
    for (pairs, what) in [
        (&together.contradictions, "samples with the pictures and prompt of another and another answer"),
        (&together.repeated, repeated),
        (&together.shared_samples, "samples on both sides of the split"),
        (&together.shared_pictures, "pictures on both sides of the split"),
    ] {
        if pairs.count > 0 {
            let _ = write!(body, "<div class=\"panel\"><h3>{} {what}</h3>", grouped(pairs.count));
            pairs_listed(found, source, pairs, fetch, &mut body);
            body.push_str("</div>");
        }
    }
    if body.is_empty() {
        body.push_str("<div class=\"panel\"><p><span class=\"tag ok\">none</span> Nothing stands twice, and nothing contradicts.</p></div>");
    }
    Section { id: "duplicates", title: "Duplicates and conflicts", body }
}

fn pairs_listed(found: &Survey, source: &Source, pairs: &Pairs, fetch: &mut Fetch<'_>, body: &mut String) {
    for (one, other) in pairs.first.iter().take(12) {
        body.push_str("<div class=\"pair\">");
        for line in [*one, *other] {
            let place = PicturePlace { line, index: 0 };
            let shown = picture(found, source, fetch, place, "", 160);
            let said = fetch.sample(line, |sample, _| Some(last_turns(sample))).unwrap_or_default();
            let name = place_name(found, source, place);
            let _ = write!(
                body,
                "<div>{shown}<p class=\"soft\"><code>{}</code> {}</p></div>",
                escape_start(&name, 80),
                escape_start(&said, 240)
            );
        }
        body.push_str("</div>");
    }
    if pairs.count > 12 {
        let _ = write!(body, "<p class=\"more\">… and {} more</p>", grouped(pairs.count - 12));
    }
}

/// The last prompt and answer of a conversation, as text.
fn last_turns<I>(sample: &Sample<I>) -> String {
    let mut prompt = Cow::Borrowed("");
    let mut answer = Cow::Borrowed("");
    for message in &sample.messages {
        match message {
            Message::User(content) => prompt = pixtune_core::quality::plain(content),
            Message::Assistant(assistant) => {
                answer = assistant.content.as_ref().map(pixtune_core::quality::plain).unwrap_or_default();
            }
            _ => {}
        }
    }
    format!("{} → {}", prompt.trim(), answer.trim())
}

/// The browser of conversations.
fn browser(
    found: &Survey,
    source: &Source,
    encoder: &ChatEncoder<'_>,
    places: &[(PicturePlace, ())],
    fetch: &mut Fetch<'_>,
) -> Option<Section> {
    if places.is_empty() {
        return None;
    }
    let mut list = String::from("<div class=\"list\" role=\"tablist\" aria-label=\"Samples\">");
    let mut samples = String::new();
    for (number, (place, ())) in places.iter().enumerate() {
        let name = place_name(found, source, *place);
        let bytes = fetch.sample(place.line, |sample, folder| {
            Some(
                sample
                    .images
                    .iter()
                    .map(|picture: &Picture<&str>| picture_bytes(picture, folder).ok())
                    .collect::<Vec<_>>(),
            )
        });
        let pictures: Vec<Option<Thumbnail>> =
            bytes.unwrap_or_default().iter().map(|bytes| fetch.small(bytes.as_deref()?, 448)).collect();
        let shown = fetch.sample(place.line, |sample, folder| {
            let sizes = sizes(sample, folder, &pictures)?;
            let (encoded, stream) = conversation::stream(encoder, sample, &sizes, &pictures)?;
            Some((encoded, stream, last_turns(sample)))
        });
        let (about, stream, said) = match shown {
            Some((encoded, stream, said)) => {
                let counts = &encoded.counts;
                let about = format!(
                    "{} tokens, {} of pictures, {} trained",
                    grouped(counts.tokens as u64),
                    grouped(counts.image_tokens as u64),
                    grouped(counts.trained_tokens as u64)
                );
                (about, stream, said)
            }
            None => (
                "cannot be shown: the file has changed since it was read".to_owned(),
                String::new(),
                String::new(),
            ),
        };
        let _ = write!(
            list,
            "<button type=\"button\" role=\"tab\" id=\"tab{number}\" aria-controls=\"sample{number}\"><code>{}</code><br>{}</button>",
            escape_start(&name, 60),
            escape_start(&said, 60)
        );
        let _ = write!(
            samples,
            "<div class=\"sample panel\" role=\"tabpanel\" id=\"sample{number}\" aria-labelledby=\"tab{number}\"><h3>{}</h3><p class=\"note\">{about}</p>{stream}</div>",
            escape_start(&name, 120)
        );
    }
    let body = format!(
        "<p class=\"note\">A random choice, token after token as the model reads it; what is trained is marked. <kbd>J</kbd> and <kbd>K</kbd> go on and back, <kbd>G</kbd> hides the patches.</p>\
         <div class=\"browser\">{list}</div><div>{samples}</div></div>"
    );
    Some(Section { id: "samples", title: "Samples", body })
}

/// The sizes of a sample's pictures: known of those that were decoded, else read from the header.
fn sizes(
    sample: &Sample<Picture<&str>>,
    folder: &std::path::Path,
    pictures: &[Option<Thumbnail>],
) -> Option<Vec<(u32, u32)>> {
    sample
        .images
        .iter()
        .enumerate()
        .map(|(index, picture)| match pictures.get(index) {
            Some(Some(known)) => Some(known.size),
            _ => {
                let bytes = picture_bytes(picture, folder).ok()?;
                Some(crate::image::inspect(&bytes, &crate::survey::LIMITS).ok()?.reference_size())
            }
        })
        .collect()
}
