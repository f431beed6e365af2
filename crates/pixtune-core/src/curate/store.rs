//! The facts of all rows, wherever they are.

use std::convert::Infallible;

use super::records::{ImageRecord, Record, Records};
use super::sorted::{Memory, Space};

/// The facts of all rows: in memory, or read from a file in every pass.
pub trait Store: Space {
    /// The number of rows.
    fn rows(&self) -> usize;
    /// The number of images of all rows.
    fn images(&self) -> usize;
    /// Whether a pass costs little, so that several passes are better than more scratch space.
    fn is_in_memory(&self) -> bool;
    /// Calls `visit` with every row, in input order.
    fn each(&self, visit: Visit<'_, Self::Error>) -> Result<(), Self::Error>;
}

/// What is called with every row.
pub type Visit<'v, E> = &'v mut dyn FnMut(StoredRow<'_>) -> Result<(), E>;

/// A row of a [`Store`].
#[derive(Debug, Clone, Copy)]
pub struct StoredRow<'r> {
    /// Its index.
    pub row: u32,
    /// The index of its first image among those of all rows.
    pub first_image: u32,
    /// Its facts.
    pub record: &'r Record,
    /// Those of its images.
    pub images: &'r [ImageRecord],
}

impl StoredRow<'_> {
    /// The images with their indices among those of all rows.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, &ImageRecord)> {
        (self.first_image..).zip(self.images)
    }
}

impl Space for Records {
    type Error = Infallible;
    type Scratch = Vec<u8>;

    fn scratch(&self) -> Result<Vec<u8>, Infallible> {
        Memory.scratch()
    }

    fn budget(&self) -> usize {
        Memory.budget()
    }
}

impl Store for Records {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn images(&self) -> usize {
        self.images.len()
    }

    fn is_in_memory(&self) -> bool {
        true
    }

    fn each(&self, visit: Visit<'_, Infallible>) -> Result<(), Infallible> {
        let mut first_image = 0;
        for (row, (record, images)) in (0..).zip(self.iter()) {
            visit(StoredRow { row, first_image, record, images })?;
            first_image += images.len() as u32;
        }
        Ok(())
    }
}
