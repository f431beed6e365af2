//! The roles of table columns (image, prompt, completion, …): chosen by the user or guessed from their names.

mod answers;
mod guess;
mod row;
#[cfg(test)]
mod tests;

use crate::content::Held;
use crate::json::Value;

pub use answers::{Answers, reference_answers};
pub use row::{ImagePosition, RowOptions, read_row};

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
    /// The split that the row belongs to.
    Split,
    /// The value whose shares are the same in every split (`--split stratify=COL`).
    Stratum,
}

impl Role {
    /// The roles that `--columns` can name.
    pub const NAMED: [Role; 7] =
        [Role::Image, Role::Prompt, Role::Completion, Role::System, Role::Group, Role::Id, Role::Split];

    /// The word in `--columns`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Image => "image",
            Role::Prompt => "prompt",
            Role::Completion => "completion",
            Role::System => "system",
            Role::Group => "group",
            Role::Id => "id",
            Role::Split => "split",
            Role::Stratum => "stratify",
        }
    }
}

/// The columns that the user chose: `image=COL,prompt=COL,…`, and those to leave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ColumnChoice {
    roles: Vec<(Role, String)>,
    removed: Vec<String>,
}

impl ColumnChoice {
    /// Parses the value of `--columns`.
    pub fn parse(text: &str) -> Result<ColumnChoice, ColumnError> {
        let mut roles = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (name, column) =
                pair.split_once('=').ok_or_else(|| ColumnError::NoEquals { pair: pair.to_owned() })?;
            let role = Role::NAMED.into_iter().find(|role| role.as_str() == name.trim());
            let role = role.ok_or_else(|| ColumnError::UnknownRole { name: name.trim().to_owned() })?;
            if role != Role::Image && roles.iter().any(|(other, _)| *other == role) {
                return Err(ColumnError::Twice { role: role.as_str() });
            }
            roles.push((role, column.trim().to_owned()));
        }
        Ok(ColumnChoice { roles, removed: Vec::new() })
    }

    /// Adds the column to stratify by.
    pub fn stratify(&mut self, column: &str) {
        self.roles.push((Role::Stratum, column.to_owned()));
    }

    /// Leaves out columns and keys, whatever they hold.
    pub fn remove(&mut self, names: impl IntoIterator<Item = String>) {
        self.removed.extend(names);
    }

    /// The columns and keys that are left out.
    pub fn removed(&self) -> &[String] {
        &self.removed
    }

    /// The columns chosen for a role.
    pub fn named(&self, role: Role) -> impl Iterator<Item = &str> {
        self.roles.iter().filter(move |(other, _)| *other == role).map(|(_, column)| column.as_str())
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
    #[error(
        "`{name}` is not a role of a column; the roles are image, prompt, completion, system, group, id, split"
    )]
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
    /// Several columns hold images, and their names do not say which are meant.
    #[error("several columns hold images: {}", quoted(columns))]
    SeveralImages {
        /// The columns.
        columns: Vec<String>,
    },
    /// A column has image numbers, and no option gives their location.
    #[error("`{column}` has numbers of images, and no column has the images themselves")]
    ImageNumbers {
        /// The column.
        column: String,
    },
    /// Columns hold content and have no role.
    #[error("nothing uses {}", unused(columns))]
    UnusedContent {
        /// The columns, and what they hold.
        columns: Vec<(String, Held)>,
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

fn unused(columns: &[(String, Held)]) -> String {
    columns
        .iter()
        .map(|(name, held)| format!("`{name}`, which holds {held}"))
        .collect::<Vec<_>>()
        .join("; nor ")
}

/// The columns of one table, by role.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns {
    /// Image columns, in order.
    pub image: Vec<String>,
    /// The prompt; without one, the user message is the image alone.
    pub prompt: Option<String>,
    /// The response.
    pub completion: String,
    /// The system prompt.
    pub system: Option<String>,
    /// The group.
    pub group: Option<String>,
    /// The id.
    pub id: Option<String>,
    /// The split that the row belongs to.
    pub split: Option<String>,
    /// The stratum.
    pub stratum: Option<String>,
    /// Further reference answers beside the completion.
    pub references: Option<String>,
    /// Whether the response is a good one, in sets for preference training.
    pub label: Option<String>,
    /// Responses that are not wanted, in sets for preference training.
    pub refused: Vec<String>,
    /// The guessed roles, as `role=COLUMN`, for messages.
    pub guessed: Vec<String>,
    /// Columns without a role in this run.
    pub unused: Vec<String>,
    /// The first completion with several reference answers among the rows that were looked at.
    pub has_several_answers: bool,
}

impl Columns {
    /// Resolves the chosen columns against the existing names, and guesses the other roles by the names and by the values
    /// of the first rows, which are objects. Columns that hold content and have no role are refused.
    pub fn resolve(
        names: &[String],
        choice: &ColumnChoice,
        rows: &[Value<'_>],
    ) -> Result<Columns, ColumnError> {
        let chosen = choice.roles.iter().map(|(_, column)| column);
        for column in chosen.clone() {
            if !names.contains(column) {
                return Err(ColumnError::Missing { column: column.clone(), found: names.to_vec() });
            }
        }
        let taken: Vec<String> = chosen.chain(&choice.removed).cloned().collect();
        let guess = guess::Guess { names, rows, taken };
        guess.columns(choice)
    }

    /// Whether a column has a role, or is known to be left out for a reason.
    pub fn uses(&self, name: &str) -> bool {
        let optional = [
            &self.prompt,
            &self.system,
            &self.group,
            &self.id,
            &self.split,
            &self.stratum,
            &self.references,
            &self.label,
        ];
        self.completion == name
            || self.image.iter().chain(&self.refused).any(|column| column == name)
            || optional.into_iter().any(|column| column.as_deref() == Some(name))
    }
}
