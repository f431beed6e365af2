//! Decodes images as the reference reads them, for `tests/peers/images.py`: reads images from standard input, each after its
//! length in four bytes, and prints for each a line `ok WIDTH HEIGHT CRC32` or `error REASON`.
use std::io::{Read as _, Write as _};

use pixtune_io::image::{Limits, Reading, decode, inspect};

fn main() -> std::io::Result<()> {
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let mut rest = &input[..];
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    while let Some((length, bytes)) = rest.split_first_chunk() {
        let Some((image, next)) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize) else { break };
        rest = next;
        let limits = Limits::default();
        let decoded =
            inspect(image, &limits).and_then(|header| decode(image, &header, &limits, Reading::Reference));
        match decoded {
            Ok(decoded) => {
                let rgb = decoded.rgb;
                writeln!(out, "ok {} {} {}", rgb.width, rgb.height, crc32fast::hash(&rgb.pixels))?;
            }
            Err(error) => writeln!(out, "error {}", error.to_string().escape_debug())?,
        }
    }
    out.flush()
}
