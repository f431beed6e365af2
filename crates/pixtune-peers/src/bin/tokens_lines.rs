//! Answers questions about tokens, one JSON object a line, for `tests/peers/tokens.py`:
//!
//! `{"text":…}` → `{"ids":[…]}`; `{"size":[w,h],"model":…}` → `{"grid":[columns,rows,width,height]}`;
//! `{"request":…,"sizes":[[w,h],…],"layout":…}` → `{"ids":[…],"runs":[[0,5],…]}` or `{"refused":[rule, pointer, message]}`.

use std::io::{BufRead, Write};

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Value};
use pixtune_core::tokens::{ChatEncoder, Encoded, Layout, Tokenizer, grid};
use pixtune_core::{spec, strict};

fn main() -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let answer = match json::parse(&line) {
            Ok(question) => answer(&question.value, question.lone_surrogate.is_some()),
            Err(error) => format!("{{\"error\":\"{error}\"}}"),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}

fn answer(question: &Value<'_>, lone_surrogate: bool) -> String {
    let model =
        question.get("model").and_then(Value::as_str).and_then(spec::find).unwrap_or(&spec::PIXTRAL_12B);
    if let Some(text) = question.get("text").and_then(Value::as_str) {
        return format!("{{\"ids\":{:?}}}", Tokenizer::built_in(model.tokenizer).encode(text));
    }
    if let Some((width, height)) = question.get("size").and_then(size) {
        let grid = grid(model, width, height);
        return format!("{{\"grid\":{:?}}}", [grid.columns, grid.rows, grid.width, grid.height]);
    }
    if lone_surrogate && Tokenizer::built_in(model.tokenizer).rejects_surrogates() {
        return "{\"refused\":[\"invalid-utf8\",\"\",\"half of a surrogate pair\"]}".to_owned();
    }
    let layout = question.get("layout").and_then(Value::as_str).and_then(Layout::find).unwrap_or_default();
    let sizes: Vec<_> =
        question.get("sizes").and_then(Value::as_array).unwrap_or_default().iter().filter_map(size).collect();
    let request = question.get("request").unwrap_or(&Value::Null);
    let encoded = match strict::read(request) {
        Ok(sample) => ChatEncoder::new(model, layout).encode(&sample, &sizes),
        Err(findings) => {
            Err(findings.into_iter().next().unwrap_or_else(|| unreachable!("an error has a finding")))
        }
    };
    encoded.map_or_else(|finding| refused(&finding), |encoded| ids(&encoded))
}

fn size(pair: &Value<'_>) -> Option<(u32, u32)> {
    let side = |value: &Value<'_>| match value {
        Value::Number(number) => number.parse().ok(),
        _ => None,
    };
    match pair.as_array()? {
        [width, height] => Some((side(width)?, side(height)?)),
        _ => None,
    }
}

fn ids(encoded: &Encoded) -> String {
    let runs: Vec<_> = encoded.counts.runs.iter().map(|run| [usize::from(run.trained), run.tokens]).collect();
    format!("{{\"ids\":{:?},\"runs\":{runs:?}}}", encoded.ids)
}

fn refused(finding: &Finding) -> String {
    let mut out = String::from("{\"refused\":[");
    for (index, text) in [finding.rule.id, &finding.pointer, &finding.message].into_iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        json::write_string(text, &mut out);
    }
    out.push_str("]}");
    out
}
