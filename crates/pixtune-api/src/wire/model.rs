//! Models.

use pixtune_core::json::{Object, list, object, text};

use crate::catalog::BaseModel;
use crate::request::chat::MISTRAL_TEMPERATURE;
use crate::store::TunedModel;

/// A card of a base model: Mistral's fields, which include OpenAI's.
pub fn base_model_json(model: &BaseModel, created: i64) -> String {
    text(object(|out| {
        card(out, &model.id, created, model);
        out.field("name", &model.id).field("description", &model.description);
        out.field("aliases", list(model.aliases.iter())).field("type", "base");
    }))
}

/// A card of a tuned model. Its base may not be available any more.
pub fn tuned_model_json(model: &TunedModel, base: Option<&BaseModel>) -> String {
    let gone = BaseModel::gone(&model.base);
    text(object(|out| {
        card(out, &model.id, model.created_at, base.unwrap_or(&gone));
        out.field("name", model.name.as_deref()).field("description", model.description.as_deref());
        out.field("aliases", list(std::iter::empty::<&str>())).field("type", "fine-tuned");
        out.field("job", &model.job).field("root", &model.base).field("archived", model.is_archived);
        out.field("parent", &model.base);
    }))
}

fn card(out: &mut Object<'_>, id: &str, created: i64, base: &BaseModel) {
    out.field("id", id).field("object", "model").field("created", created).field("owned_by", "pixtune");
    out.field("capabilities", object(capabilities));
    out.field("max_context_length", base.context as u64);
    out.field("deprecation", None::<&str>).field("deprecation_replacement_model", None::<&str>);
    out.field("default_model_temperature", MISTRAL_TEMPERATURE);
}

fn capabilities(out: &mut Object<'_>) {
    out.field("completion_chat", true).field("function_calling", true).field("reasoning", false);
    out.field("completion_fim", false).field("fine_tuning", true).field("vision", true).field("ocr", false);
    out.field("classification", false).field("moderation", false).field("audio", false);
    out.field("audio_transcription", false);
}

/// A tuned model as Mistral's update answers it.
pub fn tuned_model_out_json(model: &TunedModel, base: Option<&BaseModel>) -> String {
    let gone = BaseModel::gone(&model.base);
    text(object(|out| {
        out.field("id", &model.id).field("object", "model").field("created", model.created_at);
        out.field("owned_by", "pixtune").field("workspace_id", &model.project).field("root", &model.base);
        out.field("root_version", "").field("archived", model.is_archived);
        out.field("name", model.name.as_deref()).field("description", model.description.as_deref());
        out.field("capabilities", object(capabilities));
        out.field("max_context_length", base.unwrap_or(&gone).context as u64);
        out.field("aliases", list(std::iter::empty::<&str>())).field("job", &model.job);
        out.field("model_type", "completion");
    }))
}
