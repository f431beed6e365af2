//! Which tensors belong to a quantized weight, and whether they fit together.

use std::collections::BTreeMap;

use super::four_bit::Nested;
use super::fp8::Granularity;
use super::state::MAX_STATE;
use super::{FourBit, FourBitType, Fp8, Place, QuantState, Quantized, Scheme, Stored};
use crate::weights::dtype::{self, Dtype};
use crate::weights::safetensors::SafetensorsFile;

/// A tensor beside a weight that its quantization needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statistic {
    /// bitsandbytes: the scales of blocks.
    Absmax,
    /// bitsandbytes: the values of the 16 codes.
    QuantMap,
    /// bitsandbytes: the scales of blocks of scales.
    NestedAbsmax,
    /// bitsandbytes: the values of the 256 codes of scales.
    NestedQuantMap,
    /// bitsandbytes: JSON with everything else.
    QuantState,
    /// FP8: the scales of the weight.
    Scale,
    /// FP8: the scale of the layer's input, which a dequantized weight does not need.
    InputScale,
}

/// What follows the name of a weight.
const AFTER_WEIGHT: [(&str, Statistic); 6] = [
    (".absmax", Statistic::Absmax),
    (".quant_map", Statistic::QuantMap),
    (".nested_absmax", Statistic::NestedAbsmax),
    (".nested_quant_map", Statistic::NestedQuantMap),
    (".quant_state.bitsandbytes__nf4", Statistic::QuantState),
    (".quant_state.bitsandbytes__fp4", Statistic::QuantState),
];

/// What follows the name of a module: in files of transformers, compressed-tensors and Mistral.
const AFTER_MODULE: [(&str, Statistic); 6] = [
    (".weight_scale_inv", Statistic::Scale),
    (".weight_scale", Statistic::Scale),
    (".qscale_weight", Statistic::Scale),
    (".activation_scale", Statistic::InputScale),
    (".input_scale", Statistic::InputScale),
    (".qscale_act", Statistic::InputScale),
];

impl Statistic {
    /// The statistic of this name, with the name of the weight that it belongs to.
    pub fn parse(name: &str) -> Option<(String, Statistic)> {
        let after = |marks: &[(&str, Statistic)]| {
            marks.iter().find_map(|(end, statistic)| Some((name.strip_suffix(end)?.to_owned(), *statistic)))
        };
        let of_module = || after(&AFTER_MODULE).map(|(module, found)| (format!("{module}.weight"), found));
        after(&AFTER_WEIGHT).or_else(of_module)
    }

    /// Its name beside a weight, for messages.
    fn beside(self, weight: &str) -> String {
        let module = weight.strip_suffix(".weight").unwrap_or(weight);
        let of = |marks: &[(&str, Statistic)], stem: &str| {
            marks.iter().find(|mark| mark.1 == self).map(|mark| format!("{stem}{}", mark.0))
        };
        of(&AFTER_WEIGHT, weight).or_else(|| of(&AFTER_MODULE, module)).unwrap_or_default()
    }
}

/// The statistics of a weight.
pub type Parts = BTreeMap<Statistic, Place>;

/// What the configuration states about quantized weights.
#[derive(Debug, Clone, Copy)]
pub struct Declared {
    /// The data type of the model.
    pub dtype: Dtype,
    /// Rows and columns of the blocks of FP8.
    pub block: Option<[usize; 2]>,
}

/// The weight at `codes` with its statistics, or what is wrong with it in a sentence.
pub fn build(
    files: &[SafetensorsFile],
    codes: Place,
    parts: &Parts,
    declared: Declared,
) -> Result<Quantized, String> {
    let builder = Builder { files, codes, parts, name: &codes.of(files).info.name };
    let is_fp8 = parts.contains_key(&Statistic::Scale);
    let is_four_bit = parts.keys().any(|part| !matches!(part, Statistic::Scale | Statistic::InputScale));
    match builder.stored().info.dtype {
        _ if is_four_bit && is_fp8 => {
            Err(format!("`{}` has the statistics of two quantizations", builder.name))
        }
        _ if is_four_bit => builder.four_bit(),
        Dtype::F8E4M3 => builder.fp8(declared),
        dtype if dtype.is_weight() => {
            Err(format!("`{}` is {dtype}, and there is a scale for it as if it were FP8", builder.name))
        }
        Dtype::F8E5M2 => Err(format!("`{}` is FP8 of the type e5m2; e4m3 is supported", builder.name)),
        dtype => Err(format!("`{}` is {dtype}; weights are BF16, F16 or F32, NF4, FP4 or FP8", builder.name)),
    }
}

struct Builder<'b> {
    files: &'b [SafetensorsFile],
    codes: Place,
    parts: &'b Parts,
    name: &'b str,
}

impl<'b> Builder<'b> {
    fn stored(&self) -> Stored<'b> {
        self.codes.of(self.files)
    }

    /// A statistic that has to be there, with its number of elements and its types.
    fn part(&self, part: Statistic, count: usize, types: &[Dtype]) -> Result<Place, String> {
        let place = *self.parts.get(&part).ok_or_else(|| {
            format!(
                "`{}` is quantized, and `{}` is missing: it cannot be dequantized",
                self.name,
                part.beside(self.name)
            )
        })?;
        let info = place.of(self.files).info;
        if !types.contains(&info.dtype) {
            return Err(format!("`{}` is {}, not {}", info.name, info.dtype, types[0]));
        }
        let found = elements(&info.shape);
        if found != Some(count) {
            return Err(format!(
                "`{}` has the shape {:?}; {count} elements follow from `{}`",
                info.name, info.shape, self.name
            ));
        }
        Ok(place)
    }

    fn four_bit(&self) -> Result<Quantized, String> {
        let state = self.state()?;
        let kind = FourBitType::parse(&state.quant_type)
            .ok_or_else(|| format!("`{}` is of the type {}", self.name, state.quant_type))?;
        let info = self.stored().info;
        let count = elements(&state.shape).filter(|count| *count > 0);
        let count = count.ok_or_else(|| format!("`{}` has the shape {:?}", self.name, state.shape))?;
        // Codes may be stored as wider numbers, of which the last is padded.
        let bytes = (count.div_ceil(2) as u64).next_multiple_of(info.dtype.size() as u64);
        if info.bytes() != bytes {
            return Err(format!(
                "`{}` has {} bytes, and its shape {:?} needs {bytes}",
                self.name,
                info.bytes(),
                state.shape
            ));
        }
        let blocks = count.div_ceil(state.block);
        let scale_type = if state.nested.is_some() { Dtype::U8 } else { Dtype::F32 };
        let absmax = self.part(Statistic::Absmax, blocks, &[scale_type])?;
        let map = self.part(Statistic::QuantMap, 16, &[Dtype::F32])?;
        let stored: Vec<f32> = self.read(map)?;
        let mut pairs = stored.iter().zip(kind.values());
        if !pairs.all(|(stored, value)| (stored - value).abs() <= 1e-6) {
            let name = &map.of(self.files).info.name;
            return Err(format!("`{name}` does not have the values of {}", state.quant_type.to_uppercase()));
        }
        let nested = match state.nested {
            None => {
                if let Some(place) = self.parts.get(&Statistic::NestedAbsmax) {
                    let name = &place.of(self.files).info.name;
                    return Err(format!(
                        "`{name}` is there, and the state of `{}` has no `nested_blocksize`",
                        self.name
                    ));
                }
                None
            }
            Some(nested) => {
                let map = self.part(Statistic::NestedQuantMap, 256, &[Dtype::F32])?;
                let values: Box<[f32]> = self.read(map)?.into();
                let map = values.try_into().map_err(|_| "a map has 256 values".to_owned())?;
                let outer = blocks.div_ceil(nested.block);
                let absmax = self.part(Statistic::NestedAbsmax, outer, &[Dtype::F32])?;
                Some(Nested { map, absmax, block: nested.block, offset: nested.offset })
            }
        };
        let scheme = Scheme::FourBit(FourBit { kind, codes: self.codes, block: state.block, absmax, nested });
        Ok(Quantized { shape: state.shape, dtype: state.dtype, scheme })
    }

    fn state(&self) -> Result<QuantState, String> {
        let place = self.parts.get(&Statistic::QuantState).copied().ok_or_else(|| {
            format!(
                "`{0}` is quantized to 4 bits, and `{0}.quant_state.bitsandbytes__nf4` or `…fp4` is missing: it cannot be \
                 dequantized",
                self.name
            )
        })?;
        let Stored { file, info } = place.of(self.files);
        if info.dtype != Dtype::U8 || info.bytes() > MAX_STATE {
            return Err(format!("`{}` is not a short text in U8", info.name));
        }
        let mut bytes = vec![0; info.bytes() as usize];
        file.read_at(&mut bytes, info.range.start).map_err(|error| error.to_string())?;
        QuantState::parse(&bytes).map_err(|error| format!("`{}`: {error}", info.name))
    }

    /// The few values of a map.
    fn read(&self, place: Place) -> Result<Vec<f32>, String> {
        let stored = place.of(self.files);
        let mut bytes = vec![0; stored.info.bytes() as usize];
        stored.read_at(&mut bytes, 0).map_err(|error| error.to_string())?;
        dtype::to_f32(stored.info.dtype, &bytes)
            .ok_or_else(|| format!("`{}` has no floats", stored.info.name))
    }

    fn fp8(&self, declared: Declared) -> Result<Quantized, String> {
        let shape = &self.stored().info.shape;
        let (rows, columns) = match shape[..] {
            [rows, columns] if rows > 0 && columns > 0 => (rows, columns),
            _ => {
                return Err(format!(
                    "`{}` is FP8 of the shape {shape:?}; such weights are matrices",
                    self.name
                ));
            }
        };
        let scales = *self.parts.get(&Statistic::Scale).ok_or_else(|| {
            format!(
                "`{}` is FP8 without a scale: `{}` is missing",
                self.name,
                Statistic::Scale.beside(self.name)
            )
        })?;
        let info = scales.of(self.files).info;
        if !info.dtype.is_weight() {
            return Err(format!("`{}` is {}, not BF16, F16 or F32", info.name, info.dtype));
        }
        let grid = match info.shape[..] {
            [] | [1] => [1, 1],
            [all] if all == rows => [rows, 1],
            [down, across] => [down, across],
            _ => [0, 0],
        };
        let divides = grid[0] > 0 && grid[1] > 0 && rows % grid[0] == 0 && columns % grid[1] == 0;
        let block = match (grid, declared.block) {
            ([1, 1], _) => [rows, columns],
            ([down, 1], _) if down == rows => [1, columns],
            (_, Some(block)) => block,
            _ if divides => [rows / grid[0], columns / grid[1]],
            _ => [0, 0],
        };
        if !divides
            || block[0].checked_mul(grid[0]) != Some(rows)
            || block[1].checked_mul(grid[1]) != Some(columns)
        {
            let of = match declared.block {
                Some([down, across]) => format!("blocks of {down}×{across} do not divide it into these"),
                None => "they do not divide it into equal blocks".to_owned(),
            };
            return Err(format!(
                "`{}` has scales of {:?} for a weight of {shape:?}: {of}",
                info.name, info.shape
            ));
        }
        let granularity = match grid {
            [1, 1] => Granularity::Tensor,
            [_, 1] if block[0] == 1 => Granularity::Row,
            _ => Granularity::Block,
        };
        let fp8 = Fp8 { codes: self.codes, scales, grid_columns: grid[1], block, granularity };
        Ok(Quantized { shape: shape.clone(), dtype: declared.dtype, scheme: Scheme::Fp8(fp8) })
    }
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |size, side| size.checked_mul(*side)).filter(|size| *size <= 1 << 48)
}
