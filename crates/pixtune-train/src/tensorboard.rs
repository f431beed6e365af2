//! Metrics for TensorBoard: a file of events, each a record of TFRecord with a protocol buffer inside.
//!
//! Formats: `tensorflow/core/lib/io/record_writer.h` (length, masked CRC-32C of the length, data, masked CRC-32C of the data),
//! `tensorflow/core/util/event.proto` (`wall_time` = 1, `step` = 2, `file_version` = 3, `summary` = 5) and
//! `tensorflow/core/framework/summary.proto` (`value` = 1 with `tag` = 1 and `simple_value` = 2).

mod read;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pixtune_core::metrics::{EvaluationRecord, Record, StepRecord};

pub use read::{Event, event, events_of, is_event_file, read_events};

/// The file in the directory of events. TensorBoard reads files whose names contain `tfevents`.
const FILE: &str = "events.out.tfevents.0.pixtune";

/// A file of events while it is written.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    /// Seconds since 1970 at the end of the last record.
    wall_time: f64,
}

impl EventFile {
    /// Creates the file in a directory, in place of an earlier one. `start` is when the run started, in seconds since 1970.
    pub fn create(directory: &Path, start: f64) -> io::Result<EventFile> {
        fs::create_dir_all(directory)?;
        let mut events = EventFile { file: File::create(directory.join(FILE))?, wall_time: start };
        let mut event = Vec::new();
        push_double(&mut event, 1, start);
        push_bytes(&mut event, 3, b"brain.Event:2");
        events.file.write_all(&framed(&event))?;
        Ok(events)
    }

    /// Appends the scalars of a record.
    pub fn push(&mut self, record: &Record) -> io::Result<()> {
        let (step, seconds, scalars) = match record {
            Record::Step(step) => (step.step, step.seconds, of_step(step)),
            Record::Evaluation(evaluation) => {
                (evaluation.step, evaluation.seconds, of_evaluation(evaluation))
            }
        };
        self.wall_time += seconds;
        self.file.write_all(&framed(&scalar_event(self.wall_time, step, &scalars)))
    }
}

type Scalars = Vec<(&'static str, f64)>;

fn of_step(step: &StepRecord) -> Scalars {
    let mut scalars = vec![
        ("train/loss", step.loss),
        ("train/gradient_norm", step.grad_norm),
        ("train/learning_rate", step.learning_rate),
    ];
    if step.seconds > 0.0 {
        scalars.push(("train/tokens_per_second", step.tokens as f64 / step.seconds));
    }
    scalars.extend(step.peak_memory_bytes.map(|bytes| ("train/peak_memory_gb", bytes as f64 / 1e9)));
    scalars
}

fn of_evaluation(evaluation: &EvaluationRecord) -> Scalars {
    let mut scalars = vec![
        ("validation/loss", evaluation.valid_loss),
        ("validation/token_accuracy", evaluation.valid_token_accuracy),
    ];
    scalars.extend(evaluation.valid_score.map(|score| ("validation/score", score)));
    scalars
}

fn scalar_event(wall_time: f64, step: u64, scalars: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in scalars {
        let mut one = Vec::new();
        push_bytes(&mut one, 1, tag.as_bytes());
        push_key(&mut one, 2, 5);
        one.extend((*value as f32).to_le_bytes());
        push_bytes(&mut summary, 1, &one);
    }
    let mut event = Vec::new();
    push_double(&mut event, 1, wall_time);
    push_key(&mut event, 2, 0);
    push_varint(&mut event, step);
    push_bytes(&mut event, 5, &summary);
    event
}

/// The key of a field: its number and its wire type (0 varint, 1 eight bytes, 2 bytes with their length, 5 four bytes).
fn push_key(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    out.push(field << 3 | wire_type);
}

fn push_double(out: &mut Vec<u8>, field: u8, value: f64) {
    push_key(out, field, 1);
    out.extend(value.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    push_key(out, field, 2);
    push_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A record of TFRecord.
fn framed(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked_crc(&length).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

/// CRC-32C, rotated and shifted, so that a checksum of data with a checksum inside stays meaningful.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C (Castagnoli), one byte at a time: an event has a few hundred bytes.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    !data.iter().fold(!0, |crc: u32, byte| TABLE[usize::from(crc as u8 ^ byte)] ^ crc >> 8)
}

const fn table() -> [u32; 256] {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }

    #[test]
    fn events_are_protocol_buffers() {
        let event = scalar_event(1.0, 300, &[("a", 0.5)]);
        let wall_time = [9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f];
        let step = [0x10, 0xac, 0x02];
        let summary = [0x2a, 10, 0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f];
        assert_eq!(event, [&wall_time[..], &step, &summary].concat());
    }
}
