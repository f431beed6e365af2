//! Members of a WebDataset shard: which of them make a row, and the row that they make: JSON, texts, labels and images.

use std::borrow::Cow;
use std::io::{self, Read};

use pixtune_core::json::{self, Value};

use super::super::{Row, RowImage};
use super::tar::{Kind, Member, Walk};

/// The next member that is not a directory or a note of macOS beside a file.
pub(in super::super) fn next_part(walk: &mut Walk<impl Read>) -> io::Result<Option<Member>> {
    while let Some(member) = walk.next_member()? {
        let base = base_name(&member.name);
        if member.kind != Kind::Directory && !base.starts_with("._") && base != ".DS_Store" {
            return Ok(Some(member));
        }
    }
    Ok(None)
}

pub(in super::super) fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// The key of a member: its name up to the first dot of the last part.
pub(in super::super) fn key(name: &str) -> &str {
    let base = base_name(name);
    let stem = base.split('.').next().unwrap_or(base);
    &name[..name.len() - base.len() + stem.len()]
}

/// Whether a member with this suffix is a table of its own.
pub(in super::super) fn is_table(suffix: &str) -> bool {
    matches!(suffix.to_ascii_lowercase().as_str(), "csv" | "tsv" | "jsonl" | "ndjson" | "parquet")
}

/// A member of a row.
pub(in super::super) struct Part {
    /// Its name behind the key: `jpg`, `0.jpg`, `prompt.txt`.
    pub(in super::super) suffix: String,
    /// Its name without directories.
    pub(in super::super) file_name: String,
    pub(in super::super) bytes: Vec<u8>,
}

impl Part {
    /// The last extension, in lower case.
    fn extension(&self) -> String {
        self.suffix.rsplit('.').next().unwrap_or_default().to_ascii_lowercase()
    }

    fn is_image(&self) -> bool {
        let extension = self.extension();
        ["jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"].contains(&extension.as_str())
    }

    /// The number before the extension, in `0.jpg`.
    fn number(&self) -> Option<u64> {
        self.suffix.rsplit_once('.')?.0.parse().ok()
    }
}

type Members = Vec<(Cow<'static, str>, Value<'static>)>;

/// The row: the keys of the JSON object, a column for each other member, and the images under `image` or `images` unless the
/// JSON names them itself. The error describes why the members are not a row.
pub(in super::super) fn row_of(key: &str, parts: Vec<Part>) -> Result<Row, String> {
    let (mut images, others): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(Part::is_image);
    let mut row = Row::default();
    let mut members = Members::new();
    for part in others {
        if part.extension() == "json" {
            add_json(part, &mut members)?;
        } else {
            let (name, value) = column(part, &mut row.images);
            add(&mut members, name, value)?;
        }
    }
    if images.iter().all(|image| image.number().is_some()) {
        images.sort_by_key(Part::number);
    }
    add_images(images, &mut members, &mut row.images)?;
    if !members.iter().any(|(name, _)| name == "id") {
        members.push(("id".into(), Value::String(Cow::Owned(key.to_owned()))));
    }
    row.bytes = Value::Object(members).to_string().into_bytes();
    Ok(row)
}

fn add(members: &mut Members, name: String, value: Value<'static>) -> Result<(), String> {
    match members.iter().find(|(other, _)| *other == name) {
        Some((_, other)) if *other == value => Ok(()),
        Some(_) => Err(format!("its members give `{name}` two values")),
        None => {
            members.push((name.into(), value));
            Ok(())
        }
    }
}

fn add_json(part: Part, members: &mut Members) -> Result<(), String> {
    let invalid = |why: &str| format!("member `{}` is not JSON: {why}", part.file_name);
    let text = std::str::from_utf8(&part.bytes).map_err(|_| invalid("it is not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match json::parse(text).map_err(|error| invalid(error.what))?.value.into_owned() {
        Value::Object(found) => {
            found.into_iter().try_for_each(|(name, value)| add(members, name.into_owned(), value))
        }
        value => add(members, part.suffix, value),
    }
}

/// The column of a member that is neither JSON nor an image: a text, or bytes.
fn column(part: Part, images: &mut Vec<RowImage>) -> (String, Value<'static>) {
    let name = match part.suffix.as_str() {
        "txt" => "text",
        "cls" => "label",
        suffix => suffix.strip_suffix(".txt").unwrap_or(suffix),
    };
    let value = match std::str::from_utf8(&part.bytes) {
        Ok(text) => Value::String(Cow::Owned(without_line_end(text).to_owned())),
        Err(_) => reference(&part.bytes, images),
    };
    (name.to_owned(), value)
}

/// A text file ends with a line end, which is not part of the text.
fn without_line_end(text: &str) -> &str {
    text.strip_suffix("\r\n").or_else(|| text.strip_suffix('\n')).unwrap_or(text)
}

fn reference(bytes: &[u8], images: &mut Vec<RowImage>) -> Value<'static> {
    let image = RowImage::unnamed(bytes);
    let reference = Value::String(Cow::Owned(image.name.clone()));
    images.push(image);
    reference
}

fn add_images(parts: Vec<Part>, members: &mut Members, images: &mut Vec<RowImage>) -> Result<(), String> {
    let names: Vec<Option<String>> = parts.iter().map(|part| name_in(members, &part.file_name)).collect();
    if names.iter().any(Option::is_some) {
        for (part, name) in parts.into_iter().zip(names) {
            let name =
                name.ok_or_else(|| format!("its JSON names other images, and not `{}`", part.file_name))?;
            images.push(RowImage { name, bytes: part.bytes.into() });
        }
        return Ok(());
    }
    if parts.is_empty() {
        return Ok(());
    }
    let taken =
        members.iter().find(|(name, value)| ["image", "images"].contains(&&**name) && *value != Value::Null);
    if let Some((name, _)) = taken {
        return Err(format!("`{name}` in its JSON names none of its images"));
    }
    let is_numbered = parts.iter().all(|part| part.number().is_some());
    let mut references: Vec<_> = parts.iter().map(|part| reference(&part.bytes, images)).collect();
    let column = match references.pop() {
        Some(only) if references.is_empty() && !is_numbered => ("image".into(), only),
        last => {
            references.extend(last);
            ("images".into(), Value::Array(references))
        }
    };
    members.retain(|(name, _)| *name != column.0);
    members.push(column);
    Ok(())
}

/// The text among the values that names a file, with or without directories.
fn name_in(members: &Members, file_name: &str) -> Option<String> {
    members.iter().find_map(|(_, value)| name_in_value(value, file_name))
}

fn name_in_value(value: &Value<'_>, file_name: &str) -> Option<String> {
    match value {
        Value::String(text) => {
            let base = text.rsplit('/').next().unwrap_or(text);
            (base == file_name).then(|| text.clone().into_owned())
        }
        Value::Array(values) => values.iter().find_map(|value| name_in_value(value, file_name)),
        Value::Object(members) => members.iter().find_map(|(_, value)| name_in_value(value, file_name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(parts: &[(&str, &str)]) -> Result<(String, Vec<String>), String> {
        let part = |(suffix, text): &(&str, &str)| Part {
            suffix: (*suffix).to_owned(),
            file_name: format!("k.{suffix}"),
            bytes: text.as_bytes().to_vec(),
        };
        let row = row_of("d/k", parts.iter().map(part).collect())?;
        let mut text = String::from_utf8(row.bytes).unwrap();
        let bytes = |image: &RowImage| String::from_utf8(image.bytes.to_vec()).unwrap();
        for image in &row.images {
            text = text.replace(&json::quoted(&image.name), &format!("<{}>", bytes(image)));
        }
        Ok((text, row.images.iter().map(bytes).collect()))
    }

    fn check(parts: &[(&str, &str)], expected: &str) {
        assert_eq!(row(parts).unwrap().0, expected);
    }

    #[test]
    fn members_become_columns() {
        check(
            &[("jpg", "J"), ("txt", "a\n"), ("cls", "3")],
            r#"{"text":"a","label":"3","image":<J>,"id":"d/k"}"#,
        );
        check(&[("json", r#"{"id": 7, "q": null}"#), ("a.txt", "x\n\n")], r#"{"id":7,"q":null,"a":"x\n"}"#);
        check(&[("json", "[1]"), ("JPG", "J")], r#"{"json":[1],"image":<J>,"id":"d/k"}"#);
    }

    #[test]
    fn numbered_images_are_in_the_order_of_their_numbers() {
        check(&[("10.png", "c"), ("2.png", "b"), ("0.png", "a")], r#"{"images":[<a>,<b>,<c>],"id":"d/k"}"#);
        check(&[("b.png", "b"), ("a.png", "a")], r#"{"images":[<b>,<a>],"id":"d/k"}"#);
    }

    #[test]
    fn json_may_name_its_images() {
        let json = r#"{"messages":[{"url":"x/k.b.png"},"k.a.png"]}"#;
        let (text, images) = row(&[("a.png", "a"), ("b.png", "b"), ("json", json)]).unwrap();
        assert_eq!(text, r#"{"messages":[{"url":<b>},<a>],"id":"d/k"}"#);
        assert_eq!(images, ["a", "b"]);
        assert!(
            row(&[("a.png", "a"), ("c.png", "b"), ("json", json)]).unwrap_err().contains("not `k.c.png`")
        );
        assert!(
            row(&[("png", "a"), ("json", r#"{"image":"other.png"}"#)])
                .unwrap_err()
                .contains("none of its images")
        );
    }

    #[test]
    fn refuses_members_that_contradict_each_other() {
        assert!(row(&[("json", r#"{"text":"a"}"#), ("txt", "b")]).unwrap_err().contains("`text` two values"));
        check(&[("json", r#"{"text":"a"}"#), ("txt", "a")], r#"{"text":"a","id":"d/k"}"#);
        assert!(row(&[("json", "{")]).unwrap_err().contains("`k.json` is not JSON"));
    }
}
