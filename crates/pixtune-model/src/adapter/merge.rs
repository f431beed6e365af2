//! Merging: W + s·(B·A), in the pass that converts.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::convert::target_mismatches;
use super::dialect::Area;
use super::error::AdapterError;
use super::open::{Adapter, Lora, TokenRows};
use super::product::PackedA;
use super::settings::number;
use super::{fit, fold, original, refuse};
use crate::weights::convert::{
    Change, ChangeError, ConvertError, Growth, Merged, MergedInto, Options, Plan, Progress, Report,
    check_target, open_source,
};
use crate::weights::safetensors::TensorInfo;
use crate::weights::{Checkpoint, Kind, Module, Problems, RowOrder, TensorName, dtype};

/// A merge that will go through unless the disk or one of the sources fails.
#[derive(Debug)]
pub struct Merge<'a> {
    adapter: &'a Adapter,
    plan: Plan,
    /// The quantized base whose original weights are merged.
    quantized: Option<Checkpoint>,
    /// The module that is being changed: chunks of one module follow each other.
    loaded: Mutex<Option<(TensorName, Factors)>>,
}

/// What changes the rows of a module's weight.
#[derive(Debug)]
struct Factors {
    /// The right factor, rank × columns.
    right: PackedA,
    /// Rows of the left factor and lengths of rows in the base's order, where rows move; otherwise they are read as needed.
    moved: Option<(Vec<f32>, Vec<f32>)>,
    scaling: f32,
}

impl<'a> Merge<'a> {
    /// Inspects everything and refuses what cannot be merged. `options.source` is the base. If it is quantized and
    /// `options.base` is its original, the adapter is merged into the original weights.
    pub fn new(adapter: &'a Adapter, mut options: Options) -> Result<Merge<'a>, AdapterError> {
        check_target(&[&options.source, &adapter.directory], &options.target, options.existing)?;
        let mut base = open_source(&options, &mut Vec::new())?;
        let mut quantized = None;
        let method = base.quantizations().pop_first().map(|(method, _)| method);
        if let (Some(_), Some(directory)) = (&method, options.base.take_if(|_| method.is_some())) {
            let original = original::open(&directory, &base)?;
            options.source = directory;
            quantized = Some(std::mem::replace(&mut base, original));
        }
        refuse::other_weights(adapter)?;
        fit::check(adapter, &base)?;
        refuse::check_merge(adapter)?;
        let unties = base.config().tied && unties(adapter)?;
        options.untie |= unties;
        options.growth =
            fit::growth(adapter, &base).map(|rows| Growth { rows, tokenizer: adapter.directory.clone() });
        let mut plan = Plan::new(options)?;
        if unties {
            plan.warnings.push(
                "the base ties the head to the embedding, and the adapter changes one of them alone: the merged model has a \
                 head of its own, and `tie_word_embeddings` is false"
                    .to_owned(),
            );
        }
        plan.warnings.extend(adapter.warnings.iter().cloned());
        plan.warnings.extend(target_mismatches(adapter, &plan.source));
        plan.warnings.extend(adapter.base_warning(&plan.source));
        plan.warnings.extend(adapter.untrained()?.map(|untrained| untrained.to_string()));
        let mut merged = summary(adapter);
        if let (Some(method), None) = (method, &quantized) {
            let relative = original::estimate(&plan.source)?;
            merged.into = Some(MergedInto::Dequantized { relative });
            plan.warnings.push(format!(
                "the base is stored as {method}: the adapter is merged into its dequantized weights, which are probably {:.1} % off \
                 the original ones; name the original model with --base to merge into it and to measure the difference",
                100.0 * relative
            ));
        }
        plan.merged = Some(merged);
        Ok(Merge { adapter, plan, quantized, loaded: Mutex::new(None) })
    }

    /// What will be written.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Writes the merged checkpoint and moves it to its place.
    pub fn run(&mut self, watch: &mut dyn FnMut(Progress)) -> Result<Report, AdapterError> {
        if let (Some(quantized), Some(merged)) = (&self.quantized, &mut self.plan.merged) {
            let distance = original::distance(quantized, &self.plan.source, watch)?;
            merged.into = Some(MergedInto::Original(distance));
        }
        let merge = &*self;
        merge.plan.run(Some(merge), watch).map_err(|error| match error {
            // The change's own error is returned as it is.
            ConvertError::Change { name, source } => match source.downcast::<AdapterError>() {
                Ok(own) => *own,
                Err(source) => ConvertError::Change { name, source }.into(),
            },
            error => error.into(),
        })
    }

    fn base(&self) -> &Checkpoint {
        &self.plan.source
    }

    fn lora(&self, tensor: TensorName) -> Option<&Lora> {
        self.adapter.lora.get(&tensor.module).filter(|_| tensor.kind == Kind::Weight)
    }

    /// Rows of trained tokens. peft ties those of a tied head to the embedding's, so both are the same tensor there.
    fn token_rows(&self, tensor: TensorName) -> Option<&TokenRows> {
        let rows = &self.adapter.token_rows;
        let tied_head = tensor.module == Module::Head && self.base().config().tied;
        let of_embedding = || rows.get(&Module::Embedding).filter(|_| tied_head);
        rows.get(&tensor.module).or_else(of_embedding).filter(|_| tensor.kind == Kind::Weight)
    }

    fn replace_tokens(
        &self,
        trained: &TokenRows,
        first: usize,
        rows: &mut [f32],
    ) -> Result<(), AdapterError> {
        let width = trained.tensor.shape[1];
        let last = first + rows.len() / width;
        for (index, token) in trained.tokens.iter().enumerate() {
            if (first..last).contains(token) {
                let row = &mut rows[(token - first) * width..][..width];
                row.copy_from_slice(&self.rows(&trained.tensor, index * width, width)?);
            }
        }
        Ok(())
    }

    fn load(&self, module: Module, lora: &Lora) -> Result<Factors, AdapterError> {
        let right = self.right(lora)?;
        let moved = match self.base().rotary_head_dim(module) {
            Some(head_dim) => {
                let (from, to) = (self.adapter.dialect.row_order(module), self.base().row_order());
                let order = |values: Vec<f32>| in_order(&values, lora.b.shape[0], from, to, head_dim);
                let lengths = lora.magnitude.as_ref().map(|tensor| self.finite(tensor)).transpose()?;
                Some((order(self.finite(&lora.b)?), lengths.map(order).unwrap_or_default()))
            }
            None => None,
        };
        Ok(Factors { right, moved, scaling: lora.scaling as f32 })
    }

    /// The right factor: A, read row by row; or an embedding's B.
    fn right(&self, lora: &Lora) -> Result<PackedA, AdapterError> {
        let rank = lora.rank;
        if lora.is_embedding {
            let width = lora.b.shape[0];
            return Ok(PackedA::new(&transposed(&self.finite(&lora.b)?, rank), rank, width));
        }
        let columns = lora.a.shape[1..].iter().product();
        let mut packed = PackedA::zeros(rank, columns);
        for row in 0..rank {
            packed.set_row(row, &self.rows(&lora.a, row * columns, columns)?);
        }
        Ok(packed)
    }

    /// Rows of the left factor: B, or an embedding's A.
    fn left(
        &self,
        lora: &Lora,
        factors: &Factors,
        first: usize,
        count: usize,
    ) -> Result<Vec<f32>, AdapterError> {
        let rank = lora.rank;
        if let Some((rows, _)) = &factors.moved {
            return Ok(rows[first * rank..(first + count) * rank].to_vec());
        }
        if !lora.is_embedding {
            return self.rows(&lora.b, first * rank, count * rank);
        }
        let tokens = lora.a.shape[1];
        let mut columns = Vec::with_capacity(rank * count);
        for row in 0..rank {
            columns.extend(self.rows(&lora.a, row * tokens + first, count)?);
        }
        Ok(transposed(&columns, count))
    }

    fn lengths(
        &self,
        lora: &Lora,
        factors: &Factors,
        first: usize,
        count: usize,
    ) -> Result<Option<Vec<f32>>, AdapterError> {
        match (&lora.magnitude, &factors.moved) {
            (None, _) => Ok(None),
            (Some(_), Some((_, lengths))) => Ok(Some(lengths[first..first + count].to_vec())),
            (Some(tensor), None) => self.rows(tensor, first, count).map(Some),
        }
    }

    /// Some elements of a tensor of the adapter, all finite.
    fn rows(&self, tensor: &TensorInfo, first: usize, count: usize) -> Result<Vec<f32>, AdapterError> {
        let size = tensor.dtype.size();
        let mut bytes = vec![0; count * size];
        self.adapter.tensors().read(tensor, first, &mut bytes)?;
        let values = dtype::to_f32(tensor.dtype, &bytes)
            .ok_or_else(|| self.not_finite(tensor, "no floats".to_owned()))?;
        match fold::count_not_finite(&values) {
            0 => Ok(values),
            bad => Err(self.not_finite(tensor, format!("{bad} of {}", values.len()))),
        }
    }

    fn finite(&self, tensor: &TensorInfo) -> Result<Vec<f32>, AdapterError> {
        self.rows(tensor, 0, tensor.shape.iter().product())
    }

    fn not_finite(&self, tensor: &TensorInfo, what: String) -> AdapterError {
        let problems = Problems(vec![format!("`{}` has {what}", tensor.name)]);
        AdapterError::NotFinite { adapter: self.adapter.directory.clone(), problems }
    }

    /// Puts rows of a whole tensor in the place of the base's.
    fn replace(
        &self,
        name: TensorName,
        tensor: &TensorInfo,
        first: usize,
        rows: &mut [f32],
    ) -> Result<(), AdapterError> {
        let width = tensor.shape[1..].iter().product::<usize>().max(1);
        let count = rows.len() / width;
        let (from, to) = (self.adapter.dialect.row_order(name.module), self.base().row_order());
        match self.base().rotary_head_dim(name.module).filter(|_| from != to && name.kind == Kind::Weight) {
            None => rows.copy_from_slice(&self.rows(tensor, first * width, rows.len())?),
            Some(head_dim) => {
                for (index, row) in rows.chunks_exact_mut(width).enumerate() {
                    let source = from.source_row(to, head_dim, first + index);
                    row.copy_from_slice(&self.rows(tensor, source * width, width)?);
                }
            }
        }
        debug_assert_eq!(count * width, rows.len());
        Ok(())
    }

    fn add(&self, name: TensorName, lora: &Lora, first: usize, rows: &mut [f32]) -> Result<(), AdapterError> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_there = loaded.as_ref().is_some_and(|(loaded, _)| *loaded == name);
        if !is_there {
            *loaded = Some((name, self.load(name.module, lora)?));
        }
        let Some((_, factors)) = loaded.as_ref() else { return Ok(()) };
        let width = factors.right.columns();
        let count = rows.len() / width;
        let left = self.left(lora, factors, first, count)?;
        factors.right.add_to(rows, &left, factors.scaling);
        if let Some(lengths) = self.lengths(lora, factors, first, count)? {
            rows.chunks_exact_mut(width).zip(lengths).for_each(|(row, length)| set_length(row, length));
        }
        Ok(())
    }
}

impl Change for Merge<'_> {
    fn concerns(&self, tensor: TensorName) -> bool {
        self.lora(tensor).is_some()
            || self.adapter.whole.contains_key(&tensor)
            || self.token_rows(tensor).is_some()
    }

    fn apply(&self, tensor: TensorName, first_row: usize, rows: &mut [f32]) -> Result<(), ChangeError> {
        if let Some(whole) = self.adapter.whole.get(&tensor) {
            self.replace(tensor, whole, first_row, rows)?;
        }
        if let Some(lora) = self.lora(tensor) {
            self.add(tensor, lora, first_row, rows)?;
        }
        match self.token_rows(tensor) {
            Some(trained) => Ok(self.replace_tokens(trained, first_row, rows)?),
            None => Ok(()),
        }
    }
}

/// Whether embedding and head are no longer the same after the merge: peft changes only the one that was trained, although
/// the base ties them.
fn unties(adapter: &Adapter) -> Result<bool, AdapterError> {
    let both = [Module::Embedding, Module::Head];
    if both.iter().any(|module| adapter.lora.contains_key(module)) {
        return Ok(true);
    }
    match both.map(|module| adapter.whole.get(&module.weight())) {
        [None, None] => Ok(false),
        // peft stores both if the vocabulary was resized, also while they are one.
        [Some(embedding), Some(head)] => Ok(!same_bytes(adapter, embedding, head)?),
        _ => Ok(true),
    }
}

/// Whether two tensors of an adapter are the same.
fn same_bytes(adapter: &Adapter, one: &TensorInfo, other: &TensorInfo) -> Result<bool, AdapterError> {
    if (one.dtype, &one.shape) != (other.dtype, &other.shape) {
        return Ok(false);
    }
    let (mut a, mut b) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let size = one.dtype.size();
    let count = usize::try_from(one.bytes()).unwrap_or(usize::MAX) / size;
    let mut first = 0;
    while first < count {
        let elements = (count - first).min(a.len() / size);
        let bytes = elements * size;
        adapter.tensors().read(one, first, &mut a[..bytes])?;
        adapter.tensors().read(other, first, &mut b[..bytes])?;
        if a[..bytes] != b[..bytes] {
            return Ok(false);
        }
        first += elements;
    }
    Ok(true)
}

/// DoRA: a row in the length that was trained (peft 0.21.2 `tuners/lora/variants.py` `DoraLinearVariant.merge_safe`).
fn set_length(row: &mut [f32], length: f32) {
    let squares: f64 = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    let factor = length / squares.sqrt() as f32;
    row.iter_mut().for_each(|value| *value *= factor);
}

/// Rows in another order.
fn in_order(values: &[f32], rows: usize, from: RowOrder, to: RowOrder, head_dim: usize) -> Vec<f32> {
    let width = values.len() / rows.max(1);
    (0..rows)
        .flat_map(|row| &values[from.source_row(to, head_dim, row) * width..][..width])
        .copied()
        .collect()
}

/// Columns as rows; `columns` is the width.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    let rows = values.len() / columns.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

/// What was merged, for the report.
fn summary(adapter: &Adapter) -> Merged {
    let mut areas: BTreeMap<Area, usize> = BTreeMap::new();
    let mut scalings: Vec<(f64, usize)> = Vec::new();
    for (module, lora) in &adapter.lora {
        *areas.entry(Area::of(*module)).or_default() += 1;
        match scalings.iter_mut().find(|(scaling, _)| *scaling == lora.scaling) {
            Some((_, count)) => *count += 1,
            None => scalings.push((lora.scaling, 1)),
        }
    }
    Merged {
        dialect: adapter.dialect.as_str(),
        modules: areas.into_iter().map(|(area, count)| (area.as_str(), count)).collect(),
        scalings: scalings.into_iter().map(|(scaling, count)| (number(scaling), count)).collect(),
        replaced: adapter
            .whole
            .values()
            .chain(adapter.token_rows.values().map(|rows| &rows.tensor))
            .map(|tensor| tensor.name.clone())
            .collect(),
        into: None,
    }
}
