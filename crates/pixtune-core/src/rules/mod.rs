//! The rules: one constant each, with what it means and why it is there.

use crate::diagnostic::{Fix, Severity};

/// A rule that data can break.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// Kebab-case name; stable, because scripts select on it.
    pub id: &'static str,
    /// How bad a breach is.
    pub severity: Severity,
    /// Whether `fix` may mend it.
    pub fix: Option<Fix>,
    /// Why the rule exists: what goes wrong when it is broken.
    pub why: &'static str,
}

macro_rules! rules {
    ($($name:ident $severity:ident $id:literal $why:literal)*) => {
        $(#[doc = $why] pub const $name: Rule = Rule { id: $id, severity: Severity::$severity, fix: None, why: $why };)*

        /// Every rule, in the order of the documentation.
        pub const ALL: &[&Rule] = &[$(&$name),*];
    };
}

rules! {
    JSON_SYNTAX Error "json-syntax"
        "The line is not JSON; a trainer would stop at it, an upload would be refused as a whole."
    JSON_NOT_OBJECT Error "json-not-object"
        "A row has to be a JSON object; the official validator crashes on anything else."
    JSON_LONE_SURROGATE Warning "json-lone-surrogate"
        "Half of a UTF-16 pair stands in a string; UTF-8 cannot hold it and it becomes U+FFFD, in the reference tokenizer too."
    INVALID_UTF8 Error "invalid-utf8"
        "The row is not UTF-8; guessing an encoding would change texts in silence."
    ROW_TOO_LARGE Error "row-too-large"
        "The row is larger than the limit that keeps memory bounded; often a quote that was never closed."
    ROW_WRONG_LENGTH Error "row-wrong-length"
        "The row has another number of cells than the header, so cells would land in the wrong columns."
    UNCLOSED_QUOTE Error "unclosed-quote"
        "A quoted cell runs to the end of the file; every row behind the quote is swallowed by it."
    MISSING_FIELD Error "missing-field"
        "A column that was chosen for this run is missing from the row."
    WRONG_TYPE Error "wrong-type"
        "A value has another JSON type than its key asks for."
    UNKNOWN_KEY Warning "unknown-key"
        "A key that the format does not know; the reference refuses it, so it is not written."
    NULL_KEY Warning "null-key"
        "A key is there with the value null, as table libraries write it; the reference refuses the row, so the key is not written."
    NO_PICTURE Warning "no-picture"
        "The row names no picture, so the sample is text alone."
    EMPTY_PROMPT Error "empty-prompt"
        "The user turn has neither text nor picture: there is nothing to answer."
    EMPTY_ANSWER Error "empty-answer"
        "The answer is empty; there is nothing to learn from it and the reference refuses it."
    NO_MESSAGES Error "no-messages"
        "The conversation has no messages."
    UNKNOWN_ROLE Error "unknown-role"
        "Roles are system, user, assistant and tool."
    LAST_NOT_ASSISTANT Error "last-not-assistant"
        "The last message has to be the assistant's: it is what training learns."
    ROLE_ORDER Error "role-order"
        "Messages follow each other in an order that the reference refuses."
    TOOL_CALL Error "tool-call"
        "A tool call or a tool result is not of the form the reference accepts."
    TOOL_ID Error "tool-id"
        "Tool calls and their results are tied by ids of nine letters or digits; only calls of the last message go without."
    TOOL_NAME Error "tool-name"
        "Function names are 1 to 64 letters, digits, underscores and dashes; the reference refuses others."
    TOOL_RESULTS Error "tool-results"
        "Every tool call has one result before the next answer; the reference refuses another number."
    TOOL_SCHEMA Error "tool-schema"
        "The parameters of a tool are a JSON Schema of draft 7; the reference refuses others."
    TOOL_JSON Error "tool-json"
        "JSON in a tool call, result or schema is nested too deeply or has an integer too long for the reference."
    ANSWER_PREFIX Error "answer-prefix"
        "An answer marked as a prefix is to be continued when serving; the reference refuses it in training."
    FINETUNE_FORM Error "finetune-form"
        "mistral-finetune takes narrower forms: one system message, string answers, string arguments."
    IMAGE_MISSING Error "image-missing"
        "The picture file does not exist; training on the text alone would teach answers without seeing."
    IMAGE_UNREADABLE Error "image-unreadable"
        "The picture cannot be decoded; other tools replace such rows in silence or stop the run."
    IMAGE_UNSUPPORTED Error "image-unsupported"
        "The picture is of a format that neither the model's servers nor this program decode."
    IMAGE_ANIMATED Error "image-animated"
        "An animation has no single picture; servers refuse it or take its first frame in silence."
    IMAGE_PAGES Warning "image-pages"
        "The file has several pages; the first is taken, as the reference does."
    IMAGE_TOO_LARGE Error "image-too-large"
        "The picture passes a limit on bytes, sides or decoded size."
    IMAGE_BAD_DATA_URI Error "image-bad-data-uri"
        "An inline picture is not a base64 data URI."
    IMAGE_MIME_MISMATCH Warning "image-mime-mismatch"
        "The declared type is not what the bytes are; the bytes decide, and the right type is written."
    IMAGE_ROLE Error "image-role"
        "Pictures may stand in user messages only; the reference refuses them elsewhere."
    IMAGE_URL Warning "image-url"
        "The picture stays a URL: it is not fetched, checked or counted, and may be gone when training wants it."
    IMAGE_PLACEHOLDERS Error "image-placeholders"
        "The prompt has another number of `<image>` places than the row has pictures."
    TOO_MANY_IMAGES Warning "too-many-images"
        "More pictures in one sample than hosted services take."
    DUPLICATE Error "duplicate"
        "The same pictures and the same text stand in an earlier row; repeated samples are learned by heart."
    DUPLICATE_ID Warning "duplicate-id"
        "Two rows carry the same id: usually a join that went wrong."
    CONTEXT_OVERFLOW Error "context-overflow"
        "The sample is longer than the model's context; it is reported, never cut."
    TOO_MANY_TOKENS Error "too-many-tokens"
        "The sample is longer than the limit chosen for this run."
    NOTHING_TO_TRAIN Error "nothing-to-train"
        "Every answer of the sample has weight 0 or is empty, so it teaches nothing."
    IMAGE_SIDEWAYS Warning "image-sideways"
        "The picture carries an EXIF rotation and is embedded as it is; the model's preprocessing does not turn it, so it is seen sideways."
    INTERNAL Error "internal"
        "The program failed on the row; the row is set aside and the run goes on."
    IMAGE_TOO_THIN Warning "image-too-thin"
        "The picture is so elongated that older servers fail on it."
}

/// The place of a rule in [`ALL`].
pub fn index(rule: &Rule) -> u16 {
    ALL.iter().position(|other| other.id == rule.id).expect("every rule is in the list") as u16
}

/// The rule with this id.
pub fn find(id: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_kebab_case_and_unique() {
        let mut seen = std::collections::BTreeSet::new();
        for rule in ALL {
            assert!(
                rule.id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                rule.id
            );
            assert!(seen.insert(rule.id), "{} twice", rule.id);
            assert!(rule.why.ends_with('.'), "{}", rule.id);
        }
    }
}
