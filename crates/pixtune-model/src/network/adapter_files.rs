//! Adapters on disk, as PEFT reads and writes them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pixtune_core::json::{self, Value, write_string};

use super::Network;
use super::error::NetworkError;
use super::lora::{Linear, LoraConfig, Part, Targets};
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

impl LoraConfig {
    /// The settings of an adapter in PEFT's files: rank and scaling from `adapter_config.json`, targets from the tensors.
    /// What this network does not compute (DoRA, ranks by pattern, trained biases, whole modules) is refused.
    pub fn read(folder: &Path) -> Result<LoraConfig, NetworkError> {
        let path = folder.join(CONFIG);
        let about = fs::metadata(&path).and_then(|about| match about.len() {
            0..=MAX_CONFIG => fs::read_to_string(&path),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it has more than 8 MB")),
        });
        let text = about.map_err(|source| NetworkError::Io { path: path.clone(), source })?;
        let wrong = |reason: &str| refuse(&path, reason);
        let config = json::parse(&text).map_err(|error| wrong(&format!("it is not JSON: {error}")))?.value;
        for key in
            ["rank_pattern", "alpha_pattern", "modules_to_save", "use_dora", "lora_bias", "layer_replication"]
        {
            if config.get(key).is_some_and(says_something) {
                return Err(wrong(&format!("`{key}` is set, which is not computed here")));
            }
        }
        if config.get("bias").and_then(Value::as_str).is_some_and(|bias| bias != "none") {
            return Err(wrong("it has trained biases, which are not computed here"));
        }
        let number = |key: &str| match config.get(key) {
            Some(Value::Number(text)) => text.parse::<f32>().ok(),
            _ => None,
        };
        let rank = number("r").filter(|rank| rank.fract() == 0.0 && (1.0..=4096.0).contains(rank));
        let lora = LoraConfig {
            rank: rank.ok_or_else(|| wrong("`r` is no rank between 1 and 4096"))? as usize,
            alpha: number("lora_alpha").ok_or_else(|| wrong("`lora_alpha` is no number"))?,
            rslora: config.get("use_rslora") == Some(&Value::Bool(true)),
            targets: targets_of(&folder.join(TENSORS))?,
            ..LoraConfig::default()
        };
        lora.check()?;
        Ok(lora)
    }
}

const MAX_CONFIG: u64 = 8 << 20;

fn says_something(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Array(values) => !values.is_empty(),
        Value::Object(members) => !members.is_empty(),
        _ => true,
    }
}

/// The linears that have tensors in an adapter's file.
fn targets_of(path: &Path) -> Result<Targets, NetworkError> {
    let file = SafetensorsFile::open(path)?;
    let target = |name: &str| {
        let path = current_name(name)?;
        let path = path.strip_prefix("base_model.model.")?.split_once(".lora_")?.0.to_owned();
        let linear = |linear: &Linear| path.ends_with(&format!(".{}", linear.as_str()));
        let linear = Linear::LAYER.into_iter().chain(Linear::PROJECTOR).find(linear)?;
        match Module::parse(&path)?.0 {
            Module::Text(..) => Some((Part::Text, linear)),
            Module::Vision(..) => Some((Part::Vision, linear)),
            Module::ProjectorIn | Module::ProjectorOut => Some((Part::Projector, linear)),
            _ => None,
        }
    };
    let tensors = file.header().tensors.iter();
    let targets = tensors.map(|tensor| {
        target(&tensor.name)
            .ok_or_else(|| refuse(path, &format!("`{}` is no adapter of a linear", tensor.name)))
    });
    targets.collect()
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
