//! The frame of a report: one HTML file that needs nothing else, in light and dark, by mouse and by keyboard.

use std::fmt::Write as _;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A report.
#[derive(Debug, Clone, Default)]
pub struct Page {
    /// The heading, as plain text.
    pub title: String,
    /// The line below it, as plain text.
    pub lead: String,
    /// The footer, as plain text.
    pub foot: String,
    /// The sections, in order.
    pub sections: Vec<Section>,
}

/// A part of a report with an entry in its navigation.
#[derive(Debug, Clone)]
pub struct Section {
    /// The fragment of the URL.
    pub id: &'static str,
    /// The heading, as plain text.
    pub title: &'static str,
    /// The body as HTML; every text from outside has gone through [`escape`].
    pub body: String,
}

impl Page {
    /// The file. Scripts and styles are inside and the file forbids itself to load anything.
    pub fn html(&self) -> String {
        let mut out = String::with_capacity(1 << 20);
        let title = escape(&self.title);
        let policy =
            "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";
        let _ = write!(
            out,
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
             <a class=\"skip\" href=\"#main\">Skip to the content</a>\n<header><h1>{title}</h1><p>{}</p>\
             <button id=\"theme\" type=\"button\" aria-label=\"light or dark\">◐</button></header>\n<nav aria-label=\"Sections\"><ul>",
            escape(&self.lead)
        );
        for Section { id, title, .. } in &self.sections {
            let _ = write!(out, "<li><a href=\"#{id}\">{}</a></li>", escape(title));
        }
        out.push_str("</ul></nav>\n<main id=\"main\" tabindex=\"-1\">\n");
        for Section { id, title, body } in &self.sections {
            let title = escape(title);
            let _ = write!(
                out,
                "<section id=\"{id}\" aria-labelledby=\"h-{id}\"><h2 id=\"h-{id}\">{title}</h2>\n{body}\n</section>\n"
            );
        }
        let _ = write!(
            out,
            "</main>\n<footer>{}</footer>\n<dialog id=\"view\" aria-label=\"Image\"><form method=\"dialog\">\
             <button value=\"back\" aria-label=\"the image before\">←</button><button value=\"on\" aria-label=\"the next image\">→</button>\
             <button value=\"close\" aria-label=\"close\">✕</button></form>\
             <div class=\"stage\"></div><p></p><dl></dl></dialog>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            escape(&self.foot)
        );
        out
    }
}

/// Text from outside, safe between tags and in quoted attributes. Controls that turn the direction of text are made
/// visible, other control characters become U+FFFD.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(out, "⟨U+{:04X}⟩", u32::from(character));
            }
            '\n' | '\t' => out.push(character),
            _ if character.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            _ => out.push(character),
        }
    }
    out
}

/// A text of this program, with text in backticks as code.
pub fn prose(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    for (index, part) in text.split('`').enumerate() {
        match index % 2 {
            0 => out.push_str(&escape(part)),
            _ => {
                let _ = write!(out, "<code>{}</code>", escape(part));
            }
        }
    }
    out
}

/// The first so many characters, for a name or an attribute.
pub fn escape_short(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => escape(text),
        Some((at, _)) => format!("{}…", escape(&text[..at])),
    }
}

/// The same for at most so many characters, followed by how many more there are.
pub fn escape_start(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => escape(text),
        Some((at, _)) => {
            let more = text[at..].chars().count();
            format!("{}<span class=\"more\"> … {more} more characters</span>", escape(&text[..at]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_text_stays_text() {
        let hostile = "</script><img src=x onerror=alert(1)>\u{202e}\u{0}\"'&";
        let safe = escape(hostile);
        assert!(!safe.contains(['<', '>', '"', '\'', '\u{202e}', '\u{0}']), "{safe}");
        assert!(safe.contains("⟨U+202E⟩"));
        let page = Page { title: hostile.to_owned(), ..Page::default() }.html();
        assert!(!page.contains("onerror=alert(1)>") && !page.contains("</script><img"));
    }

    #[test]
    fn long_text_is_cut_with_its_length() {
        assert_eq!(escape_start("abc", 3), "abc");
        assert!(escape_start(&"é".repeat(5000), 10).contains("4990 more characters"));
    }

    #[test]
    fn text_in_backticks_is_code() {
        assert_eq!(prose("see `a<b`, then"), "see <code>a&lt;b</code>, then");
        assert_eq!(escape_short("<é>", 2), "&lt;é…");
    }

    #[test]
    fn the_file_needs_nothing_else() {
        let page = Page { title: "t".into(), ..Page::default() }.html();
        assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("url("));
    }
}
