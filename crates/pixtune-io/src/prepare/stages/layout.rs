//! Where the lines of a stream go: in their order, each file below a size.

/// Where the next line of a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// The index of the file.
    pub(super) file: usize,
    /// Its bytes so far.
    pub(super) bytes: u64,
}

impl Position {
    /// Where a line goes; the position is behind it then. A line never spans two files, and a file has at least one.
    pub(super) fn take(&mut self, length: u64, max_bytes: u64) -> Position {
        if self.bytes > 0 && self.bytes.saturating_add(length) > max_bytes {
            *self = Position { file: self.file + 1, bytes: 0 };
        }
        let at = *self;
        self.bytes += length;
        at
    }
}

/// The files of a stream, from the lines that go to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Layout {
    pub(super) next: Position,
    /// Bytes and lines of each file.
    pub(super) files: Vec<(u64, u64)>,
}

impl Layout {
    /// Adds a line.
    pub(super) fn add(&mut self, length: u64, max_bytes: u64) {
        let at = self.next.take(length, max_bytes);
        if at.file == self.files.len() {
            self.files.push((0, 0));
        }
        if let Some((bytes, lines)) = self.files.get_mut(at.file) {
            (*bytes, *lines) = (*bytes + length, *lines + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_those_of_the_spool() {
        let lengths = [10, 50, 60, 5, 5, 91, 9, 1, 200, 3];
        let directory = tempfile::tempdir().unwrap();
        let mut segments = super::super::super::spool::Segments::new(directory.path(), "train", 100);
        let mut layout = Layout::default();
        for length in lengths {
            segments.append(&vec![b'x'; length]).unwrap();
            layout.add(length as u64, 100);
        }
        let segments = segments.finish().unwrap();
        let files: Vec<(u64, u64)> = segments.iter().map(|file| (file.bytes, file.lines)).collect();
        assert_eq!(layout.files, files);
    }
}
