//! Repairs of a row: other spellings, surplus keys, ids, lists in place of strings.
//!
//! Every change belongs to the rule whose violation it repairs, and is made only if that rule is selected. A safe change
//! keeps the tokens and the mask of a row that the reference accepts; an unsafe one guesses and is made only on request.
//! Repairing a repaired row changes nothing. Images need their bytes and are repaired in `pixtune-io`.

mod keys;
mod openai;
mod parts;
mod records;
mod shapes;
mod tools;
mod tree;
mod turns;
mod words;

use crate::columns::ImagePosition;
use crate::diagnostic::{Finding, Fix, Rule};
use crate::foreign::is_record;
use crate::json::Value;
use crate::rules::{JSON_LONE_SURROGATE, MISSING_FIELD};
use crate::target::{MISTRAL, Target};
use crate::tokens::TokenizerVersion;

/// A change that was made.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The rule that was violated.
    pub rule: &'static Rule,
    /// Whether the meaning of the row is unchanged, or something was guessed or dropped.
    pub fix: Fix,
    /// JSON pointer into the row as it was when the change was made.
    pub pointer: String,
    /// What was done, in the past tense: lower case, no full stop, values in backticks.
    pub message: String,
}

/// Which changes are wanted.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// Whether violations of a rule are to be repaired.
    pub rule: &'w dyn Fn(&Rule) -> bool,
    /// The least safe kind of change that is allowed.
    pub most: Fix,
    /// The target whose form is written.
    pub target: &'w Target,
    /// The version of the tokenizer, which decides what keeps the tokens.
    pub version: TokenizerVersion,
}

/// Repairs a row as far as possible.
pub fn fix<'a>(row: Value<'a>, wanted: &Wanted<'_>) -> (Value<'a>, Vec<Change>) {
    let mut row = row;
    let mut repairer = Repairer { wanted, changes: Vec::new() };
    if row.as_object().is_some() {
        // A later family may remove the very thing that stopped an earlier one.
        for _ in 0..MOST_ROUNDS {
            let before = repairer.changes.len();
            FAMILIES.iter().for_each(|repair| repair(&mut row, &mut repairer));
            if repairer.changes.len() == before {
                break;
            }
        }
    }
    (row, repairer.changes)
}

/// Converts a sample of another tool to a conversation: messages in other shapes and spellings become `messages`, and images
/// listed beside them move to their `<image>` placeholders, or before or after the first question if there are none. Only
/// spellings change; the caller finds other problems. Returns `None` if the row is spelled as the format has it, or is not a
/// conversation at all, and a finding if its messages cannot be read or images and placeholders do not match.
pub fn conversation_of<'a>(row: &Value<'a>, position: ImagePosition) -> Result<Option<Value<'a>>, Finding> {
    let has_messages = row.get("messages").is_some();
    if !has_messages && !is_record(row) {
        return Ok(None);
    }
    let mut row = row.clone();
    let wanted = Wanted { rule: &|_| true, most: Fix::Safe, target: &MISTRAL, version: TokenizerVersion::V3 };
    let mut repairer = Repairer { wanted: &wanted, changes: Vec::new() };
    for spelling in SPELLINGS {
        spelling(&mut row, &mut repairer);
    }
    if has_messages && repairer.changes.is_empty() && !is_record(&row) {
        return Ok(None);
    }
    if row.get("messages").is_none() {
        let message = "the row looks like a sample of another tool, but its messages cannot be read";
        return Err(Finding::new(&MISSING_FIELD, "", message));
    }
    if !has_messages {
        // ShareGPT's calls have no ids, and the reference requires them.
        tools::ids(&mut row, &mut repairer);
    }
    records::place_rest(&mut row, position)?;
    Ok(Some(row))
}

/// The change that rewriting a row makes to half a surrogate pair.
pub fn lone_surrogate() -> Change {
    let message = "wrote half of a surrogate pair as U+FFFD, as the reference tokenizer reads it";
    Change { rule: &JSON_LONE_SURROGATE, fix: Fix::Safe, pointer: String::new(), message: message.into() }
}

/// Two are enough for nearly all rows: one that repairs, and one that finds nothing more.
const MOST_ROUNDS: usize = 8;

/// The families that change nothing but spellings.
const SPELLINGS: [Family; 6] =
    [records::repair, openai::repair, turns::roles, turns::loss_flags, parts::repair, tools::definitions];

type Family = fn(&mut Value<'_>, &mut Repairer<'_>);

/// In this order, each family sees the results of those before it.
const FAMILIES: &[Family] = &[
    keys::duplicates,
    records::repair,
    openai::repair,
    turns::roles,
    turns::loss_flags,
    parts::repair,
    tools::definitions,
    keys::not_of_the_format,
    keys::settings,
    parts::image_forms,
    turns::prefixes,
    turns::answer_lists,
    turns::systems,
    turns::neighbors,
    turns::after_the_last_answer,
    tools::ids,
    words::control_tokens,
];

/// Knows which changes are wanted and records those that are made.
struct Repairer<'w> {
    wanted: &'w Wanted<'w>,
    changes: Vec<Change>,
}

impl Repairer<'_> {
    fn may(&self, rule: &Rule) -> bool {
        (self.wanted.rule)(rule)
    }

    fn may_guess(&self, rule: &Rule) -> bool {
        self.wanted.most == Fix::Unsafe && self.may(rule)
    }

    fn did(&mut self, rule: &'static Rule, pointer: impl Into<String>, message: impl Into<String>) {
        self.note(rule, Fix::Safe, pointer.into(), message.into());
    }

    fn guessed(&mut self, rule: &'static Rule, pointer: impl Into<String>, message: impl Into<String>) {
        self.note(rule, Fix::Unsafe, pointer.into(), message.into());
    }

    fn note(&mut self, rule: &'static Rule, fix: Fix, pointer: String, message: String) {
        self.changes.push(Change { rule, fix, pointer, message });
    }
}

#[cfg(test)]
mod tests;
