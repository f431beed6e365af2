//! The original of a quantized base, and how far the dequantized weights are from it.

use std::path::Path;

use super::error::AdapterError;
use crate::weights::convert::{Distance, Progress, Stage, differences};
use crate::weights::quantized::Rounding;
use crate::weights::{Checkpoint, Format, Reader, RowOrder, Tensor};

/// Rows that are compared at once; whole heads of every model.
const ROWS: usize = 256;

/// Opens the original of a quantized checkpoint: another model, or a quantized one, is refused.
pub fn open(directory: &Path, quantized: &Checkpoint) -> Result<Checkpoint, AdapterError> {
    let path = directory.to_owned();
    let original = match Checkpoint::formats(directory)?.len() {
        0 | 1 => Checkpoint::open(directory)?,
        _ => Checkpoint::open_as(directory, Format::Hf)?,
    };
    if let Some((method, _)) = original.quantizations().pop_first() {
        return Err(AdapterError::QuantizedOriginal { path, method });
    }
    let problems = differences(quantized.config(), original.config());
    match problems.0.is_empty() {
        true => Ok(original),
        false => Err(AdapterError::OtherOriginal { path, problems }),
    }
}

/// How far the dequantized weights of a base are expected to be from the original ones, which are not known: the norm of the difference
/// divided by the norm of the weights, from the distances between the values that its codes have.
pub fn estimate(quantized: &Checkpoint) -> Result<f64, AdapterError> {
    let (mut sums, mut reader) = (Rounding::default(), Reader::default());
    for tensor in quantized.tensors() {
        sums += tensor.rounding(&mut reader)?.unwrap_or_default();
    }
    Ok(sums.relative())
}

/// Compares every quantized tensor with the original one.
pub fn distance(
    quantized: &Checkpoint,
    original: &Checkpoint,
    watch: &mut dyn FnMut(Progress),
) -> Result<Distance, AdapterError> {
    let tensors = || quantized.tensors().filter(|tensor| tensor.quantized().is_some());
    let pairs = || tensors().filter_map(|tensor| Some((tensor, original.tensor(tensor.name)?)));
    let total = pairs().map(|(tensor, _)| tensor.length()).sum();
    let mut distance = Distance::default();
    let (mut all, mut worst, mut done) = (Sums::default(), 0.0, 0);
    for (tensor, reference) in pairs() {
        let sums = compare(tensor, reference, &mut |bytes| {
            done += bytes;
            watch(Progress { stage: Stage::Verify, done, total });
        })?;
        distance.largest = distance.largest.max(sums.largest);
        if sums.relative() >= worst {
            (worst, distance.worst) = (sums.relative(), tensor.info.name.clone());
        }
        all.difference += sums.difference;
        all.reference += sums.reference;
    }
    distance.relative = all.relative();
    Ok(distance)
}

/// Sums of squares, and the largest difference.
#[derive(Debug, Default)]
struct Sums {
    difference: f64,
    reference: f64,
    largest: f64,
}

impl Sums {
    fn relative(&self) -> f64 {
        if self.reference > 0.0 { (self.difference / self.reference).sqrt() } else { self.difference.sqrt() }
    }
}

fn compare(
    tensor: Tensor<'_>,
    reference: Tensor<'_>,
    progress: &mut dyn FnMut(u64),
) -> Result<Sums, AdapterError> {
    let mut sums = Sums::default();
    let mut readers = [Reader::default(), Reader::default()];
    let [rows, width] = [tensor.shape()[0], tensor.shape()[1..].iter().product::<usize>()];
    let step = tensor.head_dim().unwrap_or(1) * (ROWS / tensor.head_dim().unwrap_or(1)).max(1);
    let mut first = 0;
    while first < rows {
        let range = (first, step.min(rows - first));
        let a = tensor.read_rows(&mut readers[0], RowOrder::HalfSplit, range)?;
        let b = reference.read_rows(&mut readers[1], RowOrder::HalfSplit, range)?;
        for (a, b) in a.iter().zip(&b) {
            let difference = f64::from(*a) - f64::from(*b);
            sums.difference += difference * difference;
            sums.reference += f64::from(*b) * f64::from(*b);
            sums.largest = sums.largest.max(difference.abs());
        }
        first += range.1;
        progress((range.1 * width * tensor.dtype().size()) as u64);
    }
    Ok(sums)
}
