//! Answers as JSON: one shape for both vendors where their clients accept it, else one for each.

mod batch;
mod chat;
mod file;
mod job;
mod model;

use pixtune_core::json::{list, object, text};

pub use batch::{ENDPOINT, batch_json};
pub use chat::{Choice, ChunkDelta, ToolCallJson, chunk, completion};
pub use file::{deleted, file_json, part_json, upload_json};
pub use job::{checkpoint_json, event_id, event_json, job_json, metrics_csv};
pub use model::{base_model_json, tuned_model_json, tuned_model_out_json};

/// A page of objects, each JSON already. OpenAI's clients read `has_more` and the ids, Mistral's `total`.
pub fn page(objects: &[String], ids: &[&str], total: u64, has_more: bool) -> String {
    text(object(|out| {
        out.field("object", "list")
            .field("data", list(objects.iter().map(|json| pixtune_core::json::raw(json))));
        out.field("has_more", has_more)
            .field("first_id", ids.first().copied())
            .field("last_id", ids.last().copied());
        out.field("total", total);
    }))
}
