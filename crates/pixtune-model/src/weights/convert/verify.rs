//! Reads what was written back through the inverse of the map, and compares it with the source.

use std::path::Path;

use super::route::{Route, Scratch};
use super::{Change, ConvertError, Plan, Progress, Stage};
use crate::weights::error::Problems;
use crate::weights::{Checkpoint, Format};

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Tensors that were compared.
    pub tensors: u64,
    /// Bytes of the output that were compared.
    pub bytes: u64,
    /// BLAKE3 of every byte of the source's tensors in the order written; of the output led back it is the same.
    pub blake3: String,
}

/// Opens the output as any reader would, leads every tensor back and compares it with the source byte by byte. Where the
/// type changed or a change was made, the source is led forward instead, because rounding has no inverse.
pub fn verify(
    plan: &Plan,
    change: Option<&dyn Change>,
    directory: &Path,
    watch: &mut dyn FnMut(Progress),
) -> Result<Verified, ConvertError> {
    let written = Checkpoint::open_as(directory, plan.options.to)?;
    let mut problems = Problems::default();
    compare_configs(plan, &written, &mut problems);
    let (mut tensors, mut done, total) = (0, 0, plan.bytes());
    let mut hasher = blake3::Hasher::new();
    let (mut source, mut output) = (Scratch::default(), Scratch::default());
    for file in &plan.files {
        for (piece, place) in file.pieces.iter().zip(&file.layout.header.tensors) {
            let route = Route::new(&plan.source, *piece, place, plan.options.to.row_order())?;
            let exact = route.is_exact(change);
            let Some(target) = written.tensor(piece.to) else { continue };
            let mut at = 0;
            let mut same = target.length() == place.bytes() && target.dtype() == place.dtype;
            for chunk in route.chunks() {
                route.read(chunk, &mut source)?;
                if !exact {
                    route.apply(change, chunk, &mut source)?;
                }
                output.bytes.resize(source.bytes.len(), 0);
                target.read_at(&mut output.reader, &mut output.bytes, at)?;
                let bytes = output.bytes.len() as u64;
                if exact {
                    route.undo(&mut output);
                }
                same &= source.bytes == output.bytes;
                hasher.update(&source.bytes);
                (at, done) = (at + bytes, done + bytes);
                watch(Progress { stage: Stage::Verify, done, total });
            }
            if !same {
                problems.0.push(format!("`{}`", route.name()));
            }
            tensors += 1;
        }
    }
    match problems.0.is_empty() {
        true => Ok(Verified { tensors, bytes: done, blake3: hasher.finalize().to_hex().to_string() }),
        false => Err(ConvertError::Verify { problems }),
    }
}

/// The written configuration says the same as the source's.
fn compare_configs(plan: &Plan, written: &Checkpoint, problems: &mut Problems) {
    let (mut a, b) = (plan.source.config().clone(), written.config().clone());
    a.tied &= !plan.options.untie;
    if let Some(growth) = &plan.options.growth {
        a.text.vocab_size = growth.rows;
    }
    if plan.options.to == Format::Mistral || a.text.max_positions.is_none() {
        a.text.max_positions = b.text.max_positions;
    }
    let equal =
        a.family == b.family && a.text == b.text && a.vision == b.vision && a.projector == b.projector;
    if !equal || a.tied != b.tied || a.image_token != b.image_token {
        problems.0.push(plan.options.to.config_file().to_owned());
    }
    problems.0.extend(b.notes.into_iter().filter(|note| note.damage).map(|note| note.text));
}
