//! From what a row calls an image to the file: other spellings of a name are tried before a file counts as missing.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use pixtune_core::spelling::nearest;
use unicode_normalization::UnicodeNormalization as _;

use super::{ImageError, Limits};
use crate::base64::Payloads;
use crate::buffers::Buffers;
use crate::fetch::Fetcher;
use crate::remote;

/// Images that lie in an archive.
pub trait Archive: fmt::Debug + Sync {
    /// The bytes of the image that a row calls so.
    fn image(&self, written: &str, limits: &Limits) -> Result<Vec<u8>, ImageError>;
}

/// How the sources of images are resolved.
#[derive(Debug, Clone, Copy)]
pub struct Resolver<'r> {
    directory: &'r Path,
    strips_roots: bool,
    pub(super) archive: Option<&'r dyn Archive>,
    pub(super) fetcher: Option<&'r Fetcher>,
    buffers: Option<&'r Buffers>,
    pub(super) payloads: Payloads<'r>,
}

impl<'r> Resolver<'r> {
    /// Relative paths start in `directory`, and URLs are not fetched.
    pub fn new(directory: &'r Path) -> Resolver<'r> {
        let payloads = Payloads::default();
        Resolver { directory, strips_roots: false, archive: None, fetcher: None, buffers: None, payloads }
    }

    /// Looks for files with paths of another machine in the directory too: `/mnt/old/images/1.jpg` may be
    /// `images/1.jpg` or `1.jpg` there.
    pub fn stripping_roots(self, strips_roots: bool) -> Resolver<'r> {
        Resolver { strips_roots, ..self }
    }

    /// Looks for paths in an archive instead, if there is one.
    pub(crate) fn within(self, archive: Option<&'r dyn Archive>) -> Resolver<'r> {
        Resolver { archive, ..self }
    }

    /// Fetches URLs, if there is a fetcher.
    pub fn fetching(self, fetcher: Option<&'r Fetcher>) -> Resolver<'r> {
        Resolver { fetcher, ..self }
    }

    /// Whether URLs are fetched.
    pub(crate) fn fetches(&self) -> bool {
        self.fetcher.is_some()
    }

    /// Reads into buffers that are reused.
    pub(crate) fn reusing(self, buffers: &'r Buffers) -> Resolver<'r> {
        Resolver { buffers: Some(buffers), ..self }
    }

    /// Uses what parsing a row has found out about its base64.
    pub(crate) fn knowing(self, payloads: Payloads<'r>) -> Resolver<'r> {
        Resolver { payloads, ..self }
    }

    /// The URL of the object that a path means, if it means one: beside an object that names it, or by its own URL, which is
    /// requested only if images are fetched.
    pub(crate) fn object(&self, written: &str) -> Result<Option<String>, ImageError> {
        let written_url = Path::new(written);
        if remote::is_remote(written_url) {
            return if self.fetches() { Ok(Some(written.to_owned())) } else { Err(ImageError::InStore) };
        }
        if self.archive.is_some() || !remote::is_remote(self.directory) {
            return Ok(None);
        }
        let missing = || ImageError::Missing { path: self.directory.join(written), near: None };
        remote::beside(self.directory, written).ok_or_else(missing).map(Some)
    }

    /// The file that a path means: as written, or the first of its other spellings that exists.
    pub(crate) fn path(&self, written: &str) -> PathBuf {
        let path = self.directory.join(written);
        // A path that is too long for the system is nothing that has other spellings.
        if written.len() > LONGEST_PATH || path.exists() {
            return path;
        }
        let found = spellings(written).into_iter().map(|written| self.directory.join(written));
        let found = found.chain(self.suffixes(written)).find(|path| path.exists());
        found.unwrap_or(path)
    }

    /// The ends of a path of another machine, the longest first, in the directory.
    fn suffixes(&self, written: &str) -> impl Iterator<Item = PathBuf> {
        let separators: &[char] = if self.strips_roots { &['/', '\\'] } else { &[] };
        let steps: Vec<String> = match self.strips_roots {
            true => written
                .split(separators)
                .filter(|step| !step.is_empty() && *step != "..")
                .map(str::to_owned)
                .collect(),
            false => Vec::new(),
        };
        let directory = self.directory;
        (0..steps.len()).map(move |from| directory.join(steps[from..].iter().collect::<PathBuf>()))
    }

    /// Whether a payload is strict base64.
    pub(crate) fn is_strict(&self, base64: &str) -> bool {
        self.payloads.strict_length(base64).is_some()
    }

    pub(super) fn buffer(&self) -> Vec<u8> {
        self.buffers.map(Buffers::take).unwrap_or_default()
    }
}

/// Bytes of the longest path that Linux takes.
const LONGEST_PATH: usize = 4096;

/// Other spellings of one name: backslashes as separators, percent escapes, and the two normal forms of Unicode, of which
/// macOS writes one and most programs the other.
pub(crate) fn spellings(written: &str) -> Vec<String> {
    let mut spellings = Vec::new();
    let mut add = |spelling: String| {
        if spelling != written && !spellings.contains(&spelling) {
            spellings.push(spelling);
        }
    };
    let slashes = written.replace('\\', "/");
    let unescaped = pixtune_core::conversation::percent_decode(&slashes);
    for spelling in [slashes, unescaped] {
        if !spelling.is_ascii() {
            add(spelling.nfc().collect());
            add(spelling.nfd().collect());
        }
        add(spelling);
    }
    spellings
}

/// The existing path that is most like one that does not exist: its first step that is missing is replaced by the nearest
/// name. Large directories are not searched: the suggestion would depend on the order of the names.
pub fn near_path(path: &Path) -> Option<PathBuf> {
    let steps: Vec<&Path> = path.ancestors().collect();
    let parent = steps.iter().position(|step| step.as_os_str().is_empty() || step.is_dir())?;
    let missing = steps[parent.checked_sub(1)?];
    let near = missing.with_file_name(near_name(steps[parent], missing.file_name()?.to_str()?)?);
    let rest = path.strip_prefix(missing).ok()?;
    if rest.as_os_str().is_empty() {
        return Some(near);
    }
    Some(near.join(rest)).filter(|near| near.exists())
}

fn near_name(directory: &Path, name: &str) -> Option<String> {
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).ok()?.take(MOST_NAMES + 1) {
        names.push(entry.ok()?.file_name().into_string().ok()?);
    }
    names.sort();
    if names.len() > MOST_NAMES {
        return None;
    }
    nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
}

const MOST_NAMES: usize = 2000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_under_other_spellings() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("images")).unwrap();
        for name in ["M\u{fc}ller.jpg", "a b.jpg", "images/1.jpg", "50%.jpg"] {
            fs::write(root.join(name), "x").unwrap();
        }
        let found = |written: &str, strips: bool| {
            let path = Resolver::new(root).stripping_roots(strips).path(written);
            path.exists().then(|| path.strip_prefix(root).unwrap().to_string_lossy().into_owned())
        };
        assert_eq!(found("Mu\u{308}ller.jpg", false).as_deref(), Some("M\u{fc}ller.jpg"));
        assert_eq!(found("a%20b.jpg", false).as_deref(), Some("a b.jpg"));
        assert_eq!(found("50%.jpg", false).as_deref(), Some("50%.jpg"));
        assert_eq!(found("images\\1.jpg", false).as_deref(), Some("images/1.jpg"));
        assert_eq!(found("/mnt/old/images/1.jpg", false), None);
        assert_eq!(found("/mnt/old/images/1.jpg", true).as_deref(), Some("images/1.jpg"));
        assert_eq!(found("C:\\Users\\me\\a b.jpg", true).as_deref(), Some("a b.jpg"));
        assert_eq!(found(&"x".repeat(100_000), true), None);
    }

    #[test]
    fn suggests_the_nearest_name() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("IMG_01.JPG"), "x").unwrap();
        let near =
            |name: &str| near_path(&directory.path().join(name)).map(|path| path.ends_with("IMG_01.JPG"));
        assert_eq!(near("img_01.jpg"), Some(true));
        assert_eq!(near("other.png"), None);
        fs::create_dir(directory.path().join("photos")).unwrap();
        fs::write(directory.path().join("photos/1.png"), "x").unwrap();
        let near = near_path(&directory.path().join("photo/1.png"));
        assert_eq!(near, Some(directory.path().join("photos/1.png")));
        assert_eq!(near_path(&directory.path().join("photo/2.png")), None);
        assert_eq!(near_path(&directory.path().join("a/b/photos/1.png")), None);
    }
}
