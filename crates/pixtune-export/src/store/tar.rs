//! WebDataset: tar files whose members with one key are one sample: `000-000000012.0.jpg`, `000-000000012.1.png`,
//! `000-000000012.json` for line 12 of the first file.

use std::io;

use super::{Encode, Piece, marked_json};
use crate::row::Exported;

/// Blocks of a tar file.
const BLOCK: usize = 512;

/// What ends a tar file: two empty blocks.
pub(crate) const END: &[u8] = &[0; 2 * BLOCK];

/// Encodes a sample as members.
#[derive(Debug)]
pub(crate) struct TarMembers;

impl Encode for TarMembers {
    fn encode(&self, sample: Exported) -> io::Result<Piece> {
        let size = sample.images.iter().map(|image| image.bytes.len() + 2 * BLOCK).sum::<usize>();
        let mut out = Vec::with_capacity(size + 8 * BLOCK);
        for (index, image) in sample.images.iter().enumerate() {
            let name = format!("{}.{index}.{}", sample.key, image.format.extension());
            member(&name, &image.bytes, &mut out)?;
        }
        let json = marked_json(&sample);
        member(&format!("{}.json", sample.key), &json, &mut out)?;
        Ok(Piece::Bytes(out))
    }
}

/// Appends a member: a POSIX (ustar) header without owner and time, the bytes, zeros up to a whole block.
fn member(name: &str, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    // Eleven octal digits. A sample is read from one line, which is much shorter.
    if bytes.len() as u64 >= 1 << 33 {
        return Err(io::Error::other(format!("`{name}` is too large for a tar file")));
    }
    let mut header = [0_u8; BLOCK];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644");
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{:011o}", bytes.len()));
    put(136, "00000000000");
    // The checksum counts its own field as spaces.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    out.extend_from_slice(&header);
    out.extend_from_slice(bytes);
    out.resize(out.len().next_multiple_of(BLOCK), 0);
    Ok(())
}
