//! Thousands of random damages: whatever the bytes, an answer comes, soon and without a panic.
use std::time::{Duration, Instant};

use pixtune_io::image::{Limits, Reading, check_structure, decode, inspect};

use super::all_fixtures;

/// A multiplicative generator: the same damages on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % limit.max(1)
    }
}

/// One to four damages, half of them in the first bytes, where the headers are.
fn damage(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..=random.below(4) {
        let range = if random.below(2) == 0 { bytes.len().min(200) } else { bytes.len() };
        let at = random.below(range);
        match random.below(6) {
            0 => bytes.truncate(at),
            1 => drop(bytes.splice(at..at, [0xff; 3])),
            2 => drop(bytes.drain(at..(at + 7).min(bytes.len()))),
            3 => bytes[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            4 => bytes[at] ^= 1 << random.below(8),
            _ => bytes[at] = random.below(256) as u8,
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

#[test]
fn damaged_files_never_panic_or_hang() {
    let limits = Limits { max_side: 4000, max_decoded_bytes: 40_000_000, ..Limits::default() };
    let rounds = std::env::var("PIXTUNE_MUTATIONS").map_or(300, |rounds| rounds.parse().unwrap());
    for (name, bytes) in all_fixtures() {
        let mut random = Random(bytes.len() as u64);
        // Large images take long to decode and have the same headers.
        for round in 0..rounds / (1 + bytes.len() / 10_000) {
            let damaged = damage(&bytes, &mut random);
            let start = Instant::now();
            let _ = check_structure(&damaged);
            if let Ok(header) = inspect(&damaged, &limits) {
                for reading in [Reading::Corrected, Reading::Reference] {
                    if let Ok(decoded) = decode(&damaged, &header, &limits, reading) {
                        let rgb = &decoded.rgb;
                        assert_eq!(rgb.pixels.len(), rgb.width * rgb.height * 3, "{name}, round {round}");
                    }
                }
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{name}, round {round}: {:?}", start.elapsed());
        }
    }
}
