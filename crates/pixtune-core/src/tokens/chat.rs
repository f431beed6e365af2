//! Conversations to ids and loss mask, in one walk and without ever cutting one short.
//!
//! The reference for [`Layout::MistralCommon`] is mistral-common 1.13.1, `encode_chat_completion` in fine-tuning mode
//! with tokenizer v3 (`validator.py`, `normalize.py`, `instruct.py`); for [`Layout::MistralFinetune`] it is
//! mistral-finetune's `tokenize.py`. Both refuse conversations, and so do we, with the reason.

use std::borrow::Cow;

use super::grid::{Grid, grid};
use super::python_json::{Unprintable, dump_string, dumps, loads};
use super::tekken::{Encoder, PictureConfig, Tekken};
use super::validate::{Turn, validate};
use crate::diagnostic::Finding;
use crate::rules::{EMPTY_ANSWER, IMAGE_UNREADABLE, TOOL_CALL, TOOL_JSON};
use crate::sample::{Arguments, Assistant, Content, Message, Part, Sample, Tool, ToolCall, ToolResult};
use crate::spec::{Exactness, ModelSpec, TokenizerKind};

/// How a conversation is laid out in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Layout {
    /// As mistral-common and everything built on it serves the model: turns of one role are joined, and a picture
    /// behind a single text moves to the front.
    #[default]
    MistralCommon,
    /// As mistral-finetune trained: nothing is joined or moved, and with tools only the last message is trained.
    MistralFinetune,
}

impl Layout {
    /// Every layout.
    pub const ALL: [Layout; 2] = [Layout::MistralCommon, Layout::MistralFinetune];

    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Layout::MistralCommon => "mistral-common",
            Layout::MistralFinetune => "mistral-finetune",
        }
    }

    /// The layout of this name.
    pub fn find(name: &str) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.as_str() == name)
    }
}

/// Tokens that follow each other and are all trained or all not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Whether they count in the loss.
    pub trained: bool,
    /// How many they are.
    pub tokens: usize,
}

/// What a conversation costs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// All tokens.
    pub tokens: usize,
    /// Tokens of pictures, breaks and ends included.
    pub image_tokens: usize,
    /// Tokens that count in the loss.
    pub trained_tokens: usize,
    /// The loss mask, as runs that alternate.
    pub runs: Vec<Run>,
    /// The pictures in the order the model sees them.
    pub images: Vec<Grid>,
}

impl Counts {
    /// Tokens that are no picture: text and the marks around it.
    pub fn text_tokens(&self) -> usize {
        self.tokens - self.image_tokens
    }
}

/// A conversation as the model will see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The ids.
    pub ids: Vec<u32>,
    /// What they add up to, and which of them are trained.
    pub counts: Counts,
}

/// Encodes conversations for one model.
#[derive(Debug, Clone, Copy)]
pub struct ChatEncoder<'t> {
    /// The model: how its pictures are cut.
    pub spec: &'t ModelSpec,
    /// The vocabulary.
    pub tekken: &'t Tekken,
    /// The layout.
    pub layout: Layout,
}

impl<'t> ChatEncoder<'t> {
    /// An encoder with the built-in vocabulary.
    pub fn new(spec: &'t ModelSpec, layout: Layout) -> ChatEncoder<'t> {
        ChatEncoder { spec, tekken: Tekken::embedded(), layout }
    }

    /// Whether the ids and counts are the reference's, or why they are only near.
    pub fn exactness(&self) -> Exactness {
        match self.spec.tokenizer {
            TokenizerKind::Tekken { version: 3 } if self.tekken.version() == 3 => self.spec.exactness,
            TokenizerKind::Tekken { version: 3 } => Exactness::Estimate(
                "the conversation is laid out as v3, the tokenizer file is of another version",
            ),
            TokenizerKind::Tekken { version } if version == self.tekken.version() => Exactness::Estimate(
                "the vocabulary is the model's own, but the conversation is laid out as v3",
            ),
            _ => self.spec.exactness,
        }
    }

    /// The ids and the loss mask; `sizes` are the widths and heights of [`Sample::images`]. What the reference
    /// refuses is a finding.
    pub fn encode<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Encoded, Finding> {
        let out = self.walk(sample, sizes, Measure::Ids)?;
        Ok(Encoded { ids: out.ids, counts: out.counts })
    }

    /// A number that the tokens of a sample do not pass, found without the tokenizer: a text has at most as many
    /// tokens as bytes. Refuses exactly what [`ChatEncoder::encode`] refuses.
    pub fn bound<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<usize, Finding> {
        Ok(self.walk(sample, sizes, Measure::Bytes)?.counts.tokens)
    }

    /// Such a number at a glance, for a conversation that [`refusals`] takes and that is nothing but system messages,
    /// users and answers in text: nothing else is refused about it. `None` for others.
    pub fn plain_bound<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Option<usize> {
        let plain = |message: &Message<T>| match message {
            Message::System(content) | Message::User(content) => Some(bytes_within(content)),
            Message::Assistant(Assistant { content: Some(Content::Text(text)), tool_calls, .. }) => {
                let text = text.as_ref();
                (!text.is_empty() && tool_calls.is_empty()).then_some(text.len())
            }
            _ => None,
        };
        let common = self.layout == Layout::MistralCommon;
        if !common || !sample.tools.is_empty() || sizes.len() < sample.images.len() {
            return None;
        }
        let texts = sample
            .messages
            .iter()
            .map(|message| Some(plain(message)? + MARKS_AROUND))
            .sum::<Option<usize>>()?;
        let pictures: usize =
            sizes.iter().map(|&(width, height)| grid(self.spec, width, height).tokens()).sum();
        Some(2 * MARKS_AROUND + texts + pictures)
    }

    /// The same as [`ChatEncoder::encode`] without the ids.
    pub fn count<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
    ) -> Result<Counts, Finding> {
        Ok(self.walk(sample, sizes, Measure::Tokens)?.counts)
    }

    /// The tokenizer file names its ids; a model whose own vocabulary is of another kind brings them along.
    fn picture_ids(&self) -> (u32, u32, u32) {
        match self.spec.tokenizer {
            TokenizerKind::Tekken { .. } => {
                let marks = self.tekken.marks();
                (marks.image, marks.image_break, marks.image_end)
            }
            TokenizerKind::SentencePiece { .. } => {
                (self.spec.image, self.spec.image_break, self.spec.image_end)
            }
        }
    }

    /// How the tokenizer cuts pictures, if it is otherwise than the model does, whose way counts.
    pub fn other_pictures(&self) -> Option<PictureConfig> {
        let ModelSpec { patch, merge, max_side, .. } = *self.spec;
        self.tekken.pictures().filter(|pictures| *pictures != PictureConfig { patch, max_side, merge })
    }

    fn walk<I, T: AsRef<str>>(
        &self,
        sample: &Sample<I, T>,
        sizes: &[(u32, u32)],
        measure: Measure,
    ) -> Result<Out<'t>, Finding> {
        let encoder = (measure != Measure::Bytes).then(|| self.tekken.encoder());
        let counts = Counts::default();
        let mut out = Out { tekken: self.tekken, encoder, measure, ids: Vec::new(), counts };
        let pictures = Pictures { spec: self.spec, sizes, ids: self.picture_ids() };
        out.mark(self.tekken.marks().begin, false);
        match self.layout {
            Layout::MistralCommon => common(sample, &pictures, &mut out)?,
            Layout::MistralFinetune => finetune(sample, &pictures, &mut out)?,
        }
        Ok(out)
    }
}

/// Everything about a conversation that the reference refuses before it encodes, what it stops at first.
pub fn refusals<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    super::validate::refusals(&Turn::all(&sample.messages), &sample.tools, Layout::MistralCommon)
}

/// What of it is about roles and their order alone.
pub fn order_refusals<I, T: AsRef<str>>(sample: &Sample<I, T>) -> Vec<Finding> {
    super::validate::structure(&Turn::all(&sample.messages), Layout::MistralCommon)
}

struct Pictures<'s> {
    spec: &'s ModelSpec,
    sizes: &'s [(u32, u32)],
    /// `[IMG]`, `[IMG_BREAK]`, `[IMG_END]`.
    ids: (u32, u32, u32),
}

/// Where tokens go: into the ids, if they are wanted, and into the counts.
struct Out<'t> {
    tekken: &'t Tekken,
    /// None where bytes are counted.
    encoder: Option<Encoder<'t>>,
    measure: Measure,
    ids: Vec<u32>,
    counts: Counts,
}

/// What is wanted of a walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// The ids and their counts.
    Ids,
    /// The counts.
    Tokens,
    /// Bytes of text in place of its tokens.
    Bytes,
}

impl Out<'_> {
    fn text(&mut self, text: &str, trained: bool) {
        let tokens = match &mut self.encoder {
            None => text.len(),
            Some(encoder) if self.measure == Measure::Ids => {
                let before = self.ids.len();
                encoder.encode_into(text, &mut self.ids);
                self.ids.len() - before
            }
            Some(encoder) => encoder.count(text),
        };
        self.add(tokens, trained);
    }

    fn mark(&mut self, id: u32, trained: bool) {
        if self.measure == Measure::Ids {
            self.ids.push(id);
        }
        self.add(1, trained);
    }

    fn picture(&mut self, image: usize, pictures: &Pictures<'_>) -> Result<(), Finding> {
        let Some(&(width, height)) = pictures.sizes.get(image) else {
            return Err(Finding::new(
                &IMAGE_UNREADABLE,
                "",
                format!("the size of picture {} is not known", image + 1),
            ));
        };
        let grid = grid(pictures.spec, width, height);
        if self.measure == Measure::Ids {
            let ids = &mut self.ids;
            let (image, image_break, image_end) = pictures.ids;
            for row in 1..=grid.rows {
                ids.extend(std::iter::repeat_n(image, grid.columns as usize));
                ids.push(if row == grid.rows { image_end } else { image_break });
            }
        }
        self.counts.images.push(grid);
        self.counts.image_tokens += grid.tokens();
        self.add(grid.tokens(), false);
        Ok(())
    }

    fn add(&mut self, tokens: usize, trained: bool) {
        if tokens == 0 {
            return;
        }
        self.counts.tokens += tokens;
        self.counts.trained_tokens += if trained { tokens } else { 0 };
        match self.counts.runs.last_mut() {
            Some(run) if run.trained == trained => run.tokens += tokens,
            _ => self.counts.runs.push(Run { trained, tokens }),
        }
    }
}

const SEPARATOR: &str = "\n\n";

/// Tokens before and behind a message, and what joins it to the next, are fewer than this.
const MARKS_AROUND: usize = 8;

/// Bytes of text, and of what joins its parts.
fn bytes_within<T: AsRef<str>>(content: &Content<T>) -> usize {
    match content {
        Content::Text(text) => text.as_ref().len(),
        Content::Parts(parts) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_ref().len() + SEPARATOR.len(),
                Part::Image(_) => 0,
            })
            .sum(),
    }
}

/// A piece of a normalised user turn.
enum Chunk<'s> {
    Text(Cow<'s, str>),
    Image(usize),
}

/// What messages of one role become when they are joined.
enum Joined<'s> {
    Text(Cow<'s, str>),
    /// Texts and at least one picture; no text follows another.
    Chunks(Vec<Chunk<'s>>),
}

/// Joins the contents of consecutive messages: texts next to each other with an empty line between, empty ones dropped.
fn join<'s, T: AsRef<str> + 's>(contents: impl Iterator<Item = &'s Content<T>>) -> Joined<'s> {
    let mut chunks = Vec::new();
    let mut text: Cow<'s, str> = Cow::Borrowed("");
    let add = |part: &'s str, text: &mut Cow<'s, str>| {
        if text.is_empty() {
            *text = Cow::Borrowed(part);
        } else if !part.is_empty() {
            text.to_mut().push_str(SEPARATOR);
            text.to_mut().push_str(part);
        }
    };
    for content in contents {
        match content {
            Content::Text(part) => add(part.as_ref(), &mut text),
            Content::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text(part) => add(part.as_ref(), &mut text),
                        Part::Image(image) => {
                            if !text.is_empty() {
                                chunks.push(Chunk::Text(std::mem::take(&mut text)));
                            }
                            chunks.push(Chunk::Image(*image));
                        }
                    }
                }
            }
        }
    }
    if chunks.is_empty() {
        return Joined::Text(text);
    }
    if !text.is_empty() {
        chunks.push(Chunk::Text(text));
    }
    Joined::Chunks(chunks)
}

/// The joined text of a content without pictures.
fn joined_text<T: AsRef<str>>(content: &Content<T>) -> Cow<'_, str> {
    match join(std::iter::once(content)) {
        Joined::Text(text) => text,
        Joined::Chunks(chunks) => chunks.into_iter().fold(Cow::Borrowed(""), |text, chunk| match chunk {
            Chunk::Text(more) => text + more,
            Chunk::Image(_) => text,
        }),
    }
}

/// A row of messages that become one turn, or the turn that is put in front where no user begins.
struct Group<'s, T> {
    turns: &'s [Turn<'s, T>],
    /// Among user turns: this one carries the tools and the system prompt.
    last_user: bool,
}

fn common<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
    pictures: &Pictures<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let turns = Turn::all(&sample.messages);
    validate(&turns, &sample.tools, Layout::MistralCommon)?;
    let system = system_prompt(&turns);
    let opening = Opening { system: &system, tools: &sample.tools };
    for group in groups(&turns) {
        match group.turns.first().map(|turn| turn.message) {
            None => {
                user(&Joined::Text(Cow::Borrowed("")), group.last_user.then_some(&opening), pictures, out)?;
            }
            Some(Message::User(_)) => {
                let contents = group.turns.iter().filter_map(|turn| match turn.message {
                    Message::User(content) => Some(content),
                    _ => None,
                });
                let content = picture_first(join(contents));
                user(&content, group.last_user.then_some(&opening), pictures, out)?;
            }
            Some(Message::Assistant(_)) => answers(group.turns, out)?,
            Some(Message::Tool(_)) => {
                for turn in group.turns {
                    if let Message::Tool(result) = turn.message {
                        let content = joined_text(&result.content);
                        // An empty result is read as an empty object.
                        let content = if content.is_empty() { Cow::Borrowed("{}") } else { content };
                        tool_result(result, &content, turn, out)?;
                    }
                }
            }
            Some(Message::System(_)) => {}
        }
    }
    Ok(())
}

/// The system messages of the whole conversation, joined.
fn system_prompt<T: AsRef<str>>(turns: &[Turn<'_, T>]) -> String {
    let prompts: Vec<_> = turns
        .iter()
        .filter_map(|turn| match turn.message {
            Message::System(content) if !is_empty(content) => Some(joined_text(content)),
            _ => None,
        })
        .collect();
    prompts.join(SEPARATOR)
}

/// Whether Python takes the content for nothing: a list with an empty text is something.
pub(super) fn is_empty<T: AsRef<str>>(content: &Content<T>) -> bool {
    match content {
        Content::Text(text) => text.as_ref().is_empty(),
        Content::Parts(parts) => parts.is_empty(),
    }
}

/// Consecutive messages of one role (of assistants: and one weight), system messages left out but separating.
/// Where the first is no user's, an empty user turn stands before it.
fn groups<'s, T>(turns: &'s [Turn<'s, T>]) -> Vec<Group<'s, T>> {
    let role = |turn: &Turn<'_, T>| match turn.message {
        Message::System(_) => (0, None),
        Message::User(_) => (1, None),
        Message::Assistant(assistant) => (2, assistant.weight),
        Message::Tool(_) => (3, None),
    };
    let is_user = |group: &Group<'_, T>| {
        matches!(group.turns.first(), None | Some(Turn { message: Message::User(_), .. }))
    };
    let mut groups: Vec<_> = turns
        .chunk_by(|one, next| role(one) == role(next))
        .filter(|turns| !matches!(turns[0].message, Message::System(_)))
        .map(|turns| Group { turns, last_user: false })
        .collect();
    if !groups.first().is_some_and(is_user) {
        groups.insert(0, Group { turns: &[], last_user: false });
    }
    if let Some(last) = groups.iter_mut().rev().find(|group| is_user(group)) {
        last.last_user = true;
    }
    groups
}

/// `[text, picture]` becomes `[picture, text]`; any other order stays.
fn picture_first(content: Joined<'_>) -> Joined<'_> {
    match content {
        Joined::Chunks(mut chunks) => {
            if matches!(chunks[..], [Chunk::Text(_), Chunk::Image(_)]) {
                chunks.swap(0, 1);
            }
            Joined::Chunks(chunks)
        }
        text @ Joined::Text(_) => text,
    }
}

/// What stands before the last user turn.
struct Opening<'s> {
    system: &'s str,
    tools: &'s [Tool],
}

fn user(
    content: &Joined<'_>,
    opening: Option<&Opening<'_>>,
    pictures: &Pictures<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let marks = *out.tekken.marks();
    if let Some(opening) = opening.filter(|opening| !opening.tools.is_empty()) {
        let tools = tools_json(opening.tools).map_err(|why| unprintable(why, "/tools"))?;
        out.mark(marks.begin_tools, false);
        out.text(&tools, false);
        out.mark(marks.end_tools, false);
    }
    let system = opening.map(|opening| opening.system).filter(|system| !system.is_empty());
    out.mark(marks.begin_user, false);
    match content {
        Joined::Text(text) => match system {
            Some(system) => out.text(&[system, SEPARATOR, text].concat(), false),
            None => out.text(text, false),
        },
        Joined::Chunks(chunks) => {
            // Encoded by itself, so that its last token does not reach into the first text.
            if let Some(system) = system.filter(|_| !chunks.is_empty()) {
                out.text(&[system, SEPARATOR].concat(), false);
            }
            for chunk in chunks {
                match chunk {
                    Chunk::Text(text) => out.text(text, false),
                    Chunk::Image(image) => out.picture(*image, pictures)?,
                }
            }
        }
    }
    out.mark(marks.end_user, false);
    Ok(())
}

/// Answers that follow each other with one weight, as one.
fn answers<T: AsRef<str>>(turns: &[Turn<'_, T>], out: &mut Out<'_>) -> Result<(), Finding> {
    let assistants = || {
        turns.iter().filter_map(|turn| match turn.message {
            Message::Assistant(assistant) => Some(assistant),
            _ => None,
        })
    };
    let text = match join(assistants().filter_map(|assistant| assistant.content.as_ref())) {
        Joined::Text(text) => text,
        Joined::Chunks(_) => Cow::Borrowed(""),
    };
    let calls: Vec<_> = assistants().flat_map(|assistant| &assistant.tool_calls).collect();
    let trained = assistants().next().and_then(|assistant| assistant.weight) != Some(false);
    let last = &turns[turns.len() - 1];
    match (text.is_empty(), calls.is_empty()) {
        (true, true) => Err(Finding::new(&EMPTY_ANSWER, last.pointer("content"), "the answer has no text")),
        (false, false) => Err(Finding::new(
            &TOOL_CALL,
            last.pointer("content"),
            "a text and tool calls follow each other directly and become one turn, which takes one of them",
        )),
        (false, true) => {
            answer(&text, trained, out);
            Ok(())
        }
        (true, false) => tool_calls(&calls, &Calls { ids: true, empty_is_object: true, trained }, last, out),
    }
}

fn answer(text: &str, trained: bool, out: &mut Out<'_>) {
    out.text(text.trim_end_matches(' '), trained);
    out.mark(out.tekken.marks().end, trained);
}

/// How calls are written.
struct Calls {
    ids: bool,
    empty_is_object: bool,
    trained: bool,
}

fn tool_calls<T>(
    calls: &[&ToolCall],
    form: &Calls,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let mut text = String::from("[");
    for (index, call) in calls.iter().enumerate() {
        if index > 0 {
            text.push_str(", ");
        }
        text.push_str("{\"name\": ");
        dump_string(&call.name, &mut text);
        text.push_str(", \"arguments\": ");
        arguments(call, form, &mut text).map_err(|why| unprintable(why, turn.pointer("tool_calls")))?;
        if form.ids && call.id != "null" {
            text.push_str(", \"id\": ");
            dump_string(&call.id, &mut text);
        }
        text.push('}');
    }
    text.push(']');
    out.mark(out.tekken.marks().tool_calls, form.trained);
    out.text(&text, form.trained);
    out.mark(out.tekken.marks().end, form.trained);
    Ok(())
}

fn arguments(call: &ToolCall, form: &Calls, out: &mut String) -> Result<(), Unprintable> {
    match &call.arguments {
        Arguments::Text(text) if text.is_empty() && form.empty_is_object => {
            out.push_str("{}");
            Ok(())
        }
        Arguments::Text(text) => parsed_or_text(text, out),
        Arguments::Json(crate::json::Value::Null) => {
            out.push_str("{}");
            Ok(())
        }
        Arguments::Json(value) => dumps(value, out),
    }
}

fn parsed_or_text(text: &str, out: &mut String) -> Result<(), Unprintable> {
    match loads(text)? {
        Some(value) => dumps(&value, out),
        None => {
            dump_string(text, out);
            Ok(())
        }
    }
}

fn tool_result<T: AsRef<str>>(
    result: &ToolResult<T>,
    content: &str,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let mut text = String::from("{\"content\": ");
    parsed_or_text(content, &mut text).map_err(|why| unprintable(why, turn.pointer("content")))?;
    text.push_str(", \"call_id\": ");
    dump_string(result.tool_call_id.as_deref().unwrap_or_default(), &mut text);
    text.push('}');
    let marks = *out.tekken.marks();
    out.mark(marks.begin_result, false);
    out.text(&text, false);
    out.mark(marks.end_result, false);
    Ok(())
}

fn tools_json(tools: &[Tool]) -> Result<String, Unprintable> {
    let mut text = String::from("[");
    for (index, tool) in tools.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        text.push_str("{\"type\": \"function\", \"function\": {\"name\": ");
        dump_string(&tool.name, &mut text);
        text.push_str(", \"description\": ");
        dump_string(tool.description.as_deref().unwrap_or_default(), &mut text);
        text.push_str(", \"parameters\": ");
        dumps(&tool.parameters, &mut text)?;
        text.push_str("}}");
    }
    text.push(']');
    Ok(text)
}

fn unprintable(why: Unprintable, pointer: impl Into<String>) -> Finding {
    Finding::new(&TOOL_JSON, pointer, format!("JSON that the reference stops at: {}", why.0))
}

fn finetune<I, T: AsRef<str>>(
    sample: &Sample<I, T>,
    pictures: &Pictures<'_>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    let turns = Turn::all(&sample.messages);
    let (system, rest): (Vec<_>, Vec<_>) =
        turns.into_iter().partition(|turn| matches!(turn.message, Message::System(_)));
    validate(&rest, &sample.tools, Layout::MistralFinetune)?;
    let system = super::validate::only_system_prompt(&system)?;
    let opening = Opening { system, tools: &sample.tools };
    let last_user = rest.iter().rposition(|turn| matches!(turn.message, Message::User(_)));
    for (index, turn) in rest.iter().enumerate() {
        let is_last = index + 1 == rest.len();
        match turn.message {
            Message::User(content) => {
                let content = unjoined(content);
                user(&content, (last_user == Some(index)).then_some(&opening), pictures, out)?;
            }
            Message::Assistant(assistant) => {
                let trained = assistant.weight != Some(false) && (sample.tools.is_empty() || is_last);
                finetune_answer(assistant, trained, is_last, turn, out)?;
            }
            Message::Tool(result) => {
                let content = match &result.content {
                    Content::Text(text) => Cow::Borrowed(text.as_ref()),
                    Content::Parts(parts) => parts.iter().fold(Cow::Borrowed(""), |text, part| match part {
                        Part::Text(more) => text + more.as_ref(),
                        Part::Image(_) => text,
                    }),
                };
                tool_result(result, &content, turn, out)?;
            }
            Message::System(_) => {}
        }
    }
    Ok(())
}

/// A user's content as it was written.
fn unjoined<T: AsRef<str>>(content: &Content<T>) -> Joined<'_> {
    match content {
        Content::Text(text) => Joined::Text(Cow::Borrowed(text.as_ref())),
        Content::Parts(parts) => Joined::Chunks(
            parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => Chunk::Text(Cow::Borrowed(text.as_ref())),
                    Part::Image(image) => Chunk::Image(*image),
                })
                .collect(),
        ),
    }
}

fn finetune_answer<T: AsRef<str>>(
    assistant: &Assistant<T>,
    trained: bool,
    is_last: bool,
    turn: &Turn<'_, T>,
    out: &mut Out<'_>,
) -> Result<(), Finding> {
    match &assistant.content {
        Some(Content::Text(text)) if !text.as_ref().is_empty() => {
            answer(text.as_ref(), trained, out);
            Ok(())
        }
        _ => {
            // The ids of the last message are drawn at random, so the model is not asked to learn them.
            let form = Calls { ids: !is_last, empty_is_object: false, trained };
            let calls: Vec<_> = assistant.tool_calls.iter().collect();
            tool_calls(&calls, &form, turn, out)
        }
    }
}
