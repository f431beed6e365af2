//! Objects over several lines.

use memchr::memmem;

use super::super::array::Element;
use super::super::framing::Framing;

/// Objects one after another, over any number of lines.
#[derive(Debug, Default)]
pub(in super::super) struct ObjectsFraming {
    state: Objects,
    element: Element,
    is_line_start: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Objects {
    #[default]
    Before,
    Inside,
    /// Behind the object, up to the end of its line.
    Behind,
    /// Behind an object that is not closed.
    Broken,
    /// In a line that is no object.
    Other,
}

impl Framing for ObjectsFraming {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                Objects::Inside => at += self.inside(&bytes[at..])?,
                Objects::Before if bytes[at] == b'{' => self.state = Objects::Inside,
                _ if bytes[at] == b'\n' => return Some(self.finish(at + 1)),
                Objects::Before | Objects::Behind if bytes[at].is_ascii_whitespace() => at += 1,
                Objects::Behind | Objects::Broken => return Some(self.finish(at)),
                Objects::Before | Objects::Other => {
                    self.state = Objects::Other;
                    at += 1;
                }
            }
        }
        None
    }

    fn trim(&self, row: &mut Vec<u8>) {
        row.truncate(row.trim_ascii_end().len());
    }
}

impl ObjectsFraming {
    /// How many bytes belong to the object; `None` if all do. An object that was never closed ends where the next one begins:
    /// no object inside of another is unindented.
    fn inside(&mut self, bytes: &[u8]) -> Option<usize> {
        let is_next = self.is_line_start && bytes[0] == b'{';
        let next = if is_next { Some(0) } else { memmem::find(bytes, b"\n{").map(|at| at + 1) };
        let own = &bytes[..next.unwrap_or(bytes.len())];
        self.is_line_start = own.last() == Some(&b'\n');
        let end = self.element.object_end(own);
        self.state = match (end, next) {
            (Some(_), _) => Objects::Behind,
            (None, Some(_)) => Objects::Broken,
            (None, None) => Objects::Inside,
        };
        end.or(next)
    }

    fn finish(&mut self, end: usize) -> usize {
        *self = ObjectsFraming::default();
        end
    }
}
