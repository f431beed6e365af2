//! Findings of rows as lines of JSON, for the process that reports them.

use pixtune_core::diagnostic::{Finding, Severity};
use pixtune_core::json::{self, object};
use pixtune_core::rules;

/// A finding of the row with this number.
pub(super) fn to_line(row: u64, finding: &Finding) -> String {
    let Finding { rule, pointer, message, hint, severity, .. } = finding;
    json::line(object(|out| {
        out.field("row", row).field("rule", rule.id).field("severity", severity.as_str());
        out.field("pointer", pointer).field("message", message).field("hint", hint.as_deref());
    }))
}

/// Reads such a line.
pub(super) fn parse(line: &str) -> Option<(u64, Finding)> {
    let parsed = json::parse(line).ok()?.value;
    let text = |key| parsed.text(key).map(str::to_owned);
    let rule = rules::find(parsed.text("rule")?)?;
    let severity = match parsed.text("severity")? {
        "error" => Severity::Error,
        _ => Severity::Warning,
    };
    let (pointer, message) = (text("pointer")?, text("message")?);
    let finding = Finding { rule, pointer, message, hint: text("hint"), severity, offset: None };
    Some((super::number(&parsed, "row")?, finding))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finding_is_read_back() {
        let mut finding = Finding::new(&rules::IMAGE_UNREADABLE, "/image", "`a \"b\"\n` is not an image");
        assert_eq!(parse(&to_line(7, &finding)), Some((7, finding.clone())));
        finding = finding.hint("fetch it again");
        finding.severity = Severity::Warning;
        assert_eq!(parse(&to_line(1 << 60, &finding)), Some((1 << 60, finding)));
    }
}
