use super::row::place_images;
use super::*;
use crate::json;
use crate::sample::{Content, ImageSource, Message, Part};

fn names(text: &str) -> Vec<String> {
    text.split(',').map(str::to_owned).collect()
}

fn guess(header: &str) -> String {
    Columns::resolve(&names(header), &ColumnChoice::default(), &[]).unwrap().guessed.join(",")
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
    let error = Columns::resolve(&names("photo,question,answer"), &choice, &[]).unwrap_err();
    assert_eq!(error.to_string(), "there is no column `q`; the columns are `photo`, `question`, `answer`");
    let error = Columns::resolve(&names("photo,notes"), &ColumnChoice::default(), &[]).unwrap_err();
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
                Part::Thinking { .. } => panic!("a flat row has no thinking"),
            })
            .collect(),
        Ok(Content::Text(text)) => text,
        Err(places) => format!("{places} places"),
    }
}

#[test]
fn rejects_ambiguous_column_names() {
    let error =
        Columns::resolve(&names("image,prompt,answer,prompt"), &ColumnChoice::default(), &[]).unwrap_err();
    assert_eq!(error.to_string(), "two columns are called `prompt`");
    assert!(Columns::resolve(&names("image,prompt,answer,note,note"), &ColumnChoice::default(), &[]).is_ok());
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

fn columns(header: &str) -> Columns {
    Columns::resolve(&names(header), &ColumnChoice::default(), &[]).unwrap()
}

#[test]
fn reads_flat_rows() {
    let row = json::parse(r#"{"image":["a.png","http://x/b.png"],"prompt":"how many?","answer":5}"#).unwrap();
    let (sample, findings) = read_row(&columns("image,prompt,answer"), RowOptions::default(), &row.value);
    assert_eq!(findings, []);
    assert_eq!(sample.images.len(), 2);
    let Message::Assistant(answer) = &sample.messages[1] else { panic!() };
    assert_eq!(answer.content, Some(Content::Text("5".into())));
}

#[test]
fn reads_images_in_every_spelling() {
    let base64 = format!("/9j/{}", "A".repeat(40));
    let images = |cell: String| {
        let row = json::parse(&format!(r#"{{"image":{cell},"prompt":"q","answer":"a"}}"#))
            .unwrap()
            .value
            .into_owned();
        let (sample, findings) = read_row(&columns("image,prompt,answer"), RowOptions::default(), &row);
        assert_eq!(findings, [], "{cell}");
        sample.images.into_iter().map(|image| image.source).collect::<Vec<_>>()
    };
    let inline = |mime: &str| ImageSource::Inline { mime: mime.to_owned(), base64: base64.clone() };
    let file = || ImageSource::File("a.png".to_owned());
    assert_eq!(images(format!(r#""{base64}""#)), [inline("image/jpeg")]);
    assert_eq!(images(format!(r#"{{"bytes":"{base64}","path":"a.png"}}"#)), [inline("image/jpeg")]);
    assert_eq!(images(r#"{"bytes":null,"path":"a.png"}"#.to_owned()), [file()]);
    assert_eq!(images(r#"[{"path":"a.png"},{"url":"a.png"}]"#.to_owned()), [file(), file()]);
    assert_eq!(images(r#""['a.png', 'a.png']""#.to_owned()), [file(), file()]);
    assert_eq!(images(r#"["a.png",null,""]"#.to_owned()), [file()]);
}

#[test]
fn reports_missing_values_of_a_flat_row() {
    let rules = |image: &str, prompt: &str, answer: &str| {
        let cell = |name: &'static str, text: &str| (name.into(), Value::String(text.to_owned().into()));
        let row = Value::Object(vec![cell("image", image), cell("prompt", prompt), cell("answer", answer)]);
        let (_, findings) = read_row(&columns("image,prompt,answer"), RowOptions::default(), &row);
        findings.iter().map(|f| format!("{} {}", f.rule.id, f.pointer)).collect::<Vec<_>>()
    };
    assert_eq!(rules("a.png", "q", " "), ["empty-answer /answer"]);
    assert_eq!(rules("a.png", "", "a"), ["empty-prompt /prompt"]);
    assert_eq!(rules("", "q", "a"), ["no-image /image"]);
    assert_eq!(rules("[a.png]", "q", "a"), ["wrong-type /image"]);
    assert_eq!(rules("a.png", "<image><image>", "a"), ["image-placeholders /prompt"]);
    assert_eq!(rules("a.png", "q", "see <image>"), ["image-placeholders /answer"]);
}

fn guess_with(rows: &str) -> Result<String, String> {
    let rows: Vec<Value<'static>> =
        rows.lines().map(|row| json::parse(row).unwrap().value.into_owned()).collect();
    let header: Vec<String> = rows[0].as_object().unwrap().iter().map(|(key, _)| key.to_string()).collect();
    let columns = Columns::resolve(&header, &ColumnChoice::default(), &rows);
    columns.map(|columns| columns.guessed.join(",")).map_err(|error| error.to_string())
}

#[test]
fn recognizes_images_by_their_values_and_unusual_names() {
    let base64 = format!("iVBORw0KGgo{}", "A".repeat(40));
    for (column, value) in [
        ("image_base64", base64.as_str()),
        ("img_url", "https://example.com/1"),
        ("url", "https://example.com/1.jpg?width=3"),
        ("image_name", "0001"),
        ("page_image", "p1.png"),
        ("Image Path", "C:/data/1.JPG"),
        ("pageImage", "p1"),
        ("scan", "scans/1.tiff"),
        ("screenshot", "1"),
    ] {
        let guess = guess_with(&format!(r#"{{"{column}":"{value}","question":"q","answer":"a"}}"#));
        assert_eq!(guess, Ok(format!("image={column},prompt=question,completion=answer")));
    }
}

#[test]
fn refuses_to_lose_images_or_content() {
    let refused = |row: &str| guess_with(row).unwrap_err();
    assert_eq!(
        refused(r#"{"question":"q","answer":"0","choices":["cat","dog"]}"#),
        "nothing uses `choices`, which holds a list of texts"
    );
    assert_eq!(
        refused(
            r#"{"image":"a.jpg","thumb":"b.jpg","question":"q","answer":"a","hint":"It is one of the two."}"#
        ),
        "nothing uses `thumb`, which holds images; nor `hint`, which holds text"
    );
    assert_eq!(
        refused(r#"{"image_id":7,"question":"q","answer":"a"}"#),
        "`image_id` has numbers of images, and no column has the images themselves"
    );
    assert_eq!(
        refused(r#"{"left":"a.jpg","right":"b.jpg","question":"q","answer":"a"}"#),
        "several columns hold images: `left`, `right`"
    );
    let harmless = r#"{"image":"a.jpg","question":"q","answer":"a","width":3,"license":"CC BY 4.0","flag":true,"box":"","image_id":3}"#;
    assert!(guess_with(harmless).is_ok());
}

#[test]
fn knows_preference_sets_splits_and_references() {
    let guess = |row: &str| guess_with(row).unwrap();
    assert_eq!(
        guess(r#"{"prompt":"q","chosen":"good","rejected":"this one is not as good as that"}"#),
        "prompt=prompt,completion=chosen"
    );
    assert_eq!(
        guess(r#"{"prompt":"q","completion":"a","label":false,"split":"test"}"#),
        "prompt=prompt,completion=completion,split=split"
    );
    assert_eq!(
        guess(r#"{"question":"q","answer":"a","answers":[{"answer":"a"},{"answer":"b"}],"split":"north"}"#),
        "prompt=question,completion=answer"
    );
}
