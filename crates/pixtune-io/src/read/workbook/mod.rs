//! Rows of a sheet in an `.xlsx` workbook (ECMA-376): the first row has the names of the columns.
//!
//! The archive is read by [`Folder`], so its members are streamed and their sizes and checksums verified. Only the shared
//! texts are in memory as a whole, because any cell can refer to any of them.

mod number;
mod parts;
mod sheet;
mod xml;

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pixtune_core::json::Value;
use pixtune_core::text::counted;

use super::archive::Folder;
use super::columnar::{bounded, size};
use super::file_state::FileState;
use super::{Cut, Fingerprint, ReadError, Row, RowReader, RowRef};
use parts::{SharedTexts, Sheet, counts_from_1904, images_on, part, sheets, styles};
use sheet::{Context, Rows, SheetRow, letters};

/// Whether an archive is a workbook.
pub(super) fn is_workbook(folder: &Folder) -> bool {
    !folder.names(|name| name == parts::WORKBOOK).is_empty()
}

/// The sheet that is read: the named one, or the first that is shown. With it a note for the user, if there are others.
pub(super) fn choose_sheet(
    path: &Path,
    folder: &Folder,
    name: Option<&str>,
) -> Result<(String, Option<String>), ReadError> {
    let all = sheets(folder).map_err(|source| malformed(path, source))?;
    let shown = || all.iter().find(|sheet| !sheet.is_hidden).or(all.first());
    let chosen = match name {
        Some(name) => all.iter().find(|sheet| sheet.name == name),
        None => shown(),
    };
    let names: Vec<String> = all.iter().map(|Sheet { name, .. }| format!("`{name}`")).collect();
    let no_sheet =
        || ReadError::NoSheet { path: path.to_owned(), name: name.map(str::to_owned), sheets: names.clone() };
    let Sheet { name: chosen, part, .. } = chosen.ok_or_else(no_sheet)?;
    let images = images_on(folder, part).map_err(|source| malformed(path, source))?;
    if images > 0 {
        let images = counted(images as u64, "image");
        return Err(ReadError::SheetImages { path: path.to_owned(), sheet: chosen.clone(), images });
    }
    let note = (name.is_none() && all.len() > 1).then(|| {
        format!("only the sheet `{chosen}` of {} is read (set it with `--sheet`)", names.join(", "))
    });
    Ok((part.clone(), note))
}

/// Reads the rows of a sheet one by one.
pub(super) struct SheetReader {
    path: PathBuf,
    folder: Folder,
    part: String,
    context: Arc<Context>,
    /// The name of each column that has one.
    header: Vec<(u32, String)>,
    index: u32,
    max_row: usize,
    cursor: Cursor,
    rereads: Mutex<Option<Cursor>>,
    state: FileState,
    fingerprint: Fingerprint,
}

/// A place among the rows of a sheet.
struct Cursor {
    rows: Rows,
    /// The index of the next row.
    next: u64,
}

impl SheetReader {
    /// Opens a sheet by its part of the archive.
    pub(super) fn open(
        path: &Path,
        part: &str,
        index: u32,
        max_row: usize,
    ) -> Result<SheetReader, ReadError> {
        let state = FileState::of(path)?;
        let folder = Folder::of_zip(path)?;
        let broken = |source| malformed(path, source);
        let context = || {
            let (texts, styles) = (SharedTexts::read(&folder)?, styles(&folder)?);
            Ok(Arc::new(Context { texts, styles, from_1904: counts_from_1904(&folder)? }))
        };
        let context = context().map_err(broken)?;
        let mut rows = Rows::new(parts::part(&folder, part).map_err(broken)?, Arc::clone(&context));
        let header = header(rows.next().map_err(broken)?.unwrap_or_default());
        Ok(SheetReader {
            path: path.to_owned(),
            folder,
            part: part.to_owned(),
            context,
            header,
            index,
            max_row,
            cursor: Cursor { rows, next: 0 },
            rereads: Mutex::new(None),
            state,
            fingerprint: Fingerprint::default(),
        })
    }

    fn first_row(&self) -> io::Result<Cursor> {
        let mut rows = Rows::new(part(&self.folder, &self.part)?, Arc::clone(&self.context));
        rows.next()?;
        Ok(Cursor { rows, next: 0 })
    }

    fn row(&self, row: SheetRow) -> Row {
        let name = |column: u32| {
            let named = self.header.iter().find(|(known, _)| *known == column);
            named.map_or_else(|| unnamed(column), |(_, name)| name.clone())
        };
        let members = row.cells.into_iter().map(|(column, value)| (Cow::Owned(name(column)), value));
        let text = Value::Object(members.collect()).to_string();
        let cut = row.fault.map(|why| Cut::Unreadable { why });
        match cut {
            Some(cut) => Row { cut: Some(cut), ..Row::whole(text) },
            None => bounded(Row::whole(text), self.max_row),
        }
    }
}

impl RowReader for SheetReader {
    fn next_row(&mut self) -> Result<Option<(RowRef, Row)>, ReadError> {
        let Some(row) = self.cursor.rows.next().map_err(|source| malformed(&self.path, source))? else {
            if self.fingerprint == Fingerprint::default() {
                self.fingerprint = self.state.fingerprint()?;
            }
            return Ok(None);
        };
        let (number, offset) = (row.number, self.cursor.next);
        self.cursor.next += 1;
        let row = self.row(row);
        let length = match &row.cut {
            Some(Cut::TooLarge { bytes }) => *bytes,
            _ => size(&row),
        };
        Ok(Some((RowRef { file: self.index, number, offset, length }, row)))
    }

    fn reread(&self, at: RowRef) -> Result<Row, ReadError> {
        let broken = |source| malformed(&self.path, source);
        let mut kept = self.rereads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut cursor = match kept.take().filter(|cursor| cursor.next <= at.offset) {
            Some(cursor) => cursor,
            None => self.first_row().map_err(broken)?,
        };
        loop {
            let row = cursor.rows.next().map_err(broken)?;
            let row = row.ok_or_else(|| ReadError::Changed { path: self.path.clone() })?;
            cursor.next += 1;
            if cursor.next > at.offset {
                *kept = Some(cursor);
                return Ok(self.row(row));
            }
        }
    }

    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn position(&self) -> u64 {
        let sheet = self.folder.size(&self.part).unwrap_or(0).max(1);
        let read = self.cursor.rows.position().min(sheet);
        (self.state.length() as f64 * (read as f64 / sheet as f64)) as u64
    }

    fn columns(&self) -> Option<Vec<String>> {
        Some(self.header.iter().map(|(_, name)| name.clone()).collect())
    }
}

/// The names in the first row. A name that is there twice gets the letter of its column: no value may hide another.
fn header(row: SheetRow) -> Vec<(u32, String)> {
    let mut header: Vec<(u32, String)> = Vec::new();
    for (column, value) in row.cells {
        let name = value.as_str().map_or_else(|| value.to_string(), |text| text.trim().to_owned());
        let is_free = !name.is_empty() && header.iter().all(|(_, known)| *known != name);
        header.push((
            column,
            if is_free { name } else { format!("{name} ({})", unnamed(column)).trim().to_owned() },
        ));
    }
    header
}

/// What a column without a name is called.
fn unnamed(column: u32) -> String {
    format!("column {}", letters(column))
}

fn malformed(path: &Path, source: io::Error) -> ReadError {
    ReadError::Malformed { path: path.to_owned(), format: "a workbook", source: source.into() }
}
