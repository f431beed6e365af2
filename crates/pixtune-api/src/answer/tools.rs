//! Calls of tools, as the model writes them.

use pixtune_core::json::{self, Value};

use crate::ids;
use crate::wire::ToolCallJson;

/// The calls in a text of the model: a JSON list of objects with `name` and `arguments`. `None` if it is anything else.
pub fn tool_calls(text: &str) -> Option<Vec<ToolCallJson>> {
    let parsed = json::parse(text.trim()).ok()?;
    let calls = parsed.value.as_array().filter(|calls| !calls.is_empty())?;
    calls.iter().map(call).collect()
}

fn call(value: &Value<'_>) -> Option<ToolCallJson> {
    let arguments = match value.get("arguments")? {
        Value::String(text) => text.to_string(),
        value => json::text(value),
    };
    let is_id = |id: &&str| id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let id = value
        .text("id")
        .filter(is_id)
        .map_or_else(|| ids::hex(&ids::random::<5>())[..9].to_owned(), str::to_owned);
    Some(ToolCallJson { id, name: value.text("name")?.to_owned(), arguments })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_and_get_ids() {
        let calls = tool_calls(
            r#" [{"name": "f", "arguments": {"a": 1}, "id": "abcdefghi"}, {"name": "g", "arguments": "{}"}]"#,
        )
        .unwrap();
        assert_eq!((calls[0].id.as_str(), calls[0].arguments.as_str()), ("abcdefghi", r#"{"a":1}"#));
        assert_eq!((calls[1].id.len(), calls[1].arguments.as_str()), (9, "{}"));
        for wrong in ["", "[]", "{}", "[1]", r#"[{"name":"f"}]"#, "not JSON"] {
            assert_eq!(tool_calls(wrong), None, "{wrong}");
        }
    }
}
