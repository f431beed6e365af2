//! Fragments: consecutive rows of one input that are scanned together.

use pixtune_core::json::{self, Value, list, object};

use super::super::{Preparation, PrepareError};
use super::{as_number, number, unreadable};
use crate::read::file_state::FileState;
use crate::read::{Fingerprint, RowRef};

/// Bytes of rows after which a fragment ends.
const MAX_BYTES: u64 = 64 << 20;

/// Consecutive rows of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Fragment {
    /// Its number among all fragments, in the order of the rows.
    pub(in super::super) ordinal: u64,
    /// The index of its input.
    pub(in super::super) input: u32,
    /// Its first row; `None` where it begins with the input.
    pub(in super::super) start: Option<RowRef>,
    /// Its rows; `None` where it ends with the input.
    pub(in super::super) rows: Option<u64>,
    /// Bytes of the input that it stands for.
    pub(in super::super) bytes: u64,
    /// The state of the input when it was indexed.
    pub(in super::super) state: String,
}

impl Fragment {
    /// The words of a task.
    pub(in super::super) fn to_json(&self) -> String {
        json::text(object(|out| {
            out.field("fragment", self.ordinal).field("input", self.input);
            out.optional("number", self.start.map(|start| start.number));
            out.optional("offset", self.start.map(|start| start.offset));
            out.optional("rows", self.rows);
            out.field("bytes", self.bytes).field("state", self.state.as_str());
        }))
    }

    pub(super) fn of_value(value: &Value<'_>) -> Option<Fragment> {
        let input = u32::try_from(number(value, "input")?).ok()?;
        let start = match (number(value, "number"), number(value, "offset")) {
            (Some(number), Some(offset)) => Some(RowRef { file: input, number, offset, length: 0 }),
            _ => None,
        };
        let (ordinal, bytes) = (number(value, "fragment")?, number(value, "bytes")?);
        let state = value.text("state")?.to_owned();
        Some(Fragment { ordinal, input, start, rows: number(value, "rows"), bytes, state })
    }

    /// The name of its files in the work directory.
    pub(in super::super) fn name(&self) -> String {
        format!("{:08}", self.ordinal)
    }

    /// Where it begins, for messages.
    pub(super) fn place(&self, plan: &Preparation) -> String {
        let name = &plan.inputs[self.input as usize].input.name;
        match (self.start.map_or(1, |start| start.number), self.rows) {
            (1, None) => format!("`{name}`"),
            (number, None) => format!("`{name}` from {number} on"),
            (number, Some(rows)) => {
                format!("{} of `{name}` from {number} on", pixtune_core::text::counted(rows, "row"))
            }
        }
    }
}

/// What the index of an input holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// The fingerprint of the input.
    pub(super) fingerprint: Fingerprint,
    /// The state of the file.
    state: String,
    /// The first row of each fragment, rows and bytes. Empty where the input is one fragment.
    parts: Vec<(RowRef, u64, u64)>,
}

impl Index {
    /// Finds where the fragments of an input begin: `rows` rows each, or the groups of a file that hold so many.
    pub(super) fn of(plan: &Preparation, index: u32, rows: u64) -> Result<Index, PrepareError> {
        let Some(planned) = plan.inputs.get(index as usize) else { return Err(unreadable("a task")) };
        let input = &planned.input;
        let state = FileState::of(&input.path)?;
        let mark = state.mark();
        let mut parts: Vec<(RowRef, u64, u64)> = Vec::new();
        let mut add = |at: RowRef, count: u64, bytes: u64| match parts.last_mut() {
            Some((_, held, length)) if *held + count <= rows && *length < MAX_BYTES => {
                (*held, *length) = (*held + count, *length + bytes);
            }
            _ => parts.push((at, count, bytes)),
        };
        let mut fingerprint = None;
        if input.has_separate_rows() {
            let mut reader = input.open(index, plan.options.max_row_bytes)?;
            while let Some((at, _)) = reader.next_row()? {
                add(at, 1, at.length);
            }
            fingerprint = Some(reader.fingerprint());
        } else {
            for group in input.groups()?.iter().filter(|group| group.rows > 0) {
                let at = RowRef { file: index, number: group.first + 1, offset: group.first, length: 0 };
                add(at, group.rows, group.bytes);
            }
        }
        let fingerprint = fingerprint.map_or_else(|| state.fingerprint(), Ok)?;
        if FileState::of(&input.path)?.mark() != mark {
            return Err(crate::read::ReadError::Changed { path: input.path.clone() }.into());
        }
        Ok(Index { fingerprint, state: mark, parts })
    }

    /// Its fragments, of which the first has this number.
    pub(super) fn fragments(&self, plan: &Preparation, input: u32, first: u64) -> Vec<Fragment> {
        let state = || self.state.clone();
        if self.parts.is_empty() {
            let bytes = plan.sizes()[input as usize];
            return vec![Fragment { ordinal: first, input, start: None, rows: None, bytes, state: state() }];
        }
        let numbered = self.parts.iter().zip(first..);
        let fragments = numbered.map(|((at, rows, bytes), ordinal)| {
            // What precedes the first row, such as the header of a table, is read with it.
            let start = (ordinal > first).then_some(*at);
            Fragment { ordinal, input, start, rows: Some(*rows), bytes: *bytes, state: state() }
        });
        fragments.collect()
    }

    pub(super) fn to_json(&self) -> String {
        let Fingerprint { bytes, blake3, version } = &self.fingerprint;
        json::text(object(|out| {
            out.field("bytes", *bytes).field("blake3", blake3.as_str()).field("version", version.as_deref());
            out.field("state", self.state.as_str());
            let parts =
                self.parts.iter().map(|(at, rows, bytes)| list([at.number, at.offset, *rows, *bytes]));
            out.field("fragments", list(parts));
        }))
    }

    pub(super) fn parse(text: &str) -> Option<Index> {
        Index::of_value(&json::parse(text).ok()?.value)
    }

    pub(super) fn of_value(value: &Value<'_>) -> Option<Index> {
        let fingerprint = Fingerprint {
            bytes: number(value, "bytes")?,
            blake3: value.text("blake3")?.to_owned(),
            version: value.text("version").map(str::to_owned),
        };
        let part = |part: &Value<'_>| {
            let numbers: Option<Vec<u64>> = part.as_array()?.iter().map(as_number).collect();
            let [number, offset, rows, bytes] = numbers?.try_into().ok()?;
            Some((RowRef { number, offset, ..RowRef::default() }, rows, bytes))
        };
        let parts: Option<Vec<_>> = value.get("fragments")?.as_array()?.iter().map(part).collect();
        Some(Index { fingerprint, state: value.text("state")?.to_owned(), parts: parts? })
    }

    /// Whether an earlier run found the same content.
    pub(super) fn is_of_same_content(&self, other: &Index) -> bool {
        (&self.fingerprint, self.parts.len()) == (&other.fingerprint, other.parts.len())
    }
}
