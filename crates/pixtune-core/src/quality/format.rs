//! The format of an response: JSON, a number, one word, a list, ….

use crate::json::{self, Value};

/// The format of an response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResponseFormat {
    /// Only white space.
    Empty,
    /// Yes or no, true or false, in several languages.
    YesNo,
    /// The letter of a choice: `B`, `(b)`, `C.`
    Choice,
    /// A number.
    Number,
    /// A number with its unit, currency or thing: `12 kg`, `$3.50`, `45%`, `3 cars`.
    NumberWithUnit,
    /// A date in digits.
    Date,
    /// One word.
    Word,
    /// A few words that are not a sentence.
    Phrase,
    /// One sentence.
    Sentence,
    /// Several sentences.
    Text,
    /// Lines with bullets or numbers.
    List,
    /// A Markdown table.
    Table,
    /// A JSON object.
    JsonObject,
    /// A JSON array.
    JsonArray,
    /// Starts like JSON but is invalid.
    BrokenJson,
    /// A fenced block of code.
    Code,
    /// HTML or XML.
    Markup,
}

use ResponseFormat::{
    BrokenJson, Choice, Code, Date, Empty, JsonArray, JsonObject, List, Markup, Number, NumberWithUnit,
    Phrase, Sentence, Table, Text, Word, YesNo,
};

impl ResponseFormat {
    /// Every format, in the order of the enum.
    pub const ALL: [ResponseFormat; 17] = [
        Empty,
        YesNo,
        Choice,
        Number,
        NumberWithUnit,
        Date,
        Word,
        Phrase,
        Sentence,
        Text,
        List,
        Table,
        JsonObject,
        JsonArray,
        BrokenJson,
        Code,
        Markup,
    ];

    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Empty => "empty",
            YesNo => "yes-no",
            Choice => "choice",
            Number => "number",
            NumberWithUnit => "number-with-unit",
            Date => "date",
            Word => "word",
            Phrase => "phrase",
            Sentence => "sentence",
            Text => "text",
            List => "list",
            Table => "table",
            JsonObject => "json-object",
            JsonArray => "json-array",
            BrokenJson => "broken-json",
            Code => "code",
            Markup => "markup",
        }
    }

    /// The format in words, as in "most responses are …".
    pub fn in_words(self) -> &'static str {
        match self {
            Empty => "empty",
            YesNo => "yes or no",
            Choice => "the letter of a choice",
            Number => "a number",
            NumberWithUnit => "a number with a unit",
            Date => "a date",
            Word => "one word",
            Phrase => "a few words",
            Sentence => "a sentence",
            Text => "several sentences",
            List => "a list",
            Table => "a table",
            JsonObject => "a JSON object",
            JsonArray => "a JSON array",
            BrokenJson => "broken JSON",
            Code => "code",
            Markup => "HTML or XML",
        }
    }

    /// Whether it is sentences.
    pub(super) fn is_prose(self) -> bool {
        matches!(self, Sentence | Text)
    }

    /// Whether it is an answer in a few words.
    pub(super) fn is_short(self) -> bool {
        matches!(self, YesNo | Choice | Number | NumberWithUnit | Date | Word | Phrase)
    }

    /// Whether an response of the other format is not unusual where most responses have this one.
    pub(super) fn admits(self, other: ResponseFormat) -> bool {
        self == other
            || match self {
                Word => matches!(other, Phrase | YesNo | Date),
                Phrase => matches!(other, Word | YesNo | Number | NumberWithUnit | Date | Sentence),
                Sentence => matches!(other, Text),
                Text => matches!(other, Sentence | List | Table | Code),
                _ => false,
            }
    }
}

/// The format of an response and, of a JSON object, its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classified {
    /// The format.
    pub format: ResponseFormat,
    /// The keys of an object, sorted.
    pub keys: Option<Vec<String>>,
    /// The text ends inside open brackets, an open string or an open code block.
    pub unclosed: bool,
}

/// Larger responses are not parsed as JSON.
const LONGEST_PARSED: usize = 1 << 20;
/// Maximum keys of an object that are compared.
const MOST_KEYS: usize = 64;

/// Classifies an response.
pub fn classify(text: &str) -> Classified {
    let text = text.trim();
    let of = |format| Classified { format, keys: None, unclosed: false };
    if text.is_empty() {
        return of(Empty);
    }
    if text.len() > LONGEST_PARSED {
        return of(Text);
    }
    if let Some(fenced) = text.strip_prefix("```") {
        return match fenced.strip_suffix("```") {
            Some(inner) => {
                let (language, code) = inner.split_once('\n').unwrap_or(("", inner));
                json_form(code.trim()).unwrap_or_else(|| match language.trim() {
                    "json" => of(BrokenJson),
                    _ => of(Code),
                })
            }
            None if fenced.contains("```") => of(Text),
            None => Classified { unclosed: true, ..of(Code) },
        };
    }
    if let Some(classified) = json_form(text) {
        return classified;
    }
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if lines == 1 {
        if let Some(format) = short_form(text) {
            return of(format);
        }
    } else {
        let share = |is: fn(&str) -> bool| {
            let such = text.lines().filter(|line| is(line.trim_start())).count();
            such >= 2 && such * 5 >= lines * 3
        };
        if share(|line| line.starts_with('|')) {
            return of(Table);
        }
        if share(is_list_line) {
            return of(List);
        }
    }
    if text.starts_with('<') && text.ends_with('>') && text.contains("</") {
        return of(Markup);
    }
    of(prose_form(text))
}

fn json_form(text: &str) -> Option<Classified> {
    let of = |format, keys, unclosed| Some(Classified { format, keys, unclosed });
    let (first, rest) = (text.chars().next()?, text.get(1..)?.trim_start());
    let looks = match first {
        '{' => rest.starts_with(['"', '}', '\'']),
        '[' => rest.starts_with(['"', '{', '[', ']', '-']) || rest.starts_with(|c: char| c.is_ascii_digit()),
        _ => return None,
    };
    match json::parse(text) {
        Ok(parsed) => match parsed.value {
            Value::Object(members) => {
                let mut keys: Vec<String> =
                    members.into_iter().take(MOST_KEYS).map(|(key, _)| key.into_owned()).collect();
                keys.sort_unstable();
                keys.dedup();
                of(JsonObject, Some(keys), false)
            }
            _ => of(JsonArray, None, false),
        },
        Err(error) if looks => of(BrokenJson, None, error.offset >= text.len()),
        Err(_) => None,
    }
}

fn short_form(text: &str) -> Option<ResponseFormat> {
    const YES_NO: [&str; 20] = [
        "yes", "no", "true", "false", "oui", "non", "vrai", "faux", "ja", "nein", "sí", "si", "sì", "não",
        "sim", "да", "нет", "是", "否", "はい",
    ];
    if text.chars().count() > 60 {
        return None;
    }
    let bare = text.trim_end_matches(['.', '!']).to_lowercase();
    if YES_NO.contains(&bare.as_str()) {
        return Some(YesNo);
    }
    let letter = text.trim_start_matches('(').trim_end_matches([')', '.', ':']);
    if letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_alphabetic() && byte | 32 <= b'h') {
        return Some(Choice);
    }
    if is_date(text) {
        return Some(Date);
    }
    number_form(text.trim_end_matches('.'))
}

/// Digits in three groups: `2024-01-31`, `31/1/2024`, `31.01.24`.
fn is_date(text: &str) -> bool {
    ['-', '/', '.'].iter().any(|separator| {
        let groups: Vec<&str> = text.split(*separator).collect();
        let digits =
            |group: &&str| (1..=4).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_digit());
        groups.len() == 3
            && groups.iter().all(digits)
            && (groups[0].len() == 4 || groups[2].len() == 4 || *separator != '.')
    })
}

fn number_form(text: &str) -> Option<ResponseFormat> {
    const CURRENCIES: [char; 6] = ['$', '€', '£', '¥', '₹', '₽'];
    let after_sign = text.trim_start_matches(['-', '+', '−', '~', '≈']).trim_start();
    let amount = after_sign.trim_start_matches(CURRENCIES).trim_start();
    let has_currency = amount.len() < after_sign.len();
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '\'' | '\u{a0}' | '\u{202f}');
    let unit_at = amount.find(|c| !is_part(c)).unwrap_or(amount.len());
    let (digits, unit) = amount.split_at(unit_at);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let unit = unit.trim();
    let words = unit.split_whitespace().count();
    match unit {
        "" if has_currency => Some(NumberWithUnit),
        "" => Some(Number),
        _ if words <= 2 && unit.chars().count() <= 20 && !unit.contains(|c: char| c.is_ascii_digit()) => {
            Some(NumberWithUnit)
        }
        _ => None,
    }
}

fn is_list_line(line: &str) -> bool {
    let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < line.len() {
        return rest.starts_with(". ") || rest.starts_with(") ");
    }
    ["- ", "* ", "• ", "– ", "+ "].iter().any(|bullet| line.starts_with(bullet))
}

/// Characters that end a sentence.
const STOPS: [char; 10] = ['.', '!', '?', '…', '。', '！', '？', '।', '؟', '۔'];

fn prose_form(text: &str) -> ResponseFormat {
    let words = text.split_whitespace().take(9).count();
    let is_spaced = words > 1 || text.is_ascii() || text.chars().count() <= 6;
    let sentences = sentences(text);
    match words {
        1 if is_spaced && text.chars().count() <= 40 => Word,
        1..=8 if sentences == 0 && (is_spaced || text.chars().count() <= 20) => Phrase,
        _ if sentences > 1 => Text,
        _ => Sentence,
    }
}

/// Sentence ends before white space or the end of the text, counted up to 2.
fn sentences(text: &str) -> usize {
    let mut stops = 0;
    let mut before = None;
    for character in text.chars().chain([' ']) {
        let ends = before.is_some_and(|before: char| {
            STOPS.contains(&before) && (character.is_whitespace() || !before.is_ascii() || character == '"')
        });
        stops += usize::from(ends);
        if stops == 2 {
            break;
        }
        before = Some(character);
    }
    stops
}

/// Whether prose ends with a full stop; `None` for other formats.
pub fn ends_with_stop(text: &str, format: ResponseFormat) -> Option<bool> {
    if !matches!(format, Sentence | Text) {
        return None;
    }
    let end = text.trim_end().trim_end_matches(['"', '\'', '”', '’', '»', ')', ']', '*', '_', '`', '」']);
    Some(end.ends_with(STOPS) || end.ends_with(':') || end.ends_with('|'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classifies_formats() {
        for (text, expected) in [
            (" ", Empty),
            ("Yes.", YesNo),
            ("nein", YesNo),
            ("B", Choice),
            ("(c)", Choice),
            ("1,234.5", Number),
            ("-3", Number),
            ("$12.50", NumberWithUnit),
            ("45 %", NumberWithUnit),
            ("12 kg", NumberWithUnit),
            ("3 red cars", NumberWithUnit),
            ("2024-01-31", Date),
            ("31/1/2024", Date),
            ("cat", Word),
            ("Über", Word),
            ("a black cat", Phrase),
            ("The cat sits on the mat.", Sentence),
            ("The cat sits on the mat and looks at the bird", Sentence),
            ("It rains. The cat is wet.", Text),
            ("- one\n- two", List),
            ("1. one\n2. two\n", List),
            ("| a | b |\n|---|---|\n| 1 | 2 |", Table),
            (r#"{"total": 3}"#, JsonObject),
            ("```json\n{\"a\":1}\n```", JsonObject),
            ("[1, 2]", JsonArray),
            (r#"{"total": 3"#, BrokenJson),
            ("{'total': 3}", BrokenJson),
            ("[see the left side] It is red.", Sentence),
            ("```python\nprint(1)\n```", Code),
            ("<table><tr><td>1</td></tr></table>", Markup),
            ("这张照片里有一只黑色的猫坐在垫子上。", Sentence),
        ] {
            assert_eq!(classify(text).format, expected, "{text}");
        }
        assert_ne!(classify("1.2.3").format, Date, "a version");
    }

    #[test]
    fn truncated_json_is_unclosed_and_other_invalid_json_is_not() {
        assert!(classify(r#"{"a": [1, 2"#).unclosed);
        assert!(classify("```\nlet x").unclosed);
        assert!(!classify(r#"{"a": 1,}"#).unclosed);
        assert_eq!(classify(r#"{"b":1,"a":2}"#).keys, Some(vec!["a".into(), "b".into()]));
    }

    #[test]
    fn only_prose_has_a_sentence_end() {
        let ends = |text: &str| ends_with_stop(text, classify(text).format);
        assert_eq!(ends("The cat sits on the mat."), Some(true));
        assert_eq!(ends("He said: \"The cat sits on the mat.\""), Some(true));
        assert_eq!(ends("The cat sits on the mat and looks at the"), Some(false));
        assert_eq!(ends("12 kg"), None);
    }
}
