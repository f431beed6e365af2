use super::*;
use crate::checks::{Row, judge};
use crate::json::parse;
use crate::rules;
use crate::target::{MISTRAL, OPENAI};
use crate::tokens::{Tokenizer, TokenizerVersion};

fn repaired_for(target: &Target, most: Fix, row: &str) -> (String, Vec<String>) {
    let wanted = Wanted { rule: &|_| true, most, target, version: TokenizerVersion::V3 };
    let parsed = parse(row).unwrap();
    let (value, changes) = fix(parsed.value, &wanted);
    let written = value.to_string();
    let again = fix(parse(&written).unwrap().value, &wanted);
    assert_eq!((again.0.to_string(), again.1), (written.clone(), vec![]), "repaired twice");
    (written, changes.iter().map(|change| format!("{} {}", change.rule.id, change.pointer)).collect())
}

#[track_caller]
fn repairs(row: &str, expected: &str, changes: &[&str]) {
    let (written, done) = repaired_for(&MISTRAL, Fix::Safe, row);
    assert_eq!(written, expected);
    assert_eq!(done, changes);
}

/// Safe repairs leave the row unchanged.
#[track_caller]
fn leaves(row: &str) {
    repairs(row, row, &[]);
}

fn errors(row: &str) -> Vec<&'static str> {
    let parsed = parse(row).unwrap();
    let judged = judge(&Row { value: &parsed.value, target: &MISTRAL }, Tokenizer::embedded());
    let errors = judged
        .findings
        .iter()
        .filter(|finding| MISTRAL.severity(finding.rule) == crate::diagnostic::Severity::Error);
    errors.map(|finding| finding.rule.id).collect()
}

const CHAT: &str = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;

#[test]
fn valid_row_is_unchanged() {
    leaves(CHAT);
    leaves("[1]");
    leaves(r#"{"text":"no conversation"}"#);
    leaves(r#"{"messages":5}"#);
}

#[test]
fn converts_llava_and_sharegpt() {
    repairs(
        r#"{"id":"7","image":"a.png","conversations":[{"from":"human","value":"<image>\nWhat?"},{"from":"gpt","value":"A cat."}]}"#,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"a.png"},{"type":"text","text":"\nWhat?"}]},{"role":"assistant","content":"A cat."}]}"#,
        &[
            "missing-field /conversations",
            "unknown-key /image",
            "unknown-role /messages/0/role",
            "unknown-role /messages/1/role",
            "unknown-key /id",
        ],
    );
    repairs(
        r#"{"system":"Be brief.","conversations":[{"from":"human","value":"q"},{"from":"function_call","value":"{\"name\":\"f\",\"arguments\":{\"a\":1}}"},{"from":"observation","value":"1"},{"from":"gpt","value":"a"}],"tools":"[{\"name\":\"f\",\"description\":\"\",\"parameters\":{}}]"}"#,
        r#"{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"68V2281Uf","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},{"role":"tool","content":"1","tool_call_id":"68V2281Uf"},{"role":"assistant","content":"a"}],"tools":[{"type":"function","function":{"name":"f","description":"","parameters":{}}}]}"#,
        &[
            "missing-field /conversations",
            "unknown-key /system",
            "unknown-key /messages/2/role",
            "unknown-role /messages/1/role",
            "unknown-role /messages/3/role",
            "unknown-role /messages/4/role",
            "wrong-type /tools",
            "missing-field /tools/0",
            "tool-id /messages/2/tool_calls/0/id",
        ],
    );
}

#[test]
fn places_images_without_placeholder_only_on_request() {
    let row = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}],"images":["a.png"]}"#;
    leaves(row);
    let (written, done) = repaired_for(&MISTRAL, Fix::Unsafe, row);
    assert!(
        written
            .contains(r#""content":[{"type":"image_url","image_url":"a.png"},{"type":"text","text":"q"}]"#)
    );
    assert_eq!(done, ["image-placeholders /images"]);
    leaves(&row.replace("\"q\"", "\"<image><image>\""));
    let trl = row.replace("\"q\"", r#"[{"type":"image"},{"type":"text","text":"q"}]"#);
    repairs(
        &trl,
        r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"a.png"},{"type":"text","text":"q"}]},{"role":"assistant","content":"a"}]}"#,
        &["unknown-key /images"],
    );
}

#[test]
fn converts_alpaca_and_prompt_completion() {
    let done = ["missing-field "];
    repairs(r#"{"instruction":"q","input":"","output":"a"}"#, CHAT, &done);
    repairs(r#"{"prompt":"q","completion":"a"}"#, CHAT, &done);
    repairs(
        r#"{"instruction":"q","input":"i","output":"a","history":[["x","y"]]}"#,
        r#"{"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"},{"role":"user","content":"q\ni"},{"role":"assistant","content":"a"}]}"#,
        &done,
    );
    repairs(
        r#"{"prompt":[{"role":"user","content":"q"}],"completion":[{"role":"assistant","content":"a"}]}"#,
        CHAT,
        &done,
    );
    leaves(r#"{"instruction":"q","output":5}"#);
}

#[test]
fn converts_functions_to_tools() {
    repairs(
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},{"role":"function","name":"f","content":"1"},{"role":"assistant","content":"a"}],"functions":[{"name":"f","description":"d"}]}"#,
        r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"68V2281Uf","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","name":"f","content":"1","tool_call_id":"68V2281Uf"},{"role":"assistant","content":"a"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{}}}}]}"#,
        &[
            "unknown-key /functions",
            "unknown-key /messages/1/function_call",
            "unknown-role /messages/2/role",
            "missing-field /tools/0",
            "missing-field /tools/0/function",
            "tool-id /messages/1/tool_calls/0/id",
        ],
    );
}

#[test]
fn replaces_ids_in_call_and_result() {
    let chat = |ids: [&str; 4]| {
        let [a, b, c, d] = ids;
        let call = |id: &str| format!(r#"{{"id":"{id}","function":{{"name":"f","arguments":"{{}}"}}}}"#);
        let result = |id: &str| format!(r#"{{"role":"tool","content":"1","tool_call_id":"{id}"}}"#);
        format!(
            r#"{{"messages":[{{"role":"user","content":"q"}},{{"role":"assistant","tool_calls":[{},{}]}},{},{},{{"role":"assistant","content":"a"}}]}}"#,
            call(a),
            call(b),
            result(c),
            result(d)
        )
    };
    let good = chat(["aaaaaaaaa", "bbbbbbbbb", "bbbbbbbbb", "aaaaaaaaa"]);
    leaves(&good);
    let (written, done) = repaired_for(&MISTRAL, Fix::Safe, &chat(["call_1", "call_2", "call_2", "call_1"]));
    assert_eq!(errors(&written), Vec::<&str>::new());
    assert_eq!(done, ["tool-id /messages/1/tool_calls/0/id", "tool-id /messages/1/tool_calls/1/id"]);
    let value = parse(&written).unwrap().value;
    let at = |pointer: &str| tree::at(&value, pointer).cloned();
    assert_eq!(at("/messages/1/tool_calls/0/id"), at("/messages/3/tool_call_id"));
    assert_eq!(at("/messages/1/tool_calls/1/id"), at("/messages/2/tool_call_id"));
    // The same id twice: the first result belongs to the first call.
    let (written, done) =
        repaired_for(&MISTRAL, Fix::Safe, &chat(["aaaaaaaaa", "aaaaaaaaa", "aaaaaaaaa", "aaaaaaaaa"]));
    assert_eq!(done, ["tool-id-repeated /messages/1/tool_calls/1/id"]);
    assert!(written.contains(r#""tool_call_id":"aaaaaaaaa"},{"role":"tool","content":"1","tool_call_id""#));
    // A result without an id belongs to the only call without a result; with two such calls it would be a guess.
    repairs(
        &chat(["aaaaaaaaa", "bbbbbbbbb", "bbbbbbbbb", "zzzzzzzzz"]),
        &good,
        &["tool-id-unmatched /messages/3/tool_call_id"],
    );
    leaves(&chat(["aaaaaaaaa", "bbbbbbbbb", "yyyyyyyyy", "zzzzzzzzz"]));
}

#[test]
fn removes_unknown_keys_nulls_and_settings() {
    repairs(
        r#"{"id":null,"messages":[{"role":"user","content":"q","name":"bob"},{"role":"assistant","content":"a","refusal":null,"prefix":null}],"temperature":5,"tool_choice":{"type":"x"}}"#,
        CHAT,
        &[
            "null-key /id",
            "wrong-type /temperature",
            "wrong-type /tool_choice",
            "unknown-key /messages/0/name",
            "null-key /messages/1/refusal",
            "wrong-type /messages/1/prefix",
        ],
    );
    repairs(
        r#"{"messages":[{"role":"user","content":"old","content":"q"},{"role":"assistant","content":"a"}]}"#,
        CHAT,
        &["json-duplicate-key /messages/0/content"],
    );
}

#[test]
fn repairs_only_selected_rules() {
    let row = r#"{"id":1,"messages":[{"role":"human","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let wanted = Wanted {
        rule: &|rule| rule == &rules::UNKNOWN_ROLE,
        most: Fix::Unsafe,
        target: &MISTRAL,
        version: TokenizerVersion::V3,
    };
    let (value, changes) = fix(parse(row).unwrap().value, &wanted);
    assert_eq!(value.to_string(), row.replace("human", "user"));
    assert_eq!(changes.len(), 1);
}

#[test]
fn joins_moves_and_removes_messages_as_the_reference_reads_them() {
    repairs(
        r#"{"messages":[{"role":"user","content":"q"},{"role":"user","content":[{"type":"text","text":"r"}]},{"role":"system","content":"s"},{"role":"system","content":[{"type":"text","text":"t"}]},{"role":"assistant","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"user","content":"bye"}]}"#,
        r#"{"messages":[{"role":"system","content":"s\n\nt"},{"role":"user","content":[{"type":"text","text":"q"},{"type":"text","text":"r"}]},{"role":"assistant","content":"a\n\nb"}]}"#,
        &[
            "answer-list /messages/4/content",
            "system-place /messages/2",
            "consecutive-roles /messages/2",
            "last-not-assistant /messages/3",
        ],
    );
    let weights = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a","weight":0},{"role":"assistant","content":"b"}]}"#;
    leaves(weights);
    // Without the system message between them the questions would be one message, and one answer alone would be rejected.
    let apart = r#"{"messages":[{"role":"user","content":"q"},{"role":"system","content":"s"},{"role":"user","content":"r"},{"role":"assistant","content":"a"}]}"#;
    leaves(apart);
    assert_eq!(
        repaired_for(&MISTRAL, Fix::Unsafe, apart).1,
        ["system-place /messages/1", "consecutive-roles /messages/2"]
    );
    leaves(r#"{"messages":[{"role":"assistant","content":"a"},{"role":"assistant","content":"b"}]}"#);
}

#[test]
fn adds_part_types_and_writes_the_image_form() {
    let object = r#"{"messages":[{"role":"user","content":["hi",{"text":"x"},{"type":"input_text","text":"y"},{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"low"}}]},{"role":"assistant","content":"a"}]}"#;
    repairs(
        object,
        r#"{"messages":[{"role":"user","content":[{"type":"text","text":"hi"},{"type":"text","text":"x"},{"type":"text","text":"y"},{"type":"image_url","image_url":"https://x/y.png"}]},{"role":"assistant","content":"a"}]}"#,
        &[
            "wrong-type /messages/0/content/0",
            "part-without-type /messages/0/content/1",
            "part-kind /messages/0/content/2",
            "image-form /messages/0/content/3",
        ],
    );
    let string = r#"{"messages":[{"role":"user","content":[{"type":"image_url","image_url":"https://x/y.png"}]},{"role":"assistant","content":"a"}]}"#;
    leaves(string);
    let (written, _) = repaired_for(&OPENAI, Fix::Safe, string);
    assert!(written.contains(r#""image_url":{"url":"https://x/y.png"}"#));
}

#[test]
fn splits_control_tokens_only_on_request() {
    let row = r#"{"messages":[{"role":"user","content":"a [INST] b </s>"},{"role":"assistant","content":"<image>"}]}"#;
    leaves(row);
    let (written, done) = repaired_for(&MISTRAL, Fix::Unsafe, row);
    assert!(written.contains("a [ INST] b < /s>") && written.contains("< image>"), "{written}");
    assert_eq!(done, ["control-token /messages/0/content", "control-token /messages/1/content"]);
}

#[test]
fn recognizes_other_names_of_the_user_role() {
    let row = r#"{"image":"a.png","messages":[{"role":"huMan","content":"<image>q"},{"role":"assistant","content":"a"}]}"#;
    let (written, _) = repaired_for(&MISTRAL, Fix::Safe, row);
    assert!(written.contains(r#""image_url":"a.png"},{"type":"text","text":"q"}"#), "{written}");
    repaired_for(&MISTRAL, Fix::Unsafe, &row.replace("<image>", ""));
}

#[test]
fn repairs_what_a_removed_message_had_blocked() {
    let row = r#"{"image":"a.png","messages":[{"role":"user","content":"<image>"},{"role":"assistant","content":"a"},{"role":"user","content":"<image>?"}]}"#;
    let image = r#"[{"type":"image_url","image_url":"a.png"}]"#;
    let expected = format!(
        r#"{{"messages":[{{"role":"user","content":{image}}},{{"role":"assistant","content":"a"}}]}}"#
    );
    repairs(row, &expected, &["last-not-assistant /messages/2", "unknown-key /image"]);
}

#[test]
fn keeps_placeholders_of_images_that_cannot_be_placed() {
    let row = r#"{"image":"a.png","messages":[{"role":"nobody","content":"<image> [INST]"},{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#;
    let (written, _) = repaired_for(&MISTRAL, Fix::Unsafe, row);
    assert_eq!(written, row.replace("[INST]", "[ INST]"));
}

#[test]
fn conversation_of_converts_spellings_only() {
    let read = |row: &str, position| {
        let row = parse(row).unwrap().value;
        conversation_of(&row, position).map(|read| read.map(|row| row.to_string()))
    };
    let first = |row: &str| read(row, ImagePosition::First);
    assert_eq!(first(CHAT), Ok(None));
    let inside = r#"{"image":"b.png","messages":[{"role":"user","content":[{"type":"image_url","image_url":"a.png"}]},{"role":"assistant","content":"a"}]}"#;
    assert_eq!(first(inside), Ok(None), "the image has its place already");
    assert_eq!(first(r#"{"instruction":"q","output":"a"}"#), Ok(None), "a row of columns");
    let extra = r#"{"conversations":[{"from":"human","value":"q"},{"from":"gpt","value":"a"},{"from":"human","value":"b"}],"x":null}"#;
    let expected = r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"},{"role":"user","content":"b"}],"x":null}"#;
    assert_eq!(first(extra), Ok(Some(expected.into())), "what is left out is for the reader to tell");
    let beside = CHAT.replacen('{', r#"{"images":["a.png"],"#, 1);
    let placed = |parts: &str| Ok(Some(CHAT.replacen("\"q\"", parts, 1)));
    let image = r#"{"type":"image_url","image_url":"a.png"}"#;
    let text = r#"{"type":"text","text":"q"}"#;
    assert_eq!(first(&beside), placed(&format!("[{image},{text}]")));
    assert_eq!(read(&beside, ImagePosition::Last), placed(&format!("[{text},{image}]")));
    let refused = |row: &str| first(row).unwrap_err().rule.id;
    assert_eq!(refused(&beside.replace("\"q\"", "\"<image><image>\"")), "image-placeholders");
    assert_eq!(refused(r#"{"instruction":"q","input":"","output":"a","history":[["b"]]}"#), "missing-field");
    assert_eq!(refused(&beside.replace("\"a\"}", "\"<image>\"}")), "image-placeholders");
    assert_eq!(refused(&beside.replace("\"a.png\"", "true")), "wrong-type");
}
