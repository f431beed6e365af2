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
            "The line is not JSON; a trainer would stop at it, an upload would be refused as a whole."
        JSON_NOT_OBJECT Error Unsafe "json-not-object"
            "A row has to be a JSON object; the official validator crashes on anything else."
        JSON_DUPLICATE_KEY Warning Safe "json-duplicate-key"
            "A key stands twice in one object; most readers keep the last value and drop the first in silence."
        JSON_NAN Warning Unsafe "json-nan"
            "`NaN` and `Infinity` are no JSON; Python reads and writes them, other readers stop at the line."
        JSON_LONE_SURROGATE Warning Safe "json-lone-surrogate"
            "Half of a UTF-16 pair stands in a string; UTF-8 cannot hold it and it becomes U+FFFD, in the reference tokenizer too."
        JSON_BOM Error Safe "json-bom"
            "The file starts with a byte order mark; Python's `json` refuses the first line because of it."
        JSON_ARRAY Error Safe "json-array"
            "The file is one JSON array; uploads and most trainers read a sample a line."
        JSON_BLANK_LINE Warning Safe "json-blank-line"
            "A blank line stands between rows; readers that parse every line stop at it."
        INVALID_UTF8 Error Unsafe "invalid-utf8"
            "The row is not UTF-8; guessing an encoding would change texts in silence."
        ROW_TOO_LARGE Error Unsafe "row-too-large"
            "The row is larger than the limit that keeps memory bounded; often a quote that was never closed."
    }
    Shape {
        MISSING_FIELD Error Safe "missing-field"
            "A key that the format needs, or a column that was chosen for this run, is missing."
        WRONG_TYPE Error Safe "wrong-type"
            "A value has another JSON type than its key asks for."
        UNKNOWN_KEY Warning Safe "unknown-key"
            "A key that the format does not know; the reference refuses it, so `prepare` does not write it."
        NULL_KEY Warning Safe "null-key"
            "A key is there with the value null, as table libraries write it; the reference refuses the row, so `prepare` does not write it."
        UNKNOWN_ROLE Error Safe "unknown-role"
            "Roles are system, user, assistant and tool."
        PART_WITHOUT_TYPE Error Safe "part-without-type"
            "Every part of a message says its `type`; uploads with parts that do not were refused."
        PART_KIND Error Safe "part-kind"
            "Pixtral reads parts of the types `text` and `image_url`."
        NO_MESSAGES Error Unsafe "no-messages"
            "The conversation has no messages."
        EMPTY_PROMPT Error Unsafe "empty-prompt"
            "The user turn has neither text nor image: there is nothing to answer."
    }
    Order {
        LAST_NOT_ASSISTANT Error Safe "last-not-assistant"
            "The last message has to be the assistant's: it is what training learns."
        ROLE_ORDER Error Unsafe "role-order"
            "Messages follow each other in an order that the reference refuses."
        ASSISTANT_FIRST Warning Unsafe "assistant-first"
            "The assistant speaks first; the reference puts an empty user turn before it, and most chat templates refuse it."
        CONSECUTIVE_ROLES Warning Safe "consecutive-roles"
            "Two messages of one role follow each other; the reference joins them into one, most chat templates refuse them."
        SYSTEM_PLACE Warning Safe "system-place"
            "A system message stands behind the beginning or beside another; the reference joins them and moves them before the last user turn, mistral-finetune refuses them."
        ANSWER_PREFIX Error Safe "answer-prefix"
            "An answer marked as a prefix is to be continued when serving; the reference refuses it in training."
    }
    Answer {
        EMPTY_ANSWER Error Unsafe "empty-answer"
            "The answer is empty; there is nothing to learn from it and the reference refuses it."
        ANSWER_AND_CALLS Error Unsafe "answer-and-calls"
            "An assistant message either answers or calls tools; the reference refuses both in one turn."
        ANSWER_LIST Warning Safe "answer-list"
            "The answer is a list of parts; hosted fine-tuning and mistral-finetune expect a string."
        ANSWER_WEIGHT Error Unsafe "answer-weight"
            "The `weight` of an answer is 0, not trained, or 1, trained."
        ANSWER_REFUSAL Warning No "answer-refusal"
            "The answer refuses, as assistants do: a few hundred of these teach a model to refuse what it could do."
        ANSWER_PLACEHOLDER Warning No "answer-placeholder"
            "The answer is a placeholder like `N/A` or `TODO` that someone meant to fill in."
        ANSWER_CUT_OFF Warning No "answer-cut-off"
            "The answer ends in mid-sentence or inside open brackets; the model learns to stop there. Seen by its last word, by brackets and code blocks, and in a set where nearly all sentences end with a stop by the missing stop."
        ANSWER_ECHO Warning No "answer-echo"
            "The answer begins with the whole prompt, usually an export of text that was generated with it; the model learns to repeat questions."
        ANSWER_FORMAT Warning No "answer-format"
            "At least nine in ten answers, or answers to the same prompt, have one form (JSON, a number with its unit, one word, …) and this one has another; told by `stats` and `report`."
        ANSWER_KEYS Warning No "answer-keys"
            "The answer is a JSON object with other keys than nearly all others; told by `stats` and `report`."
        ANSWER_LENGTH Warning No "answer-length"
            "The answer is far longer than all others: a pasted document, or a generating model that ran in circles; told by `stats` and `report`."
        ANSWER_LANGUAGE Warning No "answer-language"
            "The answer is in another language than its prompt, where nearly all are in the same; told by `stats` and `report`."
    }
    Tools {
        TOOL_CALL Error Unsafe "tool-call"
            "A tool call or a tool result is not of the form the reference accepts."
        TOOL_ID Error Safe "tool-id"
            "Tool calls and their results are tied by ids of nine letters or digits; only calls of the last message go without."
        TOOL_ID_REPEATED Warning Safe "tool-id-repeated"
            "Two calls of one conversation have the same id, so a result cannot be told to belong to one of them; newer tokenizers refuse it."
        TOOL_ID_UNMATCHED Warning Safe "tool-id-unmatched"
            "A tool result names a call that is not before it; newer tokenizers refuse it."
        TOOL_UNDECLARED Warning No "tool-undeclared"
            "A tool is called that `tools` does not declare: the model learns to call what it was not offered."
        TOOL_NAME Error Unsafe "tool-name"
            "Function names are 1 to 64 letters, digits, underscores and dashes; the reference refuses others."
        TOOL_RESULTS Error Unsafe "tool-results"
            "Every tool call has one result before the next answer; the reference refuses another number."
        TOOL_SCHEMA Error Unsafe "tool-schema"
            "The parameters of a tool are a JSON Schema of draft 7; the reference refuses others."
        TOOL_ARGUMENTS Warning No "tool-arguments"
            "The arguments of a call are no JSON object; the model learns to write calls that cannot be carried out."
        TOOL_JSON Error Unsafe "tool-json"
            "JSON in a tool call, result or schema is nested too deeply or has an integer too long for the reference."
    }
    Image {
        IMAGE_BAD_DATA_URI Error Safe "image-bad-data-uri"
            "An image is given neither as a base64 data URI nor as an address, or its base64 is damaged."
        IMAGE_LOOSE_BASE64 Warning Safe "image-loose-base64"
            "The base64 holds line breaks or other characters outside its alphabet; Python passes over them, other readers stop."
        IMAGE_MIME_MISMATCH Warning Safe "image-mime-mismatch"
            "The declared type is not what the bytes are; the bytes decide, and `prepare` writes the right type."
        IMAGE_MISSING Error Unsafe "image-missing"
            "The image file does not exist; training on the text alone would teach answers without seeing."
        IMAGE_UNREADABLE Error Unsafe "image-unreadable"
            "The image cannot be decoded; other tools replace such rows in silence or stop the run."
        IMAGE_UNSUPPORTED Error Unsafe "image-unsupported"
            "The image is of a format that the model's servers do not take or this program does not decode."
        IMAGE_ANIMATED Error Unsafe "image-animated"
            "An animation has no single image; servers refuse it or take its first frame in silence."
        IMAGE_PAGES Warning Unsafe "image-pages"
            "The file has several pages; the first is taken, as the reference does."
        IMAGE_TOO_LARGE Error Unsafe "image-too-large"
            "The image passes a limit on bytes, sides or decoded size."
        IMAGE_TOO_THIN Warning No "image-too-thin"
            "The image is so elongated that older servers fail on it."
        IMAGE_SIDEWAYS Warning Unsafe "image-sideways"
            "The image carries an EXIF rotation and is embedded as it is; the model's preprocessing does not turn it, so it is seen sideways."
        IMAGE_ALPHA Warning Unsafe "image-alpha"
            "The image has transparent places; mistral-common paints them white, Hugging Face's loader shows whatever color lies below."
        IMAGE_DARK Warning No "image-dark"
            "The image is dark as a whole: the 99th percentile of its luma is below 32 %."
        IMAGE_LIGHT Warning No "image-light"
            "The image is over-exposed: 999 of 1000 pixels are brighter than 95 %."
        IMAGE_LOW_INFORMATION Warning No "image-low-information"
            "Next to nothing is to be seen: less than 1 % of the tiles of 16 x 16 pixels vary by more than noise."
        IMAGE_BLURRY Warning No "image-blurry"
            "Nothing in the image is sharp: as the model sees it, even the sharpest edges are wider than 6 pixels."
        IMAGE_TOO_SMALL Warning No "image-too-small"
            "A side has less than 32 pixels, two patches of the model: there is nothing to be read in so little."
        IMAGE_SHRUNK Warning No "image-shrunk"
            "The model's limit makes the image more than 4 times smaller; small print does not survive that."
        IMAGE_ODD_SIZE Warning No "image-odd-size"
            "The image is far smaller or larger than the others: more than 3 interquartile ranges from them."
        IMAGE_ODD_ASPECT_RATIO Warning No "image-odd-aspect-ratio"
            "One side is less than 0.35 of the other, in a set where most images are not like that: often a strip or a banner."
        IMAGE_GRAYSCALE Warning No "image-grayscale"
            "The image is gray, in a set where most are colored: often a scan or a placeholder."
        IMAGE_FORM Warning Safe "image-form"
            "The image is written otherwise than the target's documentation does: Mistral's fine-tuning takes `image_url` as a string, OpenAI's as an object with `url`."
        IMAGE_ROLE Error Unsafe "image-role"
            "Images may stand in user messages only; the reference refuses them elsewhere."
        IMAGE_URL Warning Safe "image-url"
            "The image stays a URL: without `--fetch` it is not fetched, checked or counted, and it may be gone when training wants it."
        IMAGE_UNREACHABLE Error Unsafe "image-unreachable"
            "The image of an address could not be fetched; a trainer that loads it stops there."
        TOO_MANY_IMAGES Warning Unsafe "too-many-images"
            "More images in one sample than hosted services take."
    }
    Text {
        CONTROL_TOKEN Warning Unsafe "control-token"
            "A text holds what looks like a control token. Mistral's tokenizer takes it for plain text; with Hugging Face trainers it becomes a real special token, or counts as the place of an image."
        MOJIBAKE Warning No "mojibake"
            "A text was decoded with the wrong encoding at some point: `Ã©` for `é`, or U+FFFD for what was lost; the model learns to write it."
        BLANK_TEXT Warning No "blank-text"
            "A message holds nothing but white space."
    }
    Length {
        CONTEXT_OVERFLOW Error Unsafe "context-overflow"
            "The sample is longer than the model's context; it is reported, never cut."
        TOO_MANY_TOKENS Error No "too-many-tokens"
            "The sample is longer than the limit chosen for this run."
        NOTHING_TO_TRAIN Error Unsafe "nothing-to-train"
            "Every answer of the sample has weight 0 or is empty, so it teaches nothing."
    }
    Lines {
        DUPLICATE Error No "duplicate"
            "The same images and the same text stand in an earlier row; repeated samples are learned by heart."
        CONTRADICTION Warning No "contradiction"
            "The same images and the same prompt have another answer in an earlier row: the model is taught both."
        NEAR_DUPLICATE Warning No "near-duplicate"
            "Another row shows nearly the same images with nearly the same text; what is repeated counts double in training."
        SHARED_SAMPLE Warning No "shared-sample"
            "The sample stands in the training file and in the validation file: the validation measures memory, not skill."
        SHARED_IMAGE Warning No "shared-image"
            "The image stands in the training file and in the validation file: the validation looks better than it is."
        SHARED_NEAR_IMAGE Warning No "shared-near-image"
            "An image of the validation file shows what one of the training file shows, written or cut anew: the validation looks better than it is; found where images are decoded, by `--verify full`."
        DUPLICATE_ID Warning No "duplicate-id"
            "Two rows carry the same id: usually a join that went wrong."
        ANSWER_IMBALANCE Warning No "answer-imbalance"
            "One answer makes up more than half of all: a model that always gives it looks good by accuracy; told by `stats` and `report`."
        ANSWER_BOILERPLATE Warning No "answer-boilerplate"
            "Much of the longer answers begins with the same words, which are trained and paid for without teaching anything; told by `stats` and `report`."
        PROMPT_REPEATED Warning No "prompt-repeated"
            "Nearly all prompts are the same: fine for one fixed task, but the model will hardly learn to listen to others; told by `stats` and `report`."
    }
    File {
        FILE_EMPTY Error No "file-empty"
            "The file holds no sample."
        FILE_TOO_LARGE Error No "file-too-large"
            "The file is larger than the target takes in one upload."
        TOO_FEW_SAMPLES Warning No "too-few-samples"
            "So few samples teach a format at best; some services refuse the file."
        VALIDATION_TOO_LARGE Warning No "validation-too-large"
            "The validation file is larger than the target takes; base64 images reach the limit after a few samples."
    }
    Table {
        SPLIT_UNMET Warning No "split-unmet"
            "The split cannot be what was asked for: rows that must stay together are too many, or strata too small."
        ROW_WRONG_LENGTH Error No "row-wrong-length"
            "The row has another number of cells than the header, so cells would land in the wrong columns."
        UNCLOSED_QUOTE Error No "unclosed-quote"
            "A quoted cell runs to the end of the file; every row behind the quote is swallowed by it."
        NO_IMAGE Warning No "no-picture"
            "The row names no image, so the sample is text alone."
        IMAGE_PLACEHOLDERS Error No "image-placeholders"
            "The prompt has another number of `<image>` places than the row has images."
        FINETUNE_FORM Error No "finetune-form"
            "mistral-finetune takes narrower forms: one system message, string answers, string arguments."
    }
    Program {
        INTERNAL Error No "internal"
            "The program failed on the row; the row is set aside and the run goes on."
    }
}

/// Rules that are judged by the pixels of an image, so that it has to be decoded for them.
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

/// Rules at which `check` is stricter on purpose than mistral-common 1.13.1, which takes such samples.
pub const STRICTER_THAN_REFERENCE: &[(&Rule, &str)] = &[
    (&EMPTY_PROMPT, "an empty user turn is accepted, and trains an answer to nothing"),
    (&NOTHING_TO_TRAIN, "a sample whose answers all have weight 0 is accepted, and trains nothing"),
    (&CONTEXT_OVERFLOW, "length is not looked at; a trainer cuts the sample or stops"),
    (&IMAGE_ANIMATED, "the first frame is taken; Mistral's servers refuse animations"),
    (
        &IMAGE_UNSUPPORTED,
        "whatever Pillow opens is accepted; Mistral's servers take PNG, JPEG, WebP and still GIF",
    ),
    (&IMAGE_TOO_LARGE, "no limit is known; Mistral's servers have limits on bytes and sides"),
    (&JSON_SYNTAX, "nesting beyond 256 levels and more than 4,000,000 values a line are refused"),
    (&JSON_BOM, "only `json.loads` refuses a byte order mark; a file opened as utf-8-sig is read"),
    (&JSON_ARRAY, "its elements are judged as samples; an array in one line is refused as one row"),
    (&FILE_EMPTY, "a file without a sample is read, and trains nothing"),
    (&IMAGE_UNREACHABLE, "with `--fetch`: the address may answer another time"),
    (&ROW_TOO_LARGE, "lines of any length are read; here 512 MiB is the limit"),
];

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
            assert!(Group::find(rule.id).is_none(), "{} is also a group", rule.id);
            assert!(rule.why.ends_with('.'), "{}", rule.id);
        }
    }
}
