//! The registry of rules: what each means, how severe a violation is, and why the rule exists. It does not know who
//! checks them.

use crate::diagnostic::{Fix, Group, Rule, Severity};

macro_rules! rules {
    ($($group:ident { $($name:ident $severity:ident $fix:ident $id:literal $why:literal)* })*) => {
        $($(
            #[doc = $why]
            pub const $name: Rule = Rule {
                id: $id,
                group: Group::$group,
                severity: Severity::$severity,
                fix: rules!(@fix $fix),
                why: $why,
            };
        )*)*

        /// Every rule, in the order of the documentation.
        pub const ALL: &[&Rule] = &[$($(&$name),*),*];
    };
    (@fix No) => { None };
    (@fix $fix:ident) => { Some(Fix::$fix) };
}

rules! {
    Json {
        JSON_SYNTAX Error Unsafe "json-syntax"
            "The line is not valid JSON; a trainer stops at it, and a service rejects the whole upload."
        JSON_NOT_OBJECT Error Unsafe "json-not-object"
            "A row must be a JSON object; the official validator crashes on anything else."
        JSON_DUPLICATE_KEY Warning Safe "json-duplicate-key"
            "A key appears more than once in one object; most readers keep the last value and silently drop the others."
        JSON_NAN Warning Unsafe "json-nan"
            "`NaN` and `Infinity` are not valid JSON; Python reads and writes them, other readers stop at the line."
        JSON_LONE_SURROGATE Warning Safe "json-lone-surrogate"
            "A string contains half of a UTF-16 surrogate pair; UTF-8 cannot encode it, and it becomes U+FFFD, in the reference tokenizer too."
        JSON_BOM Error Safe "json-bom"
            "The file starts with a byte order mark; Python's `json` rejects the first line because of it."
        JSON_ARRAY Error Safe "json-array"
            "The file is one JSON array; services and most trainers read one sample per line."
        JSON_BLANK_LINE Warning Safe "json-blank-line"
            "There is a blank line between rows; readers that parse every line stop at it."
        INVALID_UTF8 Error Unsafe "invalid-utf8"
            "The row is not valid UTF-8; guessing an encoding would silently change texts."
        ROW_TOO_LARGE Error Unsafe "row-too-large"
            "The row is larger than the limit that keeps memory bounded; often a quote was never closed."
    }
    Shape {
        MISSING_FIELD Error Safe "missing-field"
            "A key that the format requires, or a column that was chosen for this run, is missing."
        WRONG_TYPE Error Safe "wrong-type"
            "A value has a different JSON type than its key requires."
        UNKNOWN_KEY Warning Safe "unknown-key"
            "The format does not have this key; the reference rejects it, so `prepare` does not write it."
        UNUSED_CONTENT Error No "unused-content"
            "A key or column holds content (images, media, messages, choices, text) that nothing uses: without it the sample would mean something else."
        UNDESIRABLE Error No "undesirable-response"
            "The row marks its response as one that is not wanted, as sets for preference training do; trained, it would teach the mistake."
        NULL_KEY Warning Safe "null-key"
            "A key has the value null, as table libraries write it; the reference rejects the row, so `prepare` does not write it."
        UNKNOWN_ROLE Error Safe "unknown-role"
            "The role is not one of system, user, assistant and tool."
        PART_WITHOUT_TYPE Error Safe "part-without-type"
            "A content part has no `type`; services rejected uploads with such parts."
        PART_KIND Error Safe "part-kind"
            "The type of a content part is not `text` or `image_url`, the types that Pixtral reads, or `thinking`, which newer models read in responses."
        MODEL_SETTING Error Safe "model-setting"
            "A setting of the conversation, such as `reasoning_effort`, is not one that the model reads."
        NO_MESSAGES Error Unsafe "no-messages"
            "The conversation has no messages."
        EMPTY_PROMPT Error Unsafe "empty-prompt"
            "The user message has neither text nor image: there is no prompt."
    }
    Order {
        LAST_NOT_ASSISTANT Error Safe "last-not-assistant"
            "The last message is not the assistant's, which is the message that training learns."
        ROLE_ORDER Error Unsafe "role-order"
            "The roles follow each other in an order that the reference rejects."
        ASSISTANT_FIRST Warning Unsafe "assistant-first"
            "The first message is the assistant's; for Pixtral 12B, the reference inserts an empty user message before it, and most chat templates reject it."
        CONSECUTIVE_ROLES Warning Safe "consecutive-roles"
            "Two consecutive messages have the same role; the reference joins them, most chat templates reject them."
        SYSTEM_PLACE Warning Safe "system-place"
            "A system message is not at the start, or follows another one; for Pixtral 12B, the reference joins them and moves them before the last user message; mistral-finetune rejects them."
        ANSWER_PREFIX Error Safe "answer-prefix"
            "An assistant message is marked as a prefix, to be continued when serving; the reference rejects it in training data."
    }
    Answer {
        EMPTY_ANSWER Error Unsafe "empty-answer"
            "The response is empty; it teaches nothing, and the reference rejects it."
        ANSWER_AND_CALLS Error Unsafe "answer-and-calls"
            "An assistant message has both text and tool calls; for Pixtral 12B, the reference accepts only one of them."
        ANSWER_LIST Warning Safe "answer-list"
            "The response is a list of content parts; hosted fine-tuning and mistral-finetune expect a string."
        ANSWER_WEIGHT Error Unsafe "answer-weight"
            "The `weight` of a response is neither 0, not trained, nor 1, trained."
        ANSWER_REFUSAL Warning No "answer-refusal"
            "The response is a refusal, as assistants write them: a few hundred of these teach a model to refuse what it could do."
        ANSWER_PLACEHOLDER Warning No "answer-placeholder"
            "The response is a placeholder like `N/A` or `TODO` that was never filled in."
        ANSWER_CUT_OFF Warning No "answer-cut-off"
            "The response ends in mid-sentence or inside open brackets, and the model learns to stop there. Detected by the last word, by brackets and code blocks, and by a missing full stop in a dataset where nearly all sentences end with one."
        ANSWER_ECHO Warning No "answer-echo"
            "The response starts with the whole prompt, usually because generated text was exported together with it; the model learns to repeat questions."
        ANSWER_FORMAT Warning No "answer-format"
            "At least nine in ten responses, or responses to the same prompt, have one format (JSON, a number with its unit, one word, …) and this one has another; among sentences, a short answer only if the prompt is the same; reported by `stats` and `report`."
        ANSWER_KEYS Warning No "answer-keys"
            "The response is a JSON object with different keys than nearly all others; reported by `stats` and `report`."
        ANSWER_LENGTH Warning No "answer-length"
            "The response is far longer than all others: a pasted document, or generated text that repeats itself; reported by `stats` and `report`."
        ANSWER_LANGUAGE Warning No "answer-language"
            "The response is in another language than its prompt, where nearly all others are in the same; reported by `stats` and `report`."
    }
    Tools {
        TOOL_CALL Error Unsafe "tool-call"
            "A tool call or a tool result does not have the form that the reference accepts."
        TOOL_ID Error Safe "tool-id"
            "A tool call or result has no id of nine letters or digits, which connects the two; only calls in the last message may omit it. Tokenizers from v13 on require an id of any form."
        TOOL_ID_REPEATED Warning Safe "tool-id-repeated"
            "Two calls in one conversation have the same id, so a result does not belong to one of them; newer tokenizers reject it."
        TOOL_ID_UNMATCHED Warning Safe "tool-id-unmatched"
            "A tool result names a call that does not precede it; newer tokenizers reject it."
        TOOL_UNDECLARED Warning No "tool-undeclared"
            "A tool is called that `tools` does not declare: the model learns to call tools that it was not offered."
        TOOL_NAME Error Unsafe "tool-name"
            "A function name is not 1 to 64 letters, digits, underscores and dashes; the reference rejects it."
        TOOL_RESULTS Error Unsafe "tool-results"
            "The tool results before the next response do not belong to its calls: their number differs or, from tokenizer v11 on, their ids; the reference rejects it."
        TOOL_SCHEMA Error Unsafe "tool-schema"
            "The parameters of a tool are not a JSON Schema of draft 7; the reference rejects them."
        TOOL_PATTERN Warning No "tool-pattern"
            "A regular expression in the parameters of a tool may not be one for Python, which the reference compiles it with."
        TOOL_ARGUMENTS Warning No "tool-arguments"
            "The arguments of a call are not a JSON object; the model learns to write calls that cannot be executed."
        TOOL_JSON Error Unsafe "tool-json"
            "JSON in a tool call, result or schema is nested too deeply or has an integer that is too long for the reference."
    }
    Image {
        IMAGE_BAD_DATA_URI Error Safe "image-bad-data-uri"
            "An image is neither a base64 data URI nor a URL, or its base64 is invalid."
        IMAGE_LOOSE_BASE64 Warning Safe "image-loose-base64"
            "The base64 contains line breaks or other characters outside its alphabet; Python skips them, other readers stop."
        IMAGE_MIME_MISMATCH Warning Safe "image-mime-mismatch"
            "The declared media type does not match the bytes; the bytes decide, and `prepare` writes the right type."
        IMAGE_MISSING Error Unsafe "image-missing"
            "The image file does not exist; training on the text alone would teach the model to answer without seeing."
        IMAGE_UNREADABLE Error Unsafe "image-unreadable"
            "The image cannot be decoded; other tools silently replace such rows or stop the run."
        IMAGE_UNSUPPORTED Error Unsafe "image-unsupported"
            "The image has a format that the model's servers do not accept or this program does not decode."
        IMAGE_ANIMATED Error Unsafe "image-animated"
            "The image is an animation; servers reject it or silently use its first frame."
        IMAGE_PAGES Warning Unsafe "image-pages"
            "The file has several pages; the first is used, as in the reference."
        IMAGE_TOO_LARGE Error Unsafe "image-too-large"
            "The image exceeds a limit on bytes, sides or decoded size."
        IMAGE_TOO_THIN Warning No "image-too-thin"
            "The image is so elongated that older servers fail on it."
        IMAGE_SIDEWAYS Warning Unsafe "image-sideways"
            "The image has an EXIF rotation and is embedded as it is; the model's preprocessing does not auto-orient it, so the model sees it sideways."
        IMAGE_STRUCTURE Warning Unsafe "image-structure"
            "The file of the image holds metadata that some readers stop at, or bytes behind the end of the image; `prepare` drops both."
        IMAGE_PROFILE Warning No "image-profile"
            "The image has a color profile other than sRGB and is re-encoded without it; the model's preprocessing ignores profiles, so the colors that the model sees stay the same."
        IMAGE_ALPHA Warning Unsafe "image-alpha"
            "The image has transparent pixels; mistral-common flattens them onto white, Hugging Face's loader shows whatever color lies below."
        IMAGE_DARK Warning No "image-dark"
            "The whole image is dark: 999 of 1000 pixels are darker than 32 %."
        IMAGE_LIGHT Warning No "image-light"
            "The image is overexposed: 999 of 1000 pixels are brighter than 95 %."
        IMAGE_LOW_INFORMATION Warning No "image-low-information"
            "The image shows next to nothing: less than 1 % of the tiles of 16 x 16 pixels vary by more than noise, inside or to the next tile."
        IMAGE_BLURRY Warning No "image-blurry"
            "Nothing in the image is sharp: at the model's resolution, even the sharpest edges are wider than 6 pixels."
        IMAGE_TOO_SMALL Warning No "image-too-small"
            "A side has less than 32 pixels, two patches of the model: there is nothing to read in so few."
        IMAGE_SHRUNK Warning No "image-shrunk"
            "The model's limit downscales the image by more than 4; small print does not survive that."
        IMAGE_ODD_SIZE Warning No "image-odd-size"
            "The image is far smaller or larger than the others: more than 3 interquartile ranges away, as at most one in 20 images of the dataset."
        IMAGE_ODD_ASPECT_RATIO Warning No "image-odd-aspect-ratio"
            "One side is less than 0.35 of the other, as in at most one in 20 images of the dataset: often a strip or a banner."
        IMAGE_GRAYSCALE Warning No "image-grayscale"
            "The image is grayscale, as at most one in 20 images of the dataset: often a scan or a placeholder."
        IMAGE_FORM Warning Safe "image-form"
            "The image is not written as in the target's documentation: Mistral's fine-tuning expects `image_url` as a string, OpenAI's as an object with `url`."
        IMAGE_ROLE Error Unsafe "image-role"
            "An image is not in a user message; the reference rejects images elsewhere."
        IMAGE_URL Warning Safe "image-url"
            "The image stays a URL: without `--fetch` it is not fetched, checked or counted, and it may no longer exist when training needs it."
        IMAGE_UNREACHABLE Error Unsafe "image-unreachable"
            "The image at a URL could not be fetched; a trainer that loads it stops there."
        TOO_MANY_IMAGES Warning Unsafe "too-many-images"
            "The sample has more images than hosted services accept."
    }
    Text {
        CONTROL_TOKEN Warning Unsafe "control-token"
            "A text contains what looks like a control token. Mistral's tokenizer treats it as plain text; with Hugging Face trainers it becomes a real special token, or an image placeholder."
        MOJIBAKE Warning No "mojibake"
            "A text was decoded with the wrong encoding at some point: `Ã©` for `é`, or U+FFFD for lost bytes; the model learns to write it."
        BLANK_TEXT Warning No "blank-text"
            "A message contains only white space."
    }
    Length {
        CONTEXT_OVERFLOW Error Unsafe "context-overflow"
            "The sample is longer than the model's context; it is reported, never truncated."
        TOO_MANY_TOKENS Error No "too-many-tokens"
            "The sample is longer than the limit chosen for this run."
        NOTHING_TO_TRAIN Error Unsafe "nothing-to-train"
            "Every response of the sample has weight 0 or is empty, so it teaches nothing."
    }
    Lines {
        DUPLICATE Error No "duplicate"
            "An earlier row has the same images and the same text; the model memorizes duplicates."
        CONTRADICTION Warning No "contradiction"
            "An earlier row has the same images and the same prompt with a conflicting label: the model is taught both."
        NEAR_DUPLICATE Warning No "near-duplicate"
            "Another row has near-duplicate images and near-duplicate text; duplicates count double in training."
        SHARED_SAMPLE Warning No "shared-sample"
            "The sample is in the training file and in the validation file: the validation measures memory, not skill."
        SHARED_IMAGE Warning No "shared-image"
            "The image is in the training file and in the validation file: the validation looks better than it is."
        SHARED_NEAR_IMAGE Warning No "shared-near-image"
            "An image in the validation file is a re-encoded or cropped copy of one in the training file: the validation looks better than it is. Found if images are decoded, by `--verify full`."
        DUPLICATE_ID Warning No "duplicate-id"
            "Two rows have the same id: usually a join that went wrong."
        ANSWER_IMBALANCE Warning No "answer-imbalance"
            "More than half of all responses are the same: a model that always gives it has a high accuracy; reported by `stats` and `report`."
        ANSWER_BOILERPLATE Warning No "answer-boilerplate"
            "Many of the longer responses start with the same words, which are trained and paid for without teaching anything; reported by `stats` and `report`."
        PROMPT_REPEATED Warning No "prompt-repeated"
            "Nearly all prompts are the same: fine for one fixed task, but the model will hardly learn to follow others; reported by `stats` and `report`."
    }
    File {
        FILE_EMPTY Error No "file-empty"
            "The file contains no samples."
        FILE_TOO_LARGE Error No "file-too-large"
            "The file is larger than the target accepts in one upload."
        TOO_FEW_SAMPLES Warning No "too-few-samples"
            "So few samples teach a format at best; some services reject the file."
        VALIDATION_TOO_LARGE Warning No "validation-too-large"
            "The validation file is larger than the target accepts; base64 images reach the limit after a few samples."
    }
    Table {
        SPLIT_UNMET Warning No "split-unmet"
            "The split cannot be what was requested: rows that must stay together are too many, or strata too small."
        ROW_WRONG_LENGTH Error No "row-wrong-length"
            "The row has a different number of cells than the header, so cells would end up in the wrong columns."
        UNCLOSED_QUOTE Error No "unclosed-quote"
            "A quoted cell runs to the end of the file and swallows every row after the quote."
        ROW_UNREADABLE Error No "row-unreadable"
            "A part of the row cannot be read from its file: a member of an archive is damaged, too large or ambiguous, or a JSON array breaks off."
        NO_IMAGE Warning No "no-image"
            "The row names no image, so the sample is text only."
        IMAGE_PLACEHOLDERS Error No "image-placeholders"
            "The number of `<image>` placeholders in the prompt differs from the number of images in the row."
        FINETUNE_FORM Error No "finetune-form"
            "mistral-finetune accepts less: one system message, responses as strings, arguments as strings."
    }
    Evaluation {
        ANSWER_FAILED Error No "answer-failed"
            "The model gave no answer to the sample: the request failed, or the endpoint refused it. It has no score, and is counted apart from wrong answers."
        PREDICTION_MISSING Error No "prediction-missing"
            "The file of predictions has no answer to the sample; without a score it is counted as failed."
        PREDICTION_REPEATED Error No "prediction-repeated"
            "Two predictions are for the same sample and phrasing; only the first is scored."
        PREDICTION_UNMATCHED Error No "prediction-unmatched"
            "A prediction is for a sample that is not in the data, often because ids or files do not belong together."
        SAMPLE_REPEATED Error No "sample-repeated"
            "Two samples have the same id, so that a prediction could be for either; only the first is scored."
        REFERENCE_MISSING Error No "reference-missing"
            "The sample has nothing to compare an answer with: its last message is not a text of the assistant, and no reference is given."
        REFERENCE_UNSUITABLE Error No "reference-unsuitable"
            "The metric cannot use the sample's reference, such as one that is not JSON for `json`."
    }
    Export {
        TRAINER_UNSUPPORTED Error No "trainer-unsupported"
            "The trainer or service of the export cannot take the sample as it is, such as tools or several images; it would train something else or stop."
        IMAGE_NOT_FITTED Warning No "image-not-fitted"
            "The trainer would convert the image by its own rule: it is larger than the model sees, rotated by an EXIF tag, transparent, or not RGB with 8 bits. `pixtune prepare` converts it as the model's own preprocessing does."
        TOKENS_DIFFER Error No "tokens-differ"
            "The trainer encodes a system prompt together with the text behind it, which changes a token at the joint; the reference encodes them separately."
    }
    Program {
        INTERNAL Error No "internal"
            "The program failed on the row; the row is skipped and the run goes on."
    }
}

/// Rules that need the pixels of an image, so that it has to be decoded for them.
pub const OF_PIXELS: &[&Rule] = &[
    &IMAGE_DARK,
    &IMAGE_LIGHT,
    &IMAGE_LOW_INFORMATION,
    &IMAGE_BLURRY,
    &IMAGE_TOO_SMALL,
    &IMAGE_SHRUNK,
    &IMAGE_ODD_SIZE,
    &IMAGE_ODD_ASPECT_RATIO,
    &IMAGE_GRAYSCALE,
];

/// Whether a rule describes a property that is right in many datasets: an observation for a person to judge, not a fault of the
/// row.
pub fn is_observation(rule: &Rule) -> bool {
    OF_PIXELS.contains(&rule) || rule == &IMAGE_PROFILE
}

/// Rules that are stricter on purpose than mistral-common 1.13.1, which accepts such samples.
pub const STRICTER_THAN_REFERENCE: &[(&Rule, &str)] = &[
    (&EMPTY_PROMPT, "an empty user message is accepted, and trains a response to nothing"),
    (&NOTHING_TO_TRAIN, "a sample whose responses all have weight 0 is accepted, and trains nothing"),
    (&CONTEXT_OVERFLOW, "length is not checked; a trainer truncates the sample or stops"),
    (&IMAGE_ANIMATED, "the first frame is used; Mistral's servers reject animations"),
    (
        &IMAGE_UNSUPPORTED,
        "whatever Pillow opens is accepted; Mistral's servers accept PNG, JPEG, WebP and still GIF",
    ),
    (&IMAGE_TOO_LARGE, "there is no limit; Mistral's servers have limits on bytes and sides"),
    (&JSON_SYNTAX, "nesting beyond 256 levels and more than 4,000,000 values per line are rejected"),
    (&JSON_BOM, "only `json.loads` rejects a byte order mark; a file opened as utf-8-sig is read"),
    (&JSON_ARRAY, "its elements are checked as samples; an array on one line is rejected as one row"),
    (&FILE_EMPTY, "a file without a sample is read, and trains nothing"),
    (&IMAGE_UNREACHABLE, "with `--fetch`: the URL may work another time"),
    (&ROW_TOO_LARGE, "lines of any length are read; here the limit is 512 MiB"),
];

/// Earlier ids of rules, which stay accepted.
const RENAMED: &[(&str, &Rule)] = &[("no-picture", &NO_IMAGE)];

/// The index of a rule in [`ALL`].
pub fn index(rule: &Rule) -> u16 {
    ALL.iter().position(|other| other.id == rule.id).expect("every rule is in the list") as u16
}

/// Finds a rule by its id, or by an earlier id.
pub fn find(id: &str) -> Option<&'static Rule> {
    let renamed = || RENAMED.iter().find(|(earlier, _)| *earlier == id).map(|(_, rule)| *rule);
    ALL.iter().copied().find(|rule| rule.id == id).or_else(renamed)
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
            assert!(Group::find(rule.id).is_none(), "{} is also a group", rule.id);
            assert!(rule.why.ends_with('.'), "{}", rule.id);
        }
    }

    #[test]
    fn earlier_ids_find_their_rule() {
        assert_eq!(find("no-picture"), Some(&NO_IMAGE));
        assert!(RENAMED.iter().all(|(earlier, _)| ALL.iter().all(|rule| rule.id != *earlier)));
        assert_eq!(find("no-such-rule"), None);
    }
}
