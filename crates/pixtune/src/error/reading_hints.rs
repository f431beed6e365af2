//! Hints for data that cannot be read.

use std::io;

use pixtune_core::columns::ColumnError;
use pixtune_io::read::ReadError;

fn hint_for_columns(error: &ColumnError) -> Option<String> {
    let hint = match error {
        ColumnError::Missing { .. } | ColumnError::NoGuess { .. } => {
            "set the columns with `--columns image=COLUMN,prompt=COLUMN,completion=COLUMN`".to_owned()
        }
        ColumnError::SeveralImages { columns } => {
            let all: Vec<String> = columns.iter().map(|column| format!("image={column}")).collect();
            format!(
                "choose one with `--columns image={}`, or take all of them with `--columns {}`",
                columns.first()?,
                all.join(",")
            )
        }
        ColumnError::ImageNumbers { column } => {
            format!("add a column with the paths, or train on the text alone: `--remove-columns {column}`")
        }
        ColumnError::UnusedContent { columns } => {
            let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
            format!(
                "name its role with `--columns`, or train without it: `--remove-columns {}`",
                names.join(",")
            )
        }
        _ => return None,
    };
    Some(hint)
}

pub(super) fn hint_for_reading(error: &ReadError) -> Option<String> {
    let hint = match error {
        ReadError::Columns { source, .. } => return hint_for_columns(source),
        ReadError::NoMetadata { .. } => {
            "an image folder needs a metadata.csv or metadata.jsonl with a `file_name` column; other files are given by \
             name or pattern"
        }
        ReadError::Encoding { encoding: "UTF-32", .. } => "convert it with `iconv -f UTF-32 -t UTF-8`",
        ReadError::Encoding { encoding: "UTF-16", .. } => "convert it with `iconv -f UTF-16 -t UTF-8`",
        ReadError::Encoding { encoding: "gzip-compressed", .. }
        | ReadError::Compressed { compression: "gzip-compressed", .. } => "unpack it with `gunzip -k`",
        ReadError::Encoding {
            encoding: "zstd-compressed" | "bzip2-compressed" | "xz-compressed", ..
        }
        | ReadError::Compressed { .. } => "unpack it with `unzstd`, `bunzip2 -k` or `unxz -k`",
        ReadError::Array { .. } => "convert it to JSON Lines with `pixtune fix FILE --out FILE.jsonl`",
        ReadError::Table { .. } => "convert it to conversations with `pixtune prepare FILE --out DIR`",
        ReadError::Encoding {
            encoding: "a workbook or document of old Office versions" | "an OpenDocument file",
            ..
        } => "save it as .xlsx or CSV",
        ReadError::Encoding { encoding: "an image", .. } => {
            "give a table with a column that names the images, or a directory with a metadata.csv"
        }
        ReadError::NoSheet { .. } => "`--sheet` takes one of these names; a chart has no rows",
        ReadError::NoWorkbook { .. } => "omit `--sheet`, or prepare the workbook by itself",
        ReadError::SheetImages { .. } => {
            "save the images as files and name them in a column, or save the sheet as CSV without them"
        }
        ReadError::TableInArchive { .. } => "unpack the archive and give the table, or pack a ZIP archive",
        ReadError::NoTable { .. } => {
            "a table in the archive names the images, such as metadata.csv with a `file_name` column"
        }
        ReadError::Malformed { .. } => {
            "the file is damaged or incomplete, or its name is that of another format; copy or write it again"
        }
        ReadError::NoConversations { .. } | ReadError::SideFile { .. } => {
            "give a directory that `pixtune prepare` wrote, or JSON Lines files; convert tables with `pixtune prepare`"
        }
        ReadError::Io { source, .. } if source.kind() == io::ErrorKind::IsADirectory => {
            "give the files in it"
        }
        ReadError::Changed { .. } => "run again when no other program writes to it",
        ReadError::PythonRows { .. } => {
            "write rows with `json.dumps`, or convert the file with `pixtune fix --unsafe FILE --out FILE.jsonl`"
        }
        ReadError::Document { .. } => {
            "write the rows as lines, for example with `jq -c '.KEY[]' FILE.json > FILE.jsonl`"
        }
        ReadError::Empty { .. } => "a table needs a header and at least one row",
        _ => return None,
    };
    Some(hint.to_owned())
}
