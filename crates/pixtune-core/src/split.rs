//! The splits that datasets name themselves, by a column, a directory or the name of a file.

/// A split that a dataset names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GivenSplit {
    /// To be trained on.
    Train,
    /// To validate with.
    Validation,
    /// To be kept for the end.
    Test,
}

impl GivenSplit {
    /// All of them, in the order of their numbers.
    pub const ALL: [GivenSplit; 3] = [GivenSplit::Train, GivenSplit::Validation, GivenSplit::Test];

    /// The usual word.
    pub fn as_str(self) -> &'static str {
        match self {
            GivenSplit::Train => "train",
            GivenSplit::Validation => "validation",
            GivenSplit::Test => "test",
        }
    }
}

/// The split that a word names, in the spellings that Hugging Face `datasets` 4.8 knows for files and directories
/// (`data_files.py`), and Karpathy's `restval` for COCO, which everyone trains on.
pub fn names_split(word: &str) -> Option<GivenSplit> {
    match word.trim().to_ascii_lowercase().as_str() {
        "train" | "training" | "restval" => Some(GivenSplit::Train),
        "validation" | "valid" | "val" | "dev" => Some(GivenSplit::Validation),
        "test" | "testing" | "eval" | "evaluation" => Some(GivenSplit::Test),
        _ => None,
    }
}

/// The split that a path names: by a word of the file's name (`train-00000-of-00004.parquet`, `data_test.csv`), else by the
/// nearest directory that is called like a split.
pub fn split_of_path<'p>(
    directories: impl DoubleEndedIterator<Item = &'p str>,
    file: &str,
) -> Option<GivenSplit> {
    let stem = file.split('.').next().unwrap_or_default();
    let words = stem.split(['-', '_', ' ']);
    words.filter_map(names_split).next().or_else(|| directories.rev().find_map(names_split))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_name_splits() {
        let split = |path: &str| {
            let steps: Vec<&str> = path.split('/').collect();
            let (file, directories) = steps.split_last().unwrap();
            split_of_path(directories.iter().copied(), file).map(GivenSplit::as_str)
        };
        assert_eq!(split("data/train-00000-of-00004.parquet"), Some("train"));
        assert_eq!(split("photos/validation/metadata.jsonl"), Some("validation"));
        assert_eq!(split("vqa_val.csv"), Some("validation"));
        assert_eq!(split("test/train.csv"), Some("train"));
        assert_eq!(split("training-data/labels.csv"), None);
        assert_eq!(split("latest.csv"), None);
        assert_eq!(split("dev/a/b.csv"), Some("validation"));
    }
}
