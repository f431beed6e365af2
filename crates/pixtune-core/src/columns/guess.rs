//! Guesses the roles of columns, by their names and by the values of the first rows.

use super::answers::reference_answers;
use super::{ColumnChoice, ColumnError, Columns, Role};
use crate::content::{self, Held, is_empty, is_image_name, looks_like_image, normal_name};
use crate::foreign::REFUSED;
use crate::json::Value;
use crate::split::names_split;

impl Role {
    /// Usual names, the most specific first.
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
            Role::Prompt => &["prompt", "question", "instruction", "query", "user", "prefix", "input"],
            Role::Completion => &[
                "completion",
                "answer",
                "response",
                "output",
                "chosen",
                "answers",
                "caption",
                "captions",
                "target",
                "assistant",
                "ground_truth",
                "suffix",
                "label",
                "description",
                "sentences",
                "text",
                "value",
            ],
            Role::System => &["system", "system_prompt"],
            Role::Group => &["group", "group_id"],
            Role::Id => &["id", "sample_id", "row_id", "uid"],
            Role::Split => &["split", "subset"],
            Role::Stratum => &[],
        }
    }
}

/// Under these names datasets keep further reference answers beside the one in the completion.
const REFERENCES: [&str; 5] = ["answers", "references", "reference_answers", "all_answers", "captions"];

/// What columns are guessed from.
pub(super) struct Guess<'g> {
    /// The names of all columns.
    pub names: &'g [String],
    /// The first rows.
    pub rows: &'g [Value<'g>],
    /// The columns that have a role already.
    pub taken: Vec<String>,
}

impl Guess<'_> {
    /// The columns that were chosen, and a guess for every other role.
    pub(super) fn columns(mut self, choice: &ColumnChoice) -> Result<Columns, ColumnError> {
        let mut columns = Columns { image: self.images(choice)?, ..Columns::default() };
        if choice.named(Role::Image).next().is_none() {
            columns.guessed.extend(columns.image.iter().map(|column| format!("image={column}")));
            self.taken.extend(columns.image.iter().cloned());
        }
        for role in [Role::Prompt, Role::Completion, Role::System, Role::Group, Role::Id, Role::Split] {
            let mut column = choice.named(role).next().map(str::to_owned);
            if column.is_none() {
                column = role.usual_names().iter().find_map(|usual| self.find(usual));
                column = column.filter(|column| role != Role::Split || self.all(column, is_split));
                if let Some(column) = &column {
                    columns.guessed.push(format!("{}={column}", role.as_str()));
                    self.taken.push(column.clone());
                }
            }
            match role {
                Role::Prompt => columns.prompt = column,
                Role::Completion => columns.completion = column.ok_or_else(|| self.no_guess("completion"))?,
                Role::System => columns.system = column,
                Role::Group => columns.group = column,
                Role::Split => columns.split = column,
                _ => columns.id = column,
            }
        }
        columns.stratum = choice.named(Role::Stratum).next().map(str::to_owned);
        if columns.image.is_empty() && columns.prompt.is_none() {
            return Err(self.no_guess("image"));
        }
        self.beside(&mut columns);
        self.refuse_ambiguous()?;
        self.refuse_lost_images(&columns)?;
        let unused = self.names.iter().filter(|name| !self.taken.contains(name));
        columns.unused = unused.cloned().collect();
        self.refuse_unused_content(&columns.unused)?;
        columns.has_several_answers =
            self.values(&columns.completion).any(|value| is_list_of_answers(&columns.completion, value));
        Ok(columns)
    }

    /// Columns that are no part of the sample and say something about it.
    fn beside(&mut self, columns: &mut Columns) {
        columns.references = REFERENCES.iter().find_map(|name| self.find(name));
        columns.references = columns.references.take().filter(|column| {
            self.values(column).next().is_none()
                || self.values(column).any(|value| is_list_of_answers(column, value))
        });
        self.taken.extend(columns.references.clone());
        columns.label = content::LABELS.iter().find_map(|name| self.find(name));
        columns.label = columns.label.take().filter(|column| self.all(column, content::is_flag));
        self.taken.extend(columns.label.clone());
        // Without the response that was preferred, the other one is content like any.
        if normal_name(&columns.completion) == "chosen" {
            columns.refused = REFUSED.iter().filter_map(|name| self.find(name)).collect();
            self.taken.extend(columns.refused.iter().cloned());
        }
    }

    /// The values of a column that are not empty.
    fn values(&self, column: &str) -> impl Iterator<Item = &Value<'_>> {
        self.rows.iter().filter_map(move |row| row.get(column)).filter(|value| !is_empty(value))
    }

    /// Whether a column has values, all of this kind.
    fn all(&self, column: &str, is: impl Fn(&Value<'_>) -> bool) -> bool {
        self.values(column).next().is_some() && self.values(column).all(is)
    }

    fn free(&self) -> impl Iterator<Item = &String> {
        self.names.iter().filter(|name| !self.taken.contains(name))
    }

    fn find(&self, usual: &str) -> Option<String> {
        self.free().find(|name| normal_name(name) == usual).cloned()
    }

    fn no_guess(&self, role: &'static str) -> ColumnError {
        ColumnError::NoGuess { role, found: self.names.to_vec() }
    }

    /// The columns of images: those that were chosen; those with usual names; those whose values are images.
    fn images(&self, choice: &ColumnChoice) -> Result<Vec<String>, ColumnError> {
        let chosen: Vec<String> = choice.named(Role::Image).map(str::to_owned).collect();
        if !chosen.is_empty() {
            return Ok(chosen);
        }
        let by_name = self.images_by_name();
        let by_value: Vec<String> =
            self.free().filter(|name| self.all(name, looks_like_image)).cloned().collect();
        let has_images = |name: &String| self.values(name).any(looks_like_image);
        if !by_name.is_empty() && (by_value.is_empty() || by_name.iter().any(has_images)) {
            return Ok(by_name);
        }
        if by_value.len() > 1 {
            return Err(ColumnError::SeveralImages { columns: by_value });
        }
        if !by_value.is_empty() {
            return Ok(by_value);
        }
        let is_text = |value: &Value<'_>| !matches!(value, Value::Number(_) | Value::Bool(_));
        let mut named =
            self.free().filter(|name| is_image_name(&normal_name(name)) && self.all(name, is_text));
        Ok(named.next().cloned().into_iter().collect())
    }

    /// The first usual name; else all numbered names (`image_1`, `image2`); else Hugging Face's `*_file_name(s)`.
    fn images_by_name(&self) -> Vec<String> {
        if let Some(name) = Role::Image.usual_names().iter().find_map(|usual| self.find(usual)) {
            return vec![name];
        }
        let mut numbered: Vec<(u32, &String)> =
            self.free().filter_map(|name| Some((image_number(name)?, name))).collect();
        numbered.sort();
        if !numbered.is_empty() {
            return numbered.into_iter().map(|(_, name)| name.clone()).collect();
        }
        let is_file = |name: &&String| name.ends_with("_file_name") || name.ends_with("_file_names");
        self.free().filter(is_file).cloned().collect()
    }

    fn refuse_ambiguous(&self) -> Result<(), ColumnError> {
        let is_twice = |column: &&String| self.names.iter().filter(|name| name == column).count() > 1;
        match self.taken.iter().find(is_twice) {
            Some(column) => Err(ColumnError::Ambiguous { column: column.clone() }),
            None => Ok(()),
        }
    }

    /// Without an image, a column of their numbers shows that there should be one.
    fn refuse_lost_images(&self, columns: &Columns) -> Result<(), ColumnError> {
        let is_number_of_image = |name: &&String| {
            matches!(
                normal_name(name).as_str(),
                "image_id" | "img_id" | "imageid" | "photo_id" | "picture_id" | "image_index"
            )
        };
        match self.free().find(is_number_of_image) {
            Some(column) if columns.image.is_empty() => {
                Err(ColumnError::ImageNumbers { column: column.clone() })
            }
            _ => Ok(()),
        }
    }

    fn refuse_unused_content(&self, unused: &[String]) -> Result<(), ColumnError> {
        let held = |name: &String| -> Option<(String, Held)> {
            let held = self.values(name).find_map(|value| content::held(name, value))?;
            // Rows with video or audio are rejected one by one: others may have none.
            (held != Held::Media).then(|| (name.clone(), held))
        };
        let columns: Vec<(String, Held)> = unused.iter().filter_map(held).collect();
        if columns.is_empty() { Ok(()) } else { Err(ColumnError::UnusedContent { columns }) }
    }
}

fn is_list_of_answers(column: &str, value: &Value<'_>) -> bool {
    reference_answers(column, value).is_some()
}

fn is_split(value: &Value<'_>) -> bool {
    value.as_str().is_some_and(|text| names_split(text).is_some())
}

fn image_number(name: &str) -> Option<u32> {
    let lower = name.trim().to_ascii_lowercase();
    let number = lower.strip_prefix("image").or_else(|| lower.strip_prefix("img"))?;
    number.trim_start_matches(['_', '-', ' ']).parse().ok()
}
