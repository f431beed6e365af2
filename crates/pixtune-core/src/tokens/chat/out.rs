//! The output of an encoding pass: ids, counts or bytes.

use super::{Counts, Run};
use crate::diagnostic::Finding;
use crate::rules::IMAGE_UNREADABLE;
use crate::spec::ModelSpec;
use crate::tokens::grid::grid;
use crate::tokens::tokenizer::{Encoder, Tokenizer};

/// The sizes and token ids of the images of a conversation.
pub(super) struct Images<'s> {
    pub(super) spec: Option<&'s ModelSpec>,
    pub(super) sizes: &'s [(u32, u32)],
    /// `[IMG]`, `[IMG_BREAK]`, `[IMG_END]`.
    pub(super) ids: (u32, u32, u32),
}

impl Images<'_> {
    /// The images of a message that has none.
    pub(super) const NONE: Images<'static> = Images { spec: None, sizes: &[], ids: (0, 0, 0) };
}

/// A piece of a conversation between the pieces around it, each of which is encoded by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// What it is.
    pub piece: Piece,
    /// Whether its tokens are trained.
    pub trained: bool,
}

/// What a conversation is encoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A special token.
    Mark(u32),
    /// A text.
    Text(String),
    /// The tokens of the image with this index.
    Image(usize),
}

/// Collects ids or pieces, if requested, and counts.
pub(super) struct Out<'t> {
    pub(super) tokenizer: &'t Tokenizer,
    /// `None` if bytes are counted.
    pub(super) encoder: Option<Encoder<'t>>,
    pub(super) measure: Measure,
    pub(super) ids: Vec<u32>,
    pub(super) pieces: Vec<Rendered>,
    pub(super) counts: Counts,
}

/// What an encoding pass returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// The ids and their counts.
    Ids,
    /// The counts.
    Tokens,
    /// Bytes of text instead of its tokens.
    Bytes,
    /// The pieces, and bytes of text instead of its tokens.
    Pieces,
}

impl Measure {
    /// Whether texts are encoded.
    pub(super) fn encodes(self) -> bool {
        matches!(self, Measure::Ids | Measure::Tokens)
    }
}

impl Out<'_> {
    fn piece(&mut self, trained: bool, piece: impl FnOnce() -> Piece) {
        if self.measure == Measure::Pieces {
            self.pieces.push(Rendered { piece: piece(), trained });
        }
    }

    pub(super) fn text(&mut self, text: &str, trained: bool) {
        self.piece(trained, || Piece::Text(text.to_owned()));
        let tokens = match &mut self.encoder {
            // Encoding may put a space in front.
            None => text.len() + usize::from(self.tokenizer.adds_space()),
            Some(encoder) if self.measure == Measure::Ids => {
                let before = self.ids.len();
                encoder.encode_into(text, &mut self.ids);
                self.ids.len() - before
            }
            Some(encoder) => encoder.count(text),
        };
        self.add(tokens, trained);
    }

    pub(super) fn mark(&mut self, id: u32, trained: bool) {
        self.piece(trained, || Piece::Mark(id));
        if self.measure == Measure::Ids {
            self.ids.push(id);
        }
        self.add(1, trained);
    }

    pub(super) fn image(&mut self, image: usize, images: &Images<'_>) -> Result<(), Finding> {
        let (Some(&(width, height)), Some(spec)) = (images.sizes.get(image), images.spec) else {
            return Err(Finding::new(
                &IMAGE_UNREADABLE,
                "",
                format!("the size of image {} is unknown", image + 1),
            ));
        };
        self.piece(false, || Piece::Image(image));
        let grid = grid(spec, width, height);
        if self.measure == Measure::Ids {
            let ids = &mut self.ids;
            let (image, image_break, image_end) = images.ids;
            for row in 1..=grid.rows {
                ids.extend(std::iter::repeat_n(image, grid.columns as usize));
                ids.push(if row == grid.rows { image_end } else { image_break });
            }
        }
        self.counts.images.push(grid);
        self.counts.image_tokens += grid.tokens();
        self.add(grid.tokens(), false);
        Ok(())
    }

    fn add(&mut self, tokens: usize, trained: bool) {
        if tokens == 0 {
            return;
        }
        self.counts.tokens += tokens;
        self.counts.trained_tokens += if trained { tokens } else { 0 };
        match self.counts.runs.last_mut() {
            Some(run) if run.trained == trained => run.tokens += tokens,
            _ => self.counts.runs.push(Run { trained, tokens }),
        }
    }
}
