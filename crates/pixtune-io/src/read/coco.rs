//! COCO's annotations: rows that name an image by a number, and the list of the images.

use std::collections::HashMap;

use pixtune_core::json::{self, Value};

use super::{Cut, Fingerprint, ReadError, Row, RowReader, RowRef};

/// Reads the annotations one by one, each with the name of its image.
pub(super) struct CocoReader {
    annotations: Box<dyn RowReader>,
    /// Names of files by the ids of images.
    images: HashMap<String, String>,
}

/// Bytes of all names and ids: those of COCO have 5 MB.
const MOST_BYTES: usize = 2 << 30;

impl CocoReader {
    /// Reads the list of images. Rows of it that cannot be read are missed by the annotations that name them.
    pub(super) fn new(
        name: &str,
        annotations: Box<dyn RowReader>,
        list: &mut dyn RowReader,
    ) -> Result<CocoReader, ReadError> {
        let refuse = |why: String| ReadError::Coco { name: name.to_owned(), why };
        let mut images: HashMap<String, String> = HashMap::new();
        let mut bytes = 0;
        while let Some((at, row)) = list.next_row()? {
            let Some((id, file)) = image(&row) else { continue };
            bytes += id.len() + file.len() + size_of::<(String, String)>();
            if bytes > MOST_BYTES {
                return Err(refuse(format!(
                    "more names of images than fit into memory, at image {}",
                    at.number
                )));
            }
            match images.get(&id) {
                Some(known) if *known != file => {
                    return Err(refuse(format!("two images have the id {id}: `{known}` and `{file}`")));
                }
                _ => images.insert(id, file),
            };
        }
        Ok(CocoReader { annotations, images })
    }

    /// The row with the name of the image in place of its number.
    fn complete(&self, row: Row) -> Row {
        let Some(text) = std::str::from_utf8(&row.bytes).ok().filter(|_| row.cut.is_none()) else {
            return row;
        };
        let Ok(parsed) = json::parse(text) else { return row };
        let Value::Object(mut members) = parsed.value else { return row };
        let Some(at) = members.iter().position(|(key, _)| key == "image_id") else {
            return unreadable("the annotation has no `image_id`".to_owned(), row.bytes);
        };
        let id = members[at].1.to_string();
        match self.images.get(&id) {
            Some(name) => {
                members[at] = ("image".into(), Value::String(name.as_str().into()));
                Row::whole(Value::Object(members).to_string())
            }
            None => unreadable(format!("`images` has no image with the id {id}"), row.bytes),
        }
    }
}

fn unreadable(why: String, bytes: Vec<u8>) -> Row {
    Row { cut: Some(Cut::Unreadable { why }), ..Row::whole(bytes) }
}

fn image(row: &Row) -> Option<(String, String)> {
    let parsed = json::parse(std::str::from_utf8(&row.bytes).ok()?).ok()?;
    let id = parsed.value.get("id")?.to_string();
    Some((id, parsed.value.text("file_name")?.to_owned()))
}

impl RowReader for CocoReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        let row = self.annotations.next_row()?;
        Ok(row.map(|(at, row)| (at, self.complete(row))))
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        self.annotations.reread(at).map(|row| self.complete(row))
    }

    fn fingerprint(&self) -> Fingerprint {
        self.annotations.fingerprint()
    }

    fn position(&self) -> u64 {
        self.annotations.position()
    }
}
