//! Texts that end an answer.

/// Holds back what may be the beginning of a stop text.
#[derive(Debug)]
pub struct StopTexts {
    stops: Vec<String>,
    held: String,
    has_stopped: bool,
}

impl StopTexts {
    /// Ends an answer before the first of these texts.
    pub fn new(stops: Vec<String>) -> StopTexts {
        StopTexts { stops, held: String::new(), has_stopped: false }
    }

    /// Whether the answer has ended.
    pub fn has_stopped(&self) -> bool {
        self.has_stopped
    }

    /// The text that is certain once `text` is added.
    pub fn push(&mut self, text: &str) -> String {
        if self.has_stopped {
            return String::new();
        }
        self.held.push_str(text);
        let first = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        if let Some(at) = first {
            self.has_stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let certain = self.held.len() - self.possible();
        self.held.drain(..certain).collect()
    }

    /// What was held back at the end of the answer.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Bytes at the end that may be the beginning of a stop text.
    fn possible(&self) -> usize {
        let starts = |stop: &String| {
            let ends = stop.char_indices().map(|(at, _)| at).skip(1);
            ends.filter(|end| self.held.ends_with(&stop[..*end])).max().unwrap_or(0)
        };
        self.stops.iter().map(starts).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(stops: &[&str], texts: &[&str]) -> (Vec<String>, bool) {
        let stops = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut filter = StopTexts::new(stops);
        let mut pieces: Vec<String> = texts.iter().map(|text| filter.push(text)).collect();
        pieces.push(filter.finish());
        let has_stopped = filter.has_stopped();
        (pieces, has_stopped)
    }

    #[test]
    fn beginnings_wait_and_the_text_itself_is_not_sent() {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            pieces(&["END"], &["a E", "N", "X E", "ND b"]),
            (owned(&["a ", "", "ENX ", "", ""]), true)
        );
        assert_eq!(pieces(&["END"], &["a E"]), (owned(&["a ", "E"]), false));
        assert_eq!(pieces(&[], &["a"]), (owned(&["a", ""]), false));
        assert_eq!(pieces(&["é!"], &["xé", "?"]), (owned(&["x", "é?", ""]), false));
    }

    proptest! {
        #[test]
        fn pieces_joined_are_the_text_before_the_first_stop(text in "[ab]{0,30}", cut in 0usize..30, stop in "[ab]{1,4}") {
            let cut = cut.min(text.len());
            let (found, has_stopped) = pieces(&[&stop], &[&text[..cut], &text[cut..]]);
            let end = text.find(&stop);
            prop_assert_eq!(has_stopped, end.is_some());
            prop_assert_eq!(found.concat(), &text[..end.unwrap_or(text.len())]);
        }
    }
}
