//! Repairing a row without guessing: other spellings, what formats carry along, ids, lists where strings are asked for.
//!
//! Every change is tied to the rule whose breach it repairs and made only where that rule is wanted. A safe change leaves a
//! row that the reference takes with the same tokens and the same mask; what guesses is done only on request. A repaired
//! row is repaired no further: `fix` of its result changes nothing. Images need their bytes and are repaired in
//! `pixtune-io`.

mod keys;
mod openai;
mod parts;
mod records;
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

/// Something that was changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The rule that was broken.
    pub rule: &'static Rule,
    /// Whether the row says the same as before, or something was guessed or left out.
    pub fix: Fix,
    /// JSON pointer to the place, in the row as it stood when the change was made.
    pub pointer: String,
    /// What was done: lower case, no full stop, values in backticks.
    pub message: String,
}

/// What may be changed.
#[derive(Clone, Copy)]
pub struct Wanted<'w> {
    /// Which rules' breaches are to be repaired.
    pub rule: &'w dyn Fn(&Rule) -> bool,
    /// Whether guesses are allowed.
    pub most: Fix,
    /// Whose spelling is written.
    pub target: &'w Target,
}

/// Repairs a row as far as it can be repaired.
pub fn fix<'a>(row: Value<'a>, wanted: &Wanted<'_>) -> (Value<'a>, Vec<Change>) {
    let mut row = row;
    let mut mender = Repairer { wanted, changes: Vec::new() };
    if row.as_object().is_some() {
        // What a later family takes away may be all that kept an earlier one from its work.
        for _ in 0..MOST_ROUNDS {
            let before = mender.changes.len();
            FAMILIES.iter().for_each(|repair| repair(&mut row, &mut mender));
            if mender.changes.len() == before {
                break;
            }
        }
    }
    (row, mender.changes)
}

/// A record of another tool as a conversation: the turns of LLaVA, ShareGPT and Alpaca become `messages`, images beside
/// them go to their `<image>` places, or to one side of the first question where there are none. Only spellings change;
/// what else is wrong stays for whoever reads on. `None` where the row is no such record; a finding where its turns cannot
/// be read, or images and places do not match.
pub fn conversation_of<'a>(row: &Value<'a>, position: ImagePosition) -> Result<Option<Value<'a>>, Finding> {
    if !is_record(row) {
        return Ok(None);
    }
    let has_messages = row.get("messages").is_some();
    let mut row = row.clone();
    let wanted = Wanted { rule: &|_| true, most: Fix::Safe, target: &MISTRAL };
    let mut mender = Repairer { wanted: &wanted, changes: Vec::new() };
    for spelling in [records::repair, openai::repair, turns::roles, tools::definitions] {
        spelling(&mut row, &mut mender);
    }
    if row.get("messages").is_none() {
        let message = "the row looks like a record of another tool, but its turns cannot be read";
        return Err(Finding::new(&MISSING_FIELD, "", message));
    }
    if !has_messages {
        // ShareGPT's calls have no ids, and the reference needs them.
        tools::ids(&mut row, &mut mender);
    }
    records::place_rest(&mut row, position)?;
    Ok(Some(row))
}

/// The change that writing a row anew makes of half a surrogate pair.
pub fn lone_surrogate() -> Change {
    let message = "half of a surrogate pair written as U+FFFD, as the reference's tokenizer reads it";
    Change { rule: &JSON_LONE_SURROGATE, fix: Fix::Safe, pointer: String::new(), message: message.into() }
}

/// Two are enough for nearly all rows: one that repairs, one that finds nothing left.
const MOST_ROUNDS: usize = 8;

type Family = fn(&mut Value<'_>, &mut Repairer<'_>);

/// In this order, what one family makes is known to those after it.
const FAMILIES: &[Family] = &[
    keys::duplicates,
    records::repair,
    openai::repair,
    turns::roles,
    parts::repair,
    tools::definitions,
    keys::not_of_the_format,
    parts::image_forms,
    turns::prefixes,
    turns::answer_lists,
    turns::systems,
    turns::neighbors,
    turns::behind_the_last_answer,
    tools::ids,
    words::control_tokens,
];

/// Knows what may be changed and writes down what was.
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
