//! The counts of a row as JSON.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{Slot, ToJson, inner, list, members, numbers, object};
use pixtune_core::tokens::Run;

use super::Counted;

/// The members of the object after `"line"`, whose number is known only once the rows before it were counted.
pub(super) fn counted(
    file: Option<&str>,
    counted: &Result<Counted, Finding>,
    special_tokens: Option<&str>,
) -> String {
    inner(|out| {
        out.optional("file", file);
        match counted {
            Err(refusal) => {
                out.field("refused", Brief(refusal));
            }
            Ok(Counted { counts, warnings, sizes, ids }) => {
                out.field("tokens", counts.tokens).field("text_tokens", counts.text_tokens());
                out.field("image_tokens", counts.image_tokens).field("trained_tokens", counts.trained_tokens);
                let images = counts.images.iter().zip(sizes).map(|(grid, (width, height))| {
                    object(move |image| {
                        image.field("width", width).field("height", height);
                        image.field("columns", grid.columns).field("rows", grid.rows);
                        image.field("tokens", grid.tokens());
                    })
                });
                out.field("images", list(images));
                out.optional("special_tokens", special_tokens);
                let warnings = (!warnings.is_empty()).then(|| list(warnings.iter().map(Brief)));
                out.optional("warnings", warnings);
                if let Some(ids) = ids {
                    let run = |run: &Run| list([usize::from(run.trained), run.tokens]);
                    out.field("ids", numbers(ids)).field("trained_runs", list(counts.runs.iter().map(run)));
                }
            }
        }
    })
}

/// A finding of a row whose file and line are known.
struct Brief<'f>(&'f Finding);

impl ToJson for Brief<'_> {
    fn write_json(self, slot: Slot<'_>) {
        let Brief(Finding { rule, message, pointer, .. }) = self;
        members([("rule", rule.id), ("message", message.as_str()), ("pointer", pointer.as_str())])
            .write_json(slot);
    }
}
