//! Images that a row carries as bytes, beside its text.

use std::sync::Arc;

use pixtune_core::content::ROW_BYTES;
use pixtune_core::diagnostic::Finding;
use pixtune_core::rules;
use pixtune_core::sample::{Arguments, Content, Image, ImageSource, Message, Part, Sample};
use pixtune_core::text::counted;
use twox_hash::XxHash3_128;

/// An image that the text of its row names where other rows have a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowImage {
    /// What the text calls it: a reference made from its bytes, or the name of a file beside the row.
    pub name: String,
    /// The file.
    pub bytes: Arc<[u8]>,
}

impl RowImage {
    /// Bytes without a name.
    pub fn unnamed(bytes: &[u8]) -> RowImage {
        // The hash means that a text that was not written by a reader can refer to nothing but bytes that it knows.
        let name = format!("{ROW_BYTES}{}:{:032x}", bytes.len(), XxHash3_128::oneshot(bytes));
        RowImage { name, bytes: bytes.into() }
    }
}

/// What a reference is called in `rejected.jsonl`, which does not repeat the bytes.
pub(super) fn shown(text: &str) -> Option<String> {
    let (length, _) = text.strip_prefix(ROW_BYTES)?.split_once(':')?;
    Some(format!("… ({})", counted(length.parse().ok()?, "byte")))
}

/// Gives a sample the images of its row. Bytes in the place of a text are an error: a reference would be trained.
pub(super) fn resolve(sample: &mut Sample<Image>, images: &[RowImage]) -> Result<(), Finding> {
    for Image { source, .. } in &mut sample.images {
        if let ImageSource::File(name) = source
            && let Some(image) = images.iter().find(|image| image.name == *name)
        {
            *source = ImageSource::Bytes(Arc::clone(&image.bytes));
        }
    }
    let is_reference = |text: &str| images.iter().any(|image| names_bytes(text, image));
    if !images.is_empty() && has_text(sample, &is_reference) {
        let message = "a column of bytes is used as text";
        return Err(Finding::new(&rules::WRONG_TYPE, "", message)
            .hint("write the column as strings, or choose another with `--columns`"));
    }
    Ok(())
}

/// Whether a text contains the reference to an image, escaped or not.
fn names_bytes(text: &str, image: &RowImage) -> bool {
    image.name.strip_prefix('\0').is_some_and(|reference| text.contains(reference))
}

fn has_text(sample: &Sample<Image>, is_meant: &dyn Fn(&str) -> bool) -> bool {
    let in_content = |content: &Content| match content {
        Content::Text(text) => is_meant(text),
        Content::Parts(parts) => parts
            .iter()
            .any(|part| matches!(part, Part::Text(text) | Part::Thinking { text, .. } if is_meant(text))),
    };
    let in_arguments = |arguments: &Arguments| match arguments {
        Arguments::Text(text) => is_meant(text),
        Arguments::Json(value) => is_meant(&value.to_string()),
    };
    let in_message = |message: &Message| match message {
        Message::System(content) | Message::User(content) => in_content(content),
        Message::Assistant(assistant) => {
            assistant.content.as_ref().is_some_and(in_content)
                || assistant.tool_calls.iter().any(|call| in_arguments(&call.arguments))
        }
        Message::Tool(result) => in_content(&result.content),
    };
    sample.messages.iter().any(in_message)
        || sample.tools.iter().any(|tool| {
            is_meant(&tool.description.clone().unwrap_or_default()) || is_meant(&tool.parameters.to_string())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(text: &str, names: &[&str]) -> Sample<Image> {
        let image =
            |name: &&str| Image { source: ImageSource::File((*name).to_owned()), pointer: String::new() };
        Sample {
            messages: vec![Message::User(Content::Parts(vec![Part::Text(text.to_owned())]))],
            images: names.iter().map(image).collect(),
            ..Sample::default()
        }
    }

    #[test]
    fn names_become_the_bytes_of_the_row() {
        let images = [RowImage::unnamed(b"one"), RowImage { name: "b.png".into(), bytes: b"two"[..].into() }];
        let mut sample = sample("q", &[&images[0].name, "b.png", "c.png"]);
        resolve(&mut sample, &images).unwrap();
        let sources: Vec<_> = sample.images.into_iter().map(|image| image.source).collect();
        let bytes = |bytes: &[u8]| ImageSource::Bytes(bytes.into());
        assert_eq!(sources, [bytes(b"one"), bytes(b"two"), ImageSource::File("c.png".into())]);
    }

    #[test]
    fn rejects_bytes_in_the_place_of_a_text() {
        let images = [RowImage::unnamed(b"one")];
        for text in [images[0].name.clone(), format!("{{\"a\": \"\\u0000{}\"}}", &images[0].name[1..])] {
            let finding = resolve(&mut sample(&text, &[]), &images).unwrap_err();
            assert_eq!(finding.rule, &rules::WRONG_TYPE);
        }
        resolve(&mut sample("\0bytes:3:00", &[]), &images).unwrap();
    }

    #[test]
    fn shows_the_length_of_bytes() {
        assert_eq!(shown(&RowImage::unnamed(b"one").name).unwrap(), "… (3 bytes)");
        assert_eq!(shown("one.png"), None);
    }
}
