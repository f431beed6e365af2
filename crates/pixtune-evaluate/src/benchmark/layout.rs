//! The layouts of the benchmarks: which columns a prompt, its images and its references are in.

use pixtune_core::diagnostic::Finding;
use pixtune_core::json::{self, Value};
use pixtune_core::rules;

use super::columns::{first, missing, text, texts};
use super::{Benchmark, BenchmarkChoice, prompts};

/// A part of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Text(String),
    /// The image in this column.
    Image(String),
}

/// A question with what came before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Question {
    /// What distinguishes it from others of its row.
    pub(super) turn: Option<usize>,
    /// Messages by turns, the user's first.
    pub(super) messages: Vec<Vec<Piece>>,
    pub(super) references: Vec<String>,
    pub(super) options: Vec<String>,
    pub(super) category: Option<String>,
}

const QUESTION: [&str; 2] = ["question", "query"];
const ANSWERS: [&str; 3] = ["answers", "answer", "label"];
/// MathVista names a path in `image` and has the image in `decoded_image`.
const IMAGE: [&str; 3] = ["decoded_image", "image", "image_path"];

/// The questions of a row.
pub(super) fn questions(choice: &BenchmarkChoice, row: &Value<'_>) -> Result<Vec<Question>, Finding> {
    let question = match choice.benchmark {
        Benchmark::MmMtBench => return conversation(row),
        Benchmark::Mmmu => exam(choice, row)?,
        Benchmark::MathVista => mathematics(choice, row)?,
        _ => {
            let category = first(row, &["question_type", "answer_type", "type", "human_or_machine", "split"]);
            Question {
                messages: vec![one_image(row, with_instructions(choice, text(row, &QUESTION)?))?],
                references: texts(row, &ANSWERS)?,
                category: category.and_then(Value::as_str).map(str::to_owned),
                ..Question::default()
            }
        }
    };
    Ok(vec![question])
}

/// The id of a row, where it has one.
pub(super) fn id(row: &Value<'_>) -> Option<String> {
    text(row, &["question_id", "questionId", "pid", "id", "index"]).ok()
}

fn with_instructions(choice: &BenchmarkChoice, question: String) -> String {
    let own = choice.instructions.as_deref();
    match own.or(prompts::instructions(choice.benchmark, choice.variant)) {
        Some(instructions) => format!("{question}\n{instructions}"),
        None => question,
    }
}

/// The image of a row, and a text.
fn one_image(row: &Value<'_>, prompt: String) -> Result<Vec<Piece>, Finding> {
    let column = IMAGE.into_iter().find(|name| first(row, &[name]).is_some());
    let column = column.ok_or_else(|| missing(&IMAGE))?;
    Ok(vec![Piece::Image(column.to_owned()), Piece::Text(prompt)])
}

/// MathVista: `query` has the question with its options; the reference of a question with options is a letter.
fn mathematics(choice: &BenchmarkChoice, row: &Value<'_>) -> Result<Question, Finding> {
    let options = match first(row, &["choices"]) {
        Some(_) => texts(row, &["choices"])?,
        None => Vec::new(),
    };
    let answer = text(row, &["answer"])?;
    let references = match options.iter().position(|option| *option == answer) {
        _ if options.is_empty() => vec![answer],
        Some(index) => vec![letter(index)?],
        None => {
            let message = format!("the answer `{answer}` is not one of the choices");
            return Err(Finding::new(&rules::REFERENCE_UNSUITABLE, "/answer", message));
        }
    };
    let prompt = with_instructions(choice, text(row, &["query", "question"])?);
    let category = first(row, &["question_type"]).and_then(Value::as_str).map(str::to_owned);
    Ok(Question {
        messages: vec![one_image(row, prompt)?],
        references,
        options,
        category,
        ..Question::default()
    })
}

/// MMMU: options become lines, and `<image 2>` stands for the image of the column `image_2`.
fn exam(choice: &BenchmarkChoice, row: &Value<'_>) -> Result<Question, Finding> {
    let mut question = text(row, &QUESTION)?;
    let lettered: Vec<String> =
        ('A'..='I').map_while(|letter| text(row, &[letter.to_string().as_str()]).ok()).collect();
    let is_open = first(row, &["question_type"]).and_then(Value::as_str) == Some("open");
    let options = match first(row, &["options"]) {
        Some(_) if !is_open => texts(row, &["options"])?,
        Some(_) => Vec::new(),
        None => lettered,
    };
    for (index, option) in options.iter().enumerate() {
        question = format!("{question}\n{}. {option}", letter(index)?);
    }
    let mut pieces = pieces(row, &question)?;
    if let Some(instructions) = with_instructions(choice, String::new()).strip_prefix('\n') {
        match pieces.last_mut() {
            Some(Piece::Text(text)) => *text = format!("{text}\n{instructions}"),
            _ => pieces.push(Piece::Text(instructions.to_owned())),
        }
    }
    let category = first(row, &["subfield", "category"]).and_then(Value::as_str).map(str::to_owned);
    let references = texts(row, &["answer"])?;
    Ok(Question { messages: vec![pieces], references, options, category, ..Question::default() })
}

/// A text cut at its image markers. Without markers the image of the row comes first.
fn pieces(row: &Value<'_>, question: &str) -> Result<Vec<Piece>, Finding> {
    let (mut pieces, mut rest) = (Vec::new(), question);
    let text = |text: &str| (!text.trim().is_empty()).then(|| Piece::Text(text.to_owned()));
    while let Some((before, number, after)) = marker(rest) {
        let column = format!("image_{number}");
        first(row, &[&column]).ok_or_else(|| missing(&[&column]))?;
        pieces.extend(text(before));
        pieces.push(Piece::Image(column));
        rest = after;
    }
    pieces.extend(text(rest));
    if !pieces.iter().any(|piece| matches!(piece, Piece::Image(_))) {
        let column = ["image", "image_1"].into_iter().find(|name| first(row, &[name]).is_some());
        pieces.insert(0, Piece::Image(column.ok_or_else(|| missing(&["image_1", "image"]))?.to_owned()));
    }
    Ok(pieces)
}

/// The first `<image N>`: what comes before, N, and what comes after.
fn marker(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    loop {
        let start = from + text[from..].find("<image ")?;
        let number = &text[start + "<image ".len()..];
        if let Some(end) = number.find('>')
            && end > 0
            && number[..end].bytes().all(|byte| byte.is_ascii_digit())
        {
            return Some((&text[..start], &number[..end], &number[end + 1..]));
        }
        from = start + 1;
    }
}

fn letter(index: usize) -> Result<String, Finding> {
    let letter = u8::try_from(index).ok().filter(|index| *index < 26).map(|index| char::from(b'A' + index));
    letter.map(String::from).ok_or_else(|| {
        Finding::new(&rules::REFERENCE_UNSUITABLE, "/options", "there are more than 26 options")
    })
}

/// MM-MT-Bench: a question for every turn of the user, after the reference answers to those before.
fn conversation(row: &Value<'_>) -> Result<Vec<Question>, Finding> {
    let wrong = |message: &str| Finding::new(&rules::WRONG_TYPE, "/conversation", message.to_owned());
    let given = first(row, &["conversation"]).ok_or_else(|| missing(&["conversation"]))?;
    let parsed;
    let messages = match given {
        Value::String(text) => {
            parsed = json::parse(text).map_err(|_| wrong("`conversation` is not JSON"))?.value;
            &parsed
        }
        value => value,
    };
    let messages = messages.as_array().ok_or_else(|| wrong("`conversation` is not a list of messages"))?;
    let category = first(row, &["category"]).and_then(Value::as_str).map(str::to_owned);
    let mut history: Vec<Vec<Piece>> = Vec::new();
    let mut questions = Vec::new();
    for (index, pair) in messages.chunks(2).enumerate() {
        let [user, assistant] = pair else { return Err(wrong("the last question has no reference answer")) };
        if user.text("role") != Some("user") || assistant.text("role") != Some("assistant") {
            return Err(wrong("user and assistant do not alternate"));
        }
        history.push(content(user)?);
        let reference = assistant.text("content").ok_or_else(|| wrong("a reference answer is not a text"))?;
        questions.push(Question {
            turn: Some(index + 1),
            messages: history.clone(),
            references: vec![reference.to_owned()],
            category: category.clone(),
            options: Vec::new(),
        });
        history.push(vec![Piece::Text(reference.to_owned())]);
    }
    match questions.is_empty() {
        true => Err(wrong("`conversation` is empty")),
        false => Ok(questions),
    }
}

/// The content of a message: a text, or parts. An image part stands for the image of the row.
fn content(message: &Value<'_>) -> Result<Vec<Piece>, Finding> {
    let unknown = || {
        let text = "a content part is neither a text nor an image";
        Finding::new(&rules::WRONG_TYPE, "/conversation", text)
    };
    let part = |part: &Value<'_>| match part.text("type") {
        Some("image" | "image_url") => Some(Piece::Image("image".to_owned())),
        Some("text") => part.text("text").map(|text| Piece::Text(text.to_owned())),
        _ => None,
    };
    match message.get("content") {
        Some(Value::String(text)) => Ok(vec![Piece::Text(text.to_string())]),
        Some(Value::Array(parts)) => parts.iter().map(|one| part(one).ok_or_else(unknown)).collect(),
        _ => Err(unknown()),
    }
}
