//! Adapters on disk, as PEFT reads and writes them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pixtune_core::json::write_string;

use super::Network;
use super::error::NetworkError;
use super::lora::{Linear, LoraConfig, Part};
use crate::kernels::Kernels;
use crate::weights::safetensors::{Layout, SafetensorsFile, TensorSpec, Writer};
use crate::weights::{Dtype, Module, Spelling, dtype};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

impl<K: Kernels> Network<'_, K> {
    /// Writes `adapter_config.json` and `adapter_model.safetensors` into a folder, in names of transformers 4.52 and later.
    /// `base` is put down as the base model's name. Each file is written beside its name and renamed.
    pub fn save_adapter(&self, folder: &Path, base: &str) -> Result<(), NetworkError> {
        fs::create_dir_all(folder).map_err(|source| NetworkError::Io { path: folder.to_owned(), source })?;
        let specs: Vec<TensorSpec> = self
            .adapter_tensors()
            .iter()
            .map(|tensor| TensorSpec {
                name: tensor.name.clone(),
                dtype: Dtype::F32,
                shape: tensor.shape.to_vec(),
            })
            .collect();
        let layout =
            Layout::new(&specs).ok_or_else(|| refuse(folder, "its tensors do not fit into a file"))?;
        let parameters = self.parameters();
        replace(&folder.join(TENSORS), |file| {
            let mut writer = Writer::new(io::BufWriter::new(file), &layout)?;
            for chunk in parameters.chunks(1 << 16) {
                let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
                writer.write(&bytes)?;
            }
            writer.finish()?.flush()
        })?;
        replace(&folder.join(CONFIG), |file| file.write_all(config_json(&self.lora, base).as_bytes()))
    }

    /// Reads the tensors of an adapter made for these targets and ranks, in any of PEFT's names.
    pub fn load_adapter(&mut self, folder: &Path) -> Result<(), NetworkError> {
        let path = folder.join(TENSORS);
        let file = SafetensorsFile::open(&path)?;
        let mut parameters = vec![f32::NAN; self.trained_parameters()];
        let mut missing = self.adapter_tensors().len();
        for tensor in &file.header().tensors {
            let name = current_name(&tensor.name);
            let place = self.adapter_tensors().iter().find(|place| Some(&place.name) == name.as_ref());
            let place =
                place.ok_or_else(|| refuse(&path, &format!("`{}` is not trained here", tensor.name)))?;
            let values = dtype::to_f32(tensor.dtype, file.bytes(tensor)?);
            let values = values.filter(|_| tensor.shape == place.shape);
            let values = values.ok_or_else(|| {
                let reason = format!("`{}` is {:?} of {}", tensor.name, tensor.shape, tensor.dtype);
                refuse(&path, &format!("{reason}; here it is {:?}", place.shape))
            })?;
            parameters[place.range.clone()].copy_from_slice(&values);
            missing -= 1;
        }
        if missing > 0 {
            return Err(refuse(&path, &format!("{missing} tensors that are trained here are not in it")));
        }
        self.set_parameters(&parameters);
        Ok(())
    }
}

fn refuse(path: &Path, reason: &str) -> NetworkError {
    NetworkError::Adapter { path: path.to_owned(), reason: reason.to_owned() }
}

/// The name as this program writes it.
fn current_name(name: &str) -> Option<String> {
    let path = name.strip_prefix("base_model.model.")?;
    let (module, which) = path.split_once(".lora_")?;
    let which = which.split('.').next()?;
    let (module, _) = Module::parse(module).filter(|(_, spelling)| *spelling != Spelling::Native)?;
    Some(format!("base_model.model.{}.lora_{which}.weight", module.path(Spelling::Live)))
}

/// Writes a file beside its name, flushes it and renames it.
fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), NetworkError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".partial");
    let attempt = || {
        let mut file = File::create(&beside)?;
        write(&mut file)?;
        file.sync_all()?;
        fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&beside);
        NetworkError::Io { path: path.to_owned(), source }
    })
}

fn config_json(lora: &LoraConfig, base: &str) -> String {
    let mut text = String::from("{\n  \"base_model_name_or_path\": ");
    write_string(base, &mut text);
    text.push_str(",\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": true,\n");
    text.push_str("  \"init_lora_weights\": true,\n");
    text.push_str(&format!("  \"lora_alpha\": {},\n  \"lora_dropout\": {},\n", lora.alpha, lora.dropout));
    text.push_str("  \"modules_to_save\": null,\n  \"peft_type\": \"LORA\",\n");
    text.push_str(&format!("  \"r\": {},\n  \"target_modules\": ", lora.rank));
    write_string(&target_pattern(lora), &mut text);
    text.push_str(&format!(
        ",\n  \"task_type\": \"CAUSAL_LM\",\n  \"use_dora\": false,\n  \"use_rslora\": {}\n}}\n",
        lora.rslora
    ));
    text
}

/// A pattern that PEFT matches with whole module paths, in the names of every version of transformers: a list of endings
/// would also match the vision encoder's linears.
fn target_pattern(lora: &LoraConfig) -> String {
    let names = |part, linears: &[Linear]| {
        let here = linears.iter().filter(|&&linear| lora.targets.contains(part, linear));
        here.map(|linear| linear.as_str()).collect::<Vec<_>>().join("|")
    };
    let parts = [
        (r".*language_model.*\.", names(Part::Text, &Linear::LAYER)),
        (r".*multi_modal_projector\.", names(Part::Projector, &Linear::PROJECTOR)),
        (r".*vision_tower.*\.", names(Part::Vision, &Linear::LAYER)),
    ];
    let parts =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(path, names)| format!("{path}({names})"));
    let parts: Vec<String> = parts.collect();
    if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join("|")) }
}
