//! The conformance suite of [`SampleWriter`]: every format passes it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use pixtune_core::sample::{Image, ImageSource, Sample};
use pixtune_core::target::{MISTRAL, OPENAI};
use pixtune_core::{conversation, json};
use pixtune_io::base64::data_uri;
use pixtune_io::write::{MarkWriter, MistralWriter, OpenAiWriter, SampleWriter, WrittenImage, writer};

/// Makes the tests of the suite for one writer.
macro_rules! conforms {
    ($name:ident, $writer:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn reads_back_what_it_writes() {
                super::reads_back_what_it_writes(&$writer);
            }

            #[test]
            fn writes_the_same_line_each_time() {
                super::writes_the_same_line_each_time(&$writer);
            }

            #[test]
            fn writes_one_line() {
                super::writes_one_line(&$writer);
            }

            #[test]
            fn appends_to_what_is_there() {
                super::appends_to_what_is_there(&$writer);
            }

            #[test]
            fn template_does_not_depend_on_images() {
                super::template_does_not_depend_on_images(&$writer);
            }
        }
    };
}

conforms!(mistral, MistralWriter);
conforms!(openai, OpenAiWriter);
conforms!(mark, MarkWriter);

/// Rows in the form that every writer can express.
const ROWS: [&str; 5] = [
    // No images.
    r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]}"#,
    // One image, a system prompt, and weights.
    r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"image_url","image_url":"0.png"},{"type":"text","text":"q"}]},{"role":"assistant","content":"a","weight":0},{"role":"user","content":"r"},{"role":"assistant","content":"b","weight":1}]}"#,
    // Several images in several messages, between texts.
    r#"{"messages":[{"role":"user","content":[{"type":"text","text":"q"},{"type":"image_url","image_url":"0.png"},{"type":"text","text":""},{"type":"image_url","image_url":"1.png"}]},{"role":"assistant","content":"a"},{"role":"user","content":[{"type":"image_url","image_url":"2.png"}]},{"role":"assistant","content":"b"}]}"#,
    // Characters that JSON escapes, that JavaScript ends lines at, outside the basic plane, combining, right to left.
    r#"{"messages":[{"role":"user","content":"\u0000\u001f\u007f\"\\/\b\f\n\r\t \u2028\u2029 \ufeff \ud83d\ude00 e\u0301 \u05d0 \uffff"},{"role":"assistant","content":"\ud834\udd1e"}]}"#,
    // Tools, calls and results.
    r#"{"messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"abcdefghi","type":"function","function":{"name":"f","arguments":"{\"a\": \"\\u00e9\"}"}}]},{"role":"tool","content":"{}","tool_call_id":"abcdefghi","name":"f"},{"role":"assistant","content":"a"}],"tools":[{"type":"function","function":{"name":"f","description":"d","parameters":{"type":"object","properties":{"a":{"type":"number","minimum":1.50}}}}}]}"#,
];

fn read(row: &str) -> Sample<Image> {
    let parsed = json::parse(row).unwrap();
    let (sample, findings) = conversation::read(&parsed.value, &[]);
    assert_eq!(findings, [], "{row}");
    sample
}

/// The ways in which images are written: all inline, all as files, all as URLs, one of each.
fn placements(images: usize) -> Vec<Vec<WrittenImage>> {
    let inline =
        |index: usize| WrittenImage::Inline { mime: "image/png", bytes: vec![index as u8; index + 1] };
    let file = |index: usize| WrittenImage::Reference(format!("images/\u{e9} \"{index}\".png"));
    let url = |index: usize| WrittenImage::Reference(format!("https://example.com/{index}?a=b&c=\u{1f600}"));
    let ways: [&dyn Fn(usize) -> WrittenImage; 3] = [&inline, &file, &url];
    let mut placements: Vec<Vec<WrittenImage>> =
        ways.iter().map(|way| (0..images).map(way).collect()).collect();
    placements.push((0..images).map(|index| ways[index % 3](index)).collect());
    placements
}

/// How the reader names an image that was written so.
fn source(image: &WrittenImage) -> ImageSource {
    match image {
        WrittenImage::Reference(name) if name.starts_with("https:") => ImageSource::Url(name.clone()),
        WrittenImage::Reference(name) => ImageSource::File(name.clone()),
        WrittenImage::Inline { mime, bytes } => {
            let uri = data_uri(mime, bytes);
            let base64 = uri.split_once(',').unwrap().1.to_owned();
            ImageSource::Inline { mime: (*mime).to_owned(), base64 }
        }
    }
}

fn line(writer: &dyn SampleWriter, sample: &Sample<Image>, images: &[WrittenImage]) -> String {
    let mut out = Vec::new();
    writer.write(sample, images, &mut out);
    String::from_utf8(out).unwrap()
}

/// Each row with each placement of its images.
fn each(mut check: impl FnMut(&Sample<Image>, &[WrittenImage])) {
    for sample in ROWS.map(read) {
        placements(sample.images.len()).iter().for_each(|images| check(&sample, images));
    }
}

/// The line with its images in it: where a writer leaves marks, a reader takes the next of those that are beside the line.
fn with_images(line: &str, images: &[WrittenImage]) -> String {
    let mut whole = line.to_owned();
    for image in images {
        let name = match image {
            WrittenImage::Reference(name) => name.clone(),
            WrittenImage::Inline { mime, bytes } => data_uri(mime, bytes),
        };
        let part = format!(r#"{{"type":"image_url","image_url":{}}}"#, json::quoted(&name));
        whole = whole.replacen(r#"{"type":"image"}"#, &part, 1);
    }
    whole
}

fn reads_back_what_it_writes(writer: &dyn SampleWriter) {
    each(|sample, images| {
        let again = read(&with_images(&line(writer, sample, images), images));
        assert_eq!((&again.messages, &again.tools), (&sample.messages, &sample.tools));
        let sources: Vec<ImageSource> = again.images.into_iter().map(|image| image.source).collect();
        assert_eq!(sources, images.iter().map(source).collect::<Vec<_>>());
    });
}

fn writes_the_same_line_each_time(writer: &dyn SampleWriter) {
    each(|sample, images| assert_eq!(line(writer, sample, images), line(writer, sample, images)));
}

fn writes_one_line(writer: &dyn SampleWriter) {
    each(|sample, images| {
        let line = line(writer, sample, images);
        assert!(line.ends_with('\n') && line.lines().count() == 1 && !line.contains('\r'), "{line}");
    });
}

fn appends_to_what_is_there(writer: &dyn SampleWriter) {
    each(|sample, images| {
        let mut out = b"before".to_vec();
        writer.write(sample, images, &mut out);
        assert_eq!(out, [b"before", line(writer, sample, images).as_bytes()].concat());
    });
}

fn template_does_not_depend_on_images(writer: &dyn SampleWriter) {
    let with_image = |name: &str| read(&ROWS[1].replace("0.png", name));
    let text = |sample: &Sample<Image>| writer.template(sample).text().to_owned();
    assert_eq!(text(&with_image("0.png")), text(&with_image("data:image/png;base64,AAAA")));
    assert_ne!(text(&read(ROWS[0])), text(&read(ROWS[1])));
}

#[test]
fn targets_have_their_writers() {
    assert_eq!(format!("{:?}", writer(&MISTRAL)), "MistralWriter");
    assert_eq!(format!("{:?}", writer(&OPENAI)), "OpenAiWriter");
}
