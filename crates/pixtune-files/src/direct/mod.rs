//! Large files past the page cache.
//!
//! A file that is larger than memory would push everything else out of the page cache, itself included. Without a second
//! copy in the cache, the CPU touches every byte once less, and progress is that of the disk.

mod aligned;
mod appender;
mod reader;
mod writer;

pub use appender::Appender;
pub use reader::{BlockReader, DirectFile, Window};
pub use writer::{BLOCK, Block, BlockWriter};
