//! Images as files beside the data.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::image::StoredImage;

/// Image files named by their content, so that an image that occurs twice is one file.
#[derive(Debug)]
pub(crate) struct ImageFiles {
    root: PathBuf,
    temporary: AtomicU64,
}

/// The directory of images in an export.
pub(crate) const IMAGES: &str = "images";

impl ImageFiles {
    /// Files below `root/images`.
    pub(crate) fn new(root: &Path) -> ImageFiles {
        ImageFiles { root: root.to_owned(), temporary: AtomicU64::new(0) }
    }

    /// Writes an image unless it is there, and returns its path relative to the export.
    pub(super) fn write(&self, image: &StoredImage) -> io::Result<String> {
        let hash = blake3::hash(&image.bytes).to_hex();
        let name = format!("{IMAGES}/{}/{}.{}", &hash[..2], &hash[2..34], image.format.extension());
        let path = self.root.join(&name);
        // What an earlier run left is taken over if it is whole.
        if fs::metadata(&path).is_ok_and(|about| about.len() == image.bytes.len() as u64) {
            return Ok(name);
        }
        let directory = path.parent().unwrap_or(&self.root);
        let temporary = directory.join(format!("{}.part", self.temporary.fetch_add(1, Ordering::Relaxed)));
        let mut file = match File::create(&temporary) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(directory)?;
                File::create(&temporary)?
            }
            made => made?,
        };
        file.write_all(&image.bytes)?;
        drop(file);
        fs::rename(&temporary, &path)?;
        Ok(name)
    }
}
