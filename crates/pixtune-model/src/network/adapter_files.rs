//! The adapter of a network in files: saved in PEFT's format, loaded from an opened [`Adapter`].

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use pixtune_core::json::{self, list, object};
use pixtune_core::text::counted_as;
use pixtune_files::{Existing, WholeFile};

use super::Network;
use super::error::NetworkError;
use super::lora::{Linear, LoraConfig};
use super::region::Region;
use super::whole;
use crate::adapter::Adapter;
use crate::kernels::Kernels;
use crate::weights::safetensors::{Layout, TensorSpec, Writer};
use crate::weights::{Dtype, Module, RowOrder, Spelling};

const CONFIG: &str = "adapter_config.json";
const TENSORS: &str = "adapter_model.safetensors";

impl<K: Kernels> Network<'_, K> {
    /// Writes `adapter_config.json` and `adapter_model.safetensors` into a directory, in names of transformers 4.52 and later.
    /// `base` is recorded as the name of the base model. Each file appears whole or not at all.
    pub fn save_adapter(&self, directory: &Path, base: &str) -> Result<(), NetworkError> {
        fs::create_dir_all(directory)
            .map_err(|source| NetworkError::Io { path: directory.to_owned(), source })?;
        let specs: Vec<TensorSpec> = self
            .adapter_tensors()
            .iter()
            .map(|tensor| TensorSpec {
                name: tensor.name.clone(),
                dtype: Dtype::F32,
                shape: tensor.shape.clone(),
            })
            .collect();
        let layout =
            Layout::new(&specs).ok_or_else(|| refuse(directory, "its tensors do not fit into a file"))?;
        let parameters = self.parameters();
        write_whole(&directory.join(TENSORS), |file| {
            let mut writer = Writer::new(file, &layout)?;
            for chunk in parameters.chunks(1 << 16) {
                let bytes: Vec<u8> = chunk.iter().flat_map(|value| value.to_le_bytes()).collect();
                writer.write(&bytes)?;
            }
            writer.finish().map(drop)
        })?;
        write_whole(&directory.join(CONFIG), |file| {
            file.write_all(config_json(&self.model.lora, base).as_bytes())
        })
    }

    /// Loads the tensors of an adapter with the same targets, whole tensors, rank and scaling.
    pub fn load_adapter(&mut self, adapter: &Adapter) -> Result<(), NetworkError> {
        let path = adapter.tensors().path();
        let found = LoraConfig::of(adapter)?.scaling();
        if found != self.model.lora.scaling() {
            let here = self.model.lora.scaling();
            return Err(refuse(path, &format!("its scaling is {found}, but this run's is {here}")));
        }
        let mut parameters = vec![f32::NAN; self.trained_parameters()];
        let parts = adapter.lora.iter().flat_map(|(module, lora)| {
            let path = module.path(Spelling::Live);
            [("lora_A", &lora.a), ("lora_B", &lora.b)]
                .map(|(part, tensor)| (*module, format!("{path}.{part}.weight"), tensor))
        });
        let whole = adapter.whole.iter();
        let whole = whole.map(|(name, tensor)| (name.module, name.path(Spelling::Live), tensor));
        let mut found = 0;
        for (module, name, tensor) in parts.chain(whole) {
            let name = format!("base_model.model.{name}");
            let own = self.adapter_tensors().iter().find(|own| own.name == name);
            let own =
                own.ok_or_else(|| refuse(path, &format!("`{}` is not trained in this run", tensor.name)))?;
            if tensor.shape != own.shape {
                let (name, found, here) = (&tensor.name, &tensor.shape, &own.shape);
                return Err(refuse(
                    path,
                    &format!("`{name}` has shape {found:?}, but this run's has {here:?}"),
                ));
            }
            let mut values = adapter.values(tensor)?;
            if !name.ends_with(".lora_A.weight") {
                values = self.half_split(adapter, module, values, tensor.shape[1..].iter().product());
            }
            parameters[own.range.clone()].copy_from_slice(&values);
            found += 1;
        }
        let missing = self.adapter_tensors().len() - found;
        if missing > 0 {
            return Err(refuse(
                path,
                &format!(
                    "{} missing that this run trains",
                    counted_as(missing as u64, "tensor is", "tensors are")
                ),
            ));
        }
        self.set_parameters(&parameters);
        Ok(())
    }

    /// Rows of a module's outputs, of this many numbers each, in Hugging Face's order.
    fn half_split(&self, adapter: &Adapter, module: Module, values: Vec<f32>, width: usize) -> Vec<f32> {
        let order = adapter.dialect.row_order(module);
        if order == RowOrder::HalfSplit || !module.has_rotary_rows() {
            return values;
        }
        let shape = self.shape();
        let head_size = match module {
            Module::Text(..) => shape.text.head_size,
            _ => shape.vision.head_size,
        };
        let row = |row: usize| order.source_row(RowOrder::HalfSplit, head_size, row) * width;
        (0..values.len() / width.max(1)).flat_map(|to| &values[row(to)..][..width]).copied().collect()
    }
}

impl LoraConfig {
    /// The settings of an adapter: rank, scaling, the linears it has tensors for as targets, and the regions of its whole tensors.
    /// An adapter that this network does not support (DoRA, several ranks, trained biases, other whole modules) is an error.
    pub fn of(adapter: &Adapter) -> Result<LoraConfig, NetworkError> {
        adapter.check_network()?;
        let nothing = || refuse(adapter.tensors().path(), "it has no adapter of a linear");
        let (module, first) = adapter.lora.first_key_value().ok_or_else(nothing)?;
        let (alpha, rslora) = match &adapter.config {
            Some(config) => (config.alpha_of(&adapter.path(*module)), config.rank_stabilized),
            None => (first.scaling * first.rank as f64, false),
        };
        let targets = adapter.lora.keys().map(|module| {
            let not_linear =
                || refuse(adapter.tensors().path(), &format!("`{}` is not a linear", adapter.path(*module)));
            target(*module).ok_or_else(not_linear)
        });
        let lora = LoraConfig {
            rank: first.rank,
            alpha: alpha as f32,
            rslora,
            targets: targets.collect::<Result<_, _>>()?,
            whole: adapter.whole.keys().filter_map(|name| whole::region(name.module)).collect(),
            ..LoraConfig::default()
        };
        lora.check()?;
        Ok(lora)
    }
}

/// The region and name of a linear module.
fn target(module: Module) -> Option<(Region, Linear)> {
    let path = module.path(Spelling::Live);
    let leaf = path.rsplit('.').next()?;
    let linear = Linear::find(leaf)?;
    match module {
        Module::Text(..) => Some((Region::Text, linear)),
        Module::Vision(..) => Some((Region::Vision, linear)),
        Module::ProjectorIn | Module::ProjectorOut | Module::PatchMerger => Some((Region::Projector, linear)),
        _ => None,
    }
}

fn refuse(path: &Path, reason: &str) -> NetworkError {
    NetworkError::Adapter { path: path.to_owned(), reason: reason.to_owned() }
}

/// Writes a file that appears whole or not at all.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut WholeFile) -> io::Result<()>,
) -> Result<(), NetworkError> {
    let written = WholeFile::create(path, Existing::Replace).and_then(|mut file| {
        write(&mut file)?;
        file.commit()
    });
    written.map_err(|source| NetworkError::Io { path: path.to_owned(), source })
}

fn config_json(lora: &LoraConfig, base: &str) -> String {
    json::document(object(|config| {
        config.field("base_model_name_or_path", base).field("bias", "none");
        config.field("fan_in_fan_out", false).field("inference_mode", true).field("init_lora_weights", true);
        config.field("lora_alpha", lora.alpha).field("lora_dropout", lora.dropout);
        let whole = lora.whole.modules();
        let whole = (!whole.is_empty()).then(|| list(whole));
        config.field("modules_to_save", whole).field("peft_type", "LORA").field("r", lora.rank);
        config.field("target_modules", &target_pattern(lora)).field("task_type", "CAUSAL_LM");
        config.field("use_dora", false).field("use_rslora", lora.rslora);
    }))
}

/// A pattern that PEFT matches with whole module paths, in the names of every version of transformers: a list of endings
/// would also match the vision encoder's linears.
fn target_pattern(lora: &LoraConfig) -> String {
    let names = |part, linears: &[Linear]| {
        let here = linears.iter().filter(|&&linear| lora.targets.contains(part, linear));
        here.map(|linear| linear.as_str()).collect::<Vec<_>>().join("|")
    };
    let parts = [
        (r".*language_model.*\.", names(Region::Text, &Linear::LAYER)),
        (r".*multi_modal_projector\.", names(Region::Projector, &Linear::PROJECTOR)),
        (r".*multi_modal_projector\.patch_merger\.", names(Region::Projector, &[Linear::Merger])),
        (r".*vision_tower.*\.", names(Region::Vision, &Linear::LAYER)),
    ];
    let parts =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(path, names)| format!("{path}({names})"));
    let parts: Vec<String> = parts.collect();
    if parts.len() == 1 { parts.concat() } else { format!("({})", parts.join("|")) }
}
