//! Texts that look like control tokens; only on request, because the repair changes what is trained.

use super::{Repairer, tree};
use crate::checks::CONTROL_TOKENS;
use crate::columns::PLACEHOLDER;
use crate::foreign::images_key;
use crate::json::Value;
use crate::rules::CONTROL_TOKEN;

/// Inserts a space after the bracket of every control token: people read the same text, tokenizers read plain text.
pub(super) fn control_tokens(row: &mut Value<'_>, repairer: &mut Repairer<'_>) {
    if !repairer.may_guess(&CONTROL_TOKEN) {
        return;
    }
    // In a row whose images could not be placed, `<image>` is a placeholder and stays.
    let kept = images_key(row).is_some().then_some(PLACEHOLDER);
    for (index, message) in tree::messages_mut(row).iter_mut().enumerate() {
        match tree::get_mut(message, "content") {
            Some(content @ Value::String(_)) => {
                escape(content, kept, || format!("/messages/{index}/content"), repairer);
            }
            Some(Value::Array(parts)) => {
                for (part, value) in parts.iter_mut().enumerate() {
                    if let Some(text) = tree::get_mut(value, "text") {
                        escape(text, kept, || format!("/messages/{index}/content/{part}/text"), repairer);
                    }
                }
            }
            _ => {}
        }
    }
}

fn escape(
    value: &mut Value<'_>,
    kept: Option<&str>,
    pointer: impl Fn() -> String,
    repairer: &mut Repairer<'_>,
) {
    let Value::String(text) = &value else { return };
    let mut out = String::new();
    let mut copied = 0;
    let mut first = "";
    for at in memchr::memchr2_iter(b'[', b'<', text.as_bytes()) {
        let token = CONTROL_TOKENS.iter().find(|token| text[at..].starts_with(**token));
        if let Some(token) = token.filter(|token| Some(**token) != kept) {
            out.push_str(&text[copied..=at]);
            out.push(' ');
            copied = at + 1;
            if first.is_empty() {
                first = token;
            }
        }
    }
    if !first.is_empty() {
        out.push_str(&text[copied..]);
        let (bracket, rest) = first.split_at(1);
        let message = format!("split control tokens with a space, such as `{first}` into `{bracket} {rest}`");
        *value = tree::string(out);
        repairer.guessed(&CONTROL_TOKEN, pointer(), message);
    }
}
