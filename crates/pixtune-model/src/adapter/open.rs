//! An adapter on disk, opened: which dialect it is in, which modules it changes and with what.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pixtune_core::json::{self, Value};

use super::config::{AdapterConfig, DIALECT_KEY, MAX_BYTES};
use super::dialect::{Dialect, PEFT_PREFIX};
use super::error::AdapterError;
use crate::weights::safetensors::{SafetensorsFile, TensorInfo};
use crate::weights::{Module, Problems, TensorName, dtype};

/// mistral-inference 1.6.0 `main.py` loads every lora.safetensors with this scaling, whatever params.json says.
pub const MISTRAL_SCALING: f64 = 2.0;

/// An open adapter. Values are read when they are asked for.
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
    /// What people should know before they use it.
    pub warnings: Vec<String>,
    file: SafetensorsFile,
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

/// What an adapter's tensor is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    A,
    B,
    EmbeddingA,
    EmbeddingB,
    Magnitude,
    BiasOfB,
    Whole,
}

/// Endings of keys after the module's path; `.default` is the adapter's name, which older files kept.
const ENDINGS: [(&str, Role); 13] = [
    (".lora_A.weight", Role::A),
    (".lora_B.weight", Role::B),
    (".lora_A.default.weight", Role::A),
    (".lora_B.default.weight", Role::B),
    (".lora_embedding_A", Role::EmbeddingA),
    (".lora_embedding_B", Role::EmbeddingB),
    (".lora_embedding_A.default", Role::EmbeddingA),
    (".lora_embedding_B.default", Role::EmbeddingB),
    (".lora_magnitude_vector", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".lora_magnitude_vector.default.weight", Role::Magnitude),
    (".lora_B.bias", Role::BiasOfB),
    (".lora_B.default.bias", Role::BiasOfB),
];

impl Adapter {
    /// Opens a directory, or one of the two kinds of files an adapter is kept in. Without `dialect`, names tell it.
    pub fn open(path: &Path, dialect: Option<Dialect>) -> Result<Adapter, AdapterError> {
        let found = Files::find(path, dialect)?;
        let file = SafetensorsFile::open(&found.tensors)?;
        let config = found.config.as_deref().map(read_config).transpose()?;
        let dialect = match (dialect, &config) {
            (Some(dialect), _) => dialect,
            (None, Some(config)) => noted_dialect(config, &found)?.map_or_else(|| detect(&file), Ok)?,
            (None, None) => detect(&file)?,
        };
        if dialect.is_peft() != config.is_some() {
            return Err(AdapterError::DialectOfFile { path: found.tensors, dialect });
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
            warnings: found.warnings,
            file,
        };
        adapter.collect()?;
        Ok(adapter)
    }

    /// The file with its tensors.
    pub fn file(&self) -> &SafetensorsFile {
        &self.file
    }

    /// The values of a tensor of this adapter.
    pub fn values(&self, tensor: &TensorInfo) -> Result<Vec<f32>, AdapterError> {
        let not_weight = || AdapterError::Dtype {
            path: self.file.path().to_owned(),
            tensor: tensor.name.clone(),
            dtype: tensor.dtype,
        };
        let length = usize::try_from(tensor.bytes()).map_err(|_| not_weight())?;
        let mut bytes = vec![0; length];
        self.file.read_at(&mut bytes, tensor.range.start)?;
        dtype::to_f32(tensor.dtype, &bytes).ok_or_else(not_weight)
    }

    /// A module's path in this adapter's names.
    pub fn path(&self, module: Module) -> String {
        self.dialect.path(module)
    }

    /// Gives every tensor its place, and A its B.
    fn collect(&mut self) -> Result<(), AdapterError> {
        let mut problems = Problems::default();
        let mut parts: BTreeMap<Module, Vec<(Role, TensorInfo)>> = BTreeMap::new();
        for tensor in &self.file.header().tensors {
            match parse_key(self.dialect, &tensor.name) {
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
        for (module, parts) in parts {
            match self.pair(module, parts) {
                Ok(lora) => _ = self.lora.insert(module, lora),
                Err(problem) => problems.0.push(problem),
            }
        }
        if self.lora.is_empty() && self.whole.is_empty() && problems.0.is_empty() {
            problems.0.push("it contains no tensors".to_owned());
        }
        match problems.0.is_empty() {
            true => Ok(()),
            false => Err(AdapterError::Damaged { path: self.file.path().to_owned(), problems }),
        }
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

/// The files of an adapter.
struct Files {
    directory: PathBuf,
    tensors: PathBuf,
    config: Option<PathBuf>,
    warnings: Vec<String>,
}

impl Files {
    fn find(path: &Path, dialect: Option<Dialect>) -> Result<Files, AdapterError> {
        let about =
            fs::metadata(path).map_err(|source| AdapterError::Io { path: path.to_owned(), source })?;
        if about.is_file() {
            return Ok(Files::of_file(path));
        }
        let has = |name: &str| path.join(name).is_file();
        let peft = has("adapter_model.safetensors");
        let mistral = has("lora.safetensors");
        let is_peft = match (peft, mistral, dialect) {
            (true, true, None) => return Err(AdapterError::Mixed { path: path.to_owned() }),
            (true, true, Some(dialect)) => dialect.is_peft(),
            (true, false, _) => true,
            (false, true, _) => false,
            (false, false, _) => {
                let pickled = has("adapter_model.bin") || has("adapter_model.pt");
                return Err(AdapterError::NoAdapter { path: path.to_owned(), pickled });
            }
        };
        let mut found = Files::of_file(&path.join(if is_peft {
            "adapter_model.safetensors"
        } else {
            "lora.safetensors"
        }));
        if let Some(config) = &found.config
            && !config.is_file()
        {
            return Err(AdapterError::NoConfig { path: path.to_owned() });
        }
        if peft && mistral {
            let other = if is_peft { "lora.safetensors" } else { "adapter_model.safetensors" };
            found.warnings.push(format!("`{other}` is in the same directory and is not read"));
        }
        if ["model", "consolidated"].iter().any(|stem| holds_weights(path, stem)) {
            found.warnings.push(
                "the adapter's directory also contains model weights: a server given this directory may load them without the adapter"
                    .to_owned(),
            );
        }
        Ok(found)
    }

    fn of_file(path: &Path) -> Files {
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let is_mistral = path.file_name().is_some_and(|name| name == "lora.safetensors");
        let config = (!is_mistral).then(|| directory.join("adapter_config.json"));
        Files { directory, tensors: path.to_owned(), config, warnings: Vec::new() }
    }
}

fn holds_weights(directory: &Path, stem: &str) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(stem) && name.ends_with(".safetensors")
    })
}

fn read_text(path: &Path) -> Result<String, AdapterError> {
    let io = |source| AdapterError::Io { path: path.to_owned(), source };
    let mut text = String::new();
    File::open(path).map_err(io)?.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(io)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io(io::Error::new(io::ErrorKind::InvalidData, "it has more than 8 MB")));
    }
    Ok(text)
}

fn read_config(path: &Path) -> Result<AdapterConfig, AdapterError> {
    AdapterConfig::parse(&read_text(path)?)
        .map_err(|source| AdapterError::Config { path: path.to_owned(), source: Box::new(source) })
}

fn noted_dialect(config: &AdapterConfig, found: &Files) -> Result<Option<Dialect>, AdapterError> {
    let Some(noted) = &config.noted_dialect else { return Ok(None) };
    let dialect = Dialect::parse(noted).filter(|dialect| dialect.is_peft());
    let unknown = || AdapterError::NotedDialect {
        path: found.directory.clone(),
        key: DIALECT_KEY,
        found: noted.clone(),
    };
    dialect.map(Some).ok_or_else(unknown)
}

/// What params.json beside lora.safetensors says about the scaling.
fn noted_scaling(directory: &Path) -> Result<Option<f64>, AdapterError> {
    let path = directory.join("params.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = read_text(&path)?;
    let wrong = |reason: String| AdapterError::Params { path: path.clone(), reason };
    let parsed = json::parse(&text).map_err(|error| wrong(format!("it is not JSON: {error}")))?.value;
    match parsed.get("lora").and_then(|lora| lora.get("scaling")) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(text)) => match text.parse() {
            Ok(scaling) if f64::is_finite(scaling) && scaling > 0.0 => Ok(Some(scaling)),
            _ => Err(wrong(format!("`lora.scaling` is {text}; a scaling is above 0"))),
        },
        Some(other) => Err(wrong(format!("`lora.scaling` is {}, not a number", other.kind()))),
    }
}

/// The dialect all names agree on.
fn detect(file: &SafetensorsFile) -> Result<Dialect, AdapterError> {
    let candidates = [Dialect::Peft, Dialect::PeftLegacy, Dialect::Mistral, Dialect::TextOnly];
    let names = || file.header().tensors.iter().map(|tensor| tensor.name.as_str());
    let read_by = |dialect: Dialect| names().filter(|name| parse_key(dialect, name).is_some()).count();
    let counts = candidates.map(|dialect| (read_by(dialect), dialect));
    let total = names().count();
    if let Some((_, dialect)) = counts.iter().find(|(count, _)| *count == total) {
        return Ok(*dialect);
    }
    let seen: Vec<Dialect> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(_, dialect)| *dialect).collect();
    let stranger = names().find(|name| candidates.iter().all(|dialect| parse_key(*dialect, name).is_none()));
    Err(AdapterError::NoDialect { path: file.path().to_owned(), seen, stranger: stranger.map(str::to_owned) })
}

/// What a tensor's name says in a dialect.
fn parse_key(dialect: Dialect, key: &str) -> Option<(TensorName, Role)> {
    let rest = if dialect.is_peft() { key.strip_prefix(PEFT_PREFIX)? } else { key };
    for (ending, role) in ENDINGS {
        if let Some(path) = rest.strip_suffix(ending) {
            return dialect.module(path).map(|module| (module.weight(), role));
        }
    }
    if !dialect.is_peft() {
        return None;
    }
    let (path, name): (&str, fn(Module) -> TensorName) = match rest.strip_suffix(".weight") {
        Some(path) => (path, Module::weight),
        None => (rest.strip_suffix(".bias")?, Module::bias),
    };
    let path = path.strip_suffix(".base_layer").unwrap_or(path);
    let path = path
        .strip_suffix(".modules_to_save.default")
        .or(path.strip_suffix(".modules_to_save"))
        .unwrap_or(path);
    dialect.module(path).map(|module| (name(module), Role::Whole))
}
