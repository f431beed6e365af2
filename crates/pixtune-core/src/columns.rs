//! Which column of a table is the picture, the prompt, the answer: chosen by the user or guessed from its name.

use crate::conversation::image_source;
use crate::diagnostic::{Finding, pointer_push};
use crate::json::{self, Value};
use crate::rules::{EMPTY_ANSWER, EMPTY_PROMPT, IMAGE_PLACEHOLDERS, MISSING_FIELD, NO_PICTURE, WRONG_TYPE};
use crate::sample::{Assistant, Content, Message, Part, Picture, Sample};

/// The text in a prompt that a picture takes the place of, as LLaVA and most trainers spell it.
pub const PLACEHOLDER: &str = "<image>";

/// What a column can be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Path, address or data URI of one picture, or a list of them.
    Image,
    /// What the user asks.
    Prompt,
    /// What the assistant answers.
    Completion,
    /// A system prompt.
    System,
    /// Rows with the same value stay on one side of the split.
    Group,
    /// A name of the row.
    Id,
    /// The value whose shares the split keeps (`--split stratify=COL`).
    Stratum,
}

impl Role {
    /// The roles that `--columns` can name.
    pub const NAMED: [Role; 6] =
        [Role::Image, Role::Prompt, Role::Completion, Role::System, Role::Group, Role::Id];

    /// The word in `--columns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Image => "image",
            Role::Prompt => "prompt",
            Role::Completion => "completion",
            Role::System => "system",
            Role::Group => "group",
            Role::Id => "id",
            Role::Stratum => "stratify",
        }
    }

    /// Usual names, most telling first.
    fn usual_names(self) -> &'static [&'static str] {
        match self {
            Role::Image => &[
                "image",
                "images",
                "image_path",
                "image_paths",
                "image_file",
                "image_files",
                "file_name",
                "file_names",
                "filename",
                "filepath",
                "file_path",
                "img",
                "img_path",
                "picture",
                "photo",
                "image_url",
                "path",
                "file",
            ],
            Role::Prompt => &["prompt", "question", "instruction", "query", "user", "input"],
            Role::Completion => &[
                "completion",
                "answer",
                "response",
                "output",
                "caption",
                "target",
                "assistant",
                "ground_truth",
                "label",
                "description",
                "text",
            ],
            Role::System => &["system", "system_prompt"],
            Role::Group => &["group", "group_id"],
            Role::Id => &["id", "sample_id", "row_id", "uid"],
            Role::Stratum => &[],
        }
    }
}

/// What the user said about columns: `image=COL,prompt=COL,…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice(Vec<(Role, String)>);

impl Choice {
    /// Parses the value of `--columns`.
    pub fn parse(text: &str) -> Result<Choice, ColumnError> {
        let mut pairs = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, column) =
                pair.split_once('=').ok_or_else(|| ColumnError::NoEquals { pair: pair.to_owned() })?;
            let role = Role::NAMED.into_iter().find(|role| role.as_str() == name.trim());
            let role = role.ok_or_else(|| ColumnError::UnknownRole { name: name.trim().to_owned() })?;
            if role != Role::Image && pairs.iter().any(|(other, _)| *other == role) {
                return Err(ColumnError::Twice { role: role.as_str() });
            }
            pairs.push((role, column.trim().to_owned()));
        }
        Ok(Choice(pairs))
    }

    /// Adds the column whose shares the split is to keep.
    pub fn stratify(&mut self, column: &str) {
        self.0.push((Role::Stratum, column.to_owned()));
    }

    /// The columns named for a role.
    pub fn named(&self, role: Role) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| *other == role).map(|(_, column)| column.as_str())
    }
}

/// A column that cannot be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A part of `--columns` is not `name=COLUMN`.
    #[error("`{pair}` is not of the form `image=COLUMN`")]
    NoEquals {
        /// The part.
        pair: String,
    },
    /// `--columns` names a role that does not exist.
    #[error(
        "`{name}` is nothing a column can be; the choice is image, prompt, completion, system, group, id"
    )]
    UnknownRole {
        /// The word before the equals sign.
        name: String,
    },
    /// A role is given twice.
    #[error("`{role}` is given two columns")]
    Twice {
        /// The role.
        role: &'static str,
    },
    /// The table lacks a chosen column.
    #[error("there is no column `{column}`; the columns are {}", quoted(found))]
    Missing {
        /// The column asked for.
        column: String,
        /// The columns there are.
        found: Vec<String>,
    },
    /// No column looks like the one that is needed.
    #[error("no column looks like the {role}; the columns are {}", quoted(found))]
    NoGuess {
        /// The role without a column.
        role: &'static str,
        /// The columns there are.
        found: Vec<String>,
    },
    /// The header names one column twice.
    #[error("two columns are called `{column}`")]
    Ambiguous {
        /// The name.
        column: String,
    },
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The columns of one table, by role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// Picture columns, in order.
    pub image: Vec<String>,
    /// The prompt; without one the user turn is the picture alone.
    pub prompt: Option<String>,
    /// The answer.
    pub completion: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The id.
    pub id: Option<String>,
    /// The stratum.
    pub stratum: Option<String>,
    /// What was guessed, as `role=COLUMN`, for the user to see.
    pub guessed: Vec<String>,
    /// Columns with no use in this run.
    pub unused: Vec<String>,
}

impl Columns {
    /// Resolves the user's choice against the names there are, guessing the rest.
    pub fn resolve(names: &[String], choice: &Choice) -> Result<Columns, ColumnError> {
        let mut columns = Columns::default();
        for column in choice.0.iter().map(|(_, column)| column) {
            if !names.contains(column) {
                return Err(ColumnError::Missing { column: column.clone(), found: names.to_vec() });
            }
        }
        let mut taken: Vec<String> = choice.0.iter().map(|(_, column)| column.clone()).collect();
        columns.image = choice.named(Role::Image).map(str::to_owned).collect();
        if columns.image.is_empty() {
            columns.image = guess_images(names, &taken);
            columns.guessed.extend(columns.image.iter().map(|column| format!("image={column}")));
            taken.extend(columns.image.iter().cloned());
        }
        for role in [Role::Prompt, Role::Completion, Role::System, Role::Group, Role::Id] {
            let mut column = choice.named(role).next().map(str::to_owned);
            if column.is_none() {
                column = role.usual_names().iter().find_map(|usual| find_name(names, usual, &taken));
                if let Some(column) = &column {
                    columns.guessed.push(format!("{}={column}", role.as_str()));
                    taken.push(column.clone());
                }
            }
            match role {
                Role::Prompt => columns.prompt = column,
                Role::Completion => {
                    let none = || ColumnError::NoGuess { role: "completion", found: names.to_vec() };
                    columns.completion = column.ok_or_else(none)?;
                }
                Role::System => columns.system = column,
                Role::Group => columns.group = column,
                _ => columns.id = column,
            }
        }
        columns.stratum = choice.named(Role::Stratum).next().map(str::to_owned);
        if columns.image.is_empty() && columns.prompt.is_none() {
            return Err(ColumnError::NoGuess { role: "image", found: names.to_vec() });
        }
        if let Some(column) =
            taken.iter().find(|column| names.iter().filter(|name| name == column).count() > 1)
        {
            return Err(ColumnError::Ambiguous { column: column.clone() });
        }
        columns.unused = names.iter().filter(|name| !taken.contains(name)).cloned().collect();
        Ok(columns)
    }
}

fn find_name(names: &[String], usual: &str, taken: &[String]) -> Option<String> {
    let mut free = names.iter().filter(|name| !taken.contains(name));
    free.find(|name| name.trim().eq_ignore_ascii_case(usual)).cloned()
}

/// One usual name; else every numbered one (`image_1`, `image2`); else Hugging Face's `*_file_name(s)`.
fn guess_images(names: &[String], taken: &[String]) -> Vec<String> {
    if let Some(name) = Role::Image.usual_names().iter().find_map(|usual| find_name(names, usual, taken)) {
        return vec![name];
    }
    let free = || names.iter().filter(|name| !taken.contains(name));
    let mut numbered: Vec<(u32, &String)> =
        free().filter_map(|name| Some((image_number(name)?, name))).collect();
    numbered.sort();
    if !numbered.is_empty() {
        return numbered.into_iter().map(|(_, name)| name.clone()).collect();
    }
    free().filter(|name| name.ends_with("_file_name") || name.ends_with("_file_names")).cloned().collect()
}

fn image_number(name: &str) -> Option<u32> {
    let lower = name.trim().to_ascii_lowercase();
    let number = lower.strip_prefix("image").or_else(|| lower.strip_prefix("img"))?;
    number.trim_start_matches(['_', '-', ' ']).parse().ok()
}

/// Where pictures stand when the prompt does not place them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImagePosition {
    /// Before the text: what Pixtral's own encoding makes of one picture anyway.
    #[default]
    First,
    /// After the text.
    Last,
}

/// The value of a column in a flat row, as the two kinds of table hold it.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// A cell of a CSV or TSV file.
    Text(&'a str),
    /// A value of a JSON Lines file.
    Json(&'a Value<'a>),
}

/// Turns a flat row into a conversation of one question and one answer.
pub fn read_row<'a>(
    columns: &Columns,
    position: ImagePosition,
    cell: impl Fn(&str) -> Option<Cell<'a>>,
) -> (Sample<Picture>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut images = Vec::new();
    for column in &columns.image {
        read_images(column, cell(column), &mut images, &mut findings);
    }
    let mut text = |column: &Option<String>| match column {
        Some(column) => text_of(column, cell(column), &mut findings),
        None => None,
    };
    let prompt = text(&columns.prompt).unwrap_or_default();
    // A row of JSON Lines may do without the key.
    let system = columns.system.clone().filter(|column| cell(column).is_some());
    let system = text(&system).filter(|text| !text.trim().is_empty());
    let completion = text(&Some(columns.completion.clone()));
    if images.is_empty() && !columns.image.is_empty() && findings.is_empty() {
        let message = format!("column `{}` is empty", columns.image[0]);
        findings.push(Finding::new(&NO_PICTURE, pointer_push("", &columns.image[0]), message));
    }
    if prompt.trim().is_empty() && images.is_empty() {
        let place = columns.prompt.as_deref().unwrap_or(&columns.completion);
        findings.push(Finding::new(
            &EMPTY_PROMPT,
            pointer_push("", place),
            "the row has neither a prompt nor a picture",
        ));
    } else if let Some(column) = columns.prompt.as_deref().filter(|_| prompt.trim().is_empty()) {
        findings.push(Finding::new(
            &EMPTY_PROMPT,
            pointer_push("", column),
            format!("column `{column}` is empty"),
        ));
    }
    if completion.as_deref().is_some_and(|text| text.trim().is_empty()) {
        let place = pointer_push("", &columns.completion);
        let message = format!("column `{}` is empty", columns.completion);
        findings.push(Finding::new(&EMPTY_ANSWER, place, message));
    }
    let content = match place_images(&prompt, images.len(), position) {
        Ok(content) => content,
        Err(places) => {
            let message = format!("the prompt has {places} `{PLACEHOLDER}` for {} pictures", images.len());
            let place = pointer_push("", columns.prompt.as_deref().unwrap_or_default());
            let hint =
                format!("write one `{PLACEHOLDER}` for each picture, or none to have them all in front");
            findings.push(Finding::new(&IMAGE_PLACEHOLDERS, place, message).hint(hint));
            Content::Text(prompt)
        }
    };
    let mut messages = Vec::with_capacity(3);
    messages.extend(system.map(|text| Message::System(Content::Text(text))));
    messages.push(Message::User(content));
    let answer = Content::Text(completion.unwrap_or_default());
    messages.push(Message::Assistant(Assistant { content: Some(answer), ..Assistant::default() }));
    (Sample { messages, tools: vec![], images }, findings)
}

/// The user turn: pictures at their placeholders, or all on one side. The error is the number of placeholders.
fn place_images(prompt: &str, images: usize, position: ImagePosition) -> Result<Content, usize> {
    let places = prompt.matches(PLACEHOLDER).count();
    if places == 0 && images == 0 {
        return Ok(Content::Text(prompt.to_owned()));
    }
    if places != 0 && places != images {
        return Err(places);
    }
    let mut parts = Vec::new();
    let push_text = |parts: &mut Vec<Part>, text: &str| {
        if !text.is_empty() {
            parts.push(Part::Text(text.to_owned()));
        }
    };
    match (places, position) {
        (0, ImagePosition::First) => {
            parts.extend((0..images).map(Part::Image));
            push_text(&mut parts, prompt);
        }
        (0, ImagePosition::Last) => {
            push_text(&mut parts, prompt);
            parts.extend((0..images).map(Part::Image));
        }
        _ => {
            for (index, text) in prompt.split(PLACEHOLDER).enumerate() {
                if index > 0 {
                    parts.push(Part::Image(index - 1));
                }
                push_text(&mut parts, text);
            }
        }
    }
    Ok(Content::Parts(parts))
}

/// The pictures of one cell: a reference, or a JSON array of references; an empty cell has none.
fn read_images(column: &str, cell: Option<Cell<'_>>, images: &mut Vec<Picture>, findings: &mut Vec<Finding>) {
    let place = pointer_push("", column);
    let parsed;
    let list: &[Value<'_>] = match cell {
        None => {
            findings.push(Finding::new(&MISSING_FIELD, place, format!("the row has no `{column}`")));
            return;
        }
        Some(Cell::Text(text)) if text.trim().is_empty() => return,
        Some(Cell::Text(text)) if text.trim_start().starts_with('[') => match json::parse(text.trim()) {
            Ok(json::Parsed { value: Value::Array(list), .. }) => {
                parsed = list;
                &parsed
            }
            _ => {
                let message = format!("column `{column}` starts like a list but is no JSON array");
                findings.push(
                    Finding::new(&WRONG_TYPE, place, message).hint("the form is `[\"a.jpg\", \"b.jpg\"]`"),
                );
                return;
            }
        },
        Some(Cell::Text(text)) => {
            parsed = vec![Value::String(text.into())];
            &parsed
        }
        Some(Cell::Json(Value::Array(list))) => list,
        Some(Cell::Json(Value::Null)) => return,
        Some(Cell::Json(Value::String(text))) if text.trim().is_empty() => return,
        Some(Cell::Json(value)) => std::slice::from_ref(value),
    };
    for value in list {
        let Some(reference) = value.as_str() else {
            let message = format!("a picture in `{column}` is {}, not a string", value.kind());
            findings.push(Finding::new(&WRONG_TYPE, place.clone(), message));
            continue;
        };
        match image_source(reference) {
            Ok(source) => images.push(Picture { source, pointer: place.clone() }),
            Err(finding) => findings.push(Finding { pointer: place.clone(), ..finding }),
        }
    }
}

/// The text of a cell; a number is its digits.
pub fn text_of(column: &str, cell: Option<Cell<'_>>, findings: &mut Vec<Finding>) -> Option<String> {
    let place = || pointer_push("", column);
    match cell {
        Some(Cell::Text(text)) => Some(text.to_owned()),
        Some(Cell::Json(Value::String(text) | Value::Number(text))) => Some(text.clone().into_owned()),
        Some(Cell::Json(Value::Null)) => Some(String::new()),
        Some(Cell::Json(other)) => {
            findings.push(Finding::new(
                &WRONG_TYPE,
                place(),
                format!("`{column}` is {}, not a string", other.kind()),
            ));
            None
        }
        None => {
            findings.push(Finding::new(&MISSING_FIELD, place(), format!("the row has no `{column}`")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn guess(header: &str) -> String {
        Columns::resolve(&names(header), &Choice::default()).unwrap().guessed.join(",")
    }

    #[test]
    fn guesses_the_usual_names() {
        assert_eq!(
            guess("image_path,prompt,completion"),
            "image=image_path,prompt=prompt,completion=completion"
        );
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
    fn names_the_columns_there_are() {
        let choice = Choice::parse("image=photo,prompt=q").unwrap();
        let error = Columns::resolve(&names("photo,question,answer"), &choice).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no column `q`; the columns are `photo`, `question`, `answer`"
        );
        let error = Columns::resolve(&names("photo,notes"), &Choice::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "no column looks like the completion; the columns are `photo`, `notes`"
        );
        assert!(Choice::parse("picture=x").is_err() && Choice::parse("image").is_err());
        assert!(Choice::parse("prompt=a,prompt=b").is_err() && Choice::parse("image=a,image=b").is_ok());
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
    fn a_name_that_two_columns_share_cannot_be_used() {
        let error = Columns::resolve(&names("image,prompt,answer,prompt"), &Choice::default()).unwrap_err();
        assert_eq!(error.to_string(), "two columns are called `prompt`");
        assert!(Columns::resolve(&names("image,prompt,answer,note,note"), &Choice::default()).is_ok());
    }

    #[test]
    fn places_pictures() {
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
        let columns = Columns::resolve(&names("image,prompt,answer"), &Choice::default()).unwrap();
        let row =
            json::parse(r#"{"image":["a.png","http://x/b.png"],"prompt":"how many?","answer":5}"#).unwrap();
        let (sample, findings) =
            read_row(&columns, ImagePosition::First, |name| row.value.get(name).map(Cell::Json));
        assert_eq!(findings, []);
        assert_eq!(sample.images.len(), 2);
        let Message::Assistant(answer) = &sample.messages[1] else { panic!() };
        assert_eq!(answer.content, Some(Content::Text("5".into())));
    }

    #[test]
    fn reports_what_a_flat_row_lacks() {
        let columns = Columns::resolve(&names("image,prompt,answer"), &Choice::default()).unwrap();
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
        assert_eq!(rules("", "q", "a"), ["no-picture /image"]);
        assert_eq!(rules("['a.png']", "q", "a"), ["wrong-type /image"]);
        assert_eq!(rules("a.png", "<image><image>", "a"), ["image-placeholders /prompt"]);
    }
}
