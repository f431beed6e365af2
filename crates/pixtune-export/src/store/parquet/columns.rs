//! The columns of Parquet files and their description for `datasets`.

use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use pixtune_core::json::{ToJson, Value, list, object, text, value};

use super::arrays::{image_bytes, lists, structs};
use super::{ParquetRow, chats};
use crate::layout::{Part, Turn};

/// The columns of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Columns {
    /// `messages` of rendered parts with weights, and `images` with the bytes of files.
    Parts,
    /// `prompt` and `completion` of rendered parts, and `images` with the bytes of files.
    PromptCompletion,
    /// `messages` of rendered parts that name their image files.
    PartsWithPaths,
    /// `messages` with texts that have placeholders, and `images` with paths.
    Placeholders,
    /// The same, with a key `loss` that is false where a response is not trained.
    PlaceholdersAndLoss,
    /// `messages` as they were read, `images` with the bytes of files, and `tools` as JSON.
    Chats,
}

/// The columns of some rows, in the order of the schema.
type Arrays = Result<Vec<ArrayRef>, ArrowError>;

impl Columns {
    /// The schema, with the features of `datasets`, without which images would come back as dictionaries.
    pub(super) fn schema(self) -> SchemaRef {
        // Without rows, the columns have their types.
        let empty = self.arrays(&[]).unwrap_or_default();
        let fields = self.names().iter().zip(&empty);
        let fields: Vec<Field> =
            fields.map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
        let features = fields.iter().map(|field| (field.name(), feature(field)));
        let features = object(|out| {
            features.for_each(|(name, feature)| {
                out.field(name, &feature);
            });
        });
        let info = object(|info| {
            info.field("features", features);
        });
        let metadata = text(object(|root| {
            root.field("info", info);
        }));
        let metadata = HashMap::from([("huggingface".to_owned(), metadata)]);
        Arc::new(Schema::new_with_metadata(fields, metadata))
    }

    fn names(self) -> &'static [&'static str] {
        match self {
            Columns::PartsWithPaths => &["messages"],
            Columns::PromptCompletion => &["prompt", "completion", "images"],
            Columns::Parts | Columns::Placeholders | Columns::PlaceholdersAndLoss => &["messages", "images"],
            Columns::Chats => &["messages", "images", "tools"],
        }
    }

    /// Puts rows into columns.
    pub(super) fn batch(self, rows: &[ParquetRow], schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(schema.clone(), self.arrays(rows)?)
    }

    fn arrays(self, rows: &[ParquetRow]) -> Arrays {
        let turns: Vec<&Turn> = rows.iter().flat_map(|row| &row.sample.turns).collect();
        let messages = match self {
            Columns::Chats => return chats::arrays(rows),
            Columns::PromptCompletion => return prompts_and_completions(rows),
            Columns::Parts => part_messages(&turns)?,
            Columns::PartsWithPaths => messages_with_paths(rows)?,
            Columns::Placeholders => text_messages(&turns, None)?,
            Columns::PlaceholdersAndLoss => {
                let loss: BooleanArray =
                    turns.iter().map(|turn| (turn.trained == Some(false)).then_some(false)).collect();
                text_messages(&turns, Some(Arc::new(loss)))?
            }
        };
        let messages = lists(rows.iter().map(|row| row.sample.turns.len()), Arc::new(messages), None)?;
        Ok(match self {
            Columns::PartsWithPaths => vec![messages],
            Columns::Parts => vec![messages, image_bytes(rows)?],
            _ => vec![messages, image_paths(rows)?],
        })
    }
}

/// What `datasets` calls a type. A list is written as a list of one feature, which every version reads; a struct of bytes and
/// a path is an image.
fn feature(field: &Field) -> Value<'static> {
    match field.data_type() {
        DataType::List(element) => value(list([&feature(element)])),
        DataType::Struct(fields) if fields.find("bytes").is_some() => value(named("_type", "Image")),
        DataType::Struct(fields) => {
            let fields: Vec<(String, Value<'static>)> =
                fields.iter().map(|field| (field.name().clone(), feature(field))).collect();
            value(object(|out| {
                fields.iter().for_each(|(name, feature)| {
                    out.field(name, feature);
                });
            }))
        }
        DataType::Int64 => value(scalar("int64")),
        DataType::Boolean => value(scalar("bool")),
        _ => value(scalar("string")),
    }
}

fn named(key: &'static str, name: &'static str) -> impl ToJson {
    object(move |out| {
        out.field(key, name);
    })
}

fn scalar(kind: &'static str) -> impl ToJson {
    object(move |out| {
        out.field("dtype", kind).field("_type", "Value");
    })
}

fn roles(turns: &[&Turn]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(turns.iter().map(|turn| turn.role)))
}

/// Types and texts of all parts.
fn parts(turns: &[&Turn]) -> (ArrayRef, ArrayRef) {
    let parts = || turns.iter().flat_map(|turn| &turn.parts).map(Part::named);
    let kinds = StringArray::from_iter_values(parts().map(|(kind, _)| kind));
    let texts: StringArray = parts().map(|(_, text)| text).collect();
    (Arc::new(kinds), Arc::new(texts))
}

/// Roles and lists of parts.
fn plain_messages(turns: &[&Turn]) -> Result<Vec<(&'static str, ArrayRef)>, ArrowError> {
    let (kinds, texts) = parts(turns);
    let parts = structs(vec![("type", kinds), ("text", texts)])?;
    let contents = lists(turns.iter().map(|turn| turn.parts.len()), Arc::new(parts), None)?;
    Ok(vec![("role", roles(turns)), ("content", contents)])
}

/// The last message is the completion, and all before it are the prompt.
fn prompts_and_completions(rows: &[ParquetRow]) -> Arrays {
    let divided: Vec<(&[Turn], &[Turn])> =
        rows.iter().map(|row| row.sample.turns.split_at(row.sample.turns.len().saturating_sub(1))).collect();
    let column = |of: fn(&(&'_ [Turn], &'_ [Turn])) -> usize, turns: Vec<&Turn>| {
        lists(divided.iter().map(of), Arc::new(structs(plain_messages(&turns)?)?), None)
    };
    let prompts = divided.iter().flat_map(|(prompt, _)| *prompt).collect();
    let completions = divided.iter().flat_map(|(_, completion)| *completion).collect();
    Ok(vec![
        column(|(prompt, _)| prompt.len(), prompts)?,
        column(|(_, completion)| completion.len(), completions)?,
        image_bytes(rows)?,
    ])
}

fn part_messages(turns: &[&Turn]) -> Result<StructArray, ArrowError> {
    let weights: Int64Array = turns.iter().map(|turn| turn.trained.map(i64::from)).collect();
    let mut columns = plain_messages(turns)?;
    columns.push(("weight", Arc::new(weights)));
    structs(columns)
}

fn messages_with_paths(rows: &[ParquetRow]) -> Result<StructArray, ArrowError> {
    let turns: Vec<&Turn> = rows.iter().flat_map(|row| &row.sample.turns).collect();
    let (kinds, texts) = parts(&turns);
    let mut paths = Vec::new();
    for row in rows {
        let mut images = row.paths.iter();
        let parts = row.sample.turns.iter().flat_map(|turn| &turn.parts);
        paths.extend(parts.map(|part| if *part == Part::Image { images.next() } else { None }));
    }
    let paths: StringArray = paths.into_iter().collect();
    let parts = structs(vec![("type", kinds), ("text", texts), ("path", Arc::new(paths))])?;
    let contents = lists(turns.iter().map(|turn| turn.parts.len()), Arc::new(parts), None)?;
    structs(vec![("role", roles(&turns)), ("content", contents)])
}

fn text_messages(turns: &[&Turn], loss: Option<ArrayRef>) -> Result<StructArray, ArrowError> {
    let contents = StringArray::from_iter_values(turns.iter().map(|turn| turn.text()));
    let mut columns = vec![("role", roles(turns)), ("content", Arc::new(contents) as ArrayRef)];
    columns.extend(loss.map(|loss| ("loss", loss)));
    structs(columns)
}

fn image_paths(rows: &[ParquetRow]) -> Result<ArrayRef, ArrowError> {
    let paths = StringArray::from_iter_values(rows.iter().flat_map(|row| &row.paths));
    lists(rows.iter().map(|row| row.paths.len()), Arc::new(paths), None)
}
