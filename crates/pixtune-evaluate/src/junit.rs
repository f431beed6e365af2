//! A result as JUnit XML, which CI systems show.

use std::fmt::Write as _;

use pixtune_core::text::counted;

use crate::evaluation::{Evaluation, MOST_FAILURES};

/// The file: one test case for the score, one for each threshold, and one for each sample without a score.
pub fn junit(evaluation: &Evaluation) -> String {
    let missed = evaluation.missed().count();
    let errors = evaluation.failures.len();
    let tests = 1 + evaluation.thresholds.len() + errors;
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites>\n  <testsuite name=\"pixtune evaluate\"{}{}{}>",
        attribute("tests", tests),
        attribute("failures", missed),
        attribute("errors", errors)
    );
    let metric = evaluation.metric.name();
    let score = evaluation.standing.score_with_failures();
    let _ = writeln!(
        out,
        "    <testcase classname=\"score\" name=\"{}\">\n      <system-out>{score:.4} over {}</system-out>\n    </testcase>",
        escape(&metric),
        counted(evaluation.samples, "sample")
    );
    for (threshold, reached) in &evaluation.thresholds {
        let name = escape(&format!("{} is at least {}", threshold.name, threshold.least));
        if *reached < threshold.least {
            let _ = writeln!(
                out,
                "    <testcase classname=\"threshold\" name=\"{name}\">\n      <failure message=\"{reached:.4} is less than {}\"/>\n    </testcase>",
                threshold.least
            );
        } else {
            let _ = writeln!(out, "    <testcase classname=\"threshold\" name=\"{name}\"/>");
        }
    }
    for found in &evaluation.failures {
        let finding = &found.finding;
        let _ = writeln!(
            out,
            "    <testcase classname=\"{}\" name=\"{}:{}\">\n      <error type=\"{}\" message=\"{}\"/>\n    </testcase>",
            escape(&found.file),
            escape(&found.file),
            found.line,
            finding.rule.id,
            escape(&finding.message)
        );
    }
    if errors == MOST_FAILURES {
        let _ =
            writeln!(out, "    <system-out>only the first {MOST_FAILURES} errors are listed</system-out>");
    }
    out.push_str("  </testsuite>\n</testsuites>\n");
    out
}

fn attribute(name: &str, number: usize) -> String {
    format!(" {name}=\"{number}\"")
}

/// Text in an attribute or between tags; what XML 1.0 cannot hold becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(' '),
            '\u{fffe}' | '\u{ffff}' => out.push(char::REPLACEMENT_CHARACTER),
            _ if character.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn hostile_text_is_text() {
        assert_eq!(escape("<a b=\"c\">&\u{0}\n\u{ffff}"), "&lt;a b=&quot;c&quot;&gt;&amp;\u{fffd} \u{fffd}");
    }
}
