//! Models: list, show, describe, archive, delete.

use pixtune_core::json::{object, text};

use crate::api::{Call, Reply};
use crate::error::ApiError;
use crate::store::TunedModel;
use crate::wire;

/// `GET /models`
pub fn list(call: Call<'_>) -> Result<Reply, ApiError> {
    let catalog = &call.api.catalog;
    let mut tuned = call.api.store.models(call.project())?;
    // Checkpoints answer by their ids; there are many.
    tuned.retain(|model| model.step.is_none());
    let bases = catalog.models().iter().map(|base| wire::base_model_json(base, call.api.started_at));
    let cards = tuned.iter().map(|model| wire::tuned_model_json(model, catalog.find(&model.base)));
    let objects: Vec<String> = bases.chain(cards).collect();
    let ids = catalog
        .models()
        .iter()
        .map(|base| base.id.as_str())
        .chain(tuned.iter().map(|model| model.id.as_str()));
    let ids: Vec<&str> = ids.collect();
    Ok(Reply::Json(wire::page(&objects, &ids, objects.len() as u64, false)))
}

fn tuned(call: &Call<'_>) -> Result<TunedModel, ApiError> {
    let id = call.param(0);
    if call.api.catalog.find(id).is_some() {
        return Err(ApiError::forbidden(format!(
            "`{id}` is a base model, which the server was started with"
        )));
    }
    call.api.store.model(call.project(), id)?.ok_or_else(|| ApiError::not_found("model", id))
}

/// `GET /models/{id}`
pub fn show(call: Call<'_>) -> Result<Reply, ApiError> {
    if let Some(base) = call.api.catalog.find(call.param(0)) {
        return Ok(Reply::Json(wire::base_model_json(base, call.api.started_at)));
    }
    let model = tuned(&call)?;
    Ok(Reply::Json(wire::tuned_model_json(&model, call.api.catalog.find(&model.base))))
}

/// `DELETE /models/{id}`
pub fn delete(call: Call<'_>) -> Result<Reply, ApiError> {
    let model = tuned(&call)?;
    call.api.store.delete_model(call.project(), &model.id)?;
    call.api.models.forget(&model.id);
    unload(&call, &model)?;
    call.api.changed();
    Ok(Reply::Json(wire::deleted(&model.id, "model")))
}

/// Removes the adapter of a model from the upstream server.
fn unload(call: &Call<'_>, model: &TunedModel) -> Result<(), ApiError> {
    call.api.upstream.as_ref().map_or(Ok(()), |upstream| upstream.unload(&model.id))
}

/// `PATCH /fine_tuning/models/{id}`
pub fn update(call: Call<'_>) -> Result<Reply, ApiError> {
    let model = tuned(&call)?;
    let parsed = call.json()?;
    let (name, description) = (parsed.value.text("name"), parsed.value.text("description"));
    call.api.store.describe_model(call.project(), &model.id, name, description)?;
    call.api.changed();
    let model = tuned(&call)?;
    Ok(Reply::Json(wire::tuned_model_out_json(&model, call.api.catalog.find(&model.base))))
}

fn set_archived(call: &Call<'_>, is_archived: bool) -> Result<Reply, ApiError> {
    let model = tuned(call)?;
    call.api.store.archive_model(call.project(), &model.id, is_archived)?;
    if is_archived {
        unload(call, &model)?;
    }
    call.api.changed();
    Ok(Reply::Json(text(object(|out| {
        out.field("id", &model.id).field("object", "model").field("archived", is_archived);
    }))))
}

/// `POST /fine_tuning/models/{id}/archive`
pub fn archive(call: Call<'_>) -> Result<Reply, ApiError> {
    set_archived(&call, true)
}

/// `DELETE /fine_tuning/models/{id}/archive`
pub fn unarchive(call: Call<'_>) -> Result<Reply, ApiError> {
    set_archived(&call, false)
}
