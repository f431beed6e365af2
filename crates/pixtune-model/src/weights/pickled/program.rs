//! What a pickle is made of: bytes that are taken one after the other, and names that stand for something.

use std::rc::Rc;

use super::error::PickleError::{self, Damaged};
use super::error::shortened;
use crate::weights::dtype::Dtype;

/// The rest of a program.
pub(super) struct Bytes<'p>(&'p [u8]);

impl<'p> Bytes<'p> {
    pub(super) fn new(program: &'p [u8]) -> Bytes<'p> {
        Bytes(program)
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'p [u8], PickleError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian number of up to eight bytes.
    pub(super) fn number(&mut self, count: usize) -> Result<usize, PickleError> {
        let number = self.take(count)?.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        usize::try_from(number).map_err(|_| Damaged)
    }

    /// A little-endian number with a sign, of up to eight bytes.
    pub(super) fn signed(&mut self, count: usize) -> Result<i64, PickleError> {
        if count == 0 {
            return Ok(0);
        }
        if count > 8 {
            return Err(Damaged);
        }
        let bits = self.take(count)?.iter().rev().fold(0u64, |all, byte| all << 8 | u64::from(*byte));
        let unused = 64 - 8 * count as u32;
        Ok((bits << unused) as i64 >> unused)
    }

    pub(super) fn text(&mut self, count: usize) -> Result<Rc<str>, PickleError> {
        std::str::from_utf8(self.take(count)?).map(Rc::from).map_err(|_| Damaged)
    }

    pub(super) fn line(&mut self) -> Result<&'p str, PickleError> {
        let length = self.0.iter().position(|byte| *byte == b'\n').ok_or(Damaged)?;
        let line = std::str::from_utf8(self.take(length)?).map_err(|_| Damaged)?;
        self.byte()?;
        Ok(line)
    }
}

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`
    Dictionary,
    /// `torch._utils._rebuild_tensor_v2`
    Tensor,
    /// `torch._utils._rebuild_parameter`
    Parameter,
    /// `torch.FloatStorage` and others.
    Storage(Dtype),
}

impl Global {
    pub(super) fn of(module: &str, name: &str) -> Result<Global, PickleError> {
        let storage = |dtype| Ok(Global::Storage(dtype));
        match (module, name) {
            ("collections", "OrderedDict") => Ok(Global::Dictionary),
            ("torch._utils", "_rebuild_tensor_v2") => Ok(Global::Tensor),
            ("torch._utils", "_rebuild_parameter") => Ok(Global::Parameter),
            ("torch", "BFloat16Storage") => storage(Dtype::BF16),
            ("torch", "HalfStorage") => storage(Dtype::F16),
            ("torch", "FloatStorage") => storage(Dtype::F32),
            ("torch", "DoubleStorage") => storage(Dtype::F64),
            ("torch", "LongStorage") => storage(Dtype::I64),
            ("torch", "IntStorage") => storage(Dtype::I32),
            ("torch", "ShortStorage") => storage(Dtype::I16),
            ("torch", "CharStorage") => storage(Dtype::I8),
            ("torch", "ByteStorage") => storage(Dtype::U8),
            ("torch", "BoolStorage") => storage(Dtype::Bool),
            _ => Err(PickleError::Global { name: shortened(&format!("{module}.{name}")) }),
        }
    }
}
