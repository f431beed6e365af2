//! `pixtune files`.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use pixtune_api::{Client, ClientError, UploadEvent};
use pixtune_core::json::Value;
use pixtune_io::prepare::parse_bytes;

use super::{client, print_list, print_object, segment, text};
use crate::Outcome;
use crate::args::{FilesArgs, FilesCommand};
use crate::error::Error;
use crate::ui::{self, Format, Ui, Verbosity, bytes};

/// Runs the subcommand.
pub fn run(args: &FilesArgs, verbosity: Verbosity) -> Result<Outcome, Error> {
    let client = client(&args.endpoint)?;
    let format = args.endpoint.format;
    match &args.command {
        FilesCommand::Upload { files, purpose, shard_size, part_size } => {
            let size =
                shard_size.as_ref().map(|text| parse_bytes(text).map_err(Error::argument)).transpose()?;
            let part = parse_bytes(part_size).map_err(Error::argument)?;
            if part == 0 {
                return Err(Error::argument("--part-size is at least one byte"));
            }
            for path in files {
                for file in upload(&client, path, purpose, (size, part), verbosity)? {
                    print_uploaded(&file, format)?;
                }
            }
        }
        FilesCommand::List => print_list(
            &client.get("/files?page_size=1000")?,
            &["id", "filename", "bytes", "num_lines", "purpose"],
            format,
        )?,
        FilesCommand::Show { id } => print_object(&client.get(&format!("/files/{}", segment(id)))?, format)?,
        FilesCommand::Download { id, out } => {
            let length = client.download(&segment(id), out)?;
            Ui::new(format, verbosity).note(&format!("written {} to `{}`", bytes(length), out.display()));
        }
        FilesCommand::Delete { id } => {
            client.delete(&format!("/files/{}", segment(id)))?;
        }
    }
    Ok(Outcome::Fine)
}

fn print_uploaded(file: &Value<'static>, format: Format) -> Result<(), Error> {
    match format {
        Format::Json => print_object(file, format),
        Format::Human => ui::put(&format!("{}\n", text(file, "id"))),
    }
}

/// Bytes of a part of an upload: the most that OpenAI takes.
pub(super) const PART: u64 = 64_000_000;

/// Uploads a file, in several if it is larger than a shard. A file that is larger than a part goes in parts, if the server takes them: an
/// upload that was interrupted goes on.
pub(super) fn upload(
    client: &Client,
    path: &Path,
    purpose: &str,
    (shard, part): (Option<u64>, u64),
    verbosity: Verbosity,
) -> Result<Vec<Value<'static>>, Error> {
    let failed = |source| ClientError::File { path: path.to_owned(), source };
    let length = std::fs::metadata(path).map_err(failed)?.len();
    let mut ui = Ui::new(Format::Human, verbosity);
    ui.start_bar("{bar:20} {bytes}/{total_bytes}  {bytes_per_sec}  {wide_msg}", length, 0);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let uploaded = match shard.filter(|shard| *shard < length) {
        None => {
            let shown = path.display();
            let mut event = |event: UploadEvent| match event {
                UploadEvent::Sent(sent) => {
                    ui.advance(sent, &name);
                }
                UploadEvent::Resumed(sent) => ui.note(&format!(
                    "{shown}: an interrupted upload continues; the server has {} of it",
                    bytes(sent)
                )),
                UploadEvent::StartedOver(why) => {
                    ui.note(&format!("{shown}: an interrupted upload of it starts over: {why}"));
                }
            };
            let in_parts = match length > part {
                true => client.upload_in_parts(path, purpose, part, &mut event)?,
                false => None,
            };
            let mut progress = |sent: u64| event(UploadEvent::Sent(sent));
            match in_parts {
                Some(file) => vec![file],
                None => vec![client.upload_file(path, purpose, &mut progress)?],
            }
        }
        Some(shard) => {
            let shards = shards(path, shard).map_err(failed)?;
            let mut uploaded = Vec::new();
            for (index, (start, size)) in shards.iter().enumerate() {
                let mut file = File::open(path).map_err(failed)?;
                file.seek(SeekFrom::Start(*start)).map_err(failed)?;
                let name = shard_name(&name, index + 1, shards.len());
                let mut progress = |sent: u64| {
                    ui.advance(start + sent, &name);
                };
                uploaded.push(client.upload(&mut file.take(*size), *size, &name, purpose, &mut progress)?);
            }
            uploaded
        }
    };
    ui.end();
    for file in &uploaded {
        let invalid = text(file, "invalid_samples");
        if !matches!(invalid.as_str(), "" | "0") {
            ui.note(&format!(
                "{}: {invalid} invalid; `pixtune files show {}` lists the findings",
                text(file, "filename"),
                text(file, "id")
            ));
        }
    }
    Ok(uploaded)
}

fn shard_name(name: &str, number: usize, of: usize) -> String {
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, "jsonl"));
    format!("{stem}-{number:05}-of-{of:05}.{extension}")
}

/// Starts and sizes of pieces that end with a line and have at most `limit` bytes, unless one line has more.
fn shards(path: &Path, limit: u64) -> std::io::Result<Vec<(u64, u64)>> {
    let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
    let (mut pieces, mut start, mut size, mut line) = (Vec::new(), 0, 0, 0);
    loop {
        let block = reader.fill_buf()?;
        if block.is_empty() {
            break;
        }
        let length = block.len();
        for piece in block.split_inclusive(|byte| *byte == b'\n') {
            line += piece.len() as u64;
            if piece.ends_with(b"\n") {
                if size > 0 && size + line > limit {
                    pieces.push((start, size));
                    (start, size) = (start + size, 0);
                }
                size += line;
                line = 0;
            }
        }
        reader.consume(length);
    }
    if line > 0 && size > 0 && size + line > limit {
        pieces.push((start, size));
        (start, size) = (start + size, 0);
    }
    size += line;
    if size > 0 {
        pieces.push((start, size));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_end_with_lines_and_cover_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.jsonl");
        std::fs::write(&path, "12345\n12\n1234567890\n1\n2\nlast").unwrap();
        assert_eq!(shards(&path, 9).unwrap(), [(0, 9), (9, 11), (20, 8)]);
        assert_eq!(shards(&path, 4).unwrap(), [(0, 6), (6, 3), (9, 11), (20, 4), (24, 4)]);
        assert_eq!(shards(&path, 1000).unwrap(), [(0, 28)]);
        assert_eq!(shard_name("a.b.jsonl", 1, 3), "a.b-00001-of-00003.jsonl");
    }
}
