//! An adapter on disk, opened: which dialect it is in, which modules it changes and with what.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pixtune_core::text::counted;

use super::base_name;
use super::config::{AdapterConfig, saves};
use super::dialect::Dialect;
use super::error::AdapterError;
use super::files::{Files, Kind};
use super::keys::{self, Deviations, Role};
use super::mlx;
use super::noted::{noted_dialect, noted_scaling, read_config, read_text};
use super::tensors::Tensors;
use crate::weights::safetensors::TensorInfo;
use crate::weights::{Checkpoint, Module, Problems, Sharded, Sharding, TensorName, dtype};

/// mistral-inference 1.6.0 `main.py` loads every lora.safetensors with this scaling, whatever params.json has.
pub const MISTRAL_SCALING: f64 = 2.0;

/// An open adapter. Values are read on request.
#[derive(Debug)]
pub struct Adapter {
    /// The directory it is in.
    pub directory: PathBuf,
    /// How its modules are named and its rows ordered.
    pub dialect: Dialect,
    /// adapter_config.json; none in Mistral's dialect.
    pub config: Option<AdapterConfig>,
    /// The scaling params.json notes; only in Mistral's dialect.
    pub noted_scaling: Option<f64>,
    /// The low-rank changes.
    pub lora: BTreeMap<Module, Lora>,
    /// Whole tensors: `modules_to_save`, trained biases.
    pub whole: BTreeMap<TensorName, TensorInfo>,
    /// Rows of embedding or head for some tokens.
    pub token_rows: BTreeMap<Module, TokenRows>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
    /// How tensor names differ from those of the dialect.
    pub deviations: Deviations,
    /// Files with weights in its directory that nothing here reads: what was trained beside LoRA.
    pub other_weights: Vec<String>,
    /// Why no server reads the files that it is in, although pixtune does.
    pub container: Option<String>,
    tensors: Tensors,
}

/// A low-rank change of one module's weight: scaling · B · A.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    /// rank × inputs; of an embedding rank × tokens.
    pub a: TensorInfo,
    /// outputs × rank; of an embedding width × rank.
    pub b: TensorInfo,
    /// The rank, from the tensors.
    pub rank: usize,
    /// What B·A is multiplied with.
    pub scaling: f64,
    /// DoRA's length of each row.
    pub magnitude: Option<TensorInfo>,
    /// The bias of B, which `lora_bias` adds.
    pub bias: Option<TensorInfo>,
    /// Whether A and B are those of an embedding.
    pub is_embedding: bool,
}

/// Rows of a weight that were trained, for some tokens (`trainable_token_indices`).
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRows {
    /// One row for each of the tokens.
    pub tensor: TensorInfo,
    /// Which tokens, in the order of the rows.
    pub tokens: Vec<usize>,
}

impl Adapter {
    /// Opens a directory, or a file with the tensors of an adapter. Without `dialect`, it is detected from the names.
    pub fn open(path: &Path, dialect: Option<Dialect>) -> Result<Adapter, AdapterError> {
        let found = Files::find(path, dialect)?;
        let mut tensors = Tensors::open(&found.tensors)?;
        let config = match (found.kind, &found.config) {
            (Kind::Mlx, Some(config)) => Some(mlx::read(&mut tensors, &read_text(config)?)?),
            (_, config) => config.as_deref().map(read_config).transpose()?,
        };
        let own = own_file(&found, &mut tensors);
        let noted = match (dialect, &config) {
            (None, Some(config)) => noted_dialect(config, &found)?,
            (dialect, _) => dialect,
        };
        let names: Vec<&str> = tensors.all().iter().map(|tensor| tensor.name.as_str()).collect();
        let names = keys::read(tensors.path(), &names, noted)?;
        let dialect = names.dialect;
        if dialect.is_peft() != config.is_some() {
            return Err(AdapterError::DialectOfFile { path: tensors.path().to_owned(), dialect });
        }
        let noted_scaling = match dialect {
            Dialect::Mistral => noted_scaling(&found.directory)?,
            _ => None,
        };
        let mut adapter = Adapter {
            directory: found.directory,
            dialect,
            config,
            noted_scaling,
            lora: BTreeMap::new(),
            whole: BTreeMap::new(),
            token_rows: BTreeMap::new(),
            warnings: found.warnings,
            deviations: names.deviations,
            other_weights: found.other_weights,
            container: own,
            tensors,
        };
        adapter.warnings.extend(adapter.container.clone());
        adapter.warnings.extend(adapter.deviations.warnings());
        adapter.collect(names.tensors)?;
        adapter.warnings.extend(adapter.not_stored());
        Ok(adapter)
    }

    /// Its tensors.
    pub fn tensors(&self) -> &Tensors {
        &self.tensors
    }

    /// The values of a tensor of this adapter.
    pub fn values(&self, tensor: &TensorInfo) -> Result<Vec<f32>, AdapterError> {
        let not_weight = || AdapterError::Dtype {
            path: self.tensors.path().to_owned(),
            tensor: tensor.name.clone(),
            dtype: tensor.dtype,
        };
        let length = usize::try_from(tensor.bytes()).map_err(|_| not_weight())?;
        let mut bytes = vec![0; length];
        self.tensors.read(tensor, 0, &mut bytes)?;
        dtype::to_f32(tensor.dtype, &bytes).ok_or_else(not_weight)
    }

    /// A module's path in this adapter's names.
    pub fn path(&self, module: Module) -> String {
        self.dialect.path(module)
    }

    /// Why `base` may be another model than the adapter was trained on, by the names of both.
    pub fn base_warning(&self, base: &Checkpoint) -> Option<String> {
        base_name::warning(self.config.as_ref()?.base_model.as_deref()?, base)
    }

    /// Tokens of the vocabulary that its tensors for embedding and head have.
    pub fn vocabulary(&self) -> Option<usize> {
        let whole = [Module::Embedding, Module::Head]
            .into_iter()
            .filter_map(|module| self.whole.get(&module.weight())?.shape.first().copied());
        let of_lora = |(module, lora): (&Module, &Lora)| match module {
            Module::Embedding if lora.is_embedding => lora.a.shape.get(1).copied(),
            Module::Head => lora.b.shape.first().copied(),
            _ => None,
        };
        whole.chain(self.lora.iter().filter_map(of_lora)).max()
    }

    /// Leaves files beside the adapter out on purpose: they become a warning.
    pub fn ignore_other_weights(&mut self) {
        let names = std::mem::take(&mut self.other_weights);
        self.warnings.extend(names.iter().map(|name| format!("`{name}` has weights that are not applied")));
    }

    /// What adapter_config.json names as trained and the file does not store.
    fn not_stored(&self) -> Vec<String> {
        let Some(config) = &self.config else { return Vec::new() };
        let is_stored = |entry: &str| self.whole.keys().any(|name| saves(entry, &self.path(name.module)));
        let missing = config.modules_to_save.iter().filter(|entry| !is_stored(entry));
        let mut warnings: Vec<String> = missing
            .map(|entry| {
                format!("modules_to_save names `{entry}`, and no tensor is stored for it: the base's is used")
            })
            .collect();
        if !config.token_indices.is_empty() && self.token_rows.is_empty() {
            warnings.push("trainable_token_indices names tokens, and no rows are stored for them".to_owned());
        }
        warnings
    }

    /// Gives every tensor its module, and A its B.
    fn collect(&mut self, names: Vec<Option<(TensorName, Role)>>) -> Result<(), AdapterError> {
        self.check_complete(&names)?;
        let mut problems = Problems::default();
        let mut parts: BTreeMap<Module, Vec<(Role, TensorInfo)>> = BTreeMap::new();
        for (tensor, name) in self.tensors.all().iter().zip(names) {
            match name {
                Some((name, Role::Whole)) => {
                    if self.whole.insert(name, tensor.clone()).is_some() {
                        problems.0.push(format!("`{}` is a second name of the same tensor", tensor.name));
                    }
                }
                Some((name, role)) => parts.entry(name.module).or_default().push((role, tensor.clone())),
                None => problems.0.push(format!("`{}` is not the name of a tensor of Pixtral", tensor.name)),
            }
            if !tensor.dtype.is_weight() {
                problems
                    .0
                    .push(format!("`{}` is {}; adapters are BF16, F16 or F32", tensor.name, tensor.dtype));
            }
        }
        for (module, mut parts) in parts {
            if let Some(index) = parts.iter().position(|(role, _)| *role == Role::TokenRows) {
                match self.rows_of_tokens(module, parts.remove(index).1) {
                    Ok(rows) => _ = self.token_rows.insert(module, rows),
                    Err(problem) => problems.0.push(problem),
                }
            }
            if parts.is_empty() {
                continue;
            }
            match self.pair(module, parts) {
                Ok(lora) => _ = self.lora.insert(module, lora),
                Err(problem) => problems.0.push(problem),
            }
        }
        let is_empty = self.lora.is_empty() && self.whole.is_empty() && self.token_rows.is_empty();
        if is_empty && problems.0.is_empty() {
            problems.0.push("it contains no tensors".to_owned());
        }
        match problems.0.is_empty() {
            true => Ok(()),
            false => Err(AdapterError::Damaged { path: self.tensors.path().to_owned(), problems }),
        }
    }

    /// Refuses tensors that a sharded run saved without joining them.
    fn check_complete(&self, names: &[Option<(TensorName, Role)>]) -> Result<(), AdapterError> {
        let rank = self.config.as_ref().map_or(0, |config| config.rank as usize);
        let part =
            |(tensor, name): &(&TensorInfo, &Option<(TensorName, Role)>)| match (&tensor.shape[..], name) {
                ([0], _) => Some(Sharding::Zero3),
                ([_], Some((_, Role::A | Role::B | Role::EmbeddingA | Role::EmbeddingB))) => {
                    Some(Sharding::Fsdp)
                }
                _ => None,
            };
        let tensors = || self.tensors.all().iter().zip(names);
        let parts: Vec<(Sharding, &TensorInfo)> =
            tensors().filter_map(|tensor| Some((part(&tensor)?, tensor.0))).collect();
        let all = names.len();
        let refuse = |kind: Sharding, count: usize, example: &TensorInfo| {
            Err(AdapterError::Sharded {
                path: self.tensors.path().to_owned(),
                sharded: Sharded {
                    kind,
                    count,
                    all,
                    name: example.name.clone(),
                    shape: example.shape.clone(),
                },
            })
        };
        if let Some((kind, example)) = parts.first() {
            return refuse(*kind, parts.iter().filter(|(other, _)| other == kind).count(), example);
        }
        // Rows of every A are the same fraction of the rank, and every B has the whole rank as its columns.
        let a: Vec<&TensorInfo> = tensors()
            .filter(|(_, name)| matches!(name, Some((_, Role::A))))
            .map(|(tensor, _)| tensor)
            .collect();
        let is_part = |tensor: &&TensorInfo| {
            let rows = tensor.shape.first().copied().unwrap_or(0);
            rows > 0 && rows < rank && rank.is_multiple_of(rows)
        };
        let whole_b = tensors()
            .filter(|(_, name)| matches!(name, Some((_, Role::B))))
            .all(|(tensor, _)| tensor.shape.get(1) == Some(&rank));
        match a.first() {
            Some(first) if whole_b && a.iter().all(is_part) => refuse(Sharding::Rows, all, first),
            _ => Ok(()),
        }
    }

    /// The tokens of trained rows, as adapter_config.json has them.
    fn rows_of_tokens(&self, module: Module, tensor: TensorInfo) -> Result<TokenRows, String> {
        let tokens = self.config.as_ref().and_then(|config| config.tokens_of(&self.path(module)));
        let tokens = tokens.ok_or_else(|| {
            format!("`{}` has rows of tokens that `trainable_token_indices` does not name", tensor.name)
        })?;
        Ok(TokenRows { tensor, tokens: tokens.to_vec() })
    }

    fn pair(&self, module: Module, parts: Vec<(Role, TensorInfo)>) -> Result<Lora, String> {
        let path = self.path(module);
        let mut slots: [Option<TensorInfo>; 6] = Default::default();
        for (role, tensor) in parts {
            if slots[role as usize].replace(tensor).is_some() {
                return Err(format!("`{path}` has two tensors for one part of its LoRA"));
            }
        }
        let [a, b, embedding_a, embedding_b, magnitude, bias] = slots;
        let is_embedding = embedding_a.is_some() || embedding_b.is_some();
        let (a, b) = if is_embedding { (embedding_a, embedding_b) } else { (a, b) };
        let (Some(a), Some(b)) = (a, b) else {
            return Err(format!("`{path}` has only one of lora_A and lora_B"));
        };
        let rank = a.shape.first().copied().unwrap_or(0);
        let is_matrix = |shape: &[usize]| match shape {
            [_, _] => true,
            [_, _, 1, 1] => module == Module::PatchConv,
            _ => false,
        };
        let a_is_whole = is_matrix(&a.shape) || module == Module::PatchConv && a.shape.len() == 4;
        if !a_is_whole || !is_matrix(&b.shape) || b.shape[1] != rank {
            return Err(format!(
                "`{path}` has lora_A of {:?} and lora_B of {:?}: they cannot be multiplied",
                a.shape, b.shape
            ));
        }
        if rank == 0 {
            return Err(format!("`{path}` has rank 0: its LoRA changes nothing"));
        }
        let scaling = self.scaling_of(&path);
        Ok(Lora { a, b, rank, scaling, magnitude, bias, is_embedding })
    }

    fn scaling_of(&self, path: &str) -> f64 {
        match &self.config {
            Some(config) => config.scaling_of(path),
            None => self.noted_scaling.unwrap_or(MISTRAL_SCALING),
        }
    }
}

/// Keeps the tensors of the adapter in the state of a whole model. Why no server reads the files, if none does.
fn own_file(found: &Files, tensors: &mut Tensors) -> Option<String> {
    let name = tensors.path().file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fix = "`pixtune adapter convert` writes the adapter as servers read it";
    let names: Vec<&str> = tensors.all().iter().map(|tensor| tensor.name.as_str()).collect();
    if let Some(kept) = keys::of_full_state(&names) {
        let kept: BTreeSet<String> = kept.into_iter().map(str::to_owned).collect();
        let others = counted((names.len() - kept.len()) as u64, "tensor");
        tensors.retain(|tensor| kept.contains(&tensor.name));
        return Some(format!(
            "`{name}` has the state of the whole model: its adapter is read, and {others} of the base are not used; {fix}"
        ));
    }
    match found.kind {
        Kind::Own | Kind::Pickled => None,
        Kind::State => Some(format!("the adapter is in `{name}`, the file of a whole model; {fix}")),
        Kind::Mlx => Some(format!("`{name}` is an adapter of MLX; {fix}")),
    }
}
