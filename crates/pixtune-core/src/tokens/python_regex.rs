//! Whether a text is a regular expression to Python 3.11's `re`: the reference compiles every `pattern` of a tool's
//! schema. Only the syntax is read; nothing is matched.

use std::collections::HashMap;

/// Groups in groups beyond this are refused, as Python's own recursion limit would.
const MAX_DEPTH: usize = 150;

/// `Ok` or what is wrong, in Python's words where it has some.
pub(super) fn check(pattern: &str) -> Result<(), &'static str> {
    let mut parser =
        Parser { rest: pattern.chars().collect(), at: 0, groups: vec![None], ..Parser::default() };
    parser.alternatives(0)?;
    if parser.at < parser.rest.len() {
        return Err("unbalanced parenthesis");
    }
    if parser.conditions.iter().any(|&group| group >= parser.groups.len()) {
        return Err("invalid group reference");
    }
    Ok(())
}

/// The least and the most characters a part can match.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Width(u64, u64);

impl Width {
    const ONE: Width = Width(1, 1);
    const NOTHING: Width = Width(0, 0);

    fn then(self, next: Width) -> Width {
        Width(self.0.saturating_add(next.0), self.1.saturating_add(next.1))
    }

    fn or(self, other: Width) -> Width {
        Width(self.0.min(other.0), self.1.max(other.1))
    }

    fn times(self, least: u64, most: u64) -> Width {
        Width(self.0.saturating_mul(least), self.1.saturating_mul(most))
    }
}

/// What stands before a quantifier.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Item {
    Nothing,
    Anchor,
    Repeat,
    Other,
}

#[derive(Default)]
struct Parser {
    rest: Vec<char>,
    at: usize,
    /// Widths of the groups so far, the whole pattern being 0; `None` while a group is open.
    groups: Vec<Option<Width>>,
    names: HashMap<String, usize>,
    /// Groups that conditions ask for; they may come later.
    conditions: Vec<usize>,
    /// In a look-behind: how many groups there were before it.
    look_behind: Option<usize>,
    /// White space and comments are skipped.
    verbose: bool,
}

type Part = Result<Width, &'static str>;

impl Parser {
    fn peek(&self) -> Option<char> {
        self.rest.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek();
        self.at += usize::from(next.is_some());
        next
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn take_while(&mut self, most: usize, wanted: impl Fn(char) -> bool) -> String {
        let taken: String =
            self.rest[self.at..].iter().take(most).take_while(|&&next| wanted(next)).collect();
        self.at += taken.chars().count();
        taken
    }

    fn until(&mut self, end: char, otherwise: &'static str) -> Result<String, &'static str> {
        let text = self.take_while(usize::MAX, |next| next != end);
        if !self.take(end) {
            return Err(otherwise);
        }
        if text.is_empty() { Err("missing group name") } else { Ok(text) }
    }

    fn alternatives(&mut self, depth: usize) -> Part {
        if depth > MAX_DEPTH {
            return Err("too many groups in groups");
        }
        let mut width = self.sequence(depth, depth == 0)?;
        while self.take('|') {
            width = width.or(self.sequence(depth, false)?);
        }
        Ok(width)
    }

    fn sequence(&mut self, depth: usize, first: bool) -> Part {
        let (mut width, mut last_width, mut last) = (Width::NOTHING, Width::NOTHING, Item::Nothing);
        while let Some(next) = self.peek() {
            if matches!(next, '|' | ')') {
                break;
            }
            self.at += 1;
            if self.verbose && matches!(next, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}') {
                continue;
            }
            if self.verbose && next == '#' {
                self.take_while(usize::MAX, |next| next != '\n');
                continue;
            }
            let (item, item_width) = match next {
                '*' | '+' | '?' | '{' => match self.quantifier(next)? {
                    None => (Item::Other, Width::ONE),
                    Some((least, most)) => {
                        match last {
                            Item::Nothing | Item::Anchor => return Err("nothing to repeat"),
                            Item::Repeat => return Err("multiple repeat"),
                            Item::Other => {}
                        }
                        if !self.take('?') {
                            self.take('+');
                        }
                        last = Item::Repeat;
                        // `width` is still without the item.
                        last_width = last_width.times(least, most);
                        continue;
                    }
                },
                '^' | '$' => (Item::Anchor, Width::NOTHING),
                '[' => (Item::Other, self.class()?),
                '(' => match self.group(depth, first && last == Item::Nothing)? {
                    Some(width) => (Item::Other, width),
                    None => continue,
                },
                '\\' => self.escape()?,
                _ => (Item::Other, Width::ONE),
            };
            width = width.then(last_width);
            (last, last_width) = (item, item_width);
        }
        Ok(width.then(last_width))
    }

    /// How often; `None` where a brace is only a brace.
    fn quantifier(&mut self, first: char) -> Result<Option<(u64, u64)>, &'static str> {
        match first {
            '*' => return Ok(Some((0, u64::MAX))),
            '+' => return Ok(Some((1, u64::MAX))),
            '?' => return Ok(Some((0, 1))),
            _ => {}
        }
        let start = self.at;
        if self.peek() == Some('}') {
            return Ok(None);
        }
        let least = self.take_while(usize::MAX, |next| next.is_ascii_digit());
        let most = if self.take(',') {
            self.take_while(usize::MAX, |next| next.is_ascii_digit())
        } else {
            least.clone()
        };
        if !self.take('}') {
            self.at = start;
            return Ok(None);
        }
        let count = |digits: &str, otherwise| match digits {
            "" => Ok(otherwise),
            _ => digits
                .parse()
                .ok()
                .filter(|&count| count < 4_294_967_295)
                .ok_or("the repetition number is too large"),
        };
        let (least, most) = (count(&least, 0)?, count(&most, u64::MAX)?);
        if most < least { Err("min repeat greater than max repeat") } else { Ok(Some((least, most))) }
    }

    fn escape(&mut self) -> Result<(Item, Width), &'static str> {
        let literal = Ok((Item::Other, Width::ONE));
        match self.next().ok_or("bad escape (end of pattern)")? {
            'A' | 'Z' | 'b' | 'B' => Ok((Item::Anchor, Width::NOTHING)),
            'd' | 'D' | 's' | 'S' | 'w' | 'W' | 'a' | 'f' | 'n' | 'r' | 't' | 'v' => literal,
            kind @ ('x' | 'u' | 'U' | 'N') => self.code_point(kind).map(|_| (Item::Other, Width::ONE)),
            '0' => {
                self.take_while(2, |next| next.is_digit(8));
                literal
            }
            first @ '1'..='9' => {
                let mut digits = String::from(first);
                if let Some(second) = self.peek().filter(char::is_ascii_digit) {
                    self.at += 1;
                    digits.push(second);
                    let octal = first < '8' && second < '8';
                    if let Some(third) = self.peek().filter(|third| octal && third.is_digit(8)) {
                        self.at += 1;
                        return if first > '3' {
                            Err("octal escape value outside of range 0-0o377")
                        } else {
                            let _ = third;
                            literal
                        };
                    }
                }
                let group = digits.parse().map_err(|_| "invalid group reference")?;
                self.reference(group).map(|width| (Item::Other, width))
            }
            letter if letter.is_ascii_alphabetic() => Err("bad escape"),
            _ => literal,
        }
    }

    fn reference(&self, group: usize) -> Part {
        let width = self.groups.get(group).ok_or("invalid group reference")?;
        let width = width.ok_or("cannot refer to an open group")?;
        match self.look_behind {
            Some(before) if group >= before => {
                Err("cannot refer to group defined in the same lookbehind subpattern")
            }
            _ => Ok(width),
        }
    }

    fn code_point(&mut self, kind: char) -> Result<char, &'static str> {
        if kind == 'N' {
            // The name itself is not looked up.
            return match self.take('{') {
                true => self.until('}', "missing }, unterminated name").map(|_| '\0'),
                false => Err("missing {"),
            };
        }
        let length = match kind {
            'x' => 2,
            'u' => 4,
            _ => 8,
        };
        let digits = self.take_while(length, |next| next.is_ascii_hexdigit());
        if digits.len() < length {
            return Err("incomplete escape");
        }
        match u32::from_str_radix(&digits, 16) {
            // Half a pair is a character to Python; any of them orders like its neighbor below.
            Ok(0xd800..=0xdfff) => Ok('\u{d7ff}'),
            Ok(code) => char::from_u32(code).ok_or("bad escape"),
            Err(_) => Err("bad escape"),
        }
    }

    fn class(&mut self) -> Part {
        const UNTERMINATED: &str = "unterminated character set";
        self.take('^');
        let start = self.at;
        loop {
            let next = self.next().ok_or(UNTERMINATED)?;
            if next == ']' && self.at > start + 1 {
                return Ok(Width::ONE);
            }
            let low = self.class_member(next)?;
            if !self.take('-') {
                continue;
            }
            let next = self.next().ok_or(UNTERMINATED)?;
            if next == ']' {
                return Ok(Width::ONE);
            }
            match (low, self.class_member(next)?) {
                (Some(low), Some(high)) if low <= high => {}
                _ => return Err("bad character range"),
            }
        }
    }

    /// The character, or `None` for a class such as `\d`.
    fn class_member(&mut self, next: char) -> Result<Option<char>, &'static str> {
        if next != '\\' {
            return Ok(Some(next));
        }
        Ok(Some(match self.next().ok_or("bad escape (end of pattern)")? {
            'd' | 'D' | 's' | 'S' | 'w' | 'W' => return Ok(None),
            'a' => '\u{7}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            kind @ ('x' | 'u' | 'U' | 'N') => self.code_point(kind)?,
            first @ '0'..='7' => {
                let digits = format!("{first}{}", self.take_while(2, |next| next.is_digit(8)));
                let code = u8::from_str_radix(&digits, 8)
                    .map_err(|_| "octal escape value outside of range 0-0o377")?;
                char::from(code)
            }
            bad if bad.is_ascii_alphanumeric() => return Err("bad escape"),
            other => other,
        }))
    }

    /// What stands behind an opening parenthesis; `None` for comments and flags, which match nothing.
    fn group(&mut self, depth: usize, at_start: bool) -> Result<Option<Width>, &'static str> {
        if !self.take('?') {
            return self.capture(depth, None).map(Some);
        }
        match self.next().ok_or("unexpected end of pattern")? {
            ':' | '>' => self.closed(depth).map(Some),
            '#' => {
                self.take_while(usize::MAX, |next| next != ')');
                if self.take(')') { Ok(None) } else { Err("missing ), unterminated comment") }
            }
            '=' | '!' => self.closed(depth).map(|_| Some(Width::NOTHING)),
            '<' => match self.next().ok_or("unexpected end of pattern")? {
                '=' | '!' => self.look_behind(depth).map(Some),
                _ => Err("unknown extension"),
            },
            'P' => self.named(depth).map(Some),
            '(' => self.condition(depth).map(Some),
            flag => {
                self.at -= 1;
                let _ = flag;
                self.flags(depth, at_start)
            }
        }
    }

    fn closed(&mut self, depth: usize) -> Part {
        let verbose = self.verbose;
        let width = self.alternatives(depth + 1)?;
        self.verbose = verbose;
        if self.take(')') { Ok(width) } else { Err("missing ), unterminated subpattern") }
    }

    fn capture(&mut self, depth: usize, name: Option<String>) -> Part {
        let group = self.groups.len();
        self.groups.push(None);
        if let Some(name) = name
            && self.names.insert(name, group).is_some()
        {
            return Err("redefinition of group name");
        }
        let width = self.closed(depth)?;
        self.groups[group] = Some(width);
        Ok(width)
    }

    fn look_behind(&mut self, depth: usize) -> Part {
        let outermost = self.look_behind.is_none();
        if outermost {
            self.look_behind = Some(self.groups.len());
        }
        let width = self.closed(depth)?;
        if outermost {
            self.look_behind = None;
        }
        if width.0 == width.1 { Ok(Width::NOTHING) } else { Err("look-behind requires fixed-width pattern") }
    }

    fn named(&mut self, depth: usize) -> Part {
        if self.take('<') {
            let name = self.until('>', "missing >, unterminated name")?;
            return if is_identifier(&name) {
                self.capture(depth, Some(name))
            } else {
                Err("bad character in group name")
            };
        }
        if self.take('=') {
            let name = self.until(')', "missing ), unterminated name")?;
            let group = *self.names.get(&name).ok_or("unknown group name")?;
            return self.reference(group);
        }
        Err("unknown extension")
    }

    fn condition(&mut self, depth: usize) -> Part {
        let name = self.until(')', "missing ), unterminated name")?;
        let group = match self.names.get(&name) {
            Some(&group) => group,
            None if is_identifier(&name) => return Err("unknown group name"),
            None => match name.parse::<usize>() {
                Ok(0) => return Err("bad group number"),
                Ok(group) if name.bytes().all(|byte| byte.is_ascii_digit()) => group,
                _ => return Err("bad character in group name"),
            },
        };
        if self.look_behind.is_some() {
            self.reference(group)?;
        }
        self.conditions.push(group);
        let mut width = self.sequence(depth + 1, false)?;
        width = if self.take('|') {
            width.or(self.sequence(depth + 1, false)?)
        } else {
            width.or(Width::NOTHING)
        };
        match self.peek() {
            Some(')') => {
                self.at += 1;
                Ok(width)
            }
            Some('|') => Err("conditional backref with more than two branches"),
            _ => Err("missing ), unterminated subpattern"),
        }
    }

    fn flags(&mut self, depth: usize, at_start: bool) -> Result<Option<Width>, &'static str> {
        let on = self.take_while(usize::MAX, |next| next.is_ascii_alphabetic());
        if !on.chars().all(|flag| "aimsux".contains(flag)) || (on.contains('a') && on.contains('u')) {
            return Err("unknown extension or flag");
        }
        match self.next() {
            Some(')') if on.is_empty() => Err("unknown extension"),
            Some(')') if !at_start => Err("global flags not at the start of the expression"),
            Some(')') => {
                self.verbose |= on.contains('x');
                Ok(None)
            }
            Some(':') if !on.is_empty() => self.with_flags(depth, &on, ""),
            Some('-') => {
                let off = self.take_while(usize::MAX, |next| next.is_ascii_alphabetic());
                let legal =
                    !off.is_empty() && off.chars().all(|flag| "imsx".contains(flag) && !on.contains(flag));
                if legal && self.take(':') { self.with_flags(depth, &on, &off) } else { Err("unknown flag") }
            }
            _ => Err("unknown extension or flag"),
        }
    }

    fn with_flags(&mut self, depth: usize, on: &str, off: &str) -> Result<Option<Width>, &'static str> {
        let verbose = self.verbose;
        self.verbose = (verbose || on.contains('x')) && !off.contains('x');
        let width = self.closed(depth);
        self.verbose = verbose;
        width.map(Some)
    }
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.chars();
    characters.next().is_some_and(|first| first == '_' || first.is_alphabetic())
        && characters.all(|next| next == '_' || next.is_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn accepts_what_python_compiles() {
        for pattern in [
            "",
            "^[a-z]+$",
            r"\d{3}-\d{2,}",
            "a|b|",
            "(a)(?P<x>b)\\1(?P=x)",
            "[]a]",
            "[^]a-]",
            r"[\w-]",
            "{",
            "a{,2}",
            "a{x",
            "a*?",
            "a*+",
            "(?:a*)*",
            "(?i)a",
            "(?i:a)b",
            "(?-i:a)",
            "(?x) # (\n a",
            "(?<=ab)c",
            "(?<!a|b)c",
            "(?=a)*",
            "(?>a)",
            "(a)?(?(1)b|c)",
            r"\x41é\U0001F600",
            r"\07\123",
            "(?#c)a",
            r"\.",
            "a{1}{",
            "(?:)*",
        ] {
            assert_eq!(check(pattern), Ok(()), "{pattern:?}");
        }
    }

    #[test]
    fn refuses_what_python_does() {
        for pattern in [
            "[",
            "(",
            ")",
            "a)",
            "*a",
            "a**",
            "^*",
            r"\b+",
            "a{2}{3}",
            "a{3,2}",
            "[z-a]",
            r"[\d-z]",
            r"\p{L}",
            r"\",
            "(?<n>a)",
            "(?P<1>a)",
            "(?P<a>x)(?P<a>y)",
            "(?P=a)",
            r"\1",
            r"(\1)",
            "(?<=a*)b",
            "(?<=a|bc)d",
            "a(?i)",
            "(?",
            "(?z)",
            r"\x4",
            r"[\8]",
            r"[\Z]",
            "(?#a",
            "(?(1)a)",
            "(?(0)a)",
            "(a)(?(1)a|b|c)",
            r"\777",
            "(?L)a",
            "(?au)a",
            "+",
        ] {
            assert!(check(pattern).is_err(), "{pattern:?}");
        }
    }
}
