//! Checkpoints: everything a run needs to continue as if it had never stopped.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use pixtune_files::remove;
use pixtune_model::adapter::Adapter;
use pixtune_model::kernels::Kernels;
use pixtune_model::network::{AdapterTensor, Network, NetworkError, OptimizerState};
use pixtune_model::weights::Dtype;
use pixtune_model::weights::safetensors::{Layout, SafetensorsFile, TensorSpec, Writer};

use crate::directory::{RunDirectory, names};
use crate::error::{Kept, TrainError};
use crate::state::RunState;

const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "state.json";
const ADAPTER_FILES: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];

/// Writes `checkpoints/step-N` and removes the oldest beyond `keep`. If it cannot be written, the others stay.
pub fn save<K: Kernels>(
    directory: &RunDirectory,
    network: &Network<'_, K>,
    run: &RunState,
    base: &str,
    keep: usize,
) -> Result<PathBuf, TrainError> {
    let name = format!("{}/step-{}", names::CHECKPOINTS, run.step);
    directory.write_directory(&name, |inside| {
        save_adapter(network, inside, base)?;
        let optimizer = inside.join(OPTIMIZER);
        write_moments(&optimizer, network.adapter_tensors(), &network.optimizer_state())
            .map_err(|source| TrainError::Write { path: optimizer, source })?;
        let state = inside.join(STATE);
        fs::write(&state, run.to_json()).map_err(|source| TrainError::Write { path: state, source })
    })?;
    for (_, path) in list(directory).into_iter().rev().skip(keep.max(1)) {
        remove(&path).map_err(|source| TrainError::Write { path, source })?;
    }
    Ok(directory.join(name))
}

/// Writes the adapter into a directory, as PEFT does.
pub fn save_adapter<K: Kernels>(
    network: &Network<'_, K>,
    directory: &Path,
    base: &str,
) -> Result<(), TrainError> {
    network.save_adapter(directory, base).map_err(|error| match error {
        NetworkError::Io { path, source } => TrainError::Write { path, source },
        other => other.into(),
    })
}

/// Loads the newest checkpoint into the network. Returns the state of the run, which is that of its beginning if there is no
/// checkpoint.
pub fn restore<K: Kernels>(
    directory: &RunDirectory,
    network: &mut Network<'_, K>,
) -> Result<RunState, TrainError> {
    let Some((step, path)) = list(directory).pop() else { return Ok(RunState::default()) };
    let state = path.join(STATE);
    let damaged = |path: PathBuf, reason: String| TrainError::Damaged { path, reason };
    let text = fs::read_to_string(&state).map_err(|error| damaged(state.clone(), error.to_string()))?;
    let run = RunState::from_json(&text).map_err(|reason| damaged(state.clone(), reason))?;
    if run.step != step {
        return Err(damaged(state, format!("it is the state of step {}", run.step)));
    }
    let adapter = Adapter::open(&path, None).map_err(NetworkError::from)?;
    network.load_adapter(&adapter)?;
    let optimizer = path.join(OPTIMIZER);
    let moments = read_moments(&optimizer, network.adapter_tensors(), step);
    network.set_optimizer_state(&moments.map_err(|reason| damaged(optimizer, reason))?);
    Ok(run)
}

/// Makes the adapter in the output the last one that was sound. `bad` is the first step that went wrong: the adapter before
/// it made it so, and the one before that was sound. `best` is the step of the adapter in the output.
pub fn keep_sound(directory: &RunDirectory, bad: u64, best: Option<u64>) -> Result<Kept, TrainError> {
    let is_sound = |step: u64| step + 2 <= bad;
    if let Some(step) = best.filter(|step| is_sound(*step)) {
        return Ok(Kept::Step(step));
    }
    let sound = list(directory).into_iter().rev().find(|(step, _)| is_sound(*step) && *step > 0);
    let Some((step, path)) = sound else {
        if best.is_some() {
            let adapter = directory.join(names::ADAPTER);
            remove(&adapter).map_err(|source| TrainError::Write { path: adapter, source })?;
        }
        return Ok(Kept::Nothing);
    };
    directory.write_directory(names::ADAPTER, |inside| {
        ADAPTER_FILES.iter().try_for_each(|name| {
            let copied = fs::copy(path.join(name), inside.join(name));
            copied.map(drop).map_err(|source| TrainError::Write { path: inside.join(name), source })
        })
    })?;
    Ok(Kept::Step(step))
}

/// The checkpoints, oldest first.
pub fn list(directory: &RunDirectory) -> Vec<(u64, PathBuf)> {
    let entries = fs::read_dir(directory.join(names::CHECKPOINTS)).into_iter().flatten().flatten();
    let step = |path: &Path| path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok();
    let mut found: Vec<(u64, PathBuf)> =
        entries.filter_map(|entry| Some((step(&entry.path())?, entry.path()))).collect();
    found.sort();
    found
}

/// Writes the two moments of every tensor, named as the tensor with `.first_moment` and `.second_moment` appended.
fn write_moments(path: &Path, tensors: &[AdapterTensor], state: &OptimizerState) -> std::io::Result<()> {
    let specs: Vec<TensorSpec> = tensors.iter().flat_map(moment_specs).collect();
    let layout = Layout::new(&specs).expect("an adapter's tensors have different names");
    let mut writer = Writer::new(BufWriter::new(File::create(path)?), &layout)?;
    for tensor in tensors {
        for moment in [&state.first, &state.second] {
            let bytes: Vec<u8> =
                moment[tensor.range.clone()].iter().flat_map(|value| value.to_le_bytes()).collect();
            writer.write(&bytes)?;
        }
    }
    writer.finish()?.flush()
}

fn moment_specs(tensor: &AdapterTensor) -> [TensorSpec; 2] {
    ["first", "second"].map(|moment| TensorSpec {
        name: format!("{}.{moment}_moment", tensor.name),
        dtype: Dtype::F32,
        shape: tensor.shape.clone(),
    })
}

fn read_moments(path: &Path, tensors: &[AdapterTensor], steps: u64) -> Result<OptimizerState, String> {
    let file = SafetensorsFile::open(path).map_err(|error| error.to_string())?;
    let mut state = OptimizerState { steps, ..OptimizerState::default() };
    for tensor in tensors {
        let [first, second] = moment_specs(tensor);
        for (spec, values) in [(first, &mut state.first), (second, &mut state.second)] {
            let found = file.header().find(&spec.name).ok_or_else(|| format!("it has no `{}`", spec.name))?;
            if found.dtype != spec.dtype || found.shape != spec.shape {
                return Err(format!("`{}` is not F32 {:?}", spec.name, spec.shape));
            }
            let mut bytes = vec![0; 4 * tensor.range.len()];
            file.read_at(&mut bytes, found.range.start).map_err(|error| error.to_string())?;
            let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            values.extend(bytes.chunks_exact(4).map(value));
        }
    }
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensors() -> Vec<AdapterTensor> {
        let tensor = |name: &str, shape: &[usize], start: usize| AdapterTensor {
            name: name.to_owned(),
            shape: shape.to_vec(),
            range: start..start + shape.iter().product::<usize>(),
        };
        vec![tensor("a.lora_A.weight", &[2, 3], 0), tensor("a.lora_B.weight", &[4, 2], 6)]
    }

    #[test]
    fn moments_read_back_bit_for_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(OPTIMIZER);
        let first: Vec<f32> = (0..14).map(|value| value as f32 * 0.1).collect();
        let state =
            OptimizerState { steps: 5, second: first.iter().map(|value| value * value).collect(), first };
        write_moments(&path, &tensors(), &state).unwrap();
        assert_eq!(read_moments(&path, &tensors(), 5).unwrap(), state);
        let mut others = tensors();
        others[1].shape = vec![2, 4];
        assert!(read_moments(&path, &others, 5).unwrap_err().contains("a.lora_B.weight.first_moment"));
        fs::write(&path, b"\0\0\0").unwrap();
        read_moments(&path, &tensors(), 5).unwrap_err();
    }
}
