//! Why the pickle in a file is refused.

/// Why a pickle is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message explains its variant")]
pub enum PickleError {
    #[error("it would call `{name}`; only dictionaries of tensors are read, and nothing is executed")]
    Global { name: String },
    #[error("it has the instruction 0x{code:02x}, which no dictionary of tensors needs")]
    Instruction { code: u8 },
    #[error("it breaks off or is damaged")]
    Damaged,
    #[error("`{key}` is not a tensor")]
    NotTensor { key: String },
    #[error("it is not a dictionary of tensors")]
    NotDictionary,
    #[error("`{key}` is in the dictionary twice")]
    Duplicate { key: String },
}

/// The beginning of a name from the file, short enough for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(100).collect()
}
