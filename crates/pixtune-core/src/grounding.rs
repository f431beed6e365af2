//! Regions of images beside a conversation, as ms-swift's datasets have them: `<ref-object>` and `<bbox>` in the texts stand for the
//! names and boxes in `objects`.
//!
//! ms-swift 4.6.0 (`template/base.py`) writes a box as `[(x1,y1),(x2,y2)]`, in thousandths of the image's width and height. Pixtral's
//! template there changes nothing of it.

use crate::json::Value;
use crate::sample::{Assistant, Content, Message, Part, Sample, ToolResult};

/// The key that holds regions.
pub const KEY: &str = "objects";

const NAME: &str = "<ref-object>";
const BOX: &str = "<bbox>";

/// The regions of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Regions {
    names: Vec<String>,
    boxes: Vec<Vec<f64>>,
    /// The image of each box; the first where there is none.
    images: Vec<usize>,
    /// Coordinates are fractions of the image, not pixels.
    is_relative: bool,
}

/// The size of an image, as its boxes refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    /// Width and height.
    Size(u32, u32),
    /// The image has an EXIF rotation, which tools for boxes do and do not apply.
    Rotated,
    /// The image was not loaded.
    Unknown,
}

impl Regions {
    /// The regions in a value; `None` if it is not of this form, so that it is content that nothing uses.
    pub fn of(value: &Value<'_>) -> Option<Regions> {
        let mut regions = Regions::default();
        for (key, value) in value.as_object()? {
            match (&**key, value) {
                (_, Value::Null) => {}
                ("ref", Value::Array(names)) => {
                    regions.names =
                        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<_>>()?;
                }
                ("bbox", Value::Array(boxes)) => {
                    regions.boxes = boxes.iter().map(numbers).collect::<Option<_>>()?;
                }
                ("bbox_type", Value::String(text)) => {
                    regions.is_relative = match &**text {
                        "norm1" => true,
                        "real" => false,
                        _ => return None,
                    };
                }
                ("image_id", Value::Array(images)) => {
                    regions.images =
                        images.iter().map(|index| number(index)?.parse().ok()).collect::<Option<_>>()?;
                }
                // Sizes of the images, which are those of the files.
                ("width" | "height", Value::Array(_)) => {}
                _ => return None,
            }
        }
        let is_point_or_box = |numbers: &Vec<f64>| !numbers.is_empty() && numbers.len().is_multiple_of(2);
        let is_whole =
            regions.boxes.iter().all(is_point_or_box) && regions.images.len() <= regions.boxes.len();
        (is_whole && !(regions.names.is_empty() && regions.boxes.is_empty())).then_some(regions)
    }

    /// Writes the regions into the texts of a sample, whose images have these frames. The error describes why they do not fit.
    pub fn fill<I>(&self, sample: &mut Sample<I>, frames: &[Frame]) -> Result<(), String> {
        let boxes =
            self.boxes.iter().enumerate().map(|(index, numbers)| self.written(index, numbers, frames));
        let boxes = boxes.collect::<Result<Vec<_>, _>>()?;
        let (mut names, mut left) = (self.names.iter(), boxes.iter());
        let mut missing = None;
        each_text(sample, &mut |text| {
            let mut filled = String::with_capacity(text.len());
            let mut rest = text.as_str();
            while let Some((at, placeholder)) = next_placeholder(rest) {
                filled.push_str(&rest[..at]);
                let next = if placeholder == NAME { names.next() } else { left.next() };
                match next {
                    Some(found) => filled.push_str(found),
                    None => missing = Some(placeholder),
                }
                rest = &rest[at + placeholder.len()..];
            }
            filled.push_str(rest);
            *text = filled;
        });
        if let Some(placeholder) = missing {
            return Err(format!("the texts have more `{placeholder}` than `{KEY}` has"));
        }
        match (names.len(), left.len()) {
            (0, 0) => Ok(()),
            (0, _) => Err(format!("`{KEY}` has more boxes than the texts have `{BOX}`")),
            _ => Err(format!("`{KEY}` has more names than the texts have `{NAME}`")),
        }
    }

    fn written(&self, index: usize, numbers: &[f64], frames: &[Frame]) -> Result<String, String> {
        let image = self.images.get(index).copied().unwrap_or(0);
        let (width, height) = match frames.get(image) {
            None => return Err(format!("`{KEY}` has a box in image {image}, which the row does not have")),
            Some(_) if self.is_relative => (1.0, 1.0),
            Some(Frame::Size(width, height)) => (f64::from(*width), f64::from(*height)),
            Some(Frame::Rotated) => {
                return Err(
                    "the image has an EXIF rotation, which its boxes may or may not include".to_owned()
                );
            }
            Some(Frame::Unknown) => {
                return Err("the size of the image is not known, so its boxes are not".to_owned());
            }
        };
        // As Python rounds: halves to the even number.
        let thousandths = |at: f64, side: f64| (at / side * 1000.0).round_ties_even();
        let points = numbers.chunks_exact(2);
        let points =
            points.map(|at| format!("({},{})", thousandths(at[0], width), thousandths(at[1], height)));
        Ok(format!("[{}]", points.collect::<Vec<_>>().join(",")))
    }
}

/// The first placeholder in the texts of a sample, if there is one.
pub fn placeholder<I: Clone>(sample: &Sample<I>) -> Option<&'static str> {
    let mut found = None;
    each_text(&mut sample.clone(), &mut |text| {
        found = found.or_else(|| next_placeholder(text).map(|(_, placeholder)| placeholder));
    });
    found
}

fn next_placeholder(text: &str) -> Option<(usize, &'static str)> {
    [NAME, BOX].into_iter().filter_map(|placeholder| Some((text.find(placeholder)?, placeholder))).min()
}

fn numbers(value: &Value<'_>) -> Option<Vec<f64>> {
    let parsed = |value: &Value<'_>| number(value)?.parse().ok().filter(|number: &f64| number.is_finite());
    value.as_array()?.iter().map(parsed).collect()
}

fn number<'v>(value: &'v Value<'_>) -> Option<&'v str> {
    match value {
        Value::Number(text) => Some(text),
        _ => None,
    }
}

fn each_text<I>(sample: &mut Sample<I>, work: &mut dyn FnMut(&mut String)) {
    for message in &mut sample.messages {
        let content = match message {
            Message::System(content) | Message::User(content) => Some(content),
            Message::Assistant(Assistant { content, .. }) => content.as_mut(),
            Message::Tool(ToolResult { content, .. }) => Some(content),
        };
        match content {
            Some(Content::Text(text)) => work(text),
            Some(Content::Parts(parts)) => {
                for part in parts {
                    if let Part::Text(text) = part {
                        work(text);
                    }
                }
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn fill(
        objects: &str,
        question: &str,
        answer: &str,
        frames: &[Frame],
    ) -> Result<(String, String), String> {
        let value = json::parse(objects).unwrap().value.into_owned();
        let regions = Regions::of(&value).expect("the form of ms-swift");
        let answered = Assistant { content: Some(Content::Text(answer.to_owned())), ..Assistant::default() };
        let mut sample: Sample<()> = Sample {
            messages: vec![
                Message::User(Content::Parts(vec![Part::Image(0), Part::Text(question.to_owned())])),
                Message::Assistant(answered),
            ],
            ..Sample::default()
        };
        regions.fill(&mut sample, frames)?;
        let mut texts = Vec::new();
        each_text(&mut sample, &mut |text| texts.push(text.clone()));
        Ok((texts.remove(0), texts.remove(0)))
    }

    /// What ms-swift 4.6.0 makes of the same rows.
    #[test]
    fn boxes_are_thousandths_of_the_image() {
        let frames = [Frame::Size(640, 480), Frame::Size(16, 16)];
        let filled = |objects, question, answer| fill(objects, question, answer, &frames).unwrap();
        assert_eq!(
            filled(r#"{"ref":["a cat"],"bbox":[[64,48,320,479.5]]}"#, "Find <ref-object>", "<bbox>"),
            ("Find a cat".to_owned(), "[(100,100),(500,999)]".to_owned())
        );
        // Halves are rounded to the even number.
        let two = r#"{"ref":["a","b"],"bbox":[[1,3],[0,0,16,16]],"image_id":[1,1]}"#;
        assert_eq!(
            filled(two, "<ref-object><ref-object>", "<bbox> and <bbox>."),
            ("ab".to_owned(), "[(62,188)] and [(0,0),(1000,1000)].".to_owned())
        );
        let relative = r#"{"bbox":[[0.25,0.5]],"bbox_type":"norm1"}"#;
        assert_eq!(filled(relative, "Where <bbox>?", "a").0, "Where [(250,500)]?");
    }

    #[test]
    fn regions_that_do_not_fit_are_explained() {
        let frames = [Frame::Size(100, 100), Frame::Rotated];
        let error = |objects, answer| fill(objects, "q", answer, &frames).unwrap_err();
        assert!(error(r#"{"bbox":[[1,2]]}"#, "<bbox><bbox>").contains("more `<bbox>` than"));
        assert!(error(r#"{"bbox":[[1,2],[3,4]]}"#, "<bbox>").contains("more boxes than"));
        assert!(error(r#"{"ref":["a"],"bbox":[[1,2]]}"#, "<bbox>").contains("more names than"));
        assert!(error(r#"{"bbox":[[1,2]],"image_id":[1]}"#, "<bbox>").contains("EXIF rotation"));
        assert!(
            error(r#"{"bbox":[[1,2]],"image_id":[2]}"#, "<bbox>").contains("which the row does not have")
        );
        for other in [
            r#"{"bbox":[[1,2,3]]}"#,
            r#"{"bbox":[["1","2"]]}"#,
            r#"{"bbox":[[1,2]],"caption":["x"]}"#,
            r#"{"ref":[]}"#,
            r#"[{"bbox":[1,2,3,4]}]"#,
            r#"{"bbox":[[1,2]],"bbox_type":"norm1000"}"#,
        ] {
            assert_eq!(Regions::of(&json::parse(other).unwrap().value), None, "{other}");
        }
    }
}
