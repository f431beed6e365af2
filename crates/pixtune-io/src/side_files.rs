//! The files of a prepared dataset that hold no samples, beside those that do.

/// The source row of each line.
pub const PROVENANCE: &str = "provenance.jsonl";

/// What the names of files of references start with.
const REFERENCES: &str = "references-";

/// Where the references of a split are.
pub fn references_name(split: &str) -> String {
    format!("{REFERENCES}{split}.jsonl")
}

/// Whether a file has the name of one.
pub(crate) fn is_named(name: &str) -> bool {
    name == PROVENANCE || name.starts_with(REFERENCES)
}
