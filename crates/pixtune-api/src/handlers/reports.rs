//! Reports about jobs and files: pages with scripts of their own, which the dashboard opens by a signed URL.

use std::fs;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use pixtune_core::json::{object, text};
use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer};
use pixtune_files::{Existing, WholeFile};
use pixtune_io::image::Limits;
use pixtune_io::report::page::escape;
use pixtune_io::report::{ReportOptions, report};
use pixtune_io::survey::{Inspector, Source};
use pixtune_io::verify::{Inspection, Verify};

use super::files::{disk, find, signed_address};
use crate::api::{Call, Reply};
use crate::error::ApiError;
use crate::run::{log_and_report, write_data};
use crate::store;

/// How long a URL of a report is valid, in seconds: it is opened at once.
const VALID: i64 = 300;

/// Samples and images that a report shows, as `pixtune report` has them.
const SAMPLES: usize = 12;
const IMAGES: usize = 36;

/// The paths of pages that a signed URL opens.
pub const PAGES: [&str; 2] = ["/fine_tuning/jobs/{id}/report", "/pixtune/files/{id}/report"];

/// `GET /pixtune/jobs/{id}/report/url`
pub fn job_url(call: Call<'_>) -> Result<Reply, ApiError> {
    let id = call.param(0);
    let job = call.api.store.job(call.project(), id)?.ok_or_else(|| ApiError::not_found("job", id))?;
    url(&call, PAGES[0], &job.id)
}

/// `GET /pixtune/files/{id}/report/url`
pub fn file_url(call: Call<'_>) -> Result<Reply, ApiError> {
    let file = find(&call)?;
    url(&call, PAGES[1], &file.id)
}

fn url(call: &Call<'_>, route: &str, id: &str) -> Result<Reply, ApiError> {
    let url = signed_address(call, route, id, VALID);
    Ok(Reply::Json(text(object(|out| {
        out.field("url", &url);
    }))))
}

/// `GET /fine_tuning/jobs/{id}/report`: the page of the run; an extension of this server.
pub fn of_job(call: Call<'_>) -> Result<Reply, ApiError> {
    let id = call.param(0);
    let job = call.api.store.job(call.project(), id)?.ok_or_else(|| ApiError::not_found("job", id))?;
    let (_, report) = log_and_report(&call.api.data.job(&job.id));
    match fs::read_to_string(report) {
        Ok(page) => Ok(Reply::Page(page)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(ApiError::not_found("report of a job", &job.id))
        }
        Err(error) => Err(disk(error)),
    }
}

/// `GET /pixtune/files/{id}/report`: what `pixtune report` shows of the valid samples. It is made once.
pub fn of_file(call: Call<'_>) -> Result<Reply, ApiError> {
    /// A report reads the whole file on every thread, so one is made after the other.
    static ONE: Mutex<()> = Mutex::new(());
    let file = find(&call)?;
    if file.samples.is_none() {
        let message = format!("the file has the purpose `{}`; a report is about training data", file.purpose);
        return Err(ApiError::invalid("file", message));
    }
    let path = call.api.data.report(&file.blob, &file.rules);
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Ok(page) = fs::read_to_string(&path) {
        return Ok(Reply::Page(page));
    }
    let page = page(&call, &file)?;
    let kept = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| {
        let mut out = WholeFile::create(&path, Existing::Replace)?;
        out.write_all(page.as_bytes())?;
        out.commit()
    });
    kept.map_err(disk)?;
    Ok(Reply::Page(page))
}

/// The report of the valid samples alone: an invalid one may name files of the server as its images, which are not to be shown.
fn page(call: &Call<'_>, file: &store::File) -> Result<String, ApiError> {
    let internal = |error: &dyn std::fmt::Display| ApiError::internal(error.to_string());
    let valid = call.api.data.report(&file.blob, &file.rules).with_extension("jsonl");
    valid.parent().map_or(Ok(()), fs::create_dir_all).map_err(disk)?;
    write_data(&call.api.data, &[(file.clone(), 1.0)], &valid).map_err(disk)?;
    let rules = call.api.catalog.rules();
    let rules = rules.into_iter().find(|rules| rules.to_string() == file.rules).unwrap_or_default();
    let spec = rules.spec();
    let tokenizer = Tokenizer::built_in(spec.tokenizer);
    let encoder = ChatEncoder { spec: &spec, tokenizer, layout: Layout::MistralCommon };
    let inspection = Inspection { verify: Verify::Header, measure: true };
    let inspector = Inspector { encoder, inspection, limits: Limits::default() };
    let threads = call.api.limits.threads;
    let options = ReportOptions { seed: 0, samples: SAMPLES, images: IMAGES, threads };
    let made = Source::named(&valid, &file.name).and_then(|source| {
        report(&source, &file.name, &inspector, encoder.special_tokens(), options, &mut |_| {})
    });
    pixtune_files::remove(&valid).map_err(disk)?;
    let (_, mut page) = made.map_err(|error| internal(&error))?;
    // The commands that a report suggests are for the client's file, not for the server's copy.
    let directory = valid.parent().map(|directory| directory.display().to_string()).unwrap_or_default();
    for (own, shown) in [(valid.display().to_string(), escape(&file.name)), (directory, ".".to_owned())] {
        page = page.replace(&own, &shown).replace(&escape(&own), &shown);
    }
    Ok(page)
}
