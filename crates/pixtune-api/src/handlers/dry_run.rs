//! What a job would be.

use pixtune_core::json::{object, text};
use pixtune_core::plan::defaults;
use pixtune_core::target::PIXTUNE;
use pixtune_core::text::counted;

use crate::api::Call;
use crate::catalog::BaseModel;
use crate::clock::now;
use crate::error::ApiError;
use crate::request::job::JobRequest;
use crate::store::File;

/// What a job would be, without creating it: steps, tokens and time, by `pixtune plan` on its files. `samples` are those
/// of an epoch.
pub fn describe(
    call: &Call<'_>,
    request: &JobRequest,
    base: &BaseModel,
    (training, samples): (&[File], u64),
) -> Result<String, ApiError> {
    let valid: u64 = training.iter().map(|file| file.samples.unwrap_or(0).saturating_sub(file.invalid)).sum();
    let weight = samples as f64 / valid.max(1) as f64;
    let blobs = training.iter().map(|file| call.api.data.blob(&file.blob));
    let plan = call.api.trainer.plan(&base.path, blobs).map_err(ApiError::internal)?;
    let data_tokens = (plan.tokens as f64 * weight) as u64;
    let hyper = &request.hyperparameters;
    let per_step = hyper.batch_size.unwrap_or_else(|| defaults::samples_per_step(samples)).max(1);
    let epochs = hyper.epochs.unwrap_or(defaults::epochs(samples) as f64);
    let computed = (samples as f64 * epochs / per_step as f64).ceil().max(1.0) as u64;
    let steps = hyper.steps.unwrap_or(computed);
    let epochs = steps as f64 * per_step as f64 / samples.max(1) as f64;
    let train_tokens = (data_tokens as f64 * epochs) as u64;
    let rate = PIXTUNE.training.core_flops.unwrap_or(1e9) * call.api.limits.threads as f64;
    // How fast another trainer is, is not known here.
    let is_own = call.api.trainer.external.is_none();
    let seconds = is_own.then(|| (plan.operations * weight * epochs / rate).ceil() as u64);
    let details = format!(
        "{} of `{}` on {}, about {} per step; learning rate {:e}{}",
        counted(steps, "step"),
        base.id,
        counted(samples, "sample"),
        counted(per_step, "sample"),
        hyper.learning_rate.unwrap_or(base.learning_rate * hyper.learning_rate_multiplier.unwrap_or(1.0)),
        seconds.map_or(String::new(), |seconds| format!("; about {} on the CPU", counted(seconds, "second")))
    );
    Ok(text(object(|out| {
        out.field("object", "job.metadata").field("deprecated", true).field("details", &details);
        out.field("epochs", epochs).field("training_steps", steps);
        out.field("cost", 0u64).field("cost_currency", "USD").field("expected_duration_seconds", seconds);
        out.field("train_tokens_per_step", train_tokens / steps.max(1)).field("train_tokens", train_tokens);
        out.field("data_tokens", data_tokens).field("estimated_start_time", now());
    })))
}
