//! OpenAI's uploads in parts, for large files.

use pixtune_core::json::Value;

use crate::api::{Call, CallBody, FormFile, Reply};
use crate::clock::now;
use crate::error::ApiError;
use crate::store::Upload;
use crate::wire;

use super::files;

fn find(call: &Call<'_>) -> Result<Upload, ApiError> {
    let id = call.param(0);
    call.api.store.upload(call.project(), id)?.ok_or_else(|| ApiError::not_found("upload", id))
}

fn pending(call: &Call<'_>) -> Result<Upload, ApiError> {
    let upload = find(call)?;
    match upload.status == "pending" && upload.expires_at > now() {
        true => Ok(upload),
        false if upload.status == "pending" => {
            Err(ApiError::conflict(format!("the upload `{}` has expired", upload.id)))
        }
        false => Err(ApiError::conflict(format!("the upload `{}` is {}", upload.id, upload.status))),
    }
}

/// `POST /uploads`
pub fn create(call: Call<'_>) -> Result<Reply, ApiError> {
    let parsed = call.json()?;
    let body = &parsed.value;
    let text = |key: &str| {
        body.text(key).ok_or_else(|| ApiError::invalid(key, format!("`{key}` is required, a string")))
    };
    let bytes = match body.get("bytes") {
        Some(Value::Number(text)) => text.parse::<u64>().ok(),
        _ => None,
    };
    let bytes = bytes.ok_or_else(|| ApiError::invalid("bytes", "`bytes` is required, a whole number"))?;
    if bytes > call.api.limits.upload {
        return Err(ApiError::too_large(format!(
            "the file has {bytes} bytes; the limit is {}",
            call.api.limits.upload
        )));
    }
    let upload = call.api.store.create_upload(call.project(), text("filename")?, text("purpose")?, bytes)?;
    Ok(Reply::Json(wire::upload_json(&upload, None)))
}

/// `POST /uploads/{id}/parts`
pub fn add_part(mut call: Call<'_>) -> Result<Reply, ApiError> {
    let upload = pending(&call)?;
    let CallBody::Form(form) = std::mem::replace(&mut call.body, CallBody::Empty) else {
        return Err(ApiError::bad_request("a form (multipart/form-data) with `data` is required"));
    };
    let Some(FormFile { content: incoming, .. }) = form.file else {
        return Err(ApiError::invalid("data", "the form has no part called `data`"));
    };
    let known: u64 = call.api.store.parts(&upload.id)?.iter().map(|part| part.bytes).sum();
    if known + incoming.bytes() > upload.bytes {
        return Err(ApiError::invalid(
            "data",
            format!("the parts have more than the {} bytes of the upload", upload.bytes),
        ));
    }
    let bytes = incoming.bytes();
    incoming.sync().map_err(files::disk)?;
    let _held = call.api.data.hold();
    let blob = call.api.data.keep(incoming).map_err(files::disk)?;
    let part = call.api.store.create_part(&upload.id, &blob, bytes)?;
    let part = part.ok_or_else(|| ApiError::conflict(format!("the upload `{}` has ended", upload.id)))?;
    Ok(Reply::Json(wire::part_json(&upload.id, &part)))
}

/// `POST /uploads/{id}/complete`
pub fn complete(call: Call<'_>) -> Result<Reply, ApiError> {
    let upload = find(&call)?;
    // A client that got no answer asks again.
    if upload.status == "completed" {
        return shown(&call, &upload.id);
    }
    let upload = pending(&call)?;
    let parsed = call.json()?;
    let listed = parsed.value.get("part_ids").and_then(Value::as_array).unwrap_or_default();
    let parts = call.api.store.parts(&upload.id)?;
    let blobs = listed.iter().map(|id| {
        let id = id.as_str().unwrap_or_default();
        let part = parts.iter().find(|part| part.id == id);
        part.map(|part| part.blob.clone())
            .ok_or_else(|| ApiError::invalid("part_ids", format!("the upload has no part `{id}`")))
    });
    let blobs: Vec<String> = blobs.collect::<Result<_, _>>()?;
    let incoming = call.api.data.join(&blobs).map_err(files::disk)?;
    if incoming.bytes() != upload.bytes {
        let message = format!(
            "the parts have {} bytes, the upload was announced with {}",
            incoming.bytes(),
            upload.bytes
        );
        return Err(ApiError::invalid("part_ids", message));
    }
    let joined = FormFile { name: upload.name.clone(), content: incoming, check: None };
    let file = files::store(&call, joined, &upload.purpose, None)?;
    call.api.store.end_upload(&upload.id, "completed", Some(&file.id))?;
    forget(&call, parts.into_iter().map(|part| part.blob))?;
    shown(&call, &upload.id)
}

/// `POST /uploads/{id}/cancel`
pub fn cancel(call: Call<'_>) -> Result<Reply, ApiError> {
    let upload = pending(&call)?;
    let parts = call.api.store.parts(&upload.id)?;
    call.api.store.end_upload(&upload.id, "cancelled", None)?;
    forget(&call, parts.into_iter().map(|part| part.blob))?;
    shown(&call, &upload.id)
}

fn shown(call: &Call<'_>, id: &str) -> Result<Reply, ApiError> {
    let upload =
        call.api.store.upload(call.project(), id)?.ok_or_else(|| ApiError::not_found("upload", id))?;
    let file = match &upload.file {
        Some(file) => call.api.store.file(call.project(), file)?,
        None => None,
    };
    Ok(Reply::Json(wire::upload_json(&upload, file.as_ref())))
}

/// Removes contents that nothing has any more.
fn forget(call: &Call<'_>, blobs: impl Iterator<Item = String>) -> Result<(), ApiError> {
    let _held = call.api.data.hold();
    for blob in blobs {
        if !call.api.store.is_blob_used(&blob)? {
            call.api.data.remove(&blob).map_err(files::disk)?;
        }
    }
    Ok(())
}
