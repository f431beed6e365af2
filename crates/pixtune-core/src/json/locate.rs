//! The byte offset of a value in its JSON text.

use super::parse;

/// The byte offset of the value at a JSON pointer; if there is none, of the last value on its path. The text is read again,
/// so that parsing need not store offsets, which only findings need.
pub fn locate(text: &str, pointer: &str) -> usize {
    let mut walk = Walk { bytes: text.as_bytes(), at: 0 };
    walk.skip_space();
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let before = walk.at;
        if walk.enter(&step).is_none() {
            return before;
        }
    }
    walk.at
}

/// Skips through valid JSON.
struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn skip_space(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_whitespace) {
            self.at += 1;
        }
    }

    /// Moves to a member of the current object or an element of the current array.
    fn enter(&mut self, step: &str) -> Option<()> {
        let is_object = match self.bytes.get(self.at)? {
            b'{' => true,
            b'[' => false,
            _ => return None,
        };
        let mut found = None;
        self.at += 1;
        for index in 0.. {
            self.skip_space();
            if matches!(self.bytes.get(self.at), None | Some(b'}' | b']')) {
                break;
            }
            let mut is_it = step.parse() == Ok(index);
            if is_object {
                let start = self.at;
                self.skip_string()?;
                let key = std::str::from_utf8(&self.bytes[start..self.at]).ok()?;
                is_it = key[1..key.len() - 1] == *step
                    || (key.contains('\\') && parse(key).is_ok_and(|key| key.value.as_str() == Some(step)));
                self.skip_space();
                self.at += 1;
                self.skip_space();
            }
            if is_it {
                found = Some(self.at);
                if !is_object {
                    break;
                }
            }
            self.skip_value()?;
            self.skip_space();
            self.at += usize::from(self.bytes.get(self.at) == Some(&b','));
        }
        // The last of several members with the same key counts.
        self.at = found?;
        Some(())
    }

    fn skip_string(&mut self) -> Option<()> {
        self.at += 1;
        loop {
            self.at += memchr::memchr2(b'"', b'\\', self.bytes.get(self.at..)?)?;
            if self.bytes[self.at] == b'"' {
                self.at += 1;
                return Some(());
            }
            self.at += 2;
        }
    }

    fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0usize;
        loop {
            match self.bytes.get(self.at)? {
                b'"' => self.skip_string()?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.at += 1;
                    continue;
                }
                _ => {
                    while self.bytes.get(self.at).is_some_and(|byte| !b",]} \t\n\r".contains(byte)) {
                        self.at += 1;
                    }
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_offsets_of_values() {
        let text =
            r#" {"a": [1, {"b\/c": "x\"]}", "~d" : null}, [ ]], "e": -1.5e3 , "a\u0062":true, "e":"last"} "#;
        for (pointer, rest) in [
            ("", "{\"a\""),
            ("/a", "[1,"),
            ("/a/0", "1,"),
            ("/a/1", "{\"b"),
            ("/a/1/b~1c", "\"x\\"),
            ("/a/1/~0d", "null"),
            ("/a/2", "[ ]"),
            ("/ab", "true"),
            ("/e", "\"last\""),
            ("/a/1/missing", "{\"b"),
            ("/missing", "{\"a\""),
        ] {
            assert!(text[locate(text, pointer)..].starts_with(rest), "{pointer}");
        }
        assert_eq!(locate("{\"a\":", "/a"), 0, "a cut text ends the walk");
        assert_eq!(locate("", "/a/b"), 0);
    }
}
