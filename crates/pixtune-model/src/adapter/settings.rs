//! What is written beside the tensors: adapter_config.json for peft, params.json for Mistral.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use pixtune_core::json::{self, Slot, ToJson, Value, list, members, object, raw};

use super::config_keys::DIALECT_KEY;
use super::dialect::Dialect;
use super::error::AdapterError;
use super::fit;
use super::open::{Adapter, MISTRAL_SCALING};
use super::targets::Targets;
use crate::weights::config;
use crate::weights::{Checkpoint, Dtype, Format, Module, Spelling, WeightsError};

/// Rank and scaling as peft writes them: one pair for most modules, and patterns for the rest.
#[derive(Debug, PartialEq)]
struct Ranks {
    rank: u32,
    alpha: f64,
    rank_stabilized: bool,
    /// Ranks that differ, by the end of a module's path.
    rank_pattern: BTreeMap<String, u32>,
    /// Alphas that differ.
    alpha_pattern: BTreeMap<String, f64>,
}

/// adapter_config.json for an adapter in another dialect of peft's.
///
/// Only keys that peft 0.14 already knew are written: it refuses others, and newer ones have defaults that mean nothing
/// changed.
pub fn peft_config(adapter: &Adapter, base: &Checkpoint, dialect: Dialect) -> String {
    let ranks = Ranks::of(adapter);
    let config = adapter.config.as_ref();
    let saved: Vec<String> = adapter
        .whole
        .keys()
        .filter(|name| **name == name.module.weight())
        .map(|name| saved(name.module, dialect))
        .collect();
    json::document(object(|out| {
        out.field(
            "alpha_pattern",
            members(ranks.alpha_pattern.iter().map(|(key, alpha)| (key, Alpha(*alpha)))),
        );
        out.field("auto_mapping", NONE);
        out.field("base_model_name_or_path", config.and_then(|config| config.base_model.as_ref()));
        out.field("bias", config.map_or("none", |config| config.bias.as_str()));
        out.field("fan_in_fan_out", false).field("inference_mode", true).field("init_lora_weights", true);
        out.field("layers_pattern", NONE).field("layers_to_transform", NONE);
        out.field("lora_alpha", Alpha(ranks.alpha));
        out.field("lora_dropout", Alpha(config.map_or(0.0, |config| config.dropout)));
        out.field("modules_to_save", (!saved.is_empty()).then(|| list(&saved)));
        out.field("peft_type", "LORA");
        if dialect == Dialect::VllmConsolidated {
            out.field(DIALECT_KEY, dialect.as_str());
        }
        out.field("r", ranks.rank).field("rank_pattern", members(&ranks.rank_pattern));
        out.field("revision", config.and_then(|config| config.revision.as_ref()));
        out.field("target_modules", list(&target_modules(adapter, base, dialect)));
        let task = config.map_or(Some("CAUSAL_LM"), |config| config.task_type.as_deref());
        out.field("task_type", task).field("use_dora", config.is_some_and(|config| config.dora));
        out.field("use_rslora", ranks.rank_stabilized);
    }))
}

/// A key without a value.
const NONE: Option<bool> = None;

/// A number as peft writes alphas: whole ones without a point.
struct Alpha(f64);

impl ToJson for Alpha {
    fn write_json(self, slot: Slot<'_>) {
        raw(&number(self.0)).write_json(slot);
    }
}

/// Refuses a base whose configuration has no spelling in params.json.
pub fn check(base: &Checkpoint) -> Result<(), AdapterError> {
    let checked = base.config().check_expressible(base.directory(), base.format(), Format::Mistral);
    checked.map_err(|error| AdapterError::from(WeightsError::from(error)))
}

/// params.json for an adapter in Mistral's dialect: the base's, with what mistral-finetune adds to it.
pub fn params(adapter: &Adapter, base: &Checkpoint) -> String {
    let dtype = base.tensors().next().map_or(Dtype::BF16, |tensor| tensor.dtype());
    let written = config::write(base.config(), base.format(), Format::Mistral, dtype, None);
    let ranks: BTreeSet<usize> = adapter.lora.values().map(|lora| lora.rank).collect();
    let parsed = json::parse(&written.text).map(|parsed| parsed.value);
    let (Ok(Value::Object(mut members)), Some(rank), 1) = (parsed, ranks.first(), ranks.len()) else {
        return written.text;
    };
    let dropout = adapter.config.as_ref().map_or(0.0, |config| config.dropout);
    let number = |value: f64| Value::Number(Cow::Owned(format!("{value:?}")));
    let lora = [
        ("enable", Value::Bool(true)),
        ("rank", Value::Number(Cow::Owned(rank.to_string()))),
        ("dropout", number(dropout)),
        ("scaling", number(MISTRAL_SCALING)),
    ];
    members.retain(|(key, _)| key != "lora");
    members.push((
        Cow::Borrowed("lora"),
        Value::Object(lora.into_iter().map(|(key, value)| (Cow::Borrowed(key), value)).collect()),
    ));
    json::document(&Value::Object(members))
}

impl Ranks {
    fn of(adapter: &Adapter) -> Ranks {
        let stabilized = adapter.config.as_ref().is_some_and(|config| config.rank_stabilized);
        let alpha_of = |module: &Module, rank: usize, scaling: f64| match &adapter.config {
            Some(config) => config.alpha_of(&adapter.path(*module)),
            None => scaling * rank as f64,
        };
        let own: Vec<(Module, u32, f64)> = adapter
            .lora
            .iter()
            .map(|(module, lora)| (*module, lora.rank as u32, alpha_of(module, lora.rank, lora.scaling)))
            .collect();
        let stated = adapter.config.as_ref().map(|config| (config.rank, config.alpha));
        let (rank, alpha) = stated.unwrap_or_else(|| most_common(&own));
        let tail_where = |differs: &dyn Fn(&(Module, u32, f64)) -> bool| {
            own.iter().filter(|row| differs(row)).map(|row| (tail(row.0), *row)).collect::<Vec<_>>()
        };
        Ranks {
            rank,
            alpha,
            rank_stabilized: stabilized,
            rank_pattern: tail_where(&|row| row.1 != rank)
                .into_iter()
                .map(|(tail, row)| (tail, row.1))
                .collect(),
            alpha_pattern: tail_where(&|row| row.2 != alpha)
                .into_iter()
                .map(|(tail, row)| (tail, row.2))
                .collect(),
        }
    }
}

fn most_common(own: &[(Module, u32, f64)]) -> (u32, f64) {
    let mut counts: BTreeMap<(u32, u64), usize> = BTreeMap::new();
    for (_, rank, alpha) in own {
        *counts.entry((*rank, alpha.to_bits())).or_default() += 1;
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    most.map_or((1, 1.0), |((rank, alpha), _)| (rank, f64::from_bits(alpha)))
}

/// The shortest list of names that peft matches with exactly the modules of this adapter, in the dialect it is written
/// in and at the paths that modules have since transformers 4.52.
fn target_modules(adapter: &Adapter, base: &Checkpoint, dialect: Dialect) -> Vec<String> {
    let modules = || adapter.lora.keys().copied();
    let source = match adapter.config.as_ref().map(|config| &config.targets) {
        Some(Targets::Names(names)) => names.iter().cloned().collect(),
        _ => BTreeSet::new(),
    };
    let leaf = |module: Module| last_steps(&tail(module), 1);
    let two = |module: Module| last_steps(&tail(module), 2);
    let choices: [BTreeSet<String>; 3] =
        [source, modules().map(leaf).collect(), modules().map(two).collect()];
    let hits_exactly = |names: &BTreeSet<String>| {
        let targets = Targets::Names(names.iter().cloned().collect());
        [dialect, Dialect::Peft].iter().all(|dialect| {
            fit::candidates(base).all(|module| {
                targets.matches(&dialect.path(module), None) == adapter.lora.contains_key(&module)
            })
        })
    };
    let chosen = choices.into_iter().find(hits_exactly);
    chosen.unwrap_or_else(|| modules().map(tail).collect()).into_iter().collect()
}

/// An entry of `modules_to_save`. peft compares ends of names without regard for dots, so a norm needs its whole path.
fn saved(module: Module, dialect: Dialect) -> String {
    match module {
        Module::Head | Module::Embedding => tail(module),
        _ => dialect.path(module),
    }
}

/// The end of a module's path that every dialect of peft's shares and no other module has.
pub fn tail(module: Module) -> String {
    let disk = module.path(Spelling::Disk);
    let areas = ["language_model.model.", "language_model.", "vision_tower.", "multi_modal_projector."];
    areas.iter().find_map(|area| disk.strip_prefix(area)).unwrap_or(&disk).to_owned()
}

fn last_steps(path: &str, count: usize) -> String {
    let steps: Vec<&str> = path.split('.').collect();
    steps[steps.len().saturating_sub(count)..].join(".")
}

/// Whole numbers without a point, as peft writes alphas.
pub fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:?}") }
}
