//! The control tokens that give a conversation its structure.

use super::TekkenError;
use crate::tokens::TokenizerVersion;

/// The ids that give a conversation its structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// `<s>`, before everything.
    pub begin: u32,
    /// `</s>`, after an answer.
    pub end: u32,
    /// `[INST]`, before a user's turn.
    pub begin_user: u32,
    /// `[/INST]`, after it.
    pub end_user: u32,
    /// `[AVAILABLE_TOOLS]`.
    pub begin_tools: u32,
    /// `[/AVAILABLE_TOOLS]`.
    pub end_tools: u32,
    /// `[TOOL_CALLS]`, before the calls of an assistant's turn.
    pub tool_calls: u32,
    /// `[TOOL_RESULTS]`.
    pub begin_result: u32,
    /// `[/TOOL_RESULTS]`.
    pub end_result: u32,
    /// `[IMG]`, one patch of an image.
    pub image: u32,
    /// `[IMG_BREAK]`, after every row but the last.
    pub image_break: u32,
    /// `[IMG_END]`, after the last row.
    pub image_end: u32,
    /// The tokens that only newer versions use.
    pub newer: NewerMarks,
}

/// Control tokens of versions after v3; a version that uses one has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewerMarks {
    /// `[SYSTEM_PROMPT]` and `[/SYSTEM_PROMPT]`, from v7.
    pub system: (u32, u32),
    /// `[TOOL_CONTENT]`, between the id of a call and its result in v7 and v11.
    pub tool_content: u32,
    /// `[CALL_ID]`, before the id of a call in v11.
    pub call_id: u32,
    /// `[ARGS]`, before the arguments of a call, from v11.
    pub arguments: u32,
    /// `[THINK]` and `[/THINK]`, which v13 and v15 use if the tokenizer has them.
    pub think: Option<(u32, u32)>,
    /// `[MODEL_SETTINGS]` and `[/MODEL_SETTINGS]`, from v15.
    pub settings: (u32, u32),
}

impl Marks {
    pub(super) fn find(special_tokens: &[String], version: TokenizerVersion) -> Result<Marks, TekkenError> {
        let known =
            |name: &str| special_tokens.iter().position(|special| special == name).map(|id| id as u32);
        let id = |name: &'static str| known(name).ok_or(TekkenError::NoSpecial { name });
        let id_from = |first: TokenizerVersion, name: &'static str| {
            if version >= first { id(name) } else { Ok(known(name).unwrap_or_default()) }
        };
        use TokenizerVersion::{V7, V11, V13, V15};
        let newer = NewerMarks {
            system: (id_from(V7, "[SYSTEM_PROMPT]")?, id_from(V7, "[/SYSTEM_PROMPT]")?),
            tool_content: id_from(V7, "[TOOL_CONTENT]")?,
            call_id: id_from(V11, "[CALL_ID]")?,
            arguments: id_from(V11, "[ARGS]")?,
            think: known("[THINK]").zip(known("[/THINK]")).filter(|_| version >= V13),
            settings: (id_from(V15, "[MODEL_SETTINGS]")?, id_from(V15, "[/MODEL_SETTINGS]")?),
        };
        Ok(Marks {
            begin: id("<s>")?,
            end: id("</s>")?,
            begin_user: id("[INST]")?,
            end_user: id("[/INST]")?,
            begin_tools: id("[AVAILABLE_TOOLS]")?,
            end_tools: id("[/AVAILABLE_TOOLS]")?,
            tool_calls: id("[TOOL_CALLS]")?,
            begin_result: id("[TOOL_RESULTS]")?,
            end_result: id("[/TOOL_RESULTS]")?,
            image: id("[IMG]")?,
            image_break: id("[IMG_BREAK]")?,
            image_end: id("[IMG_END]")?,
            newer,
        })
    }
}
