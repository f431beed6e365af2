//! Conversations as the network reads them: ids, loss mask and pixels.

use std::iter::repeat_n;
use std::sync::Arc;

use pixtune_core::sample::{Assistant, Content, Message, Sample};
use pixtune_core::tokens::ChatEncoder;
use pixtune_io::encode::EncodedLine;
use pixtune_io::image::{Limits, Loaded, ModelInput, model_input};
use pixtune_model::network::{Image, Sequence};

use crate::error::AnswerError;

/// An encoded sample as the network reads it.
pub fn sequence(EncodedLine { ids, runs, images }: EncodedLine) -> Sequence {
    let trained = runs.iter().flat_map(|run| repeat_n(run.trained, run.tokens)).collect();
    Sequence { ids, trained, images: images.into_iter().map(image).collect() }
}

/// A conversation up to where the assistant's next message begins.
pub fn prompt(encoder: &ChatEncoder<'_>, conversation: &Sample<Arc<[u8]>>) -> Result<Sequence, AnswerError> {
    let Some(Message::User(_) | Message::Tool(_)) = conversation.messages.last() else {
        return Err(AnswerError::NotAssistantsTurn);
    };
    let images = decode(encoder, &conversation.images)?;
    let sizes: Vec<(u32, u32)> = images.iter().map(|image| (image.grid.width, image.grid.height)).collect();
    let encoded =
        encoder.encode(&with_placeholder(conversation), &sizes).map_err(AnswerError::Conversation)?;
    let placeholder = encoded.counts.runs.last().map_or(0, |run| run.tokens);
    let mut ids = encoded.ids;
    ids.truncate(ids.len() - placeholder);
    let trained = vec![false; ids.len()];
    Ok(Sequence { ids, trained, images: images.into_iter().map(image).collect() })
}

fn decode(encoder: &ChatEncoder<'_>, images: &[Arc<[u8]>]) -> Result<Vec<ModelInput>, AnswerError> {
    let limits = Limits::default();
    let decode = |(index, bytes): (usize, &Arc<[u8]>)| {
        Loaded::new(bytes.to_vec(), &limits)
            .and_then(|image| model_input(&image, encoder.spec, &limits))
            .map_err(|source| AnswerError::Image { index, source })
    };
    images.iter().enumerate().map(decode).collect()
}

/// The layout is one of complete conversations. A placeholder for the answer completes this one: its tokens are the last
/// run of the loss mask, because the message before it is not trained.
fn with_placeholder(conversation: &Sample<Arc<[u8]>>) -> Sample<()> {
    let text = Some(Content::Text("x".to_owned()));
    let placeholder = Message::Assistant(Assistant { content: text, ..Assistant::default() });
    let messages = conversation.messages.iter().cloned().chain([placeholder]).collect();
    Sample {
        messages,
        tools: conversation.tools.clone(),
        images: vec![(); conversation.images.len()],
        settings: conversation.settings.clone(),
    }
}

fn image(ModelInput { grid, pixels }: ModelInput) -> Image {
    let patches = |cells: u32| (cells * grid.merge) as usize;
    Image {
        rows: patches(grid.rows),
        columns: patches(grid.columns),
        merge: grid.merge as usize,
        pixels: pixels.into(),
    }
}
