//! Hints for data that cannot be read.

use std::io;

use pixtune_core::columns::ColumnError;
use pixtune_core::content::Held;
use pixtune_io::read::ReadError;
use pixtune_io::remote::RemoteError;

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
            let use_it = match columns.iter().all(|(_, held)| *held == Held::Regions) {
                true => "write the regions into the texts, in the form that the model should answer with",
                false => "name its role with `--columns`",
            };
            format!("{use_it}, or train without it: `--remove-columns {}`", names.join(","))
        }
        _ => return None,
    };
    Some(hint)
}

/// What to do about an object that cannot be read.
fn hint_for_objects(error: &RemoteError) -> Option<&'static str> {
    Some(match error {
        RemoteError::Missing(_) => "names of buckets and objects are case-sensitive; a prefix ends with `/`",
        RemoteError::Denied(_) => {
            "the credentials in use may not read it; a store also gives this answer for objects that do not exist"
        }
        RemoteError::Expired(_) => {
            "renew the credentials and run again; `prepare --resume` goes on where the run ended"
        }
        RemoteError::Unauthenticated(_) | RemoteError::NoCredentials(_) => {
            "set the credentials as the tools of the store do, for example AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; \
             AWS_SKIP_SIGNATURE=true reads public buckets"
        }
        RemoteError::Region => "set AWS_REGION to the region of the bucket",
        RemoteError::Changed => {
            "run again when no other program writes to it; an unfinished run has rows of both versions: start it with \
             `--force`"
        }
        RemoteError::NoRanges(_) | RemoteError::NoLength => "download the file first",
        RemoteError::NoList => "give the URL of each file, or a range such as `train-{000..063}.tar`",
        RemoteError::Private => "give the URL that it redirects to, if that server can be trusted",
        RemoteError::Status { .. }
        | RemoteError::Unreachable(_)
        | RemoteError::Timeout(_)
        | RemoteError::Broken(_) => {
            "it was tried several times; run again later: `prepare --resume` goes on where the run ended"
        }
        _ => return None,
    })
}

pub(super) fn hint_for_reading(error: &ReadError) -> Option<String> {
    if let ReadError::Io { source, .. } = error
        && let Some(error) = RemoteError::of(source)
    {
        return hint_for_objects(error).map(str::to_owned);
    }
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
        ReadError::Encoding { encoding: "a web page (HTML)", .. } => {
            "the server probably answered with a login or error page; fetch the file again"
        }
        ReadError::Encoding { encoding: "an image", .. } => {
            "give a table with a column that names the images, or a directory with a metadata.csv"
        }
        ReadError::NoSheet { .. } => "`--sheet` takes one of these names; a chart has no rows",
        ReadError::NoWorkbook { .. } => "omit `--sheet`, or prepare the workbook by itself",
        ReadError::SheetImages { .. } => {
            "save the images as files and name them in a column, or save the sheet as CSV without them"
        }
        ReadError::TableInArchive { .. } => "unpack the archive and give the table, or pack a ZIP archive",
        ReadError::ColumnsInArchive { .. } => {
            "unpack the archive and give the files, or the directory with them"
        }
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
