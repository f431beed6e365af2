//! Files that hold a vocabulary.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use pixtune_core::spec::ModelSpec;
use pixtune_core::text::counted;
use pixtune_core::tokens::{TekkenError, Tokenizer, TokenizerVersion};

/// A vocabulary read from a file.
#[derive(Debug)]
pub struct TokenizerFile {
    /// The file.
    pub path: PathBuf,
    /// BLAKE3 of its bytes, which identifies it.
    pub blake3: String,
    /// Its content.
    pub tokenizer: Tokenizer,
}

/// A tokenizer file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    /// It could not be read.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is larger than any vocabulary.
    #[error("`{}` is larger than {}, so it is not a tokenizer file", path.display(), counted(LARGEST_TOKENIZER, "byte"))]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is the tokenizer of another model.
    #[error("`{}` is a tokenizer of version {found}; the tokenizer of {model} has version {expected}", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: TokenizerVersion,
        /// The model.
        model: &'static str,
        /// The version of the model.
        expected: TokenizerVersion,
    },
    /// It is damaged or has an unknown form.
    #[error("`{}`: {source}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TekkenError,
    },
}

/// The published files have 15 to 20 MB.
const LARGEST_TOKENIZER: u64 = 128 << 20;

impl TokenizerFile {
    /// Reads the `tekken.json` of a model; one of another version is an error.
    pub fn read_for(path: &Path, model: &ModelSpec) -> Result<TokenizerFile, TokenizerError> {
        let file = TokenizerFile::read(path)?;
        let (found, expected) = (file.tokenizer.version(), model.tokenizer);
        if found != expected {
            let (path, model) = (path.to_owned(), model.id);
            return Err(TokenizerError::Version { path, found, model, expected });
        }
        Ok(file)
    }

    /// Reads a `tekken.json`.
    pub fn read(path: &Path) -> Result<TokenizerFile, TokenizerError> {
        let path = path.to_owned();
        let mut bytes = Vec::new();
        let read =
            File::open(&path).and_then(|file| file.take(LARGEST_TOKENIZER + 1).read_to_end(&mut bytes));
        match read {
            Err(source) => Err(TokenizerError::Io { path, source }),
            Ok(size) if size as u64 > LARGEST_TOKENIZER => Err(TokenizerError::TooLarge { path }),
            Ok(_) => match Tokenizer::from_json(&bytes) {
                Ok(tokenizer) => {
                    Ok(TokenizerFile { path, blake3: blake3::hash(&bytes).to_hex().to_string(), tokenizer })
                }
                Err(source) => Err(TokenizerError::Damaged { path, source }),
            },
        }
    }
}
