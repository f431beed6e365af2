//! Reads the output back and compares it with the hash of the source.

use std::path::Path;
use std::sync::mpsc::Receiver;

use super::read_back::ReadBack;
use super::route::{Route, Scratch};
use super::{Change, ConvertError, Plan};
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

/// Reads the tensors back, permutes them back and compares their hashes with those of the source, which arrive as it is read:
/// each of all tensors up to one. Where the type changed or a change was made, the hash is that of what was computed, because
/// rounding has no inverse.
pub fn read_back(
    plan: &Plan,
    change: Option<&dyn Change>,
    hashes: &Receiver<blake3::Hash>,
    back: &mut ReadBack,
) -> Result<Verified, ConvertError> {
    let (mut tensors, mut done) = (0, 0);
    let mut hasher = blake3::Hasher::new();
    let mut output = Scratch::default();
    for file in &plan.files {
        let mut is_header_equal = true;
        let mut header = file.layout.head.as_slice();
        back.each(header.len() as u64, |part| {
            let (now, later) = header.split_at(part.len());
            (is_header_equal, header) = (is_header_equal && now == part, later);
        })?;
        if !is_header_equal {
            return Err(ConvertError::Verify {
                problems: Problems(vec![format!("the header of `{}`", file.name)]),
            });
        }
        for (piece, place) in file.pieces.iter().zip(&file.layout.header.tensors) {
            let route = Route::new(&plan.source, *piece, place, plan.options.to.row_order())?;
            let exact = route.is_exact(change);
            if exact && route.is_permuted() {
                for bytes in route.output_chunks() {
                    output.bytes.resize(bytes, 0);
                    back.fill(&mut output.bytes)?;
                    route.undo(&mut output);
                    hasher.update(&output.bytes);
                }
            } else {
                back.each(place.bytes(), |part| _ = hasher.update(part))?;
            }
            // Without a hash the source could not be read, which ends the run.
            if hashes.recv().is_ok_and(|hash| hash != hasher.finalize()) {
                // The hash of every later tensor differs too.
                let problem = format!("`{}`, and tensors after it were not compared", route.name());
                return Err(ConvertError::Verify { problems: Problems(vec![problem]) });
            }
            (tensors, done) = (tensors + 1, done + place.bytes());
        }
    }
    Ok(Verified { tensors, bytes: done, blake3: hasher.finalize().to_hex().to_string() })
}

/// Opens the output as any reader would, and compares its configuration. The bytes of its files were compared by [`read_back`].
pub fn compare_config(plan: &Plan, directory: &Path) -> Result<(), ConvertError> {
    let written = Checkpoint::open_as(directory, plan.options.to)?;
    let mut problems = Problems::default();
    compare_configs(plan, &written, &mut problems);
    match problems.0.is_empty() {
        true => Ok(()),
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
    use std::sync::mpsc::channel;

    use super::super::read_back::Arrived;
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
        let file = &plan.files[0];
        let (length, order) = (file.layout.file_length(), plan.options.to.row_order());
        let transfer = Transfer { source: &plan.source, files: &plan.files, order, change: None };
        let again = out.path().join("again");
        fs::create_dir(&again).unwrap();
        let collect = |back: &mut ReadBack, hashes: &Receiver<blake3::Hash>| {
            back.each(length, |_| {}).map(|()| hashes.iter().collect())
        };
        let hashes: Option<Vec<blake3::Hash>> =
            transfer.run(&again, Some(collect), &mut |_| ControlFlow::Continue(())).unwrap().1;
        let verify = || {
            let ((send, known), (arrived, arrivals)) = (channel(), channel());
            hashes.iter().flatten().for_each(|hash| send.send(*hash).unwrap());
            arrived.send(Arrived { file: 0, bytes: length }).unwrap();
            std::thread::scope(|scope| {
                let files = [(file.name.as_str(), length)];
                let mut back = ReadBack::start(scope, &again, &files, arrivals, channel().0);
                read_back(&plan, None, &known, &mut back)
            })
        };
        assert_eq!(verify().unwrap(), verified);
        let path = again.join(&file.name);
        let written = fs::read(&path).unwrap();
        let fails_at = |byte: usize| {
            let mut bytes = written.clone();
            bytes[byte] ^= 1;
            fs::write(&path, bytes).unwrap();
            verify().unwrap_err().to_string()
        };
        let tensors = &file.layout.header.tensors;
        let place = tensors.iter().find(|tensor| tensor.name.ends_with("1.self_attn.k_proj.weight"));
        let error = fails_at(place.unwrap().range.start as usize + 77);
        assert!(error.contains("`layers.1.attention.wk.weight`, and tensors after it"), "{error}");
        let error = fails_at(99);
        assert!(error.contains("the header of `model.safetensors`"), "{error}");
    }
}
