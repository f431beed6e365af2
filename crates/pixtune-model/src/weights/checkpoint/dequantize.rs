//! Quantized weights of a checkpoint.

use std::collections::BTreeMap;

use pixtune_core::text::counted;

use super::Checkpoint;
use super::complete::is_quantized;
use crate::weights::config::{ConfigError, Note};
use crate::weights::dtype::Dtype;
use crate::weights::error::{Problems, WeightsError};
use crate::weights::names::TensorName;
use crate::weights::quantized::{self, Declared, Parts};

impl Checkpoint {
    /// Prepares the dequantization of weights that are stored quantized. A declaration without them is reported.
    pub(super) fn dequantize(
        &mut self,
        mut statistics: BTreeMap<TensorName, Parts>,
    ) -> Result<(), WeightsError> {
        self.check_method(&statistics)?;
        let declared = Declared { dtype: self.config.dtype.unwrap_or(Dtype::BF16), block: self.block() };
        let mut problems = Problems::default();
        for (name, located) in &mut self.tensors {
            let parts = statistics.remove(name);
            let is_weight = located.place.of(&self.files).info.dtype.is_weight();
            if parts.is_none() && is_weight {
                continue;
            }
            match quantized::build(&self.files, located.place, &parts.unwrap_or_default(), declared) {
                Ok(quantized) => located.quantized = Some(quantized),
                Err(problem) => problems.0.push(problem),
            }
        }
        let orphans = statistics.values().filter_map(|parts| parts.values().next());
        problems.0.extend(orphans.map(|place| {
            let name = &place.of(&self.files).info.name;
            format!("`{name}` belongs to a quantized weight that is missing")
        }));
        if !problems.0.is_empty() {
            return Err(WeightsError::Quantized { path: self.directory.clone(), problems });
        }
        let methods = self.quantizations();
        let mut notes: Vec<Note> = Vec::new();
        if methods.is_empty() {
            let leftovers =
                self.config.quantization.iter().map(|key| Note { damage: true, text: key.leftover() });
            notes.extend(leftovers);
        }
        for (method, count) in methods {
            let all = counted(self.tensors.len() as u64, "tensor");
            let text =
                format!("{count} of {all} are stored as {method}; they are dequantized while they are read");
            notes.push(Note { damage: false, text });
        }
        self.config.notes.extend(notes);
        Ok(())
    }

    /// Refuses quantizations without any tensor that could be dequantized: GPTQ, AWQ, LLM.int8, packed integers.
    fn check_method(&self, statistics: &BTreeMap<TensorName, Parts>) -> Result<(), WeightsError> {
        let Some(first) = self.config.quantization.first() else { return Ok(()) };
        let mut names = self.files.iter().flat_map(|file| &file.header().tensors).map(|tensor| &tensor.name);
        if statistics.is_empty() && names.any(|name| is_quantized(name)) {
            let method = first.method.as_ref().map_or(String::new(), |method| format!(", {method}"));
            let what = format!(
                "it is quantized (`{}`{method}) in a way that is not supported: NF4 and FP4 of bitsandbytes and FP8 are; use the \
                 original weights",
                first.key
            );
            let path = self.directory.join(self.format.config_file());
            return Err(ConfigError::Unsupported { path, what }.into());
        }
        Ok(())
    }

    /// Rows and columns of the blocks that the configuration gives FP8 weights.
    fn block(&self) -> Option<[usize; 2]> {
        self.config.quantization.iter().find_map(|key| key.block)
    }

    /// The quantizations of its weights, with the number of tensors of each; empty if none is quantized.
    pub fn quantizations(&self) -> BTreeMap<String, u64> {
        let mut methods = BTreeMap::new();
        for quantized in self.tensors.values().filter_map(|located| located.quantized.as_ref()) {
            *methods.entry(quantized.method()).or_default() += 1;
        }
        methods
    }
}
