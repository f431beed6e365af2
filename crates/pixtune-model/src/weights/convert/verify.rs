//! Reads the output back and compares it with the hash of the source.

use std::path::Path;

use super::route::{Route, Scratch};
use super::{Change, ConvertError, Plan, Progress, Stage, Watch};
use crate::weights::config::Magnitude;
use crate::weights::error::Problems;
use crate::weights::{Checkpoint, Format};

/// What a verification came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Tensors that were compared.
    pub tensors: u64,
    /// Bytes of the output that were compared.
    pub bytes: u64,
    /// BLAKE3 of every byte of the source's tensors in the order written, which is that of the output permuted back.
    pub blake3: String,
}

/// Opens the output as any reader would, permutes every tensor back and compares its hash with that of the source, which was
/// computed while it was read. Where the type changed or a change was made, the hash is that of what was computed, because
/// rounding has no inverse. `hashes` has the hash of all tensors up to each.
pub fn verify(
    plan: &Plan,
    (change, hashes): (Option<&dyn Change>, &[blake3::Hash]),
    directory: &Path,
    watch: &mut Watch<'_>,
) -> Result<Verified, ConvertError> {
    let written = Checkpoint::open_as(directory, plan.options.to)?;
    let mut problems = Problems::default();
    compare_configs(plan, &written, &mut problems);
    let (mut tensors, mut done, total) = (0, 0, plan.bytes());
    let mut hasher = blake3::Hasher::new();
    let mut output = Scratch::default();
    let pieces = plan.files.iter().flat_map(|file| file.pieces.iter().zip(&file.layout.header.tensors));
    for ((piece, place), hash) in pieces.zip(hashes) {
        let route = Route::new(&plan.source, *piece, place, plan.options.to.row_order())?;
        let exact = route.is_exact(change);
        let Some(target) = written.tensor(piece.to) else { continue };
        let mut at = 0;
        for bytes in route.output_chunks() {
            output.bytes.resize(bytes, 0);
            target.read_at(&mut output.reader, &mut output.bytes, at)?;
            if exact {
                route.undo(&mut output);
            }
            hasher.update(&output.bytes);
            (at, done) = (at + bytes as u64, done + bytes as u64);
            if watch(Progress { stage: Stage::Verify, done, total }).is_break() {
                return Err(ConvertError::Interrupted);
            }
        }
        tensors += 1;
        if target.length() != place.bytes() || target.dtype() != place.dtype || hasher.finalize() != *hash {
            // The hash of every later tensor differs too.
            problems.0.push(format!("`{}`, and tensors after it were not compared", route.name()));
            break;
        }
    }
    match problems.0.is_empty() {
        true => Ok(Verified { tensors, bytes: done, blake3: hasher.finalize().to_hex().to_string() }),
        false => Err(ConvertError::Verify { problems }),
    }
}

/// Compares the written configuration with the source's.
fn compare_configs(plan: &Plan, written: &Checkpoint, problems: &mut Problems) {
    let (mut a, mut b) = (plan.source.config().clone(), written.config().clone());
    // The formats spell it in different ways.
    for yarn in [&mut a, &mut b].into_iter().filter_map(|config| config.text.yarn.as_mut()) {
        yarn.magnitude = Magnitude::Stated(f64::from(yarn.attention_factor() as f32));
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;

    use super::super::transfer::Transfer;
    use super::super::{Options, Plan};
    use super::*;
    use std::ops::ControlFlow;

    #[test]
    fn one_changed_bit_names_its_tensor() {
        let out = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny_pixtral/native_bf16");
        let plan = Plan::new(Options::new(source, out.path().join("converted"), Format::Hf)).unwrap();
        let verified = plan.run(None, &mut |_| {}).unwrap().verified.unwrap();
        let order = plan.options.to.row_order();
        let transfer = Transfer { source: &plan.source, files: &plan.files, order, change: None, hash: true };
        let again = out.path().join("again");
        fs::create_dir(&again).unwrap();
        let hashes = transfer.run(&again, &mut |_| ControlFlow::Continue(())).unwrap().hashes;
        let on = &mut |_| ControlFlow::Continue(());
        let mut verify = || verify(&plan, (None, &hashes), &plan.options.target, on);
        assert_eq!(verify().unwrap(), verified);
        let file = plan.options.target.join("model.safetensors");
        let mut bytes = fs::read(&file).unwrap();
        let tensors = &plan.files[0].layout.header.tensors;
        let index =
            tensors.iter().position(|tensor| tensor.name.ends_with("1.self_attn.k_proj.weight")).unwrap();
        bytes[tensors[index].range.start as usize + 77] ^= 1;
        fs::write(&file, bytes).unwrap();
        let error = verify().unwrap_err().to_string();
        assert!(error.contains("`layers.1.attention.wk.weight`, and tensors after it"), "{error}");
    }
}
