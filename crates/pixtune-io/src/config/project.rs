//! Reading the file of a project: the stages from data to a served model, each with the options of its command.

use std::fs;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::ConfigError;
use super::reader::{Mistake, Reader, Value, parse_with};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The file.
    pub file: PathBuf,
    /// The directory that everything is written to.
    pub out: String,
    /// The model of every stage.
    pub model: Option<String>,
    /// The stages that the file has, in the order of the file.
    pub stages: Vec<ProjectStage>,
}

/// A table of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectStage {
    /// Its name: that of a command.
    pub name: String,
    /// The line it begins on, from 1.
    pub line: usize,
    /// The options as words of a command line: `--name=value`.
    pub words: Vec<String>,
    /// The values of keys that are not options, in their order.
    pub arguments: Vec<(String, Vec<String>)>,
}

/// What a stage may be, and the keys in it that are no options of its command.
pub type StageKeys<'k> = (&'k str, &'k [&'k str]);

impl Project {
    /// Reads a file, whose tables are stages with these names and arguments. A key that does not exist is an error; options are
    /// judged by their command. `reserved` are options that the project sets itself.
    pub fn read(path: &Path, stages: &[StageKeys<'_>], reserved: &[&str]) -> Result<Project, ConfigError> {
        let file = path.to_owned();
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(source) => return Err(ConfigError::Io { path: file, source }),
        };
        let known = Known { stages, reserved };
        let content = |(line, message)| ConfigError::Content { path: file.clone(), line, message };
        let mut project = parse_with(&text, |reader, table| known.project(reader, table)).map_err(content)?;
        project.file = file.clone();
        Ok(project)
    }
}

struct Known<'k> {
    stages: &'k [StageKeys<'k>],
    reserved: &'k [&'k str],
}

impl Known<'_> {
    fn project(&self, reader: &Reader<'_>, table: &DeTable<'_>) -> Result<Project, Mistake> {
        let names: Vec<&str> =
            ["out", "model"].into_iter().chain(self.stages.iter().map(|(name, _)| *name)).collect();
        reader.known(table, &names)?;
        let text = |key: &str| table.get(key).map(|value| reader.string(value, key)).transpose();
        let mut project = Project {
            file: PathBuf::new(),
            out: text("out")?
                .ok_or((1, "`out` is missing: the directory for everything that is written".to_owned()))?,
            model: text("model")?,
            stages: Vec::new(),
        };
        for (key, value) in table {
            let Some((name, arguments)) =
                self.stages.iter().find(|(name, _)| *name == key.get_ref().as_ref())
            else {
                continue;
            };
            let options = reader.table(value, name)?;
            let line = reader.line_of(key.span().start);
            project.stages.push(self.stage(reader, options, (name, line), arguments)?);
        }
        project.stages.sort_by_key(|stage| stage.line);
        Ok(project)
    }

    fn stage(
        &self,
        reader: &Reader<'_>,
        options: &DeTable<'_>,
        (name, line): (&str, usize),
        arguments: &[&str],
    ) -> Result<ProjectStage, Mistake> {
        let mut stage =
            ProjectStage { name: name.to_owned(), line, words: Vec::new(), arguments: Vec::new() };
        for (key, value) in options {
            let key = key.get_ref().as_ref();
            if self.reserved.contains(&key) {
                return Err(reader.mistake(value, format!("`{key}` is set by the project itself")));
            }
            if arguments.contains(&key) {
                stage.arguments.push((key.to_owned(), texts(reader, value, key)?));
                continue;
            }
            match value.get_ref() {
                DeValue::Boolean(true) => stage.words.push(format!("--{key}")),
                DeValue::Boolean(false) => {}
                _ => {
                    let values = texts(reader, value, key)?;
                    stage.words.extend(values.iter().map(|value| format!("--{key}={value}")));
                }
            }
        }
        Ok(stage)
    }
}

/// A text, a number, a list of them, or a table of them, which is one text of `key=value`.
fn texts(reader: &Reader<'_>, value: &Value<'_>, key: &str) -> Result<Vec<String>, Mistake> {
    match value.get_ref() {
        DeValue::Array(list) => list.iter().map(|one| text(reader, one, key)).collect(),
        DeValue::Table(table) => {
            let pair = |(name, one): (&toml::Spanned<toml::de::DeString<'_>>, &Value<'_>)| {
                Ok(format!("{}={}", name.get_ref(), text(reader, one, key)?))
            };
            Ok(vec![table.iter().map(pair).collect::<Result<Vec<_>, Mistake>>()?.join(",")])
        }
        _ => Ok(vec![text(reader, value, key)?]),
    }
}

fn text(reader: &Reader<'_>, value: &Value<'_>, key: &str) -> Result<String, Mistake> {
    match value.get_ref() {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.as_str().replace('_', "")),
        DeValue::Float(number) => Ok(number.as_str().replace('_', "")),
        _ => Err(reader.mistake(value, format!("`{key}` is not a text, a number, true or false"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAGES: [StageKeys<'static>; 2] = [("prepare", &["inputs"]), ("train", &[])];

    fn read(text: &str) -> Result<Project, Mistake> {
        let known = Known { stages: &STAGES, reserved: &["out"] };
        parse_with(text, |reader, table| known.project(reader, table))
    }

    #[test]
    fn tables_become_words() {
        let project = read(
            "out = \"tuned\"\n[train]\nsteps = 1_000\nlearning-rate = 1e-4\ntensorboard = true\nrslora = false\n\n\
             [prepare]\ninputs = [\"a.csv\", \"b.csv\"]\ndrop = [\"dark\"]\ncolumns = { image = \"file\", prompt = \"q\" }\n",
        );
        let project = project.unwrap();
        assert_eq!((project.out.as_str(), project.model), ("tuned", None));
        let [train, prepare] = &project.stages[..] else { panic!("{:?}", project.stages) };
        assert_eq!(train.words, ["--learning-rate=1e-4", "--steps=1000", "--tensorboard"]);
        assert_eq!(prepare.words, ["--columns=image=file,prompt=q", "--drop=dark"]);
        assert_eq!(prepare.arguments, [("inputs".to_owned(), vec!["a.csv".to_owned(), "b.csv".to_owned()])]);
        assert_eq!((train.line, prepare.line), (2, 8));
    }

    #[test]
    fn mistakes_have_their_line() {
        for (text, line, what) in [
            ("[prepare]", 1, "`out` is missing: the directory for everything that is written"),
            ("out = \"a\"\n[trian]", 2, "`trian` is not a key; did you mean `train`?"),
            ("out = \"a\"\n[train]\nout = \"b\"", 3, "`out` is set by the project itself"),
            ("out = \"a\"\n[train]\nsteps = 1979-05-27", 3, "`steps` is not a text, a number, true or false"),
            ("out = \"a\"\ntrain = 1", 2, "`train` is not a table"),
        ] {
            assert_eq!(read(text), Err((line, what.into())), "{text}");
        }
    }
}
