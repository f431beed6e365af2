//! Whether Python's `re` compiles a pattern: the reference compiles every `pattern` in a tool's schema.
//!
//! A scan finds what Python 3.11 is sure to reject. Everything else is left to the `fancy-regex` crate, whose syntax is close
//! to Python's but not the same, so that a pattern it rejects is only doubtful.

use fancy_regex::Expr;

/// Whether Python compiles a pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Accepted,
    /// Python may reject it, for this reason.
    Doubtful(String),
    /// Python rejects it, in its own words.
    Rejected(&'static str),
}

pub(super) fn judge(pattern: &str) -> Verdict {
    if !is_verbose(pattern)
        && let Err(reason) = scan(pattern)
    {
        return Verdict::Rejected(reason);
    }
    match Expr::parse_tree(pattern) {
        Ok(_) => Verdict::Accepted,
        Err(error) => Verdict::Doubtful(error.to_string()),
    }
}

/// Whether the flag for verbose mode is set somewhere: `#` starts a comment then, which the scan does not skip.
fn is_verbose(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, start)| {
        let flags = pattern[at + start.len()..].chars().take_while(char::is_ascii_alphabetic);
        { flags }.any(|flag| flag == 'x')
    })
}

/// Follows escapes, character sets and parentheses.
fn scan(pattern: &str) -> Result<(), &'static str> {
    let mut rest = pattern.chars();
    let mut open: usize = 0;
    let mut can_repeat = false;
    while let Some(next) = rest.next() {
        let starts_branch = matches!(next, '(' | '|');
        match next {
            '\\' => escape(&mut rest, OUTSIDE_SETS)?,
            '[' => set(&mut rest)?,
            '(' => {
                open += 1;
                extension(&mut rest)?;
            }
            ')' => open = open.checked_sub(1).ok_or("unbalanced parenthesis")?,
            '*' | '+' | '?' if !can_repeat => return Err("nothing to repeat"),
            _ => {}
        }
        can_repeat = !starts_branch;
    }
    if open > 0 { Err("missing ), unterminated subpattern") } else { Ok(()) }
}

/// ASCII letters that may follow a backslash; digits and other characters may as well.
const OUTSIDE_SETS: &str = "AZbBdDsSwWafnrtvxuUN";
const IN_SETS: &str = "dDsSwWabfnrtvxuUN";

fn escape(rest: &mut std::str::Chars<'_>, letters: &str) -> Result<(), &'static str> {
    match rest.next() {
        None => Err("bad escape (end of pattern)"),
        Some(letter) if letter.is_ascii_alphabetic() && !letters.contains(letter) => Err("bad escape"),
        Some(_) => Ok(()),
    }
}

/// A character set after its opening bracket; a bracket that follows directly is one of its characters.
fn set(rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
    let mut is_first = true;
    let without_caret = rest.as_str().strip_prefix('^').unwrap_or(rest.as_str());
    *rest = without_caret.chars();
    loop {
        match rest.next().ok_or("unterminated character set")? {
            ']' if !is_first => return Ok(()),
            '\\' => escape(rest, IN_SETS)?,
            _ => {}
        }
        is_first = false;
    }
}

/// What follows an opening parenthesis: JavaScript's `(?<name>…)` is not Python's; a comment is skipped.
fn extension(rest: &mut std::str::Chars<'_>) -> Result<(), &'static str> {
    let Some(kind) = rest.as_str().strip_prefix('?') else { return Ok(()) };
    if kind.starts_with('<') && !kind.starts_with("<=") && !kind.starts_with("<!") {
        return Err("unknown extension (Python writes a named group as `(?P<name>…)`)");
    }
    if let Some(comment) = kind.strip_prefix('#') {
        let mut is_escaped = false;
        let ends = |c| {
            let ends = c == ')' && !is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            ends
        };
        let end = comment.find(ends).ok_or("missing ), unterminated comment")?;
        *rest = comment[end..].chars();
        return Ok(());
    }
    // The question mark belongs to the parenthesis and repeats nothing.
    *rest = kind.chars();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_patterns_of_python_and_this_crate() {
        for pattern in [
            "",
            "^[a-z]+$",
            r"\d{3}-\d{2,}",
            "a|b|",
            "[]a]",
            "[^]a-]",
            r"[\w.+-]+@[\w-]+\.[\w.]+",
            "{",
            "a{,2}",
            "a*?",
            "a*+",
            "(?:a*)*",
            "(?i)a",
            "(?x) # (\n a",
            "(?<=ab)c",
            "(?<!a|b)c",
            "^(?=.*[A-Z])(?!.*x).+$",
            "(a)?(?(1)b|c)",
            r"\x41é\U0001F600",
            "(?#c)a",
            "(?P<x>b)(?P=x)",
            r"^\/api\/",
        ] {
            assert_eq!(judge(pattern), Verdict::Accepted, "{pattern:?}");
        }
    }

    #[test]
    fn rejects_patterns_that_python_rejects() {
        for (pattern, reason) in [
            ("[", "unterminated character set"),
            ("[]", "unterminated character set"),
            ("(", "missing ), unterminated subpattern"),
            ("(?", "missing ), unterminated subpattern"),
            (")", "unbalanced parenthesis"),
            ("a)", "unbalanced parenthesis"),
            (r"[)](]\)", "missing ), unterminated subpattern"),
            ("*a", "nothing to repeat"),
            ("a|+", "nothing to repeat"),
            (r"\p{L}", "bad escape"),
            (r"[\Z]", "bad escape"),
            (r"\", "bad escape (end of pattern)"),
            ("(?#a", "missing ), unterminated comment"),
        ] {
            assert_eq!(judge(pattern), Verdict::Rejected(reason), "{pattern:?}");
        }
        assert!(matches!(judge("(?<n>a)"), Verdict::Rejected(_)));
    }

    #[test]
    fn doubts_syntax_that_only_python_has() {
        for pattern in [r"\N{DASH}", "(?=a)*", "[[]", r"\07", "(?a)x", "(a)(?P<x>b)\\1"] {
            assert!(matches!(judge(pattern), Verdict::Doubtful(_)), "{pattern:?}");
        }
    }

    #[test]
    fn hostile_patterns_end_without_a_panic() {
        for pattern in [
            "(".repeat(100_000),
            "a{9}".repeat(100_000),
            "[[".repeat(50_000),
            "(?:".repeat(1000) + &")".repeat(1000),
        ] {
            judge(&pattern);
        }
    }
}
