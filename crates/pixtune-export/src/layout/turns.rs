//! A normalized conversation as trainers get it: messages of parts, with the JSON of tools written out.

use pixtune_core::diagnostic::Finding;
use pixtune_core::tokens::{Normalized, Piece, Rendered, RenderedTurn, Span, Tokenizer};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    /// `system`, `user`, `assistant` or `tool`.
    pub(crate) role: &'static str,
    /// Whether a response is trained; `None` for other messages.
    pub(crate) trained: Option<bool>,
    pub(crate) parts: Vec<Part>,
}

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// The next image of the sample.
    Image,
    /// The JSON of the tools, at the start of the last user message.
    Tools(String),
    /// The JSON of calls.
    Calls(String),
    /// The name of a special token.
    Token(String),
}

/// The messages of a conversation. JSON that the reference cannot write is a finding.
pub(crate) fn turns<I>(chat: &Normalized<I>) -> Result<Vec<Turn>, Finding> {
    let part = |span| match span {
        Span::Text(text) => Part::Text(text.into_owned()),
        Span::Image(_) => Part::Image,
        Span::Tools(json) => Part::Tools(json),
        Span::Calls(json) => Part::Calls(json),
    };
    let turn = |RenderedTurn { role, trained, spans }| Turn {
        role,
        trained,
        parts: spans.into_iter().map(part).collect(),
    };
    Ok(chat.rendered()?.into_iter().map(turn).collect())
}

/// The messages of a conversation in any version's layout, with every special token: what is trained is a response, everything
/// between two responses is one message of the user.
pub(crate) fn token_turns(pieces: Vec<Rendered>, tokenizer: &Tokenizer) -> Vec<Turn> {
    let mut turns: Vec<Turn> = Vec::new();
    let names = tokenizer.special_tokens();
    // The template begins with the first.
    for Rendered { piece, trained } in pieces.into_iter().skip(1) {
        let part = match piece {
            Piece::Mark(id) => Part::Token(names.get(id as usize).cloned().unwrap_or_default()),
            Piece::Text(text) if text.is_empty() => continue,
            Piece::Text(text) => Part::Text(text),
            Piece::Image(_) => Part::Image,
        };
        let role = if trained { "assistant" } else { "user" };
        match turns.last_mut() {
            Some(turn) if turn.role == role => turn.parts.push(part),
            _ => turns.push(Turn { role, trained: trained.then_some(true), parts: vec![part] }),
        }
    }
    turns
}

/// Puts responses that are not trained into the prompt, for trainers that train every response: what stands between
/// `[INST]` and `[/INST]` then holds the control tokens between the messages. Without a last response that is trained there
/// is nothing to be the prompt of.
pub(crate) fn fold_untrained(turns: Vec<Turn>) -> Vec<Turn> {
    let mut folded: Vec<Turn> = Vec::with_capacity(turns.len());
    let mut open = false;
    for turn in turns {
        match folded.last_mut() {
            Some(prompt) if turn.trained == Some(false) => {
                prompt.parts.push(Part::Text("[/INST]".to_owned()));
                prompt.parts.extend(turn.parts);
                prompt.parts.push(Part::Text("</s>".to_owned()));
                open = true;
            }
            Some(prompt) if open && turn.role == "user" => {
                prompt.parts.push(Part::Text("[INST]".to_owned()));
                prompt.parts.extend(turn.parts);
                open = false;
            }
            _ => folded.push(turn),
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use pixtune_core::tokens::{ChatEncoder, Layout};

    use super::*;

    fn turn(role: &'static str, trained: Option<bool>, text: &str) -> Turn {
        Turn { role, trained, parts: vec![Part::Text(text.to_owned())] }
    }

    #[test]
    fn newer_layouts_have_their_tokens_and_responses_by_themselves() {
        let row = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},
            {"role":"assistant","content":"b","weight":0},{"role":"user","content":"c"},{"role":"assistant","content":"d "}]}"#;
        let parsed = pixtune_core::json::parse(row).unwrap();
        let sample = pixtune_core::strict::read(&parsed.value).unwrap();
        let spec = pixtune_core::spec::ALL.iter().find(|spec| spec.id == "ministral-3-3b").unwrap();
        let encoder = ChatEncoder::new(spec, Layout::MistralCommon);
        let turns = token_turns(encoder.rendered(&sample, &[]).unwrap(), encoder.tokenizer);
        let texts: Vec<(&str, String)> = turns.iter().map(|turn| (turn.role, turn.text())).collect();
        let prompt = "[SYSTEM_PROMPT]s[/SYSTEM_PROMPT][INST]a[/INST]b</s>[INST]c[/INST]";
        assert_eq!(texts, [("user", prompt.to_owned()), ("assistant", "d</s>".to_owned())]);
        assert_eq!(turns[0].parts[0], Part::Token("[SYSTEM_PROMPT]".to_owned()));
        assert_eq!((turns[0].trained, turns[1].trained), (None, Some(true)));
    }

    #[test]
    fn untrained_responses_become_part_of_the_prompt() {
        let chat = vec![
            turn("user", None, "a"),
            turn("assistant", Some(false), "b"),
            turn("user", None, "c"),
            turn("assistant", Some(true), "d"),
        ];
        let folded = fold_untrained(chat);
        let texts: Vec<String> = folded[0]
            .parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts.concat(), "a[/INST]b</s>[INST]c");
        assert_eq!(folded[1..], [turn("assistant", Some(true), "d")]);
    }
}
