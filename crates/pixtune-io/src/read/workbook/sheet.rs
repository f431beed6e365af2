//! The rows of a sheet, one by one.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use pixtune_core::json::Value;

use super::number::{self, Shown};
use super::parts::SharedTexts;
use super::xml::{Element, Node, Xml};

/// What cells need to be read.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) texts: SharedTexts,
    pub(super) styles: Vec<Shown>,
    pub(super) from_1904: bool,
}

/// A row with at least one value.
#[derive(Debug, Default, PartialEq)]
pub(super) struct SheetRow {
    /// Its number in the sheet, from 1.
    pub(super) number: u64,
    /// Values by their columns, from 0.
    pub(super) cells: Vec<(u32, Value<'static>)>,
    /// A cell whose value cannot be read.
    pub(super) fault: Option<String>,
}

/// Reads a sheet from its beginning on.
pub(super) struct Rows {
    xml: Xml,
    context: Arc<Context>,
    number: u64,
}

/// Columns of a sheet (ECMA-376 allows no more), and bytes of values in a row.
const MOST_COLUMNS: u32 = 16_384;
const LARGEST_ROW: usize = 512 << 20;

impl Rows {
    pub(super) fn new(xml: Xml, context: Arc<Context>) -> Rows {
        Rows { xml, context, number: 0 }
    }

    /// Bytes of the sheet read so far.
    pub(super) fn position(&self) -> u64 {
        self.xml.position()
    }

    /// The next row that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<SheetRow>> {
        loop {
            match self.xml.next()? {
                Node::Start(element) if element.is("row") => {
                    let given = element.attribute("r").and_then(|number| number.parse().ok());
                    let number = given.unwrap_or(self.number + 1);
                    if number <= self.number {
                        return Err(invalid(format!("row {number} follows row {}", self.number)));
                    }
                    self.number = number;
                    let row = self.row()?;
                    if !row.cells.is_empty() || row.fault.is_some() {
                        return Ok(Some(row));
                    }
                }
                Node::EndOfFile => return Ok(None),
                _ => {}
            }
        }
    }

    fn row(&mut self) -> io::Result<SheetRow> {
        let mut row = SheetRow { number: self.number, ..SheetRow::default() };
        let (mut next, mut bytes) = (0, 0);
        loop {
            let cell = match self.xml.next()? {
                Node::Start(element) if element.is("c") => Cell::of(&element, next)?,
                Node::End(name) if name == "row" => return Ok(row),
                Node::EndOfFile => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => continue,
            };
            if cell.column < next || cell.column >= MOST_COLUMNS {
                return Err(invalid(format!("row {} has cells out of order", self.number)));
            }
            next = cell.column + 1;
            match self.value(&cell)? {
                Ok(Some(value)) => {
                    bytes += value.as_str().map_or(16, str::len);
                    row.cells.push((cell.column, value));
                }
                Ok(None) => {}
                Err(what) => {
                    let place = format!("{}{}", letters(cell.column), self.number);
                    row.fault.get_or_insert(format!("cell {place} {what}"));
                }
            }
            if bytes > LARGEST_ROW {
                return Err(invalid(format!("row {} is too large", self.number)));
            }
        }
    }

    /// The value of a cell up to its end; `None` for an empty one. The inner error is about its content.
    fn value(&mut self, cell: &Cell) -> io::Result<Result<Option<Value<'static>>, String>> {
        let (mut value, mut inline, mut is_formula) = (None, None, false);
        loop {
            match self.xml.next()? {
                Node::Start(element) if element.is("v") => value = Some(self.xml.value_until("v")?),
                Node::Start(element) if element.is("is") => {
                    inline = Some(self.xml.text_until("is", LARGEST_ROW)?);
                }
                Node::Start(element) if element.is("f") => is_formula = true,
                Node::End(name) if name == "c" => break,
                Node::EndOfFile => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
        if cell.is_rich {
            return Ok(Err("holds an image or another rich value, which is not read".to_owned()));
        }
        if let Some(text) = inline {
            return Ok(Ok(nonempty(text)));
        }
        let value = value.unwrap_or_default();
        if is_formula && value.is_empty() && cell.kind != "str" {
            return Ok(Err(
                "holds a formula without its value: open and save the workbook in a spreadsheet program"
                    .to_owned(),
            ));
        }
        self.typed(cell, value)
    }

    fn typed(&self, cell: &Cell, value: String) -> io::Result<Result<Option<Value<'static>>, String>> {
        let Context { texts, styles, from_1904 } = &*self.context;
        Ok(Ok(match cell.kind.as_str() {
            "s" if value.is_empty() => None,
            "s" => {
                let text = value.trim().parse().ok().and_then(|index| texts.get(index));
                let text = text.ok_or_else(|| invalid(format!("there is no shared text `{value}`")))?;
                nonempty(text.to_owned())
            }
            "str" | "e" | "d" | "inlineStr" => nonempty(super::xml::unescaped(value)),
            "b" if value.is_empty() => None,
            "b" => Some(Value::Bool(matches!(value.trim(), "1" | "true"))),
            _ if value.trim().is_empty() => None,
            _ => match value.trim().parse::<f64>() {
                Ok(number) if number.is_finite() => {
                    let shown = styles.get(cell.style).copied().unwrap_or_default();
                    Some(number::value(number, shown, *from_1904))
                }
                _ => {
                    return Ok(Err(format!(
                        "holds `{}`, which is not a number",
                        crate::image::shorten(&value)
                    )));
                }
            },
        }))
    }
}

/// The tag of a cell.
struct Cell {
    column: u32,
    kind: String,
    style: usize,
    /// Whether what it shows is not its value but an image, a place or the like.
    is_rich: bool,
}

impl Cell {
    /// A cell without a reference is right of the one before it.
    fn of(element: &Element<'_>, next: u32) -> io::Result<Cell> {
        let column = match element.attribute("r") {
            Some(reference) => {
                column_of(&reference).ok_or_else(|| invalid(format!("`{reference}` is not a cell")))?
            }
            None => next,
        };
        let style = element.attribute("s").and_then(|style| style.parse().ok()).unwrap_or(0);
        let kind = element.attribute("t").unwrap_or_default();
        Ok(Cell { column, kind, style, is_rich: element.attribute("vm").is_some() })
    }
}

/// The column of `AB12`, from 0.
fn column_of(reference: &str) -> Option<u32> {
    let letters = reference.trim_end_matches(|character: char| character.is_ascii_digit());
    if letters.is_empty() || letters.len() > 3 {
        return None;
    }
    let column = letters.bytes().try_fold(0, |column, letter| {
        letter.is_ascii_uppercase().then(|| column * 26 + u32::from(letter - b'A') + 1)
    })?;
    Some(column - 1)
}

/// The letters of a column from 0.
pub(super) fn letters(column: u32) -> String {
    let (mut column, mut letters) = (column + 1, Vec::new());
    while column > 0 {
        column -= 1;
        letters.push(b'A' + (column % 26) as u8);
        column /= 26;
    }
    letters.reverse();
    String::from_utf8(letters).unwrap_or_default()
}

fn nonempty(text: String) -> Option<Value<'static>> {
    (!text.is_empty()).then_some(Value::String(Cow::Owned(text)))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_have_letters() {
        for (column, name) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")] {
            assert_eq!(letters(column), name);
            assert_eq!(column_of(&format!("{name}12")), Some(column));
        }
        assert_eq!((column_of("12"), column_of("a1"), column_of("ABCD1")), (None, None, None));
    }

    /// Any damage is an error or gives other rows; nothing panics or runs on.
    #[test]
    fn damaged_sheets_end() {
        let sheet = "<sheetData><row r='1'><c r='A1' t='s'><v>0</v></c><c r='B1' s='1'><v>45322.5</v></c></row>\
                     <row r='2'><c r='A2' t='inlineStr'><is><r><t>a&amp;b</t></r></is></c><c t='b'><v>1</v></c></row></sheetData>";
        let mut seed = 1u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        for _ in 0..20_000 {
            let mut bytes = sheet.as_bytes().to_vec();
            for _ in 0..1 + random(4) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = b"<>&'/=0 9Az\xff\0"[random(13)],
                    1 => drop(bytes.remove(at)),
                    _ => bytes.insert(at, b"<>&'/=0 9Az\xff\0"[random(13)]),
                }
            }
            let context = Context {
                texts: SharedTexts::for_test(&["shared"]),
                styles: vec![Shown::Number, Shown::Date],
                from_1904: random(2) == 0,
            };
            let mut rows = Rows::new(Xml::new(io::Cursor::new(bytes)), Arc::new(context));
            let mut read = 0;
            while let Ok(Some(row)) = rows.next() {
                assert!(row.cells.is_sorted_by_key(|(column, _)| *column));
                read += 1;
            }
            assert!(read <= 4);
        }
    }

    #[test]
    fn cells_have_their_types() {
        let xml = "<sheetData><row r='2'><c r='A2' t='s'><v>0</v></c><c r='C2'><v>1.50</v></c><c t='b'><v>1</v></c>\
                   <c r='E2' s='1'><v>45322</v></c><c r='F2' t='e'><v>#N/A</v></c><c r='G2' t='str'><f>A1</f><v>x</v></c>\
                   <c r='H2' t='inlineStr'><is><t>in</t></is></c><c r='I2' t='s'/></row><row r='3'/>\
                   <row r='5'><c r='B5'><f>A1</f><v></v></c></row><row><c t='e' vm='1'><v>#VALUE!</v></c></row></sheetData>";
        let texts = SharedTexts::for_test(&["shared"]);
        let context = Context { texts, styles: vec![Shown::Number, Shown::Date], from_1904: false };
        let mut rows = Rows::new(Xml::new(xml.as_bytes()), Arc::new(context));
        let row = rows.next().unwrap().unwrap();
        let cells: Vec<_> = row.cells.iter().map(|(column, value)| format!("{column} {value}")).collect();
        let expected =
            ["0 \"shared\"", "2 1.5", "3 true", "4 \"2024-01-31\"", "5 \"#N/A\"", "6 \"x\"", "7 \"in\""];
        assert_eq!(
            (row.number, cells.iter().map(String::as_str).collect::<Vec<_>>()),
            (2, expected.to_vec())
        );
        let row = rows.next().unwrap().unwrap();
        assert!(
            row.number == 5 && row.fault.unwrap().starts_with("cell B5 holds a formula without its value")
        );
        let row = rows.next().unwrap().unwrap();
        assert!(row.number == 6 && row.fault.unwrap().starts_with("cell A6 holds an image"));
        assert!(rows.next().unwrap().is_none());
    }
}
