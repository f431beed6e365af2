//! Lines of a file that several threads read in ranges: the same lines as in a sequential read, in order.
#![no_main]
use std::fs::File;
use std::io::{Seek, Write};

use libfuzzer_sys::fuzz_target;
use pixtune_io::parallel;
use pixtune_io::read::blocks::{Block, Sizes};
use pixtune_io::read::shared::{RangeSizes, SharedLines};

/// A file with these bytes and no name.
fn file_of(bytes: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!("pixtune-fuzz-{}", std::process::id()));
    let mut options = File::options();
    let mut file =
        options.read(true).write(true).create(true).truncate(true).open(&path).expect("a temporary file");
    std::fs::remove_file(&path).expect("the file was just made");
    file.write_all(bytes).and_then(|()| file.rewind()).expect("room for a short file");
    file
}

fuzz_target!(|input: (u8, u8, u8, u8, u8, u8, &[u8])| {
    let (threads, range, long, piece, block, max_line, bytes) = input;
    let whole = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let sizes = Sizes { piece: 1 + usize::from(piece) % 32, block: 1 + usize::from(block) % 32 };
    let kept = usize::from(max_line).max(sizes.piece + sizes.block);
    let expected: Vec<(u64, &[u8])> = whole
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| (line.len() as u64, &line[..line.len().min(kept)]))
        .collect();
    let range = 4 + u64::from(range) % 64;
    let ranges = RangeSizes { short_lines: range, long_lines: 3 * range, long: u64::from(long) };
    let lines =
        SharedLines::with_sizes(file_of(bytes), bytes.len() as u64, usize::from(max_line), ranges, sizes);
    let mut found = Vec::new();
    let work = |share| {
        let mut read = Vec::new();
        let look = |block: &mut Block| {
            let before = read.len();
            match block.oversized() {
                Some(length) => read.push((length, block.lines().to_vec())),
                None => {
                    let lines = block.lines().split_inclusive(|byte| *byte == b'\n');
                    read.extend(lines.map(|line| (line.len() as u64, line.to_vec())));
                }
            }
            read.len() - before
        };
        lines.read(share, look).map(|()| read)
    };
    let threads = 1 + usize::from(threads) % 4;
    let done = parallel::ordered(
        threads,
        || lines.next_share(),
        work,
        |read| {
            found.extend(read?);
            Ok::<_, std::io::Error>(())
        },
    );
    done.expect("a short file can be read");
    assert!(found.iter().map(|(length, kept)| (*length, &kept[..])).eq(expected));
    assert_eq!(lines.has_byte_order_mark(), whole.len() < bytes.len());
});
