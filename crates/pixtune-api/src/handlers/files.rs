//! Files: upload, list, show, content, signed address, delete.

use pixtune_core::json::{object, text};
use pixtune_io::base64;
use ring::hmac;

use crate::api::{Api, Call, CallBody, Form, FormFile, Reply};
use crate::clock::now;
use crate::error::ApiError;
use crate::ids::hex;
use crate::sample_rules::SampleRules;
use crate::store::{File, FileQuery, NewFile};
use crate::training_file::examine;
use crate::vendor::Vendor;
use crate::wire;

/// Purposes whose files are training data.
pub const TRAINING: &str = "fine-tune";

/// The purpose of a job's metrics.
pub const RESULTS: &str = "fine-tune-results";

/// Purposes that a client can give a file, of both vendors.
const PURPOSES: &[&str] =
    &["fine-tune", "batch", "ocr", "audio", "assistants", "vision", "user_data", "evals"];

/// The longest name of a file.
const MOST_NAME: usize = 512;

/// `POST /files`
pub fn create(mut call: Call<'_>) -> Result<Reply, ApiError> {
    let CallBody::Form(form) = std::mem::replace(&mut call.body, CallBody::Empty) else {
        return Err(ApiError::bad_request(
            "a form (multipart/form-data) with `purpose` and `file` is required",
        ));
    };
    let expires_at = expiry(&form)?;
    let purpose = form.text("purpose").unwrap_or(TRAINING).to_owned();
    let Some(received) = form.file else {
        return Err(ApiError::invalid("file", "the form has no file: its part has to be called `file`"));
    };
    let file = store(&call, received, &purpose, expires_at)?;
    Ok(Reply::Json(wire::file_json(&file)))
}

/// When a file expires: OpenAI's `expires_after`, or Mistral's `expiry` in hours.
fn expiry(form: &Form) -> Result<Option<i64>, ApiError> {
    let seconds = |name: &str, unit: i64| {
        let Some(text) = form.text(name).filter(|text| !text.is_empty()) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|number| (1..=87_600 * 3600).contains(number));
        number
            .map(|number| Some(now() + number * unit))
            .ok_or_else(|| ApiError::invalid(name, format!("`{name}` has to be a positive whole number")))
    };
    match seconds("expires_after[seconds]", 1)? {
        None => seconds("expiry", 3600),
        found => Ok(found),
    }
}

/// Checks content and keeps it as a file.
pub fn store(
    call: &Call<'_>,
    received: FormFile,
    purpose: &str,
    expires_at: Option<i64>,
) -> Result<File, ApiError> {
    let api = call.api;
    let FormFile { name, content: incoming, check } = received;
    if !PURPOSES.contains(&purpose) {
        let message = format!("`purpose` has to be one of {}, not `{purpose}`", PURPOSES.join(", "));
        return Err(ApiError::invalid("purpose", message));
    }
    let name = plain_name(&name);
    let bytes = incoming.bytes();
    if bytes == 0 {
        return Err(ApiError::invalid("file", "the file is empty").coded("empty_file"));
    }
    let stored = api.store.stored_bytes(call.project())?;
    if stored.saturating_add(bytes) > api.limits.quota {
        let message = format!(
            "the files of this key would have more than {} bytes: delete some first",
            api.limits.quota
        );
        return Err(ApiError::too_many(message, 60).coded("storage_quota_exceeded"));
    }
    let examined = match purpose == TRAINING {
        true => Some(examine(incoming.path(), &name, api.limits.threads, &api.catalog.rules(), check)?),
        false => None,
    };
    incoming.sync().map_err(disk)?;
    let (samples, invalid_lines, findings, rules) = match examined {
        Some((examined, rules)) => {
            (Some(examined.samples), examined.invalid_lines, Some(examined.findings), rules)
        }
        None => (None, Vec::new(), None, SampleRules::default()),
    };
    let project = call.project().to_owned();
    let _held = api.data.hold();
    let blob = api.data.keep(incoming).map_err(disk)?;
    let new = NewFile {
        project,
        name,
        purpose: purpose.to_owned(),
        source: "upload",
        blob,
        bytes,
        samples,
        invalid_lines,
        findings,
        rules: rules.to_string(),
        expires_at,
    };
    let file = api.store.create_file(&new)?;
    api.changed();
    Ok(file)
}

/// A fault of the disk, as clients are told.
pub fn disk(error: std::io::Error) -> ApiError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            ApiError::disk_full("the disk of the server is full")
        }
        _ => ApiError::internal(format!("the disk of the server failed: {error}")),
    }
}

/// The last part of a name, without control characters: it is shown, and never a path.
fn plain_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let plain: String = last.chars().filter(|c| !c.is_control()).take(MOST_NAME).collect();
    if plain.is_empty() { "upload".to_owned() } else { plain }
}

/// `GET /files`
pub fn list(call: Call<'_>) -> Result<Reply, ApiError> {
    let query = &call.query;
    let is_openai = call.dialect.vendor == Vendor::OpenAi;
    let limit = match is_openai {
        true => query.number("limit", 10_000, 1..=10_000)?,
        false => query.number("page_size", 100, 1..=1000)?,
    };
    let page = query.number("page", 0, 0..=u64::from(u32::MAX))?;
    // Mistral's client before 1.0 accepts no other purpose.
    let purpose =
        query.get("purpose").map(str::to_owned).or(call.dialect.is_mistral_v0.then(|| TRAINING.to_owned()));
    let asked = FileQuery {
        purpose,
        search: query.get("search").map(str::to_owned),
        source: query.get("source").map(str::to_owned),
        after: query.get("after").map(str::to_owned),
        is_ascending: query.get("order") == Some("asc"),
        offset: if is_openai { 0 } else { page * limit },
        // One more shows whether there are more.
        limit: limit + 1,
    };
    let (mut files, total) = call.api.store.files(call.project(), &asked)?;
    let has_more = files.len() as u64 > limit;
    files.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let ids: Vec<&str> = files.iter().map(|file| file.id.as_str()).collect();
    let objects: Vec<String> = files.iter().map(wire::file_json).collect();
    Ok(Reply::Json(wire::page(&objects, &ids, total, has_more)))
}

/// The file that a call names.
pub fn find(call: &Call<'_>) -> Result<File, ApiError> {
    let id = call.param(0);
    call.api.store.file(call.project(), id)?.ok_or_else(|| ApiError::not_found("file", id))
}

/// `GET /files/{id}`
pub fn show(call: Call<'_>) -> Result<Reply, ApiError> {
    Ok(Reply::Json(wire::file_json(&find(&call)?)))
}

/// `GET /files/{id}/content`. OpenAI's results of jobs are base64, which its users decode; Azure's are not.
pub fn content(call: Call<'_>) -> Result<Reply, ApiError> {
    let file = find(&call)?;
    let path = call.api.data.blob(&file.blob);
    let is_encoded =
        call.dialect.vendor == Vendor::OpenAi && !call.dialect.is_azure && file.purpose == RESULTS;
    if is_encoded && call.query.get("encoding") != Some("plain") {
        let bytes = std::fs::read(path).map_err(disk)?;
        let mut encoded = Vec::with_capacity(base64::encoded_length(bytes.len()));
        base64::encode(&bytes, &mut encoded);
        return Ok(Reply::Text("application/octet-stream", String::from_utf8_lossy(&encoded).into_owned()));
    }
    Reply::file(path, "application/octet-stream", Some(file.name))
}

/// `GET /files/{id}/url`: an address of the content that needs no key for some hours.
pub fn url(call: Call<'_>) -> Result<Reply, ApiError> {
    let file = find(&call)?;
    let hours = call.query.number("expiry", 24, 1..=24 * 365)?;
    let seconds = i64::try_from(hours * 3600).unwrap_or(i64::MAX);
    let url = signed_address(&call, "/files/{id}/content", &file.id, seconds);
    Ok(Reply::Json(text(object(|out| {
        out.field("url", &url);
    }))))
}

/// An address of a route with an id that needs no key for some seconds.
pub fn signed_address(call: &Call<'_>, route: &str, id: &str, seconds: i64) -> String {
    let (project, expires) = (call.project(), now().saturating_add(seconds));
    let text = signed_text(project, route, id, expires);
    let signature = hex(hmac::sign(&call.api.secret, text.as_bytes()).as_ref());
    let path = route.replace("{id}", id);
    format!("{}{path}?expires={expires}&project={project}&signature={signature}", call.base_url)
}

fn signed_text(project: &str, route: &str, id: &str, expires: i64) -> String {
    format!("{project}\n{route}\n{id}\n{expires}")
}

/// The project of a signed address, if its signature is valid and it has not expired.
pub fn signed_project(
    api: &Api,
    route: &str,
    id: &str,
    query: &crate::request::query::Query,
) -> Option<String> {
    let (project, signature) = (query.get("project")?, query.get("signature")?);
    let expires: i64 = query.get("expires")?.parse().ok()?;
    let bytes: Option<Vec<u8>> = (0..signature.len() / 2)
        .map(|at| u8::from_str_radix(signature.get(at * 2..at * 2 + 2)?, 16).ok())
        .collect();
    let is_valid =
        hmac::verify(&api.secret, signed_text(project, route, id, expires).as_bytes(), &bytes?).is_ok();
    (is_valid && expires > now()).then(|| project.to_owned())
}

/// `DELETE /files/{id}`
pub fn delete(call: Call<'_>) -> Result<Reply, ApiError> {
    let file = find(&call)?;
    if call.api.store.is_file_used(&file.id)? {
        return Err(ApiError::conflict(format!("a job that has not ended uses the file `{}`", file.id)));
    }
    remove(call.api, call.project(), &file.id)?;
    call.api.changed();
    Ok(Reply::Json(wire::deleted(&file.id, "file")))
}

/// Removes a file, and its content if no other file has it. A full disk does not prevent it.
pub fn remove(api: &Api, project: &str, id: &str) -> Result<(), ApiError> {
    let _held = api.data.hold();
    let unused = match api.store.delete_file(project, id) {
        Err(error) if ApiError::from_ref(&error).status == 507 && api.data.drop_ballast() => {
            api.store.delete_file(project, id)?
        }
        deleted => deleted?,
    };
    if let Some(blob) = unused {
        api.data.remove(&blob).map_err(disk)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_never_paths() {
        assert_eq!(plain_name("../../../etc/passwd"), "passwd");
        assert_eq!(plain_name("..\\a\r\nb.jsonl"), "ab.jsonl");
        assert_eq!(plain_name("v é.jsonl"), "v é.jsonl");
        assert_eq!(plain_name("a/"), "upload");
        assert_eq!(plain_name(&"x".repeat(5000)).len(), MOST_NAME);
    }
}
