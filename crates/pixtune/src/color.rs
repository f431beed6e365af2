//! Colored output on a terminal, unless `NO_COLOR`, `TERM=dumb` or a similar setting disables it.

use std::borrow::Cow;

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};

/// Words at the start of a line that give its severity or verdict.
const OPENINGS: [(&str, AnsiColor); 7] = [
    ("error", AnsiColor::Red),
    ("warning", AnsiColor::Yellow),
    ("rejected ", AnsiColor::Red),
    ("wrong ", AnsiColor::Red),
    ("ignored ", AnsiColor::Yellow),
    ("fixed", AnsiColor::Green),
    ("applied ", AnsiColor::Green),
];

/// When messages are colored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Color {
    Auto,
    Always,
    Never,
}

/// Applies `--color` to the whole run. `auto` also respects `FORCE_COLOR`, which anstream does not read.
pub fn choose(color: Color) {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let forced = set("NO_COLOR").is_none() && set("FORCE_COLOR").is_some_and(|value| value != "0");
    match color {
        Color::Never => ColorChoice::Never.write_global(),
        Color::Always => ColorChoice::AlwaysAnsi.write_global(),
        Color::Auto if forced => ColorChoice::AlwaysAnsi.write_global(),
        Color::Auto => {}
    }
}

/// Whether the stream is a terminal that shows colors.
pub fn shows_colors(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// Colors severities and verdicts at the start of lines, hints, and the marker under an excerpt, if `wanted`.
pub fn paint(text: &str, wanted: bool) -> Cow<'_, str> {
    if !wanted {
        return text.into();
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut last = Style::new();
    for line in text.split_inclusive('\n') {
        let (before, word, style) = opening(line, last);
        let (word, after) = line[before..].split_at(word);
        out.push_str(&line[..before]);
        if word.is_empty() {
            out.push_str(after);
        } else {
            out.push_str(&format!("{style}{word}{style:#}{after}"));
        }
        last = if before == 0 && !word.is_empty() { style } else { last };
    }
    out.into()
}

/// Start, length and style of the colored part of a line. The marker under an excerpt has the style of its finding.
fn opening(line: &str, last: Style) -> (usize, usize, Style) {
    for (word, color) in OPENINGS {
        let Some(rest) = line.strip_prefix(word) else { continue };
        let rule = match rest.split_once(']') {
            Some((rule, _)) if rule.starts_with('[') => rule.len() + 1,
            _ if word.ends_with(' ') || rest.starts_with(':') => 0,
            _ => continue,
        };
        return (0, word.trim_end().len() + rule, color.on_default().bold());
    }
    if line.starts_with("  hint: ") {
        return (2, "hint:".len(), AnsiColor::Cyan.on_default());
    }
    let mark = line.strip_prefix("  | ").map(str::trim);
    if mark == Some("^") {
        return (line.len() - line[3..].trim_start().len(), 1, last);
    }
    (0, 0, Style::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, painted: &str) {
        let escaped = paint(text, true).replace("\u{1b}[0m", "/").replace('\u{1b}', "");
        assert_eq!(escaped, painted);
        assert_eq!(paint(text, false), text);
        let mut plain = paint(text, true).into_owned();
        for style in ["[0m", "[1m", "[31m", "[33m", "[32m", "[36m"] {
            plain = plain.replace(&format!("\u{1b}{style}"), "");
        }
        assert_eq!(plain, text);
    }

    #[test]
    fn colors_only_severities_hints_and_markers() {
        check("error[json-nan]: a.jsonl:1: no\n", "[1m[31merror[json-nan]/: a.jsonl:1: no\n");
        check("warning: late\n  hint: hurry", "[1m[33mwarning/: late\n  [36mhint:/ hurry");
        check(
            "error[x]: y\n  | {\"a\": é}\n  |      ^\n",
            "[1m[31merror[x]/: y\n  | {\"a\": é}\n  |      [1m[31m^/\n",
        );
        check("applied   q_proj\nwrong     k_proj", "[1m[32mapplied/   q_proj\n[1m[31mwrong/     k_proj");
        check("errors of others\nwarnings 3\n  | ^ é\n", "errors of others\nwarnings 3\n  | ^ é\n");
    }
}
