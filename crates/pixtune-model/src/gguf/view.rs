//! What a GGUF file is, on one screen.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::header::{Found, FoundTensor, Header};

/// Types of elements that programs write: number, name, values of a block, and its bytes (`GGML_QUANT_SIZES` of gguf 0.19.0).
const TYPES: [(u32, &str, u64, u64); 34] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 40),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (34, "TQ1_0", 256, 54),
    (35, "TQ2_0", 256, 66),
    (39, "MXFP4", 32, 17),
    (40, "NVFP4", 64, 36),
    (41, "Q1_0", 128, 18),
];

/// One file in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct View {
    /// The file.
    pub path: PathBuf,
    /// Its header.
    pub header: Header,
    /// Its bytes.
    pub bytes: u64,
    /// Elements of all tensors.
    pub parameters: u64,
    /// Tensors of each type.
    pub types: BTreeMap<String, u64>,
    /// What keeps it from being used.
    pub problems: Vec<String>,
}

/// The GGUF files at a path: the file itself, or those of a directory in the order of their names.
pub fn files(path: &Path) -> Vec<PathBuf> {
    let is_gguf = |path: &Path| path.extension().is_some_and(|end| end.eq_ignore_ascii_case("gguf"));
    if path.is_file() {
        return if is_gguf(path) { vec![path.to_owned()] } else { Vec::new() };
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> = entries.filter(|path| is_gguf(path) && path.is_file()).collect();
    found.sort();
    found
}

impl View {
    /// Reads the header of a file and compares it with its length.
    pub fn open(path: &Path) -> Result<View, GgufError> {
        let header = Header::read(path)?;
        let read = |source| GgufError::Read { path: path.to_owned(), source };
        let bytes = fs::metadata(path).map_err(read)?.len();
        let (mut parameters, mut types, mut problems) = (0u64, BTreeMap::new(), Vec::new());
        for tensor in &header.tensors {
            parameters = parameters.saturating_add(tensor.elements());
            *types.entry(tensor.type_name()).or_insert(0u64) += 1;
            let end = tensor.bytes().map(|bytes| tensor.offset.saturating_add(bytes));
            if end.is_some_and(|end| end > bytes.saturating_sub(header.data_start)) {
                problems.push(format!("the file ends within the tensor `{}`", tensor.name));
            }
        }
        problems.truncate(5);
        Ok(View { path: path.to_owned(), header, bytes, parameters, types, problems })
    }

    /// The number of a key of the file's architecture, such as `block_count`.
    pub fn size(&self, key: &str) -> Option<u64> {
        let architecture = self.header.text("general.architecture")?;
        let vision = format!("{architecture}.vision.{key}");
        let own = self.header.get(&format!("{architecture}.{key}"));
        match own.or_else(|| self.header.get(&vision))? {
            Found::Number(number) => Some(*number),
            _ => None,
        }
    }
}

impl FoundTensor {
    /// The product of its sides.
    pub fn elements(&self) -> u64 {
        self.dimensions.iter().fold(1, |all, side| all.saturating_mul(*side))
    }

    /// The name of its type, or its number.
    pub fn type_name(&self) -> String {
        self.row().map_or_else(|| format!("type {}", self.element), |row| row.1.to_owned())
    }

    /// Its bytes; `None` where the type is unknown.
    pub fn bytes(&self) -> Option<u64> {
        let (_, _, block, bytes) = self.row()?;
        Some((self.elements() / block).saturating_mul(*bytes))
    }

    fn row(&self) -> Option<&'static (u32, &'static str, u64, u64)> {
        TYPES.iter().find(|row| row.0 == self.element)
    }
}
