//! What lies where a file of weights should be: what downloads and version control leave instead of it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// Bytes by which the kind of a file is recognized.
const HEAD: usize = 1024;

/// Replies of a server are short texts.
const MAX_REPLY: u64 = 64 << 10;

/// A file that is something else than its name promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Substitute {
    /// A pointer of Git LFS, with the size of the file it points to.
    LfsPointer {
        /// Bytes of the file itself, where the pointer notes them.
        bytes: Option<u64>,
    },
    /// An HTML page.
    WebPage,
    /// A short text, such as the reply of a server that refused a download.
    Text {
        /// Its first line.
        line: String,
    },
    /// A model in llama.cpp's format.
    Gguf,
    /// What `torch.save` writes.
    Pickle,
    /// A compressed file.
    Compressed,
}

impl Substitute {
    /// What a file is by its beginning; `None` if it may be what its name promises.
    pub fn of_file(path: &Path) -> Option<Substitute> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
        let mut head = Vec::new();
        file.take(HEAD as u64).read_to_end(&mut head).ok()?;
        Substitute::of_bytes(&head, length)
    }

    /// What a file is by its first bytes and its length.
    pub fn of_bytes(head: &[u8], length: u64) -> Option<Substitute> {
        let starts = |mark: &[u8]| head.starts_with(mark);
        if starts(b"GGUF") {
            return Some(Substitute::Gguf);
        }
        if starts(b"PK\x03\x04") || starts(b"\x80\x02") || starts(b"\x80\x04") {
            return Some(Substitute::Pickle);
        }
        if starts(b"\x1f\x8b") || starts(b"\x28\xb5\x2f\xfd") || starts(b"BZh") || starts(b"\xfd7zXZ") {
            return Some(Substitute::Compressed);
        }
        let text = text_of(head)?;
        let start = text.trim_start_matches('\u{feff}').trim_start();
        if start.starts_with("version https://git-lfs.github.com/") {
            let size = start.lines().find_map(|line| line.strip_prefix("size "));
            return Some(Substitute::LfsPointer { bytes: size.and_then(|size| size.trim().parse().ok()) });
        }
        let lower = start.to_lowercase();
        if ["<!doctype", "<html", "<head", "<?xml", "<body"].iter().any(|tag| lower.starts_with(tag)) {
            return Some(Substitute::WebPage);
        }
        let line: String = start.lines().next().unwrap_or_default().chars().take(80).collect();
        let is_reply = ["\"error\"", "\"message\"", "\"detail\""].iter().any(|key| start.contains(key));
        let is_json = start.starts_with(['{', '[']) && !(is_reply && length <= HEAD as u64);
        (length <= MAX_REPLY && !line.is_empty() && !is_json).then_some(Substitute::Text { line })
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Substitute::LfsPointer { .. } => {
                "run `git lfs pull` in its directory, or download the repository with `hf download ORG/NAME --local-dir DIR`"
            }
            Substitute::WebPage | Substitute::Text { .. } => {
                "the download was refused or redirected: accept the license on the model's page if it asks for that, log in with \
                 `hf auth login`, and download again with `hf download ORG/NAME --local-dir DIR`"
            }
            Substitute::Gguf => {
                "pixtune reads safetensors: download the model that the GGUF file was made from"
            }
            Substitute::Pickle => {
                "pickled files can run code when they are read: save them with `save_pretrained(safe_serialization=True)`, or \
                 download the safetensors files"
            }
            Substitute::Compressed => "unpack it first",
        }
    }
}

impl std::fmt::Display for Substitute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Substitute::LfsPointer { bytes: Some(bytes) } => {
                write!(f, "a Git LFS pointer to a file of {bytes} bytes, not the file itself")
            }
            Substitute::LfsPointer { bytes: None } => write!(f, "a Git LFS pointer, not the file itself"),
            Substitute::WebPage => write!(f, "a web page"),
            Substitute::Text { line } => write!(f, "a text that begins with `{line}`"),
            Substitute::Gguf => write!(f, "a GGUF file"),
            Substitute::Pickle => write!(f, "a pickled file"),
            Substitute::Compressed => write!(f, "a compressed file"),
        }
    }
}

/// The beginning of a file as text, if it is one. A character may be cut at the end.
fn text_of(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).ok()?
        }
        Err(_) => return None,
    };
    let is_printed = |letter: char| !letter.is_control() || letter.is_whitespace();
    text.chars().all(is_printed).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Option<Substitute> {
        Substitute::of_bytes(bytes, bytes.len() as u64)
    }

    #[test]
    fn what_downloads_leave_is_recognized() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 4958443072\n";
        assert_eq!(of(pointer), Some(Substitute::LfsPointer { bytes: Some(4_958_443_072) }));
        for page in ["<!DOCTYPE html>\n<html>", "\n  <html lang=en>", "\u{feff}<!doctype HTML>"] {
            assert_eq!(of(page.as_bytes()), Some(Substitute::WebPage), "{page}");
        }
        for reply in [
            "Entry not found",
            "Access to model x is restricted.",
            "{\"error\":\"Invalid username or password.\"}",
        ] {
            assert_eq!(of(reply.as_bytes()), Some(Substitute::Text { line: reply.to_owned() }));
        }
        assert_eq!(of(b"GGUF\x03\0\0\0"), Some(Substitute::Gguf));
        assert_eq!(of(b"PK\x03\x04rest"), Some(Substitute::Pickle));
    }

    #[test]
    fn weights_and_json_are_what_they_are() {
        assert_eq!(of(b"\x10\0\0\0\0\0\0\0{\"a\":{}}"), None);
        assert_eq!(of(b"{\"model_type\": \"llava\"}"), None);
        assert_eq!(of(b""), None);
    }
}
