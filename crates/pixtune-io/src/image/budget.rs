//! Memory for decoding images, shared by all threads: large images wait for each other.
use std::sync::{Condvar, Mutex, PoisonError};

use super::header::{Color, Header};
use super::jpeg;
use crate::sniff::Format;

/// What images that are decoded at the same time may take together. A larger one is decoded alone.
const BUDGET: u64 = 192 << 20;

/// Images that take less do not count: every thread may decode one at any time.
const SMALL: u64 = 16 << 20;

static TAKEN: Mutex<u64> = Mutex::new(0);
static RETURNED: Condvar = Condvar::new();

/// A part of the budget, which is returned when it is dropped. A thread that holds one must not ask for another.
#[must_use]
#[derive(Debug)]
pub(crate) struct Share {
    bytes: u64,
}

impl Drop for Share {
    fn drop(&mut self) {
        if self.bytes > 0 {
            *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
            RETURNED.notify_all();
        }
    }
}

/// Waits until the budget allows another image to be decoded.
pub(crate) fn share(bytes: &[u8], header: &Header) -> Share {
    let need = need(bytes, header);
    if need < SMALL {
        return Share { bytes: 0 };
    }
    let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    let waits = |taken: &mut u64| *taken > 0 && *taken + need > BUDGET;
    let mut taken = RETURNED.wait_while(taken, waits).unwrap_or_else(PoisonError::into_inner);
    *taken += need;
    Share { bytes: need }
}

/// About what decoding takes at its peak.
fn need(bytes: &[u8], header: &Header) -> u64 {
    let pixels = u64::from(header.width) * u64::from(header.height);
    if header.format != Format::Jpeg {
        // What the decoder writes, and the colors that are made of it.
        return header.decoded_bytes() + 3 * pixels;
    }
    let Ok(jpeg) = jpeg::read_header(bytes) else { return 0 };
    let samples: u64 = jpeg.subsampling.iter().map(|&(across, down)| pixels / u64::from(across * down)).sum();
    let colors = if header.color == Color::Rgb { 0 } else { 3 * pixels };
    // Coefficients of progressive images are two bytes each.
    colors + if jpeg.progressive { 3 * samples } else { samples }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn large_images_wait_for_each_other() {
        let header = Header::plain(Format::Png, 4000, 4000);
        let need = need(&[], &header);
        assert!(need > BUDGET / 3 && need <= BUDGET / 2, "{need}");
        let (now, most) = (AtomicU64::new(0), AtomicU64::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let _share = share(&[], &header);
                        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        now.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 2);
        let alone = Header::plain(Format::Png, 10_000, 10_000);
        drop(share(&[], &alone));
    }
}
