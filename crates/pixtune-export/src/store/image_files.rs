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
    /// Where files are until they are whole: not in the export, so that none of them is left there when a run is killed.
    unfinished: PathBuf,
    count: AtomicU64,
}

/// The directory of images in an export.
const IMAGES: &str = "images";

impl ImageFiles {
    /// Files below `root/images`; `unfinished` is a directory of the same file system.
    pub(crate) fn new(root: &Path, unfinished: &Path) -> ImageFiles {
        ImageFiles { root: root.to_owned(), unfinished: unfinished.to_owned(), count: AtomicU64::new(0) }
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
        let temporary = self.unfinished.join(self.count.fetch_add(1, Ordering::Relaxed).to_string());
        let mut file = File::create(&temporary)?;
        file.write_all(&image.bytes)?;
        drop(file);
        match fs::rename(&temporary, &path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                fs::rename(&temporary, &path)?;
            }
            renamed => renamed?,
        }
        Ok(name)
    }
}
