//! Files and uploads.

use pixtune_core::json::{object, raw, text};

use crate::store::{File, Part, Upload};

/// A file: Mistral's fields, and OpenAI's `status`. `findings` is given where one file is shown.
pub fn file_json(file: &File) -> String {
    let is_training = file.samples.is_some();
    text(object(|out| {
        out.field("id", &file.id).field("object", "file").field("bytes", file.bytes);
        out.field("created_at", file.created_at)
            .field("filename", &file.name)
            .field("purpose", &file.purpose);
        out.field("sample_type", if is_training { "instruct" } else { "batch_result" });
        out.field("num_lines", file.samples).field("source", &file.source).field("signature", None::<&str>);
        out.field("mimetype", if is_training { "application/jsonl" } else { "application/octet-stream" });
        out.field("status", "processed").field("status_details", None::<&str>);
        out.optional("expires_at", file.expires_at).field("deleted", false);
        out.field("invalid_samples", file.invalid);
        out.optional("findings", file.findings.as_deref().map(raw));
    }))
}

/// What a deletion answers.
pub fn deleted(id: &str, kind: &str) -> String {
    text(object(|out| {
        out.field("id", id).field("object", kind).field("deleted", true);
    }))
}

/// An upload in parts, with the file that it became.
pub fn upload_json(upload: &Upload, file: Option<&File>) -> String {
    let file = file.map(file_json);
    text(object(|out| {
        out.field("id", &upload.id).field("object", "upload").field("bytes", upload.bytes);
        out.field("created_at", upload.created_at)
            .field("filename", &upload.name)
            .field("purpose", &upload.purpose);
        out.field("status", &upload.status).field("expires_at", upload.expires_at);
        match &file {
            Some(file) => out.field("file", raw(file)),
            None => out.field("file", None::<&str>),
        };
    }))
}

/// A part of an upload.
pub fn part_json(upload: &str, part: &Part) -> String {
    text(object(|out| {
        out.field("id", &part.id).field("object", "upload.part").field("created_at", part.created_at);
        out.field("upload_id", upload);
    }))
}
