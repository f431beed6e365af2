//! One line on its way into an export.

use std::path::Path;
use std::sync::Arc;

use pixtune_core::checks;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Image, ImageSource, Message, Sample};
use pixtune_core::strict::BorrowedSample;
use pixtune_core::target::ImageFormat;
use pixtune_core::tokens::{
    ChatEncoder, Counts, Piece, Rendered, SystemPrompt, TokenizerVersion, grid, normalized,
};
use pixtune_io::image::{
    Color, Header, ImageError, Limits, Loaded, Reading, Resolver, check_structure, decode, load,
    resized_to_patches,
};
use pixtune_io::read::Row;
use pixtune_io::tokens::{parse_row, read_sample};

use crate::image::StoredImage;
use crate::layout::{Turn, fold_untrained, token_turns, turns};
use crate::trainer::check::{self, Literals};
use crate::trainer::{Feature, Trainer};

/// A sample as it is exported.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exported {
    /// What names it in its split: the number of its file and its line.
    pub(crate) key: String,
    /// The conversation as it was read.
    pub(crate) sample: Sample<Image>,
    /// The same, normalized and rendered, for trainers that put it between control tokens.
    pub(crate) turns: Vec<Turn>,
    /// Its images, in order.
    pub(crate) images: Vec<StoredImage>,
    /// Bytes of its texts.
    pub(crate) text_bytes: usize,
}

/// A sample with its counts, and warnings about it.
#[derive(Debug, Clone)]
pub(crate) struct Converted {
    /// What is written; taken where it is.
    pub(crate) exported: Option<Exported>,
    pub(crate) counts: Counts,
    pub(crate) warnings: Vec<Finding>,
    /// Width and height of each image.
    pub(crate) sizes: Vec<(u32, u32)>,
    pub(crate) has_system: bool,
}

/// Why tokens at a joint differ.
const JOINT: &str = "the system prompt and the text behind it merge into other tokens where a trainer encodes them together; the \
                     reference encodes them separately";

const OPEN_THOUGHT: &str = "a thought that is not closed and the text behind it merge into other tokens where a trainer encodes them \
                            together; the reference encodes them separately";

/// Converts lines.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Converter<'e> {
    pub(crate) encoder: ChatEncoder<'e>,
    pub(crate) trainer: &'static Trainer,
    pub(crate) literals: &'e Literals<'e>,
    pub(crate) system: SystemPrompt,
    pub(crate) limits: Limits,
    /// Write images at the size that the model sees.
    pub(crate) resize_to_patches: bool,
    /// The manifest of the dataset says that its images were fitted to the model.
    pub(crate) is_fitted: bool,
}

impl Converter<'_> {
    /// Converts a line, or says why it cannot be exported.
    pub(crate) fn convert(&self, directory: &Path, row: &Row, key: String) -> Result<Converted, Finding> {
        let parsed = parse_row(row)?;
        let read = read_sample(&parsed)?;
        let mut warnings: Vec<Finding> = Vec::new();
        let (mut images, mut sizes) = (Vec::new(), Vec::new());
        for image in &read.images {
            let loaded = load(&image.source, &Resolver::new(directory), &self.limits)
                .and_then(|loaded| check_structure(&loaded.bytes)?.accepted().map(|()| loaded))
                .map_err(|error| error.finding_at(image))?;
            let (width, height) = loaded.header.reference_size();
            sizes.push((width, height));
            let fault =
                self.not_fitted(&loaded.bytes, &loaded.header).map_err(|error| error.finding_at(image))?;
            if let Some(why) = fault {
                let hint = "`pixtune prepare` fits images to the model";
                warnings.push(Finding::new(&rules::IMAGE_NOT_FITTED, image.pointer.clone(), why).hint(hint));
            }
            images.push(self.stored(loaded).map_err(|error| error.finding_at(image))?);
        }
        let counts = self.encoder.count(&read, &sizes)?;
        if let Some(finding) = checks::context_overflow(self.encoder.spec, &counts) {
            return Err(finding);
        }
        let has_system = read.messages.iter().any(|message| matches!(message, Message::System(_)));
        check::sample(self.trainer, &read)?;
        check::images(self.trainer, &read, &images)?;
        let turns = match self.trainer.renders_text {
            true if self.encoder.tokenizer.version() == TokenizerVersion::V3 => self.turns(&read)?,
            true => self.token_turns(&read, &sizes)?,
            false => Vec::new(),
        };
        let inline: usize = images.iter().map(|image| image.bytes.len()).sum();
        // Base64 is a third longer than what it encodes.
        let text_bytes = row.bytes.len().saturating_sub(inline / 3 * 4);
        let Sample { messages, tools, images: sources, settings } = read.into_owned();
        // The files are beside the sample.
        let reference = |Image { pointer, .. }| Image { source: ImageSource::Bytes(Arc::from([])), pointer };
        let images_of_sample = sources.into_iter().map(reference).collect();
        let sample = Sample { messages, tools, images: images_of_sample, settings };
        let exported = Some(Exported { key, sample, turns, images, text_bytes });
        Ok(Converted { exported, counts, warnings, sizes, has_system })
    }

    /// The messages that the trainer puts between control tokens, or why it would train something else.
    fn turns(&self, read: &BorrowedSample<'_>) -> Result<Vec<Turn>, Finding> {
        let chat = normalized(read, self.system)?;
        let turns = turns(&chat)?;
        check::texts(self.trainer, &turns, self.literals)?;
        if !chat.encodes_alike(&self.encoder) {
            return Err(Finding::new(&rules::TOKENS_DIFFER, "", JOINT));
        }
        Ok(match self.trainer.support.weights {
            Feature::Converted(_) => fold_untrained(turns),
            _ => turns,
        })
    }

    /// The same in the layout of a version after v3, with the special tokens.
    fn token_turns(&self, read: &BorrowedSample<'_>, sizes: &[(u32, u32)]) -> Result<Vec<Turn>, Finding> {
        let pieces = self.encoder.rendered(read, sizes)?;
        // A text behind a thought that stays open has no token between them.
        let differs = |pair: &[Rendered]| match (&pair[0].piece, &pair[1].piece) {
            (Piece::Text(one), Piece::Text(next)) => !self.encodes_alike([one, next]),
            _ => false,
        };
        if pieces.windows(2).any(differs) {
            return Err(Finding::new(&rules::TOKENS_DIFFER, "", OPEN_THOUGHT));
        }
        let turns = token_turns(pieces, self.encoder.tokenizer);
        check::texts(self.trainer, &turns, self.literals)?;
        Ok(turns)
    }

    /// Whether two texts have the same tokens as one.
    fn encodes_alike(&self, texts: [&str; 2]) -> bool {
        let tokenizer = self.encoder.tokenizer;
        texts.map(|text| tokenizer.encode(text)).concat() == tokenizer.encode(&texts.concat())
    }

    /// The image as it is written: as it is, unless its size is to be a multiple of a patch and is not.
    fn stored(&self, image: Loaded) -> Result<StoredImage, ImageError> {
        let (width, height) = image.header.reference_size();
        let grid = grid(self.encoder.spec, width, height);
        if self.resize_to_patches && (grid.width, grid.height) != (width, height) {
            let bytes = resized_to_patches(&image, self.encoder.spec, &self.limits)?;
            return Ok(StoredImage { format: ImageFormat::Png, bytes });
        }
        Ok(StoredImage { format: image.header.format, bytes: image.bytes })
    }

    /// Why a trainer would see other pixels than the reference: it converts or resizes the image by its own rule.
    fn not_fitted(&self, bytes: &[u8], header: &Header) -> Result<Option<String>, ImageError> {
        let (width, height) = header.reference_size();
        if !header.orientation.is_normal() {
            let why = "the image has an EXIF orientation, which some trainers apply and others do not";
            return Ok(Some(why.into()));
        }
        if grid(self.encoder.spec, width, height).shrunk {
            return Ok(Some(format!(
                "the image has {width}x{height} pixels, more than the model sees: the trainer resizes it with another filter than the reference"
            )));
        }
        if header.color == Color::Cmyk || header.bits > 8 {
            let why = "the image is not RGB with 8 bits per channel: the trainer converts it by its own rule";
            return Ok(Some(why.into()));
        }
        if header.alpha && !self.is_fitted {
            let decoded = decode(bytes, header, &self.limits, Reading::Corrected)?;
            return Ok((!decoded.opaque).then(|| {
                "the image is transparent: the trainer drops transparency, the reference puts white behind it".into()
            }));
        }
        Ok(None)
    }
}
