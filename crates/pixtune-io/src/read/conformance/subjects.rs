//! The formats under test, each with a writer of its own.

use std::io::Write as _;
use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use arrow_array::{RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use pixtune_core::json;

use super::super::{Compression, Format, archive};

/// A format under test.
pub(super) struct Subject {
    pub(super) name: &'static str,
    pub(super) format: Format,
    pub(super) compression: Option<Compression>,
    /// Rows of the format, each different from the others.
    pub(super) rows: [&'static str; 3],
    /// A text of these rows, with this line end.
    pub(super) text: fn(&[&str], &str) -> String,
    /// The file of a text.
    pub(super) encode: fn(&str) -> Vec<u8>,
    /// A file that ends in the middle of its last row, where the format can detect that.
    pub(super) truncated: Option<Vec<u8>>,
}

impl Subject {
    pub(super) fn file(&self, rows: &[&str], end: &str) -> Vec<u8> {
        (self.encode)(&(self.text)(rows, end))
    }

    /// Whether rows are bytes of the file.
    pub(super) fn is_plain(&self) -> bool {
        self.format.is_text() && self.compression.is_none()
    }
}

pub(super) const CSV: Format = Format::Table { separator: b',' };

pub(super) fn subjects() -> Vec<Subject> {
    let plain = |text: &str| text.as_bytes().to_vec();
    let lines = || Subject {
        name: "JSON Lines",
        format: Format::JsonLines,
        compression: None,
        rows: ["{\"a\":1}", "{\"a\":\"é,]}\"}", "{\"a\":[3,{}]}"],
        text: |rows, end| format!("{}{end}", rows.join(end)),
        encode: plain,
        truncated: None,
    };
    let table = |name, separator, rows| Subject {
        name,
        format: Format::Table { separator },
        rows,
        text: |rows, end| format!("image,prompt{end}{}{end}", rows.join(end)),
        truncated: Some(b"prompt\n\"cut".to_vec()),
        ..lines()
    };
    let csv = || table("CSV", b',', ["1.png,one", "2.png,\"two, \"\"quoted\"\"\"", "3.png,é"]);
    let half = |bytes: Vec<u8>| Some(bytes[..bytes.len() - 9].to_vec());
    let columns = |name, format, encode: fn(&str) -> Vec<u8>| Subject {
        name,
        format,
        rows: ["{\"a\":\"1\"}", "{\"a\":\"é,]}\"}", "{\"a\":\"[3, {}]\"}"],
        encode,
        truncated: half(encode("{\"a\":\"1\"}\n")),
        ..lines()
    };
    let shard = |name, compression, encode: fn(&str) -> Vec<u8>| Subject {
        name,
        format: Format::Shard,
        compression,
        rows: ["{\"a\":1,\"id\":\"0\"}", "{\"a\":\"é,]}\",\"id\":\"1\"}", "{\"a\":[3,{}],\"id\":\"2\"}"],
        encode,
        // Both blocks of the end mark are missing, or the end of the compressed stream.
        truncated: Some(match compression {
            None => encode("{}\n")[..1024].to_vec(),
            Some(_) => half(encode("{}\n")).unwrap_or_default(),
        }),
        ..lines()
    };
    vec![
        lines(),
        Subject {
            name: "JSON array",
            format: Format::JsonArray,
            text: |rows, end| format!("[{end}{}{end}]{end}", rows.join(&format!(",{end}"))),
            truncated: Some(b"[{\"a\": 1}, {\"a\"".to_vec()),
            ..lines()
        },
        csv(),
        table("TSV", b'\t', ["1.png\tone", "2.png\t\"two\t\"\"quoted\"\"\"", "3.png\té"]),
        Subject {
            name: "gzip-compressed JSON Lines",
            compression: Some(Compression::Gzip),
            encode: gzip,
            truncated: half(gzip("{}\n{}\n")),
            ..lines()
        },
        Subject {
            name: "zstd-compressed CSV",
            compression: Some(Compression::Zstd),
            encode: zstd,
            truncated: half(zstd("a\n1\n")),
            ..csv()
        },
        columns("Parquet", Format::Parquet, parquet),
        columns("Arrow", Format::Arrow, arrow),
        columns("workbook", Format::Workbook, workbook),
        shard("WebDataset shard", None, tar),
        shard("compressed WebDataset shard", Some(Compression::Gzip), |text| gzipped(&tar(text))),
        Subject {
            name: "list of rows in a JSON object",
            format: Format::JsonList { key: "data" },
            text: |rows, end| format!("{{\"n\":[1],{end}\"data\":[{}]}}{end}", rows.join(&format!(",{end}"))),
            truncated: Some(b"{\"data\":[{\"a\": 1}, {\"a\"".to_vec()),
            ..lines()
        },
        Subject {
            name: "JSON object with a row per key",
            format: Format::JsonKeyed,
            rows: ["\"a\":{\"a\":1}", "\"b\": \"é,]\"", "\"c\":[3,{}]"],
            text: |rows, end| format!("{{{}}}{end}", rows.join(&format!(",{end}"))),
            truncated: Some(b"{\"a\":[{\"a\": 1}],\"b\": 2".to_vec()),
            ..lines()
        },
        Subject { name: "JSON objects", format: Format::JsonObjects, ..lines() },
    ]
}

fn gzip(text: &str) -> Vec<u8> {
    gzipped(text.as_bytes())
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(text: &str) -> Vec<u8> {
    zstd::encode_all(text.as_bytes(), 1).unwrap()
}

/// A member `N.json` per row.
fn tar(text: &str) -> Vec<u8> {
    let rows = text.lines().filter(|row| !row.is_empty()).enumerate();
    let members =
        rows.map(|(number, row)| archive::tar::member(&format!("{number}.json"), b'0', row.as_bytes()));
    [members.collect::<Vec<_>>().concat(), vec![0; 1024]].concat()
}

/// Of each row the value of `a`, or all of it.
fn values(text: &str) -> Vec<String> {
    let value = |row: &str| {
        let parsed = json::parse(row).ok();
        parsed.and_then(|parsed| parsed.value.text("a").map(str::to_owned)).unwrap_or(row.to_owned())
    };
    text.lines().filter(|row| !row.is_empty()).map(value).collect()
}

/// A workbook with one column of texts.
fn workbook(text: &str) -> Vec<u8> {
    let cell = |text: &str| format!("<row><c t=\"inlineStr\"><is><t>{text}</t></is></c></row>");
    let rows: String = std::iter::once("a".to_owned()).chain(values(text)).map(|text| cell(&text)).collect();
    let sheet = format!("<worksheet><sheetData>{rows}</sheetData></worksheet>");
    archive::zip::stored(&[("xl/workbook.xml", "<workbook/>"), ("xl/sheet.xml", &sheet)])
}

/// Batches of two rows with one column of texts: of each row the value of `a`, or all of it.
fn batches(text: &str) -> Vec<RecordBatch> {
    let values = values(text);
    let schema = Arc::new(Schema::new(vec![Field::new("a", DataType::Utf8, true)]));
    let batch = |rows: &[String]| {
        let column = StringArray::from_iter_values(rows);
        RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap()
    };
    if values.is_empty() { vec![batch(&[])] } else { values.chunks(2).map(batch).collect() }
}

fn parquet(text: &str) -> Vec<u8> {
    let batches = batches(text);
    let mut writer = ArrowWriter::try_new(Vec::new(), batches[0].schema(), None).unwrap();
    for batch in batches {
        writer.write(&batch).unwrap();
        writer.flush().unwrap();
    }
    writer.into_inner().unwrap()
}

fn arrow(text: &str) -> Vec<u8> {
    let batches = batches(text);
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(&batch).unwrap();
    }
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}
