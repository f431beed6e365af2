//! A browser of conversations as the model will read them.

use std::fmt::Write as _;

use pixtune_core::sample::{Content, Image, Message, Part};
use pixtune_core::strict::BorrowedSample;
use pixtune_core::text::{counted, grouped};
use pixtune_core::tokens::ChatEncoder;

use super::View;
use crate::image::{Limits, Resolver, load_header};
use crate::report::budget::{ImageArea, SizeBudget};
use crate::report::conversation::{self, MOST_IMAGES};
use crate::report::embed::{Embedder, Thumbnail};
use crate::report::page::{Section, escape_short, escape_start};
use crate::report::problems::Problem;
use crate::report::turns::Turns;
use crate::survey::{ImagePlace, reread_image};

/// A longer conversation is not shown, even in part: it would have to be read as a whole.
const MOST_TEXT: usize = 8 << 20;

pub(in crate::report) fn samples(
    view: View<'_>,
    encoder: &ChatEncoder<'_>,
    embedder: &mut Embedder<'_>,
) -> Option<Section> {
    let places = &view.shown.places;
    if places.is_empty() {
        return None;
    }
    let mut list =
        String::from("<div class=\"list\" role=\"tablist\" aria-label=\"Samples\" data-chart=\"samples\">");
    let mut samples = String::new();
    for (number, place) in places.iter().enumerate() {
        let name = view.name(place.line);
        let Shown { about, stream, said } = show(encoder, *place, places.len(), embedder);
        let split = view.split(place.line);
        let problems: Vec<&Problem> =
            view.shown.problems(place.line).map(|index| &view.problems[index]).collect();
        let keys: Vec<&str> = problems.iter().map(|problem| problem.key).collect();
        let _ = write!(
            list,
            "<button type=\"button\" role=\"tab\" id=\"tab{number}\" aria-controls=\"sample{number}\" data-split=\"{split}\" data-problems=\"{}\"><code>{}</code><br>{}</button>",
            keys.join(" "),
            escape_short(&name, 60),
            escape_short(&said, 70)
        );
        let origin = view.origin(place.line).map_or(String::new(), |origin| {
            format!(" <span class=\"soft\">from <code>{}</code></span>", escape_start(&origin, 120))
        });
        let mut tags = String::new();
        for Problem { key, rule, level, .. } in problems {
            let level = level.as_str();
            let _ = write!(tags, " <a class=\"tag {level}\" href=\"#finding-{key}\">{rule}</a>");
        }
        let _ = write!(
            samples,
            "<div class=\"sample panel\" role=\"tabpanel\" tabindex=\"0\" id=\"sample{number}\" aria-labelledby=\"tab{number}\"><h3>{}{origin}</h3><p class=\"note\">{split} · {about}{tags}</p>{stream}</div>",
            escape_start(&name, 120)
        );
    }
    let of = match places.len() as u64 {
        shown if shown < view.found.samples() => format!(
            "{} of {}: a random selection and the first of each finding",
            grouped(shown),
            counted(view.found.samples(), "sample")
        ),
        shown => format!("All {}", counted(shown, "sample")),
    };
    let body = format!(
        "<p class=\"note\">{of}, token by token as the model reads them; trained tokens are <span class=\"stream\"><mark>marked</mark></span>. Arrow keys, <kbd>J</kbd> and <kbd>K</kbd> select the next or previous sample, <kbd>G</kbd> hides the patches.</p>\
         {}<div class=\"browser\">{list}</div><div>{samples}</div></div>",
        filters(view)
    );
    Some(Section { id: "samples", title: "Samples", body })
}

/// What selects among the shown samples: a text, a finding, a split.
fn filters(view: View<'_>) -> String {
    let mut out = String::from(
        "<div class=\"search\" role=\"search\"><input type=\"search\" id=\"text\" placeholder=\"Search these samples\" aria-label=\"Search the text of these samples\">",
    );
    let places = &view.shown.places;
    let mut select = |id: &str, all: &str, label: &str, values: Vec<(&str, &str, usize)>| {
        if values.len() < 2 && id == "split-filter" || values.is_empty() {
            return;
        }
        let _ = write!(out, "<select id=\"{id}\" aria-label=\"{label}\"><option value=\"\">{all}</option>");
        for (value, name, count) in values {
            let _ = write!(out, "<option value=\"{value}\">{name} ({count})</option>");
        }
        out.push_str("</select>");
    };
    let with = |index: usize| {
        places.iter().filter(|place| view.shown.problems(place.line).any(|known| known == index)).count()
    };
    let problems: Vec<(&str, &str, usize)> = view
        .problems
        .iter()
        .enumerate()
        .map(|(index, problem)| (problem.key, problem.key, with(index)))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    select("problem-filter", "any finding or none", "Finding", problems);
    let of_split = |split: &str| places.iter().filter(|place| view.split(place.line) == split).count();
    let splits = ["train", "validation"].map(|split| (split, split, of_split(split)));
    let splits = splits.into_iter().filter(|(_, _, count)| *count > 0).collect();
    select("split-filter", "both splits", "Split", splits);
    out.push_str("<output id=\"hits\" aria-live=\"polite\"></output></div>");
    out
}

/// A conversation on the page.
struct Shown {
    about: String,
    stream: String,
    said: String,
}

impl Shown {
    fn nothing(why: &str) -> Shown {
        Shown { about: why.to_owned(), stream: String::new(), said: String::new() }
    }
}

fn show(encoder: &ChatEncoder<'_>, place: ImagePlace, of: usize, embedder: &mut Embedder<'_>) -> Shown {
    let text = embedder.sample(place.line, |sample, _| Some(text_bytes(sample)));
    match text {
        None => return Shown::nothing("cannot be shown: the file has changed since it was read"),
        Some(text) if text > MOST_TEXT => {
            let why = format!("not shown here: {:.0} MB of text", text as f64 / 1e6);
            return Shown::nothing(&why);
        }
        Some(_) => {}
    }
    let images = images(place, of, embedder);
    let bytes = embedder.budget.stream_share(of);
    let limits = embedder.view.found.limits;
    let shown = embedder.sample(place.line, |sample, directory| {
        let sizes = sizes(sample, &Resolver::new(directory), &limits, &images)?;
        let (encoded, stream) = conversation::stream(encoder, sample, &sizes, &images, bytes)?;
        let counts = &encoded.counts;
        let about = format!(
            "{}, {} of images, {} trained",
            counted(counts.tokens as u64, "token"),
            grouped(counts.image_tokens as u64),
            grouped(counts.trained_tokens as u64)
        );
        Some(Shown { about, stream, said: Turns::last_of(sample).to_string() })
    });
    shown.unwrap_or_else(|| Shown::nothing("cannot be shown: the file has changed since it was read"))
}

fn text_bytes(sample: &BorrowedSample<'_>) -> usize {
    let of = |content: &Content<&str>| match content {
        Content::Text(text) => text.len(),
        Content::Parts(parts) => {
            let text = |part: &Part<&str>| match part {
                Part::Text(text) | Part::Thinking { text, .. } => text.len(),
                Part::Image(_) => 0,
            };
            parts.iter().map(text).sum()
        }
    };
    let of_message = |message: &Message<&str>| match message {
        Message::System(content) | Message::User(content) => of(content),
        Message::Assistant(turn) => turn.content.as_ref().map_or(0, of),
        Message::Tool(result) => of(&result.content),
    };
    sample.messages.iter().map(of_message).sum()
}

/// The first images of a sample, where they can be read and there is budget.
fn images(place: ImagePlace, of: usize, embedder: &mut Embedder<'_>) -> Vec<Option<Thumbnail>> {
    let count =
        embedder.sample(place.line, |sample, _| Some(sample.images.len())).unwrap_or(0).min(MOST_IMAGES);
    let bytes = SizeBudget::image_share(ImageArea::Samples, of * count.max(1));
    (0..count)
        .map(|index| {
            let place = ImagePlace { index: index as u32, ..place };
            let read = reread_image(embedder.view.source, embedder.view.found, place)?;
            let small = embedder.small(&read, 448, bytes)?;
            embedder.budget.take_image(ImageArea::Samples, small.uri.len()).then_some(small)
        })
        .collect()
}

/// The sizes of a sample's images: known of those that were decoded, else read from the header.
fn sizes(
    sample: &BorrowedSample<'_>,
    resolver: &Resolver<'_>,
    limits: &Limits,
    images: &[Option<Thumbnail>],
) -> Option<Vec<(u32, u32)>> {
    let size = |(index, image): (usize, &Image<&str>)| match images.get(index) {
        Some(Some(known)) => Some(known.size),
        _ => {
            let known = load_header(&image.source, resolver, limits).ok()?;
            Some(known.header().reference_size())
        }
    };
    sample.images.iter().enumerate().map(size).collect()
}
