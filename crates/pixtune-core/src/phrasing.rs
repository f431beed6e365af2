//! Other wordings of the same prompt: templates around the user's text, to see whether a model depends on one wording.

use crate::sample::{Content, Message, Part};

/// Where the prompt goes in a template.
pub const GAP: &str = "{prompt}";

/// A wording of prompts: what comes before the text of the last user message, and what comes after.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Phrasing {
    before: String,
    after: String,
    name: Option<String>,
}

/// Our own wordings; the first leaves the prompt as it is. The fourth and the last ask for a line with the final answer.
const BUILT_IN: [&str; 8] = [
    "{prompt}",
    "{prompt}\nReply with one word, number or phrase.",
    "Use the image to answer.\n{prompt}",
    "{prompt}\nReason step by step. Put the result alone on the last line, after \"Final Answer:\".",
    "Question: {prompt}\nKeep it short and do not explain.",
    "I need help with this: {prompt}",
    "{prompt}\nGive only the result.",
    "First describe what matters in the image, then answer: {prompt}\nClose with one line \"Final Answer: <result>\".",
];

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhrasingError {
    /// The prompt has no place in it, or several.
    #[error("phrasing {number} has `{{prompt}}` {found} times; each phrasing needs it once")]
    Gaps {
        /// Which phrasing of the file, from 1.
        number: usize,
        /// How often the gap is there.
        found: usize,
    },
    /// Two templates are equal.
    #[error("phrasing {number} is the same as phrasing {first}")]
    Repeated {
        /// Which phrasing of the file, from 1.
        number: usize,
        /// The earlier one.
        first: usize,
    },
    /// There is no template.
    #[error("there is no phrasing; write one to a line, each with `{{prompt}}`")]
    None,
    /// More than are built in.
    #[error("there are {} built-in phrasings, not {count}", BUILT_IN.len())]
    NotBuiltIn {
        /// How many were asked for.
        count: usize,
    },
}

impl Phrasing {
    /// The prompt as the dataset has it.
    pub fn as_written() -> Phrasing {
        Phrasing::default()
    }

    /// The wording of a template, which may have several lines. Any other text is the name of one that changes no prompt.
    pub fn named(text: &str) -> Phrasing {
        let named = || Phrasing { name: Some(text.to_owned()), ..Phrasing::default() };
        parse_all([text].into_iter()).ok().and_then(|mut found| found.pop()).unwrap_or_else(named)
    }

    /// The first so many of the built-in wordings.
    pub fn built_in(count: usize) -> Result<Vec<Phrasing>, PhrasingError> {
        match BUILT_IN.get(..count) {
            Some([]) | None => Err(PhrasingError::NotBuiltIn { count }),
            Some(templates) => parse_all(templates.iter().copied()),
        }
    }

    /// The templates of a file: one to a line, or, where a line `---` stands between them, of several lines each.
    pub fn read(text: &str) -> Result<Vec<Phrasing>, PhrasingError> {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let lines: Vec<&str> = text.lines().collect();
        if lines.iter().any(|line| line.trim_end() == "---") {
            let blocks: Vec<String> =
                lines.split(|line| line.trim_end() == "---").map(|block| block.join("\n")).collect();
            let blocks = blocks.iter().map(|block| block.trim_matches('\n'));
            return parse_all(blocks.filter(|block| !block.trim().is_empty()));
        }
        parse_all(lines.into_iter().filter(|line| !line.trim().is_empty()))
    }

    /// The template, or the name.
    pub fn template(&self) -> String {
        self.name.clone().unwrap_or_else(|| format!("{}{GAP}{}", self.before, self.after))
    }

    /// Rewords the last message of a conversation, if it comes from the user. In a message of several parts, the beginning of
    /// the template goes before the first text and its end after the last, so that images keep their places.
    pub fn apply(&self, messages: &mut [Message]) {
        let Some(Message::User(content)) = messages.last_mut() else { return };
        match content {
            Content::Text(text) => *text = format!("{}{text}{}", self.before, self.after),
            Content::Parts(parts) => {
                let is_text = |part: &Part| matches!(part, Part::Text(_));
                let changes = !self.before.is_empty() || !self.after.is_empty();
                if changes && !parts.iter().any(is_text) {
                    parts.push(Part::Text(String::new()));
                }
                let mut texts = parts.iter_mut().filter_map(|part| match part {
                    Part::Text(text) => Some(text),
                    Part::Image(_) | Part::Thinking { .. } => None,
                });
                if let Some(first) = texts.next() {
                    first.insert_str(0, &self.before);
                    texts.last().unwrap_or(first).push_str(&self.after);
                }
            }
        }
    }
}

fn parse_all<'t>(templates: impl Iterator<Item = &'t str>) -> Result<Vec<Phrasing>, PhrasingError> {
    let mut phrasings: Vec<Phrasing> = Vec::new();
    for (number, template) in (1..).zip(templates) {
        let found = template.matches(GAP).count();
        let Some((before, after)) = template.split_once(GAP).filter(|_| found == 1) else {
            return Err(PhrasingError::Gaps { number, found });
        };
        let phrasing = Phrasing { before: before.to_owned(), after: after.to_owned(), name: None };
        if let Some(first) = phrasings.iter().position(|earlier| *earlier == phrasing) {
            return Err(PhrasingError::Repeated { number, first: first + 1 });
        }
        phrasings.push(phrasing);
    }
    if phrasings.is_empty() { Err(PhrasingError::None) } else { Ok(phrasings) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worded(template: &str, content: Content) -> Content {
        let mut messages = [Message::User(content)];
        Phrasing::read(template).unwrap()[0].apply(&mut messages);
        let [Message::User(content)] = messages else { unreachable!() };
        content
    }

    #[test]
    fn images_keep_their_places() {
        let text = |text: &str| Part::Text(text.to_owned());
        let parts = vec![text("a"), Part::Image(0), text("b")];
        assert_eq!(
            worded("Q: {prompt}!", Content::Parts(parts)),
            Content::Parts(vec![text("Q: a"), Part::Image(0), text("b!")])
        );
        assert_eq!(
            worded("Q: {prompt}!", Content::Parts(vec![Part::Image(0)])),
            Content::Parts(vec![Part::Image(0), text("Q: !")])
        );
        assert_eq!(worded("{prompt}", Content::Text("a".to_owned())), Content::Text("a".to_owned()));
    }

    #[test]
    fn files_have_one_phrasing_to_a_line_or_blocks() {
        let templates =
            |text: &str| Phrasing::read(text).unwrap().iter().map(Phrasing::template).collect::<Vec<_>>();
        assert_eq!(templates("\u{feff}a {prompt}\r\n\r\nb {prompt}\r\n"), ["a {prompt}", "b {prompt}"]);
        assert_eq!(templates("a\n{prompt}\n---\n{prompt}\nb\n"), ["a\n{prompt}", "{prompt}\nb"]);
        assert_eq!(Phrasing::read("{prompt}\nb"), Err(PhrasingError::Gaps { number: 2, found: 0 }));
        assert_eq!(Phrasing::read("{prompt}{prompt}"), Err(PhrasingError::Gaps { number: 1, found: 2 }));
        assert_eq!(Phrasing::read("\n"), Err(PhrasingError::None));
        assert_eq!(
            Phrasing::read("{prompt}\n{prompt}"),
            Err(PhrasingError::Repeated { number: 2, first: 1 })
        );
    }

    #[test]
    fn a_text_that_is_no_template_is_a_name() {
        assert_eq!(Phrasing::named("a\n{prompt}"), Phrasing::read("a\n{prompt}\n---").unwrap()[0]);
        let named = Phrasing::named("short");
        assert_eq!(named.template(), "short");
        let mut messages = [Message::User(Content::Text("a".to_owned()))];
        named.apply(&mut messages);
        assert_eq!(messages, [Message::User(Content::Text("a".to_owned()))]);
    }

    #[test]
    fn built_in_phrasings_begin_with_the_prompt_as_it_is() {
        assert_eq!(Phrasing::built_in(1).unwrap(), [Phrasing::as_written()]);
        assert_eq!(Phrasing::built_in(8).unwrap().len(), 8);
        assert_eq!(Phrasing::built_in(0), Err(PhrasingError::NotBuiltIn { count: 0 }));
        assert_eq!(Phrasing::built_in(9), Err(PhrasingError::NotBuiltIn { count: 9 }));
    }
}
