//! The vocabulary that is built in.

use std::ops::Range;

/// `tekken_240911.json` of mistral-common 1.13.1, packed by `scripts/pack_tekken.py`.
static PACKED: &[u8] = include_bytes!("../tekken_240911.bin");
const PACKED_RANKS: usize = 131_072 - 1_000;

/// Rebuilds every token's bytes from the pair it is made of.
pub(super) fn unpack() -> (Vec<u8>, Vec<u32>) {
    let pairs = PACKED_RANKS - 256;
    let planes = miniz_oxide::inflate::decompress_to_vec_with_limit(PACKED, 6 * pairs)
        .expect("the packed vocabulary is a part of the program");
    let part = |plane: usize, index: usize| {
        let byte = |plane: usize| usize::from(planes[plane * pairs + index]);
        byte(plane) | byte(plane + 1) << 8 | byte(plane + 2) << 16
    };
    let mut bytes: Vec<u8> = (0..=255).collect();
    bytes.reserve(1 << 20);
    let mut starts: Vec<u32> = (0..=256).collect();
    for index in 0..pairs {
        for rank in [part(0, index), part(3, index)] {
            let span: Range<usize> = starts[rank] as usize..starts[rank + 1] as usize;
            bytes.extend_from_within(span);
        }
        starts.push(bytes.len() as u32);
    }
    (bytes, starts)
}
