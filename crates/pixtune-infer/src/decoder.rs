//! Text of tokens that arrive one by one.

use pixtune_core::tokens::Tokenizer;

/// Decodes a stream of tokens. A character may be spread over several of them: its bytes wait until it is complete, so
/// that the pieces joined are the text of all tokens decoded at once.
#[derive(Debug)]
pub struct StreamDecoder<'t> {
    tokenizer: &'t Tokenizer,
    /// Bytes that are not yet text: the beginning of a character, between two calls.
    waiting: Vec<u8>,
}

impl<'t> StreamDecoder<'t> {
    /// A decoder at the beginning of a text.
    pub fn new(tokenizer: &'t Tokenizer) -> StreamDecoder<'t> {
        StreamDecoder { tokenizer, waiting: Vec::new() }
    }

    /// Adds a token; returns the text that is complete with it, often all of it, sometimes none.
    pub fn push(&mut self, id: u32) -> String {
        match self.tokenizer.token(id) {
            Some(bytes) => {
                self.waiting.extend_from_slice(bytes);
                self.take_complete()
            }
            // A special token has no text, and no character reaches across it.
            None => self.finish(),
        }
    }

    /// Ends the text: a character that is still incomplete becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.waiting).into_owned();
        self.waiting.clear();
        text
    }

    /// Everything but the beginning of a character at the end.
    fn take_complete(&mut self) -> String {
        let complete = self.waiting.len() - incomplete_suffix(&self.waiting);
        let text = String::from_utf8_lossy(&self.waiting[..complete]).into_owned();
        self.waiting.drain(..complete);
        text
    }
}

/// Bytes at the end that could be the beginning of a character.
fn incomplete_suffix(bytes: &[u8]) -> usize {
    let mut rest = bytes;
    while let Err(error) = std::str::from_utf8(rest) {
        rest = &rest[error.valid_up_to()..];
        match error.error_len() {
            Some(invalid) => rest = &rest[invalid..],
            None => return rest.len(),
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(ids: &[u32]) -> Vec<String> {
        let mut decoder = StreamDecoder::new(Tokenizer::embedded());
        let mut pieces: Vec<String> = ids.iter().map(|&id| decoder.push(id)).collect();
        pieces.push(decoder.finish());
        pieces
    }

    /// The token of a single byte: the first 256 after the special tokens.
    fn byte(byte: u8) -> u32 {
        1_000 + u32::from(byte)
    }

    #[test]
    fn waits_for_the_last_byte_of_a_character() {
        let euro = "€!".bytes().map(byte).collect::<Vec<_>>();
        assert_eq!(pieces(&euro), ["", "", "€", "!", ""]);
    }

    #[test]
    fn replaces_a_character_that_never_completes() {
        assert_eq!(pieces(&[byte(0xe2), byte(b'a')]), ["", "\u{fffd}a", ""]);
        assert_eq!(pieces(&[byte(0xe2), byte(0x82)]), ["", "", "\u{fffd}"]);
        let end = Tokenizer::embedded().marks().end;
        assert_eq!(pieces(&[byte(0xe2), end, byte(0x82)]), ["", "\u{fffd}", "\u{fffd}", ""]);
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text_of_all_tokens(ids in prop::collection::vec(0_u32..1_300, 0..40)) {
            prop_assert_eq!(pieces(&ids).concat(), Tokenizer::embedded().decode(&ids));
        }
    }
}
