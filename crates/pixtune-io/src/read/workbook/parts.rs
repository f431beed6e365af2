//! The parts of a workbook beside its sheets: which sheets there are, shared texts, number formats, links between parts.

use std::collections::HashMap;
use std::io;

use super::super::archive::Folder;
use super::number::Shown;
use super::xml::{Node, Xml};

/// A sheet with rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sheet {
    /// Its name.
    pub(super) name: String,
    /// Its part of the archive.
    pub(super) part: String,
    pub(super) is_hidden: bool,
}

/// The sheets of a workbook, in their order.
pub(super) fn sheets(folder: &Folder) -> io::Result<Vec<Sheet>> {
    let parts = links(folder, WORKBOOK)?;
    let mut sheets = Vec::new();
    part(folder, WORKBOOK)?.each_element(|element| {
        let target = element.attribute("id").and_then(|id| parts.iter().find(|link| link.id == id));
        if let Some(Link { target, kind, .. }) = target.filter(|_| element.is("sheet"))
            && kind.ends_with("/worksheet")
        {
            let is_hidden = element.attribute("state").is_some_and(|state| state != "visible");
            let name = element.attribute("name").unwrap_or_default();
            sheets.push(Sheet { name, part: target.clone(), is_hidden });
        }
    })?;
    Ok(sheets)
}

pub(super) const WORKBOOK: &str = "xl/workbook.xml";

/// From one part to another.
struct Link {
    id: String,
    /// The other part.
    target: String,
    kind: String,
}

/// The links of a part.
fn links(folder: &Folder, from: &str) -> io::Result<Vec<Link>> {
    let (directory, name) = from.rsplit_once('/').unwrap_or(("", from));
    let mut links = Vec::new();
    let Some(xml) = optional(folder, &format!("{directory}/_rels/{name}.rels"))? else { return Ok(links) };
    xml.each_element(|element| {
        let attributes = (element.attribute("Id"), element.attribute("Target"), element.attribute("Type"));
        if let (Some(id), Some(target), Some(kind)) = attributes {
            links.push(Link { id, target: joined(directory, &target), kind });
        }
    })?;
    Ok(links)
}

/// A target relative to a directory, or to the archive if it begins with a slash.
fn joined(directory: &str, target: &str) -> String {
    if let Some(absolute) = target.strip_prefix('/') {
        return absolute.to_owned();
    }
    let mut steps: Vec<&str> = directory.split('/').collect();
    for step in target.split('/') {
        match step {
            ".." => drop(steps.pop()),
            "." => {}
            step => steps.push(step),
        }
    }
    steps.join("/")
}

/// How many images lie over the cells of a sheet.
pub(super) fn images_on(folder: &Folder, sheet: &str) -> io::Result<usize> {
    let mut images = 0;
    for drawing in links(folder, sheet)?.iter().filter(|link| link.kind.ends_with("/drawing")) {
        images += links(folder, &drawing.target)?.iter().filter(|link| link.kind.ends_with("/image")).count();
    }
    Ok(images)
}

/// Whether days count from 1904.
pub(super) fn counts_from_1904(folder: &Folder) -> io::Result<bool> {
    let mut from_1904 = false;
    part(folder, WORKBOOK)?.each_element(|element| {
        if element.is("workbookPr") {
            from_1904 =
                element.attribute("date1904").is_some_and(|value| matches!(value.as_str(), "1" | "true"));
        }
    })?;
    Ok(from_1904)
}

/// How the styles of cells show numbers.
pub(super) fn styles(folder: &Folder) -> io::Result<Vec<Shown>> {
    let (mut codes, mut styles) = (HashMap::new(), Vec::new());
    let Some(mut xml) = optional(folder, "xl/styles.xml")? else { return Ok(styles) };
    let mut in_cells = false;
    loop {
        match xml.next()? {
            Node::Start(element) if element.is("numFmt") => {
                let id = element.attribute("numFmtId").and_then(|id| id.parse::<u32>().ok());
                if let (Some(id), Some(code)) = (id, element.attribute("formatCode")) {
                    codes.insert(id, Shown::of_code(&code));
                }
            }
            Node::Start(element) if element.is("cellXfs") => in_cells = true,
            Node::Start(element) if in_cells && element.is("xf") => {
                let id = element.attribute("numFmtId").and_then(|id| id.parse().ok()).unwrap_or(0);
                styles.push(codes.get(&id).copied().unwrap_or_else(|| Shown::built_in(id)));
            }
            Node::End(name) if name == "cellXfs" => in_cells = false,
            Node::EndOfFile => return Ok(styles),
            _ => {}
        }
    }
}

/// Texts that cells refer to by their index, one after the other.
#[derive(Debug, Default)]
pub(super) struct SharedTexts {
    text: String,
    ends: Vec<usize>,
}

/// Bytes of all shared texts: they are in memory, because any cell can refer to any of them.
const MOST_SHARED: usize = 1 << 30;

impl SharedTexts {
    pub(super) fn read(folder: &Folder) -> io::Result<SharedTexts> {
        let mut shared = SharedTexts::default();
        let links = links(folder, WORKBOOK)?;
        let link = links.iter().find(|link| link.kind.ends_with("/sharedStrings"));
        let Some(link) = link else { return Ok(shared) };
        let mut xml = part(folder, &link.target)?;
        loop {
            match xml.next()? {
                Node::Start(element) if element.is("si") => {
                    let rest = MOST_SHARED.saturating_sub(shared.text.len() + 8 * shared.ends.len());
                    shared.text.push_str(&xml.text_until("si", rest)?);
                    shared.ends.push(shared.text.len());
                }
                Node::EndOfFile => return Ok(shared),
                _ => {}
            }
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.text.get(start..end)
    }
}

/// A part that every workbook has.
pub(super) fn part(folder: &Folder, name: &str) -> io::Result<Xml> {
    folder.stream(name).map(Xml::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            io::Error::new(io::ErrorKind::InvalidData, format!("it has no part `{name}`"))
        }
        _ => error,
    })
}

fn optional(folder: &Folder, name: &str) -> io::Result<Option<Xml>> {
    match folder.stream(name) {
        Ok(stream) => Ok(Some(Xml::new(stream))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
impl SharedTexts {
    pub(super) fn for_test(texts: &[&str]) -> SharedTexts {
        let mut shared = SharedTexts::default();
        for text in texts {
            shared.text.push_str(text);
            shared.ends.push(shared.text.len());
        }
        shared
    }
}
