//! The text of a row, or why it has none that can be read.

use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::text::counted;

use super::encoding;
use super::{Cut, Row};

/// The text of a row, all of which was read.
pub(super) fn row_text(row: &Row) -> Result<&str, Finding> {
    match &row.cut {
        Some(Cut::TooLarge { bytes }) => {
            let message = format!("the row has {}, more than the limit", counted(*bytes, "byte"));
            let hint = "if no quote is left open, raise --max-row-bytes";
            return Err(Finding::new(&rules::ROW_TOO_LARGE, "", message).hint(hint));
        }
        Some(Cut::UnclosedQuote) => {
            let message = "the file ends inside a quoted cell that starts in this row";
            return Err(Finding::new(&rules::UNCLOSED_QUOTE, "", message)
                .hint("close the quote; quotes inside a cell are doubled"));
        }
        Some(Cut::Unreadable { why }) => return Err(Finding::new(&rules::ROW_UNREADABLE, "", why.as_str())),
        None => {}
    }
    std::str::from_utf8(&row.bytes).map_err(|error| {
        let message = format!("byte {} of the row is not UTF-8", error.valid_up_to() + 1);
        Finding::new(&rules::INVALID_UTF8, "", message).hint(encoding::hint(&row.bytes))
    })
}
