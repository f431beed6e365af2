//! An archive that is used like a directory: a table in it, and images that the table names. Members are read where they are,
//! in a ZIP archive or an uncompressed tar archive.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::ReadError;
use super::super::positioned::{AnyFile, ReadFrom};
use super::tar::{Kind, Walk};
use super::zip;
use crate::image::{Archive, ImageError, Limits, spellings};

/// An open archive and where its members are.
pub struct Folder {
    path: PathBuf,
    file: Arc<AnyFile>,
    members: HashMap<String, Place>,
}

/// Where a member is.
#[derive(Debug)]
enum Place {
    Tar {
        data: u64,
        size: u64,
    },
    Zip(zip::Entry),
    /// It cannot be read: what it is.
    Refused(String),
}

/// More members than any archive has: their names are in memory.
const MOST_MEMBERS: usize = 4_000_000;

impl Folder {
    /// Reads the directory of a ZIP archive.
    pub(in super::super) fn of_zip(path: &Path) -> Result<Folder, ReadError> {
        Folder::open(path, "a ZIP archive", |folder, length| {
            let entries = zip::entries(&folder.file, length)?;
            entries.into_iter().filter(|entry| !entry.is_directory()).try_for_each(|entry| {
                let (name, refusal) = (entry.name.clone(), entry.refusal());
                folder.add(&name, refusal.map_or(Place::Zip(entry), Place::Refused))
            })
        })
    }

    /// Reads the headers of all members of a tar archive.
    pub(in super::super) fn of_tar(path: &Path) -> Result<Folder, ReadError> {
        Folder::open(path, "a tar archive", |folder, _| {
            let mut walk = Walk::new(ReadFrom { file: Arc::clone(&folder.file), at: 0 });
            while let Some(member) = walk.next_member()? {
                let place = match member.kind {
                    Kind::Directory => continue,
                    Kind::File => Place::Tar { data: member.data, size: member.size },
                    Kind::Other(what) => Place::Refused(format!("is {what}")),
                };
                folder.add(&member.name, place)?;
            }
            Ok(())
        })
    }

    fn open(
        path: &Path,
        format: &'static str,
        fill: impl FnOnce(&mut Folder, u64) -> io::Result<()>,
    ) -> Result<Folder, ReadError> {
        let broken = |source| ReadError::Io { path: path.to_owned(), source };
        let file = AnyFile::open(path).map_err(broken)?;
        file.require_ranges(format).map_err(|error| broken(error.into()))?;
        let length = file.length().map_err(broken)?;
        let mut folder = Folder { path: path.to_owned(), file: Arc::new(file), members: HashMap::new() };
        fill(&mut folder, length).map_err(|source| ReadError::Malformed {
            path: path.to_owned(),
            format,
            source: source.into(),
        })?;
        Ok(folder)
    }

    fn add(&mut self, name: &str, place: Place) -> io::Result<()> {
        // A name that leads out of the archive is that of no member.
        let Some(name) = normal(name) else { return Ok(()) };
        if self.members.len() == MOST_MEMBERS {
            return Err(io::Error::other("the archive has too many members"));
        }
        match self.members.entry(name) {
            Slot::Occupied(mut taken) => {
                taken.insert(Place::Refused("is in the archive twice".to_owned()));
            }
            Slot::Vacant(free) => {
                free.insert(place);
            }
        }
        Ok(())
    }

    /// The names of members, sorted, of which this is true.
    pub(in super::super) fn names(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let mut names: Vec<String> = self.members.keys().filter(|name| is_meant(name)).cloned().collect();
        names.sort();
        names
    }

    /// Bytes of a member's data.
    pub(in super::super) fn size(&self, name: &str) -> Option<u64> {
        match self.members.get(name)? {
            Place::Tar { size, .. } | Place::Zip(zip::Entry { size, .. }) => Some(*size),
            Place::Refused(_) => None,
        }
    }

    /// A stream of a member's data.
    pub(in super::super) fn stream(&self, name: &str) -> io::Result<Box<dyn Read + Send>> {
        match self.members.get(name) {
            Some(Place::Tar { data, size }) => {
                Ok(Box::new(ReadFrom { file: Arc::clone(&self.file), at: *data }.take(*size)))
            }
            Some(Place::Zip(entry)) => entry.open(&self.file),
            Some(Place::Refused(what)) => Err(io::Error::other(format!("member `{name}` {what}"))),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// The bytes of an image that a table in a directory of the archive names.
    pub(crate) fn image(
        &self,
        directory: &str,
        written: &str,
        limits: &Limits,
    ) -> Result<Vec<u8>, ImageError> {
        let missing = || {
            let path = self.path.join(directory).join(written);
            ImageError::Missing { path, near: None }
        };
        let spellings = std::iter::once(written.to_owned()).chain(spellings(written));
        let name = spellings.filter_map(|written| member_name(directory, &written));
        let name = name.into_iter().find(|name| self.members.contains_key(name)).ok_or_else(missing)?;
        let size = match self.members.get(&name).ok_or_else(missing)? {
            Place::Tar { size, .. } | Place::Zip(zip::Entry { size, .. }) => *size,
            Place::Refused(why) => return Err(ImageError::Unreadable { why: format!("the member {why}") }),
        };
        limits.check_bytes(size)?;
        let mut bytes = Vec::new();
        let read = self.stream(&name).and_then(|mut stream| stream.read_to_end(&mut bytes));
        match read {
            Ok(read) if read as u64 == size => Ok(bytes),
            Ok(_) => Err(ImageError::Unreadable { why: "the archive became shorter".to_owned() }),
            Err(error) => Err(ImageError::Unreadable { why: error.to_string() }),
        }
    }
}

/// A table in an archive.
#[derive(Debug, Clone)]
pub struct Member {
    /// The archive.
    pub(in super::super) folder: Arc<Folder>,
    /// The name of the table.
    pub(in super::super) name: String,
    /// The directory in the archive that its images are relative to.
    pub(in super::super) directory: String,
}

impl Archive for Member {
    fn image(&self, written: &str, limits: &Limits) -> Result<Vec<u8>, ImageError> {
        self.folder.image(&self.directory, written, limits)
    }
}

// The members of a large archive would fill the screen.
impl std::fmt::Debug for Folder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Folder").field("path", &self.path).finish_non_exhaustive()
    }
}

/// The member that a table in a directory of the archive means; `None` for one outside of the archive.
fn member_name(directory: &str, written: &str) -> Option<String> {
    let joined = if directory.is_empty() { written.to_owned() } else { format!("{directory}/{written}") };
    normal(&joined).filter(|_| !written.starts_with('/'))
}

/// A name without `.` and `..`; `None` if it is absolute or leads out of the archive.
fn normal(name: &str) -> Option<String> {
    let name = name.replace('\\', "/");
    if name.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_lead_out_of_the_archive() {
        for (name, expected) in [
            ("a/b.png", Some("a/b.png")),
            ("./a//b.png", Some("a/b.png")),
            ("a/../b.png", Some("b.png")),
            ("a\\b.png", Some("a/b.png")),
            ("../b.png", None),
            ("a/../../b.png", None),
            ("/etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(normal(name).as_deref(), expected, "{name}");
        }
    }
}
