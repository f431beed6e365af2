//! What people read in a file: prose of Markdown, string literals of Rust.

/// A text for people, and where it is from.
pub struct Text {
    pub name: String,
    pub text: String,
}

/// The prose of a Markdown file, line by line: without code, but with the comments in blocks of commands.
pub fn markdown(file: &Text) -> Text {
    let mut fenced = false;
    let mut out = String::new();
    for line in file.text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced {
            out.push_str(line.split_once("# ").map_or("", |(_, comment)| comment));
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    Text { name: file.name.clone(), text: out }
}

/// The string literals of a Rust file that are sentences: those with a space. Tests in the file are skipped.
pub fn rust_literals(file: &Text) -> Text {
    let code = file.text.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find(['"', '/', '\'']) {
        out.extend(rest[..start].chars().filter(|&letter| letter == '\n'));
        rest = &rest[start..];
        let (literal, length) = token(rest, code[..code.len() - rest.len()].ends_with("r#"));
        // A template of JSON has a key followed by a colon.
        let literal = literal.filter(|literal| literal.contains(' ') && !literal.contains("\\\":"));
        match literal {
            // A line break of a literal is one of the text, so that lines are numbered as in the file.
            Some(literal) => out.push_str(&format!("{} ", literal.replace("\\n", " ").replace("\\\"", " "))),
            None => out.extend(rest[..length].chars().filter(|&letter| letter == '\n')),
        }
        rest = &rest[length..];
    }
    Text { name: file.name.clone(), text: out }
}

/// The string literal at the start of `code`, if there is one, and the length of it or of what is there instead: a
/// comment, a character or a sign.
fn token(code: &str, raw: bool) -> (Option<&str>, usize) {
    if code.starts_with("//") {
        return (None, code.find('\n').unwrap_or(code.len()));
    }
    if let Some(character) = code.strip_prefix('\'') {
        let escaped = character.strip_prefix('\\').and_then(|rest| rest[1..].find('\'').map(|end| end + 4));
        let plain =
            || character.chars().next().filter(|letter| character[letter.len_utf8()..].starts_with('\''));
        return (None, escaped.or_else(|| plain().map(|letter| letter.len_utf8() + 2)).unwrap_or(1));
    }
    let Some(inner) = code.strip_prefix('"') else { return (None, 1) };
    if raw {
        let end = inner.find("\"#").unwrap_or(inner.len());
        return (Some(&inner[..end]), (end + 2).min(code.len()));
    }
    let mut escaped = false;
    let end = inner.find(|letter| {
        let ends = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        ends
    });
    let end = end.unwrap_or(inner.len());
    (Some(&inner[..end]), (end + 2).min(code.len()))
}

#[test]
fn literals_are_found_between_comments_and_characters() {
    let code = "// \"a comment\"\nlet a = \"one \\\"two\\\" {name}\";\nlet b = ['\"', '\\'', 'x'];\nf::<'a>(\"four five\", \"six\");\n\
                let r = r#\"a \"raw\" one\"#;\n#[cfg(test)]\nmod tests { \"not this\" }";
    let found = rust_literals(&Text { name: String::new(), text: code.to_owned() }).text;
    assert_eq!(found, "\none  two  {name} \n\nfour five \na \"raw\" one ");
}
