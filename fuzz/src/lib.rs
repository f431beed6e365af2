//! Helpers of several targets.

use pixtune_core::json::Value;
use pixtune_core::sample::{Content, Message, Part, Sample};
use pixtune_io::image::Limits;

/// Small image limits, so that runs test parsing rather than pixels.
pub const SMALL: Limits =
    Limits { max_bytes: 1 << 20, max_side: 4096, max_pixels: 1 << 16, max_decoded_bytes: 1 << 19 };

/// Ignores panics of third-party decoders, which `decode` converts to errors; panics of our code still end the run.
pub fn only_our_panics_count() {
    let abort = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let file = panic.location().map_or("", |location| location.file());
        if !file.contains("/registry/") && !file.starts_with("/rustc/") {
            abort(panic);
        }
    }));
}

/// Whether the JSON pointer of a finding exists in its row.
pub fn leads_somewhere(pointer: &str, row: &Value<'_>) -> bool {
    let mut at = row;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/").replace("~0", "~");
        let next = match at {
            Value::Array(values) => step.parse::<usize>().ok().and_then(|index| values.get(index)),
            other => other.get(&step),
        };
        match next {
            Some(value) => at = value,
            None => return false,
        }
    }
    true
}

/// The images of the messages, in order.
pub fn placed<I, T: Clone>(sample: &Sample<I, T>) -> Vec<usize> {
    let parts = |message: &Message<T>| match message {
        Message::User(Content::Parts(parts)) => parts.clone(),
        _ => Vec::new(),
    };
    let index = |part: Part<T>| match part {
        Part::Image(index) => Some(index),
        Part::Text(_) | Part::Thinking { .. } => None,
    };
    sample.messages.iter().flat_map(parts).filter_map(index).collect()
}
