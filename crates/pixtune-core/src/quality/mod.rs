//! The quality of texts: findings about single responses, and statistics of a whole dataset.
//!
//! [`TextFacts::of`] reads one sample, on any thread; [`TextSurvey::add`] collects the facts in order, in memory that does not
//! grow with their number; [`TextSurvey::observations`] gives the results.

mod format;
mod images;
mod majority;
mod observe;
mod refusal;
mod response;
mod script;
mod sketch;

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::diagnostic::{Finding, Rule};

use crate::sample::{Content, Message, Part, Sample};

pub use format::{Classified, ResponseFormat, classify, ends_with_stop};
pub use images::ImageSurvey;
pub use majority::{Formats, Majority};
pub use observe::{Observation, percent};
pub use script::{Script, language, script};
pub use sketch::{Distinct, Entry, Histogram, Top};

/// Facts about an response and its prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct ResponseFacts {
    /// The index of the message in the conversation.
    pub message: usize,
    /// The format of the response.
    pub classified: Classified,
    /// Whether it ends with a full stop, if it is prose.
    pub stops: Option<bool>,
    /// Its characters.
    pub characters: u64,
    /// Its beginning, on one line.
    pub start: String,
    /// Its first words.
    pub opening: Option<String>,
    /// Hash of the text, ignoring case and surrounding white space.
    pub hash: u64,
    /// The beginning of the prompt, on one line.
    pub prompt: String,
    /// Characters of the prompt.
    pub prompt_characters: u64,
    /// Hash of the prompt.
    pub prompt_hash: u64,
    /// The script of the response.
    pub script: Option<Script>,
    /// The languages of prompt and response, if detected.
    pub languages: (Option<&'static str>, Option<&'static str>),
    /// Findings about the response alone.
    pub findings: Vec<Finding>,
}

/// Facts about the texts of one sample.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TextFacts {
    /// Its trained responses, in order.
    pub responses: Vec<ResponseFacts>,
}

/// Maximum characters of a text that are shown.
const SHOWN: usize = 120;
/// Minimum words of an response whose opening is counted.
const OPENING_WORDS: usize = 9;

impl TextFacts {
    /// Reads the trained responses of a sample.
    pub fn of<I, T: AsRef<str>>(sample: &Sample<I, T>) -> TextFacts {
        let mut responses = Vec::new();
        for (message, response, prompt) in turns(sample) {
            let classified = classify(&response);
            let words = |count| response.split_whitespace().take(count).collect::<Vec<_>>();
            let opening = (words(OPENING_WORDS).len() == OPENING_WORDS
                && matches!(classified.format, ResponseFormat::Sentence | ResponseFormat::Text))
            .then(|| words(3).join(" ").chars().take(60).collect());
            responses.push(ResponseFacts {
                message,
                stops: ends_with_stop(&response, classified.format),
                characters: response.chars().count() as u64,
                start: start(&response),
                opening,
                hash: text_hash(&response),
                prompt_characters: prompt.chars().count() as u64,
                prompt_hash: text_hash(&prompt),
                script: script(&response),
                languages: (language(&prompt), language(&response)),
                findings: response::findings(&response, Some(&classified), &prompt, message),
                classified,
                prompt: start(&prompt),
            });
        }
        TextFacts { responses }
    }
}

/// Findings about single responses of a sample.
pub fn response_findings<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    turns(sample)
        .flat_map(|(message, response, prompt)| response::findings(&response, None, &prompt, message))
        .collect()
}

/// Every trained response with its index and the text of the user message before it.
fn turns<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
) -> impl Iterator<Item = (usize, Cow<'_, str>, Cow<'_, str>)> {
    let mut prompt = Cow::Borrowed("");
    sample.messages.iter().enumerate().filter_map(move |(index, message)| match message {
        Message::User(content) => {
            prompt = plain(content);
            None
        }
        Message::Assistant(assistant) if assistant.weight != Some(false) => {
            let content = assistant.content.as_ref()?;
            Some((index, plain(content), prompt.clone()))
        }
        _ => None,
    })
}

/// The text of a message without its images and thinking.
pub fn plain<T: AsRef<str>>(content: &Content<T>) -> Cow<'_, str> {
    match content {
        Content::Text(text) => Cow::Borrowed(text.as_ref()),
        Content::Parts(parts) => {
            let texts = parts.iter().filter_map(|part| match part {
                Part::Text(text) => Some(text.as_ref()),
                Part::Image(_) | Part::Thinking { .. } => None,
            });
            Cow::Owned(texts.collect::<Vec<_>>().join("\n"))
        }
    }
}

/// The first characters of a text on one line.
fn start(text: &str) -> String {
    let mut out = String::new();
    let mut characters = text.trim().chars();
    for character in characters.by_ref().take(SHOWN) {
        out.push(if character.is_control() { ' ' } else { character });
    }
    if characters.next().is_some() {
        out.push('…');
    }
    out
}

fn text_hash(text: &str) -> u64 {
    let lower: String = text.trim().chars().flat_map(char::to_lowercase).collect();
    twox_hash::XxHash3_64::oneshot(lower.as_bytes())
}

/// A location in the files that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Location {
    /// The index of the file.
    pub file: u32,
    /// The line, from 1.
    pub line: u64,
    /// The index of the message; `u32::MAX` for the whole sample.
    pub message: u32,
    /// The index of the image, from 0, where one is meant.
    pub image: Option<u32>,
}

/// An example and its location.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// The location.
    pub place: Location,
    /// The start of the text, or what was found.
    pub text: String,
}

/// A count, and the first examples.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// The count.
    pub count: u64,
    /// The first examples, at most [`KEPT_EXAMPLES`].
    pub first: Vec<Example>,
}

/// Maximum examples that are kept.
pub const KEPT_EXAMPLES: usize = 50;

impl Kept {
    /// Counts an example, and keeps it if it is among the first.
    pub fn add(&mut self, place: Location, text: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < KEPT_EXAMPLES {
            self.first.push(Example { place, text: text() });
        }
    }
}

/// The formats of the responses to one prompt, and the first examples of formats that were rare when they appeared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct OnePrompt {
    formats: Formats,
    rare: Vec<(ResponseFormat, Location, String)>,
}

/// Maximum distinct texts that are counted exactly.
const TEXTS: usize = 1 << 15;

/// Statistics of the texts of a dataset.
#[derive(Debug, Clone)]
pub struct TextSurvey {
    /// Trained responses.
    pub responses: u64,
    /// Characters of responses.
    pub response_characters: Histogram,
    /// Characters of prompts.
    pub prompt_characters: Histogram,
    /// Formats of responses.
    pub formats: Formats,
    /// Distinct responses.
    pub distinct_responses: Distinct,
    /// Distinct prompts.
    pub distinct_prompts: Distinct,
    /// Answers by script.
    pub scripts: BTreeMap<Script, u64>,
    /// Answers by language; `None` if not detected.
    pub languages: BTreeMap<Option<&'static str>, u64>,
    most_responses: Top<()>,
    most_prompts: Top<OnePrompt>,
    openings: Top<()>,
    with_opening: u64,
    key_sets: Top<Kept>,
    by_format: BTreeMap<ResponseFormat, Kept>,
    single: BTreeMap<&'static str, (&'static Rule, Kept)>,
    prose: u64,
    without_stop: Kept,
    detected_languages: u64,
    other_language: Kept,
    longest: Vec<(u64, Example)>,
}

impl Default for TextSurvey {
    fn default() -> TextSurvey {
        TextSurvey {
            responses: 0,
            response_characters: Histogram::default(),
            prompt_characters: Histogram::default(),
            formats: Formats::default(),
            distinct_responses: Distinct::default(),
            distinct_prompts: Distinct::default(),
            scripts: BTreeMap::new(),
            languages: BTreeMap::new(),
            most_responses: Top::new(TEXTS),
            most_prompts: Top::new(TEXTS),
            openings: Top::new(TEXTS),
            with_opening: 0,
            key_sets: Top::new(1024),
            by_format: BTreeMap::new(),
            single: BTreeMap::new(),
            prose: 0,
            without_stop: Kept::default(),
            detected_languages: 0,
            other_language: Kept::default(),
            longest: Vec::new(),
        }
    }
}

/// Maximum longest responses that are kept.
const LONGEST: usize = 20;
/// Maximum rare responses per prompt that are kept.
const RARE: usize = 5;

impl TextSurvey {
    /// Adds the facts of the sample at a line of a file.
    pub fn add(&mut self, file: u32, line: u64, facts: &TextFacts) {
        for response in &facts.responses {
            let message = u32::try_from(response.message).unwrap_or(u32::MAX);
            self.add_response(Location { file, line, message, image: None }, response);
        }
    }

    fn add_response(&mut self, place: Location, response: &ResponseFacts) {
        let format = response.classified.format;
        self.responses += 1;
        self.response_characters.add(response.characters);
        self.prompt_characters.add(response.prompt_characters);
        self.formats.add(format);
        self.by_format.entry(format).or_default().add(place, || response.start.clone());
        self.distinct_responses.add(response.hash);
        self.distinct_prompts.add(response.prompt_hash);
        self.most_responses.add(response.hash, &response.start);
        if let Some(prompt) = self.most_prompts.add(response.prompt_hash, &response.prompt) {
            prompt.formats.add(format);
            let is_rare = prompt.formats.count(format) * 5 <= prompt.formats.total().max(20);
            if is_rare && prompt.rare.len() < RARE {
                prompt.rare.push((format, place, response.start.clone()));
            }
        }
        if let Some(opening) = &response.opening {
            self.with_opening += 1;
            self.openings.add(text_hash(opening), opening);
        }
        if let Some(keys) = &response.classified.keys {
            let keys = keys.join("\u{1f}");
            if let Some(kept) = self.key_sets.add(twox_hash::XxHash3_64::oneshot(keys.as_bytes()), &keys) {
                kept.add(place, || response.start.clone());
            }
        }
        if let Some(script) = response.script {
            *self.scripts.entry(script).or_default() += 1;
        }
        *self.languages.entry(response.languages.1).or_default() += 1;
        if let (Some(prompt), Some(said)) = response.languages {
            self.detected_languages += 1;
            if prompt != said {
                let text = || format!("prompt in `{prompt}`, response in `{said}`: {}", response.start);
                self.other_language.add(place, text);
            }
        }
        if let Some(stops) = response.stops {
            self.prose += 1;
            if !stops {
                self.without_stop.add(place, || response.start.clone());
            }
        }
        for finding in &response.findings {
            let (_, kept) =
                self.single.entry(finding.rule.id).or_insert_with(|| (finding.rule, Kept::default()));
            kept.add(place, || format!("{} in `{}`", finding.message, response.start));
        }
        self.add_longest(place, response);
    }

    fn add_longest(&mut self, place: Location, response: &ResponseFacts) {
        let least = self.longest.last().map_or(0, |(characters, _)| *characters);
        if self.longest.len() == LONGEST && response.characters <= least {
            return;
        }
        let at = self.longest.partition_point(|(characters, _)| *characters >= response.characters);
        self.longest.insert(at, (response.characters, Example { place, text: response.start.clone() }));
        self.longest.truncate(LONGEST);
    }

    /// The most frequent responses.
    pub fn most_frequent_responses(&self, number: usize) -> Vec<(&str, u64)> {
        self.most_responses.most(number).into_iter().map(|entry| (entry.text.as_str(), entry.count)).collect()
    }

    /// The most frequent prompts.
    pub fn most_frequent_prompts(&self, number: usize) -> Vec<(&str, u64)> {
        self.most_prompts.most(number).into_iter().map(|entry| (entry.text.as_str(), entry.count)).collect()
    }

    /// The most frequent openings of prose responses, and the number of responses with an opening.
    pub fn openings(&self, number: usize) -> (Vec<(&str, u64)>, u64) {
        let most = self.openings.most(number).into_iter();
        (most.map(|entry| (entry.text.as_str(), entry.count)).collect(), self.with_opening)
    }
}
