//! What differs between versions of the chat layout, as a table.
//!
//! The reference is mistral-common 1.13.1: `instruct.py`, `normalize.py` and `validator.py`.

use crate::tokens::TokenizerVersion;

/// Between the texts of messages that are joined.
pub(super) const SEPARATOR: &str = "\n\n";

/// The chat layout of a version, and what it accepts.
#[derive(Debug, PartialEq, Eq)]
pub struct ChatFormat {
    /// Between two adjacent texts of one message.
    pub(crate) chunk_separator: &'static str,
    /// Where system messages are encoded.
    pub(super) system: SystemForm,
    /// The user message that tools and settings precede.
    pub(super) opening: Opening,
    /// How calls are written.
    pub(super) calls: CallForm,
    /// How results are written.
    pub(super) results: ResultForm,
    /// Whether results are sorted by the order of their calls.
    pub(super) sorted_results: bool,
    /// Whether a response may have both a text and calls.
    pub(crate) text_with_calls: bool,
    /// Whose messages may have thinking.
    pub(super) thinking: Thinking,
    /// Whether results are matched with calls by their ids, not only counted.
    pub(super) matched_ids: bool,
    /// What the id of a call may be.
    pub(crate) call_ids: CallIds,
    /// Whether results may have images.
    pub(super) result_images: bool,
    /// Whether conversations have settings.
    pub(crate) settings: bool,
}

/// Where system messages are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SystemForm {
    /// Joined, at the start of the last user message.
    LastUser,
    /// Each at its own position, between control tokens.
    OwnPosition,
}

/// The user message that tools and settings precede.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    LastUser,
    FirstUser,
}

/// How calls are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallForm {
    /// One JSON list.
    List,
    /// Each by itself: name, id, arguments.
    NameIdArguments,
    /// Each by itself: name, arguments.
    NameArguments,
}

/// How a result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultForm {
    /// A JSON object of the result and the id of its call.
    Json,
    /// The id of the call, then the text.
    IdText,
    /// The text.
    Text,
}

/// Whose messages may have thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    Nobody,
    SystemAndAssistant,
    Assistant,
}

/// What the id of a call may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallIds {
    /// Nine letters or digits; it may be omitted in the last message.
    NineCharacters,
    /// Any text; it is never omitted.
    NotEmpty,
}

const V3: ChatFormat = ChatFormat {
    chunk_separator: SEPARATOR,
    system: SystemForm::LastUser,
    opening: Opening::LastUser,
    calls: CallForm::List,
    results: ResultForm::Json,
    sorted_results: false,
    text_with_calls: false,
    thinking: Thinking::Nobody,
    matched_ids: false,
    call_ids: CallIds::NineCharacters,
    result_images: false,
    settings: false,
};

const V7: ChatFormat =
    ChatFormat { system: SystemForm::OwnPosition, results: ResultForm::IdText, text_with_calls: true, ..V3 };

const V11: ChatFormat =
    ChatFormat { calls: CallForm::NameIdArguments, sorted_results: true, matched_ids: true, ..V7 };

const V13: ChatFormat = ChatFormat {
    opening: Opening::FirstUser,
    calls: CallForm::NameArguments,
    results: ResultForm::Text,
    thinking: Thinking::SystemAndAssistant,
    call_ids: CallIds::NotEmpty,
    ..V11
};

const V15: ChatFormat = ChatFormat {
    chunk_separator: "",
    thinking: Thinking::Assistant,
    result_images: true,
    settings: true,
    ..V13
};

impl TokenizerVersion {
    /// The chat layout of the version.
    pub fn chat_format(self) -> &'static ChatFormat {
        match self {
            TokenizerVersion::V3 => &V3,
            TokenizerVersion::V7 | TokenizerVersion::V7m1 => &V7,
            TokenizerVersion::V11 => &V11,
            TokenizerVersion::V13 => &V13,
            TokenizerVersion::V15 => &V15,
        }
    }
}

impl ChatFormat {
    /// Whether system messages stay where they are: moving one then changes what the model sees.
    pub fn keeps_system_positions(&self) -> bool {
        self.system == SystemForm::OwnPosition
    }

    /// What the reference puts between two adjacent texts of one message.
    pub fn text_separator(&self) -> &'static str {
        self.chunk_separator
    }

    /// Whether a conversation can have settings such as the reasoning effort.
    pub fn has_settings(&self) -> bool {
        self.settings
    }
}

impl CallIds {
    /// Whether a call may have this id.
    pub(crate) fn accept(self, id: &str) -> bool {
        match self {
            CallIds::NineCharacters => is_nine_characters(id),
            CallIds::NotEmpty => !id.is_empty() && id != "null",
        }
    }
}

/// `^[a-zA-Z0-9]{9}$`, where Python's `$` also matches before a final line end.
fn is_nine_characters(id: &str) -> bool {
    let id = id.strip_suffix('\n').unwrap_or(id);
    id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
