//! Whether an adapter changes anything: peft starts with a B of zeros, and a run that trained nothing leaves it so.

use pixtune_core::text::counted;

use super::error::AdapterError;
use super::open::Adapter;
use crate::weights::safetensors::TensorInfo;

/// Bytes that are read in one go.
const CHUNK: usize = 1 << 20;

/// How many modules have a LoRA that changes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untrained {
    /// Modules whose lora_A or lora_B is zero.
    pub modules: usize,
    /// Modules with LoRA.
    pub all: usize,
    /// The first of them.
    pub example: String,
    /// Whether the adapter stores anything else that was trained.
    pub stores_more: bool,
}

impl Untrained {
    /// Whether the adapter as a whole changes nothing.
    pub fn is_whole(&self) -> bool {
        self.modules == self.all && !self.stores_more
    }
}

impl std::fmt::Display for Untrained {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Untrained { modules, all, example, .. } = self;
        match modules == all {
            true => write!(
                f,
                "nothing was trained: every lora_B or lora_A is zero (`{example}` and all others), so LoRA changes nothing"
            ),
            false => write!(
                f,
                "{modules} of {} were not trained: their lora_B or lora_A is zero, such as that of `{example}`",
                counted(*all as u64, "module")
            ),
        }
    }
}

impl Adapter {
    /// Modules whose LoRA is zero; `None` if there are none. DoRA's modules count as trained: their lengths may be.
    pub fn untrained(&self) -> Result<Option<Untrained>, AdapterError> {
        let mut zero = Vec::new();
        for (module, lora) in &self.lora {
            let is_dora = lora.magnitude.is_some() || lora.bias.is_some();
            if !is_dora && (self.is_zero(&lora.b)? || self.is_zero(&lora.a)?) {
                zero.push(*module);
            }
        }
        Ok(zero.first().map(|first| Untrained {
            modules: zero.len(),
            all: self.lora.len(),
            example: self.path(*first),
            stores_more: !self.whole.is_empty() || !self.token_rows.is_empty(),
        }))
    }

    /// Whether every element is zero, of either sign.
    fn is_zero(&self, tensor: &TensorInfo) -> Result<bool, AdapterError> {
        let size = tensor.dtype.size();
        let count = usize::try_from(tensor.bytes()).unwrap_or(usize::MAX) / size;
        let mut buffer = vec![0; CHUNK.min(count * size)];
        let mut first = 0;
        while first < count {
            let elements = (count - first).min(buffer.len() / size);
            let part = &mut buffer[..elements * size];
            self.tensors().read(tensor, first, part)?;
            let is_zero = |element: &[u8]| {
                element
                    .split_last()
                    .is_some_and(|(sign, rest)| sign & 0x7f == 0 && rest.iter().all(|byte| *byte == 0))
            };
            if !part.chunks(size).all(is_zero) {
                return Ok(false);
            }
            first += elements;
        }
        Ok(true)
    }
}
