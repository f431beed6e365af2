//! The roles of table columns (image, prompt, completion, …): chosen by the user or guessed from their names.

mod row;
#[cfg(test)]
mod tests;

pub use row::{Cell, ImagePosition, read_row, text_of};

/// The placeholder of an image in a prompt, as LLaVA and most trainers spell it.
pub const PLACEHOLDER: &str = "<image>";

/// The role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Path, URL or data URI of one image, or a list of them.
    Image,
    /// The user message.
    Prompt,
    /// The assistant message.
    Completion,
    /// A system prompt.
    System,
    /// Rows with the same value stay in the same split.
    Group,
    /// An id of the row.
    Id,
    /// The value whose shares are the same in every split (`--split stratify=COL`).
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

/// The columns that the user chose: `image=COL,prompt=COL,…`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnChoice(Vec<(Role, String)>);

impl ColumnChoice {
    /// Parses the value of `--columns`.
    pub fn parse(text: &str) -> Result<ColumnChoice, ColumnError> {
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
        Ok(ColumnChoice(pairs))
    }

    /// Adds the column to stratify by.
    pub fn stratify(&mut self, column: &str) {
        self.0.push((Role::Stratum, column.to_owned()));
    }

    /// The columns chosen for a role.
    pub fn named(&self, role: Role) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(other, _)| *other == role).map(|(_, column)| column.as_str())
    }
}

/// Why columns cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ColumnError {
    /// A part of `--columns` is not `name=COLUMN`.
    #[error("`{pair}` does not have the form `image=COLUMN`")]
    NoEquals {
        /// The part.
        pair: String,
    },
    /// `--columns` names a role that does not exist.
    #[error("`{name}` is not a role of a column; the roles are image, prompt, completion, system, group, id")]
    UnknownRole {
        /// The word before the equals sign.
        name: String,
    },
    /// A role is given twice.
    #[error("`{role}` has two columns")]
    Twice {
        /// The role.
        role: &'static str,
    },
    /// A chosen column does not exist.
    #[error("there is no column `{column}`; the columns are {}", quoted(found))]
    Missing {
        /// The chosen column.
        column: String,
        /// The existing columns.
        found: Vec<String>,
    },
    /// No column has a usual name of a required role.
    #[error("cannot tell which column is the {role}; the columns are {}", quoted(found))]
    NoGuess {
        /// The role without a column.
        role: &'static str,
        /// The existing columns.
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
    /// Image columns, in order.
    pub image: Vec<String>,
    /// The prompt; without one, the user message is the image alone.
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
    /// The guessed roles, as `role=COLUMN`, for messages.
    pub guessed: Vec<String>,
    /// Columns without a role in this run.
    pub unused: Vec<String>,
}

impl Columns {
    /// Resolves the chosen columns against the existing names, and guesses the other roles.
    pub fn resolve(names: &[String], choice: &ColumnChoice) -> Result<Columns, ColumnError> {
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

/// The first usual name; else all numbered names (`image_1`, `image2`); else Hugging Face's `*_file_name(s)`.
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
