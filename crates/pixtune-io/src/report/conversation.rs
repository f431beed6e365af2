//! A conversation as the model reads it: token by token, images as their patches, trained tokens marked.

use std::fmt::Write as _;

use pixtune_core::strict::BorrowedSample;
use pixtune_core::text::{counted, counted_as};
use pixtune_core::tokens::{ChatEncoder, Encoded, Grid};

use super::embed::Thumbnail;
use super::page::escape;

/// The most text tokens of one conversation that are shown; of a longer one the middle is omitted, with its length.
const SHOWN: usize = 1600;
/// Images of one conversation that are shown.
pub(super) const MOST_IMAGES: usize = 32;
/// Bytes of HTML that a text token takes, as a rule.
const TOKEN_BYTES: usize = 24;

/// The stream of a conversation, in about so many bytes beside the images. `images` are those of the sample in order,
/// where they could be read.
pub(super) fn stream(
    encoder: &ChatEncoder<'_>,
    sample: &BorrowedSample<'_>,
    sizes: &[(u32, u32)],
    images: &[Option<Thumbnail>],
    bytes: usize,
) -> Option<(Encoded, String)> {
    let most = SHOWN.min(bytes / TOKEN_BYTES);
    let encoded = encoder.encode(sample, sizes).ok()?;
    let marks = encoder.tokenizer.marks();
    let trained = encoded.counts.runs.iter().flat_map(|run| std::iter::repeat_n(run.trained, run.tokens));
    let mut out = String::from("<div class=\"stream\">");
    let mut writer = Writer { out: &mut out, encoder, marked: false, budget: bytes, omitted: 0 };
    let text_tokens = encoded.counts.text_tokens();
    let (mut at, mut image) = (0, 0);
    let trained: Vec<bool> = trained.collect();
    let mut text_seen = 0;
    while at < encoded.ids.len() {
        let id = encoded.ids[at];
        if id == marks.image {
            let rest = &encoded.ids[at..];
            let length = encoded.counts.images.get(image).map_or(1, Grid::tokens).clamp(1, rest.len());
            let sides = encoded.counts.images.get(image).map(|grid| (grid.columns, grid.rows));
            writer.image(image, length, sides, images);
            image += 1;
            at += length;
            continue;
        }
        text_seen += 1;
        let is_shown = text_tokens <= most || text_seen <= most * 2 / 3 || text_seen > text_tokens - most / 3;
        writer.token(id, trained.get(at).copied().unwrap_or(false), is_shown);
        at += 1;
    }
    writer.end();
    out.push_str("</div>");
    Some((encoded, out))
}

struct Writer<'w, 'e> {
    out: &'w mut String,
    encoder: &'w ChatEncoder<'e>,
    marked: bool,
    /// Bytes that text may still take.
    budget: usize,
    omitted: usize,
}

impl Writer<'_, '_> {
    fn mark(&mut self, trained: bool) {
        if trained != self.marked {
            self.out.push_str(if trained { "<mark>" } else { "</mark>" });
            self.marked = trained;
        }
    }

    fn write_omitted(&mut self) {
        if self.omitted > 0 {
            let _ = write!(
                self.out,
                "<span class=\"more\"> … {} … </span>",
                counted_as(self.omitted as u64, "more token", "more tokens")
            );
            self.omitted = 0;
        }
    }

    fn token(&mut self, id: u32, trained: bool, is_shown: bool) {
        if !is_shown || self.budget == 0 {
            self.mark(false);
            self.omitted += 1;
            return;
        }
        self.write_omitted();
        self.mark(trained);
        let before = self.out.len();
        let special = self.encoder.tokenizer.special_tokens().get(id as usize);
        match special {
            Some(name) => {
                let _ = write!(self.out, "<i class=\"s\">{}</i>", escape(name));
            }
            None => {
                let bytes = self.encoder.tokenizer.token(id).unwrap_or_default();
                let text: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
                let text =
                    text.replace(char::REPLACEMENT_CHARACTER, "·").replace('\n', "⏎\n").replace('\t', "⇥");
                let _ = write!(self.out, "<i>{}</i>", escape(&text));
            }
        }
        self.budget = self.budget.saturating_sub(self.out.len() - before);
    }

    fn image(&mut self, index: usize, tokens: usize, grid: Option<(u32, u32)>, images: &[Option<Thumbnail>]) {
        if index >= MOST_IMAGES {
            self.omitted += tokens;
            return;
        }
        self.write_omitted();
        self.mark(false);
        let (columns, rows) = grid.unwrap_or_default();
        self.out.push_str("<figure>");
        if let Some(Some(image)) = images.get(index) {
            let _ = write!(
                self.out,
                "<span class=\"patched\" data-columns=\"{columns}\" data-rows=\"{rows}\"><img loading=\"lazy\" alt=\"image {}\" src=\"{}\"></span>",
                index + 1,
                image.uri
            );
        }
        let _ = write!(
            self.out,
            "<figcaption>[IMG] {columns} × {rows} patches = {} with [IMG_BREAK] and [IMG_END]</figcaption></figure>",
            counted(tokens as u64, "token")
        );
    }

    fn end(&mut self) {
        self.write_omitted();
        self.mark(false);
    }
}
