//! The data of a run: an index of its samples, their order, and loading them while the network works.

mod files;
mod index;
mod load;
mod order;

pub use files::{DataFiles, data_files};
pub use index::{DataError, DataFile, Dataset, Entry, Indexing, Sample};
pub use load::{Cache, Loaded, Loader, Loading, with_loader};
pub use order::{Epoch, Packing};
