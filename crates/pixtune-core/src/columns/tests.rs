use super::row::place_images;
use super::*;
use crate::json;
use crate::sample::{Content, Message, Part};

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn guess(header: &str) -> String {
    Columns::resolve(&names(header), &ColumnChoice::default()).unwrap().guessed.join(",")
}

#[test]
fn guesses_the_usual_names() {
    assert_eq!(guess("image_path,prompt,completion"), "image=image_path,prompt=prompt,completion=completion");
    assert_eq!(
        guess("id,Image,Question,Answer,split"),
        "image=Image,prompt=Question,completion=Answer,id=id"
    );
    assert_eq!(guess("file_name,text"), "image=file_name,completion=text");
    assert_eq!(
        guess("image_2,image_10,image_1,q,instruction,output"),
        "image=image_1,image=image_2,image=image_10,prompt=instruction,completion=output"
    );
    assert_eq!(
        guess("left_file_name,right_file_name,caption"),
        "image=left_file_name,image=right_file_name,completion=caption"
    );
}

#[test]
fn reports_the_existing_columns() {
    let choice = ColumnChoice::parse("image=photo,prompt=q").unwrap();
    let error = Columns::resolve(&names("photo,question,answer"), &choice).unwrap_err();
    assert_eq!(error.to_string(), "there is no column `q`; the columns are `photo`, `question`, `answer`");
    let error = Columns::resolve(&names("photo,notes"), &ColumnChoice::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot tell which column is the completion; the columns are `photo`, `notes`"
    );
    assert!(ColumnChoice::parse("picture=x").is_err() && ColumnChoice::parse("image").is_err());
    assert!(
        ColumnChoice::parse("prompt=a,prompt=b").is_err() && ColumnChoice::parse("image=a,image=b").is_ok()
    );
}

fn parts(prompt: &str, images: usize, position: ImagePosition) -> String {
    match place_images(prompt, images, position) {
        Ok(Content::Parts(parts)) => parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => format!("[{text}]"),
                Part::Image(index) => index.to_string(),
            })
            .collect(),
        Ok(Content::Text(text)) => text,
        Err(places) => format!("{places} places"),
    }
}

#[test]
fn rejects_ambiguous_column_names() {
    let error = Columns::resolve(&names("image,prompt,answer,prompt"), &ColumnChoice::default()).unwrap_err();
    assert_eq!(error.to_string(), "two columns are called `prompt`");
    assert!(Columns::resolve(&names("image,prompt,answer,note,note"), &ColumnChoice::default()).is_ok());
}

#[test]
fn places_images() {
    use ImagePosition::{First, Last};
    assert_eq!(parts("what?", 2, First), "01[what?]");
    assert_eq!(parts("what?", 1, Last), "[what?]0");
    assert_eq!(parts("in <image> and <image>: what?", 2, Last), "[in ]0[ and ]1[: what?]");
    assert_eq!(parts("<image>\nwhat?", 1, First), "0[\nwhat?]");
    assert_eq!(parts("<image>", 2, First), "1 places");
    assert_eq!(parts("text", 0, First), "text");
}

#[test]
fn reads_flat_rows() {
    let columns = Columns::resolve(&names("image,prompt,answer"), &ColumnChoice::default()).unwrap();
    let row = json::parse(r#"{"image":["a.png","http://x/b.png"],"prompt":"how many?","answer":5}"#).unwrap();
    let (sample, findings) =
        read_row(&columns, ImagePosition::First, |name| row.value.get(name).map(Cell::Json));
    assert_eq!(findings, []);
    assert_eq!(sample.images.len(), 2);
    let Message::Assistant(answer) = &sample.messages[1] else { panic!() };
    assert_eq!(answer.content, Some(Content::Text("5".into())));
}

#[test]
fn reports_missing_values_of_a_flat_row() {
    let columns = Columns::resolve(&names("image,prompt,answer"), &ColumnChoice::default()).unwrap();
    let rules = |image: &'static str, prompt: &'static str, answer: &'static str| {
        let cell = |name: &str| {
            Some(Cell::Text(match name {
                "image" => image,
                "prompt" => prompt,
                _ => answer,
            }))
        };
        let (_, findings) = read_row(&columns, ImagePosition::First, cell);
        findings.iter().map(|f| format!("{} {}", f.rule.id, f.pointer)).collect::<Vec<_>>()
    };
    assert_eq!(rules("a.png", "q", " "), ["empty-answer /answer"]);
    assert_eq!(rules("a.png", "", "a"), ["empty-prompt /prompt"]);
    assert_eq!(rules("", "q", "a"), ["no-image /image"]);
    assert_eq!(rules("['a.png']", "q", "a"), ["wrong-type /image"]);
    assert_eq!(rules("a.png", "<image><image>", "a"), ["image-placeholders /prompt"]);
}
