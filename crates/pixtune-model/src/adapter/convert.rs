//! From one dialect to another: names, rows of B, the scaling, and the files beside the tensors.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use pixtune_core::json;
use pixtune_core::text::{counted, counted_as};
use pixtune_files::Existing;

use super::check::vllm_rank_advice;
use super::dialect::{Area, Dialect};
use super::error::AdapterError;
use super::fold::{self, Rounding};
use super::open::{Adapter, Lora, MISTRAL_SCALING};
use super::{fit, mlx_settings, refuse, settings};
use crate::weights::convert::{ConvertError, OutputDirectory, REPORT, check_target};
use crate::weights::safetensors::{Layout, TensorInfo, TensorSpec, Writer};
use crate::weights::{Checkpoint, Dtype, Module, Problems, RowOrder};

/// What is to be done with an adapter.
#[derive(Debug)]
pub struct Conversion<'c> {
    adapter: &'c Adapter,
    target: PathBuf,
    to: Dialect,
    pieces: Vec<Piece<'c>>,
    settings: Vec<(&'static str, String)>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// A tensor of the output.
#[derive(Debug)]
struct Piece<'c> {
    key: String,
    module: String,
    from: &'c TensorInfo,
    dtype: Dtype,
    /// What values are multiplied with: as it is used, and exactly.
    factor: (f32, f64),
    /// Orders of rows and the width of a head, where rows move.
    rows: Option<(RowOrder, RowOrder, usize)>,
    /// Whether the matrix is written transposed.
    transposed: bool,
}

/// What a conversion did.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversionReport {
    /// The dialect of the source.
    pub from: Dialect,
    /// The dialect of the output.
    pub to: Dialect,
    /// Modules by area.
    pub modules: BTreeMap<Area, usize>,
    /// Ranks, with the number of modules of each.
    pub ranks: BTreeMap<usize, usize>,
    /// Modules whose rows of B were moved.
    pub permuted: usize,
    /// Types of the output, with their number of tensors.
    pub dtypes: BTreeMap<Dtype, usize>,
    /// Factors folded into B, by their exact value, with the number of modules.
    pub folded: Vec<(f64, usize)>,
    /// The largest error of folding and rounding.
    pub rounding: Rounding,
    /// Files written.
    pub files: Vec<&'static str>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

impl<'c> Conversion<'c> {
    /// Plans everything and refuses what the dialect cannot express. `dtype` is the type of every tensor; without it
    /// each keeps its own, and Mistral's dialect has that of the base, because mistral-inference accepts no other.
    pub fn new(
        adapter: &'c Adapter,
        base: &Checkpoint,
        to: Dialect,
        target: &Path,
        dtype: Option<Dtype>,
        existing: Existing,
    ) -> Result<Conversion<'c>, AdapterError> {
        check_target(&[&adapter.directory, base.directory()], target, existing)?;
        refuse::other_weights(adapter)?;
        fit::check(adapter, base)?;
        refuse::check_conversion(adapter, to)?;
        if to == Dialect::Mistral {
            settings::check(base)?;
        }
        let dtype = dtype.or_else(|| (to == Dialect::Mistral).then(|| base_dtype(base)));
        let mut pieces: Vec<Piece<'c>> = adapter
            .lora
            .iter()
            .flat_map(|(module, lora)| pieces(adapter, base, to, dtype, *module, lora))
            .collect();
        pieces.extend(adapter.whole.iter().map(|(name, tensor)| Piece {
            key: format!(
                "{}{}",
                to.key(name.module),
                if *name == name.module.weight() { ".weight" } else { ".bias" }
            ),
            module: adapter.path(name.module),
            from: tensor,
            dtype: dtype.unwrap_or(tensor.dtype),
            factor: (1.0, 1.0),
            rows: move_of(adapter, base, to, name.module),
            transposed: false,
        }));
        // As safetensors' own writer orders tensors: wide types first, then by name.
        pieces.sort_by(|a, b| (Reverse(a.dtype.size()), &a.key).cmp(&(Reverse(b.dtype.size()), &b.key)));
        let settings = settings(adapter, base, to);
        let mut warnings = warnings(adapter, base, to);
        warnings.extend(adapter.untrained()?.map(|untrained| untrained.to_string()));
        Ok(Conversion { adapter, target: target.to_owned(), to, pieces, settings, warnings })
    }

    /// Writes everything and moves it to its place.
    pub fn run(&self) -> Result<ConversionReport, AdapterError> {
        let directory = OutputDirectory::create(&self.target)?;
        let rounding = self.write_tensors(directory.path())?;
        for (name, text) in &self.settings {
            directory.write(name, text.as_bytes())?;
        }
        let report = self.report(rounding);
        directory.write(REPORT, json::line(&report).as_bytes())?;
        directory.commit()?;
        Ok(report)
    }

    fn write_tensors(&self, directory: &Path) -> Result<Rounding, AdapterError> {
        let path = directory.join(self.to.tensor_file());
        let shown = self.target.join(self.to.tensor_file());
        let failed = |source: io::Error| ConvertError::Write { path: shown.clone(), source };
        let specs: Vec<TensorSpec> = self.pieces.iter().map(Piece::spec).collect();
        let layout = Layout::new(&specs).ok_or(ConvertError::TooLarge)?;
        let file = BufWriter::new(File::create(&path).map_err(failed)?);
        let mut writer = Writer::new(file, &layout).map_err(failed)?;
        let mut rounding = Rounding::default();
        let mut problems = Problems::default();
        for piece in &self.pieces {
            let values = self.adapter.values(piece.from)?;
            match fold::count_not_finite(&values) {
                0 => writer.write(&piece.made_of(&values, &mut rounding)).map_err(failed)?,
                count => {
                    problems.0.push(format!("`{}` has {count} of {}", piece.from.name, values.len()));
                    writer.write(&vec![0; piece.bytes()]).map_err(failed)?;
                }
            }
        }
        if !problems.0.is_empty() {
            return Err(AdapterError::NotFinite { adapter: self.adapter.directory.clone(), problems });
        }
        writer.finish().and_then(|mut file| file.flush()).map_err(failed)?;
        Ok(rounding)
    }

    fn report(&self, rounding: Rounding) -> ConversionReport {
        let lora = &self.adapter.lora;
        let mut modules = BTreeMap::new();
        let mut ranks = BTreeMap::new();
        let mut dtypes = BTreeMap::new();
        let mut folded: Vec<(f64, usize)> = Vec::new();
        for (module, lora) in lora {
            *modules.entry(Area::of(*module)).or_default() += 1;
            *ranks.entry(lora.rank).or_default() += 1;
        }
        for piece in &self.pieces {
            *dtypes.entry(piece.dtype).or_default() += 1;
            if piece.factor.1 != 1.0 {
                match folded.iter_mut().find(|(factor, _)| *factor == piece.factor.1) {
                    Some((_, count)) => *count += 1,
                    None => folded.push((piece.factor.1, 1)),
                }
            }
        }
        ConversionReport {
            from: self.adapter.dialect,
            to: self.to,
            modules,
            ranks,
            permuted: self.pieces.iter().filter(|piece| piece.rows.is_some()).count(),
            dtypes,
            folded,
            rounding,
            files: [self.to.tensor_file()]
                .into_iter()
                .chain(self.settings.iter().map(|(name, _)| *name))
                .collect(),
            warnings: self.warnings.clone(),
        }
    }
}

impl Piece<'_> {
    fn spec(&self) -> TensorSpec {
        let mut shape = self.from.shape.clone();
        if self.transposed {
            shape.reverse();
        }
        TensorSpec { name: self.key.clone(), dtype: self.dtype, shape }
    }

    fn bytes(&self) -> usize {
        self.from.shape.iter().product::<usize>() * self.dtype.size()
    }

    /// The bytes of the output.
    fn made_of(&self, values: &[f32], rounding: &mut Rounding) -> Vec<u8> {
        let (factor, exact) = self.factor;
        let rounded = fold::scale(values, factor, exact, self.dtype);
        rounding.take(rounded.error, rounded.lost, &self.module);
        let mut bytes = rounded.bytes;
        if let Some((from, to, head_dim)) = self.rows {
            let row_bytes = bytes.len() / self.from.shape[0];
            let mut moved = vec![0; bytes.len()];
            from.permute(to, head_dim, row_bytes, &bytes, &mut moved);
            bytes = moved;
        }
        if self.transposed { transposed(&bytes, self.from.shape[0], self.dtype.size()) } else { bytes }
    }
}

/// The elements of a matrix of `rows` rows, column by column.
fn transposed(bytes: &[u8], rows: usize, size: usize) -> Vec<u8> {
    let columns = bytes.len() / size / rows.max(1);
    let element = |row: usize, column: usize| &bytes[(row * columns + column) * size..][..size];
    (0..columns).flat_map(|column| (0..rows).flat_map(move |row| element(row, column)).copied()).collect()
}

/// The tensors of one module.
fn pieces<'c>(
    adapter: &Adapter,
    base: &Checkpoint,
    to: Dialect,
    dtype: Option<Dtype>,
    module: Module,
    lora: &'c Lora,
) -> Vec<Piece<'c>> {
    let key = to.key(module);
    let endings = match (to, lora.is_embedding) {
        (Dialect::Mlx, _) => mlx_settings::FACTORS,
        (_, true) => [".lora_embedding_A", ".lora_embedding_B"],
        (_, false) => [".lora_A.weight", ".lora_B.weight"],
    };
    let fold = match to {
        Dialect::Mistral => lora.scaling / MISTRAL_SCALING,
        Dialect::Mlx => lora.scaling / mlx_settings::scale(adapter),
        _ => 1.0,
    };
    let rows = move_of(adapter, base, to, module);
    let piece = |ending: &str, from: &'c TensorInfo, factor: f64, rows| Piece {
        key: format!("{key}{ending}"),
        module: adapter.path(module),
        from,
        dtype: dtype.unwrap_or(from.dtype),
        factor: (factor as f32, factor),
        rows,
        transposed: to == Dialect::Mlx,
    };
    let mut pieces = vec![piece(endings[0], &lora.a, 1.0, None), piece(endings[1], &lora.b, fold, rows)];
    pieces.extend(lora.magnitude.iter().map(|tensor| piece(".lora_magnitude_vector", tensor, 1.0, rows)));
    pieces
}

/// How rows of a module move between the adapter's dialect and another.
fn move_of(
    adapter: &Adapter,
    base: &Checkpoint,
    to: Dialect,
    module: Module,
) -> Option<(RowOrder, RowOrder, usize)> {
    let head_dim = base.rotary_head_dim(module)?;
    let (from, to) = (adapter.dialect.row_order(module), to.row_order(module));
    (from != to).then_some((from, to, head_dim))
}

/// The type of the text decoder's first query projection represents the model's: mistral-inference requires one type.
fn base_dtype(base: &Checkpoint) -> Dtype {
    let first = base.tensor(Module::Text(0, crate::weights::Part::Q).weight());
    first.map_or(Dtype::BF16, |tensor| tensor.dtype())
}

fn settings(adapter: &Adapter, base: &Checkpoint, to: Dialect) -> Vec<(&'static str, String)> {
    match to {
        Dialect::Mistral => vec![("params.json", settings::params(adapter, base))],
        Dialect::Mlx => vec![("adapter_config.json", mlx_settings::config(adapter, base))],
        _ => vec![("adapter_config.json", settings::peft_config(adapter, base, to))],
    }
}

fn warnings(adapter: &Adapter, base: &Checkpoint, to: Dialect) -> Vec<String> {
    let mut warnings = adapter.warnings.clone();
    warnings.extend(target_mismatches(adapter, base));
    warnings.extend(adapter.base_warning(base));
    let outside = adapter.lora.keys().filter(|module| !matches!(Area::of(**module), Area::Text)).count();
    let most = adapter.lora.values().map(|lora| lora.rank).max().unwrap_or(0);
    match to {
        Dialect::Mistral if outside > 0 => warnings.push(format!(
            "{} outside of the text decoder's layers: mistral-inference skips them without a warning; \
             `pixtune adapter merge` keeps them",
            counted_as(outside as u64, "module is", "modules are")
        )),
        Dialect::VllmConsolidated if outside > 0 => warnings.push(format!(
            "{} outside of the text decoder: vLLM applies them only with --enable-tower-connector-lora; \
             `pixtune adapter merge` keeps them",
            counted_as(outside as u64, "module is", "modules are")
        )),
        _ => {}
    }
    if to == Dialect::VllmConsolidated && most > 16 {
        warnings.push(format!("rank {most}: {}", vllm_rank_advice(most)));
    }
    if to == Dialect::Mistral {
        let ranks: std::collections::BTreeSet<usize> = adapter.lora.values().map(|lora| lora.rank).collect();
        if ranks.len() > 1 {
            warnings.push(
                "modules have different ranks: params.json gets no `lora` block, which has a single rank"
                    .to_owned(),
            );
        }
    }
    warnings
}

/// Where the tensors and target_modules of a peft adapter disagree.
pub(super) fn target_mismatches(adapter: &Adapter, base: &Checkpoint) -> Vec<String> {
    let Some(config) = &adapter.config else { return Vec::new() };
    let mut warnings = Vec::new();
    let untargeted = adapter.lora.keys().filter(|module| !config.targets(&adapter.path(**module))).count();
    if untargeted > 0 {
        warnings.push(format!(
            "target_modules does not match {} with stored tensors: peft would skip them, pixtune applies them",
            counted(untargeted as u64, "module")
        ));
    }
    let empty = fit::empty_targets(adapter, base, adapter.dialect).len();
    if empty > 0 && untargeted == 0 {
        warnings.push(format!(
            "target_modules also matches {} without stored tensors, which stay unchanged",
            counted(empty as u64, "module")
        ));
    }
    warnings
}
