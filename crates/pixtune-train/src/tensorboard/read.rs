//! Reads event files, as trainers write them.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use super::masked_crc;

/// The scalars of one event.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Event {
    /// Seconds since 1970.
    pub wall_time: f64,
    /// The step.
    pub step: u64,
    /// Tags and values.
    pub scalars: Vec<(String, f64)>,
}

/// The largest record that is read; one of scalars has some hundred bytes.
const MAX_RECORD: u64 = 64 << 20;

/// Whether a file is one of events, by its name.
pub fn is_event_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().contains("tfevents")) && path.is_file()
}

/// Reads the events of a file that have scalars, in order. A record that breaks off ends a file that is still being written; one
/// whose checksum is wrong is an error.
pub fn read_events(path: &Path, each: &mut dyn FnMut(Event)) -> io::Result<()> {
    events_of(&mut BufReader::new(File::open(path)?), each)
}

/// The same of bytes from anywhere.
pub fn events_of(file: &mut dyn Read, each: &mut dyn FnMut(Event)) -> io::Result<()> {
    loop {
        let mut head = [0; 12];
        if !filled(file.read_exact(&mut head))? {
            return Ok(());
        }
        let (length, crc) = head.split_at(8);
        let number = u64::from_le_bytes(length.try_into().map_err(io::Error::other)?);
        if masked_crc(length).to_le_bytes() != *crc || number > MAX_RECORD {
            return Err(io::Error::other("the length of an event has a wrong checksum"));
        }
        // Memory grows with what is there, not with what is announced.
        let mut data = Vec::new();
        if file.take(number + 4).read_to_end(&mut data)? as u64 != number + 4 {
            return Ok(());
        }
        let crc = data.split_off(data.len() - 4);
        if masked_crc(&data).to_le_bytes() != *crc {
            return Err(io::Error::other("an event has a wrong checksum"));
        }
        if let Some(event) = event(&data).filter(|event| !event.scalars.is_empty()) {
            each(event);
        }
    }
}

/// Whether a buffer was filled; the end of the file is no error.
fn filled(read: io::Result<()>) -> io::Result<bool> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

/// A field of a message.
enum Field<'d> {
    Varint(u64),
    Fixed(&'d [u8]),
    Bytes(&'d [u8]),
}

/// The fields of a message, until one that is damaged.
fn fields(mut data: &[u8]) -> impl Iterator<Item = (u64, Field<'_>)> {
    std::iter::from_fn(move || {
        let key = varint(&mut data)?;
        let mut take = |length: usize| {
            let (field, rest) = data.split_at_checked(length)?;
            data = rest;
            Some(field)
        };
        let field = match key & 7 {
            1 => Field::Fixed(take(8)?),
            5 => Field::Fixed(take(4)?),
            2 => {
                let length = varint(&mut data)?;
                let (field, rest) = data.split_at_checked(usize::try_from(length).ok()?)?;
                data = rest;
                Field::Bytes(field)
            }
            0 => Field::Varint(varint(&mut data)?),
            _ => return None,
        };
        Some((key >> 3, field))
    })
}

fn varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The scalars of one event, a protocol buffer; `None` if it is damaged.
pub fn event(data: &[u8]) -> Option<Event> {
    let mut event = Event::default();
    for (number, field) in fields(data) {
        match (number, field) {
            (1, Field::Fixed(time)) => event.wall_time = f64::from_le_bytes(time.try_into().ok()?),
            (2, Field::Varint(step)) => event.step = step,
            (5, Field::Bytes(summary)) => {
                let values = fields(summary).filter_map(|(number, field)| match (number, field) {
                    (1, Field::Bytes(value)) => scalar(value),
                    _ => None,
                });
                event.scalars.extend(values);
            }
            _ => {}
        }
    }
    Some(event)
}

/// Tag and value; `None` for anything but a simple value.
fn scalar(data: &[u8]) -> Option<(String, f64)> {
    let (mut tag, mut value) = (None, None);
    for (number, field) in fields(data) {
        match (number, field) {
            (1, Field::Bytes(name)) => tag = Some(String::from_utf8_lossy(name).into_owned()),
            (2, Field::Fixed(bytes)) => value = Some(f64::from(f32::from_le_bytes(bytes.try_into().ok()?))),
            _ => {}
        }
    }
    Some((tag?, value?))
}
