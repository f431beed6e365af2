//! What was counted, as JSON: one object per line.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::write_string;
use pixtune_core::spec::Exactness;
use pixtune_core::tokens::Run;

use super::Counted;

/// The members of the object after `"line":N`, which is known only once the lines before it were counted.
pub(super) fn members(
    file: Option<&str>,
    counted: &Result<Counted, Finding>,
    exactness: Exactness,
) -> String {
    let mut out = String::new();
    if let Some(file) = file {
        out.push_str(",\"file\":");
        write_string(file, &mut out);
    }
    match counted {
        Err(finding) => {
            out.push_str(",\"refused\":");
            write_finding(finding, &mut out);
        }
        Ok(Counted { counts, warnings, sizes, ids }) => {
            out.push_str(&format!(
                ",\"tokens\":{},\"text_tokens\":{},\"image_tokens\":{},\"trained_tokens\":{},\"images\":[",
                counts.tokens,
                counts.text_tokens(),
                counts.image_tokens,
                counts.trained_tokens
            ));
            for (index, (grid, (width, height))) in counts.images.iter().zip(sizes).enumerate() {
                let comma = if index > 0 { "," } else { "" };
                out.push_str(&format!(
                    "{comma}{{\"width\":{width},\"height\":{height},\"columns\":{},\"rows\":{},\"tokens\":{}}}",
                    grid.columns,
                    grid.rows,
                    grid.tokens()
                ));
            }
            out.push(']');
            if let Exactness::Estimate(_) = exactness {
                out.push_str(",\"estimate\":true");
            }
            write_warnings(warnings, &mut out);
            if let Some(ids) = ids {
                let run = |run: &Run| format!("[{},{}]", u8::from(run.trained), run.tokens);
                let runs: Vec<String> = counts.runs.iter().map(run).collect();
                out.push_str(",\"ids\":");
                write_numbers(ids, &mut out);
                out.push_str(&format!(",\"trained_runs\":[{}]", runs.join(",")));
            }
        }
    }
    out
}

fn write_warnings(warnings: &[Finding], out: &mut String) {
    if warnings.is_empty() {
        return;
    }
    out.push_str(",\"warnings\":[");
    for (index, warning) in warnings.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_finding(warning, out);
    }
    out.push(']');
}

fn write_finding(finding: &Finding, out: &mut String) {
    out.push_str(&format!("{{\"rule\":\"{}\",\"message\":", finding.rule.id));
    write_string(&finding.message, out);
    out.push_str(",\"pointer\":");
    write_string(&finding.pointer, out);
    out.push('}');
}

/// Writes `[1,22,333]`. Formatting limits how fast ids are written, so digits are made by hand.
pub(super) fn write_numbers(ids: &[u32], out: &mut String) {
    let mut bytes = std::mem::take(out).into_bytes();
    bytes.reserve(2 + 7 * ids.len());
    bytes.push(b'[');
    for (index, &id) in ids.iter().enumerate() {
        let (mut text, mut start, mut rest) = ([b','; 11], 11, id);
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        bytes.extend_from_slice(&text[start - usize::from(index > 0)..]);
    }
    bytes.push(b']');
    *out = String::from_utf8(bytes).expect("digits and commas were added to a string");
}
