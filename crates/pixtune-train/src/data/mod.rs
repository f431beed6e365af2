//! The data of a run: an index of its samples, their order, and loading them while the network works.

mod index;
mod load;
mod manifest;
mod order;

pub use index::{DataError, DataFile, Dataset, Entry, Indexing, Sample};
pub use load::{Cache, Loaded, Loader, Loading, with_loader};
pub use manifest::{DataFiles, Manifest, data_files};
pub use order::{Epoch, Packing};
