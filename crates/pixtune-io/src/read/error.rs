use std::io;
use std::path::PathBuf;

use pixtune_core::columns::ColumnError;

/// Input that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file or directory could not be read.
    #[error("cannot read `{}`", show(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file was written to while it was read.
    #[error("`{}` changed while it was read", show(path))]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Columns could not be resolved.
    #[error("`{file}`: {source}")]
    Columns {
        /// The file.
        file: String,
        /// Why.
        source: ColumnError,
    },
    /// A glob is malformed.
    #[error("`{pattern}` is not a glob pattern")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: glob::PatternError,
    },
    /// A glob matches nothing.
    #[error("nothing matches `{pattern}`")]
    NoMatch {
        /// The pattern.
        pattern: String,
    },
    /// A table, where conversations are read.
    #[error("`{}` is {what}; conversations are read, one per line", show(path))]
    Table {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A compressed file, where lines are read again by their bytes.
    #[error("`{}` is {compression}; its lines are read more than once", show(path))]
    Compressed {
        /// The file.
        path: PathBuf,
        /// How.
        compression: &'static str,
    },
    /// A directory without conversations.
    #[error(
        "`{}` has no conversations: no .jsonl or .ndjson file other than those of rejected rows",
        show(path)
    )]
    NoConversations {
        /// The directory.
        path: PathBuf,
    },
    /// No other file is given than those of a prepared dataset that have no samples.
    #[error("`{}` lists {what}, not samples", show(path))]
    SideFile {
        /// The first of them.
        path: PathBuf,
        /// What it lists.
        what: &'static str,
    },
    /// A directory without rows.
    #[error("`{}` has no metadata.csv or metadata.jsonl in it, and no Parquet file", show(path))]
    NoMetadata {
        /// The directory.
        path: PathBuf,
    },
    /// The same file is given twice.
    #[error("`{name}` is given twice; every row would be a duplicate")]
    Twice {
        /// The file.
        name: String,
    },
    /// A file that is one JSON array, where lines are read again by their bytes.
    #[error("`{}` is {what}; samples are read one per line", show(path))]
    Array {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file in another encoding.
    #[error("`{}` is {encoding}; rows are read as UTF-8 text", show(path))]
    Encoding {
        /// The file.
        path: PathBuf,
        /// What it is.
        encoding: &'static str,
    },
    /// A binary file that cannot be decoded.
    #[error("`{}` cannot be read as {format}", show(path))]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The format that its name or its first bytes declare.
        format: &'static str,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A table inside an archive whose members are read in order, so that its rows could not name them.
    #[error(
        "`{}` holds a table, `{member}`, which is not read in a shard or a compressed archive",
        show(path)
    )]
    TableInArchive {
        /// The archive.
        path: PathBuf,
        /// The table in it.
        member: String,
    },
    /// An archive of files that hold columns.
    #[error("`{}` holds `{member}`; Parquet and Arrow files inside of archives are not read", show(path))]
    ColumnsInArchive {
        /// The archive.
        path: PathBuf,
        /// One of the files.
        member: String,
    },
    /// An archive without a table.
    #[error("`{}` has no CSV, TSV or JSON Lines file in it", show(path))]
    NoTable {
        /// The archive.
        path: PathBuf,
    },
    /// A workbook without the sheet that was asked for, or without any.
    #[error("`{}` has no sheet{} with rows; its sheets: {}", show(path), quoted(name.as_deref()), or_none(sheets))]
    NoSheet {
        /// The workbook.
        path: PathBuf,
        /// The name, if one was given.
        name: Option<String>,
        /// The names of its sheets.
        sheets: Vec<String>,
    },
    /// A sheet with images over its cells.
    #[error("`{}` has {images} in the sheet `{sheet}`; images inside a workbook are not read", show(path))]
    SheetImages {
        /// The workbook.
        path: PathBuf,
        /// The sheet.
        sheet: String,
        /// How many, with their noun.
        images: String,
    },
    /// `--sheet` for a file without sheets.
    #[error("`{}` is not a workbook, so it has no sheet", show(path))]
    NoWorkbook {
        /// The file.
        path: PathBuf,
    },
    /// A file without a row.
    #[error("`{name}` is empty")]
    Empty {
        /// The file.
        name: String,
    },
    /// The first row is what Python prints.
    #[error("`{name}`: the first row is a Python dict, not JSON")]
    PythonRows {
        /// The file.
        name: String,
    },
    /// One JSON object with lists of which none is known to be that of the rows.
    #[error("`{name}` is one JSON object; which list in it has the rows is not known: {}", lists.join(", "))]
    Document {
        /// The file.
        name: String,
        /// The keys of the lists.
        lists: Vec<String>,
    },
    /// COCO's annotations name images that the file does not list, or lists twice.
    #[error("`{name}`: {why}")]
    Coco {
        /// The file.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The header or first row cannot be read.
    #[error("`{name}`: the first row is not {what}")]
    FirstRow {
        /// The file.
        name: String,
        /// What it should be.
        what: &'static str,
    },
}

/// A path without what gives access, where it is a URL.
fn show(path: &std::path::Path) -> String {
    crate::remote::shown(&path.display().to_string())
}

fn quoted(name: Option<&str>) -> String {
    name.map_or_else(String::new, |name| format!(" `{name}`"))
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
