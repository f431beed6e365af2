//! Runs of `prepare` on a Ray cluster: the plan that another process runs, and the Python that runs it.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pixtune_core::curate::content_hash;
use pixtune_core::json::{self, Value, list, object};

use crate::Outcome;
use crate::args::EngineArgs;
use crate::error::Error;

/// The version that all processes of a run have in common.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A run as another process repeats it: the words of its command line, and where they were given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterPlan {
    /// The words without the name of the program.
    pub words: Vec<String>,
    /// The working directory, from which relative paths start.
    pub directory: String,
    /// The address of the cluster, if one is given.
    address: Option<String>,
}

impl ClusterPlan {
    /// The plan of this command line.
    pub fn new(words: &[OsString], args: &EngineArgs) -> Result<ClusterPlan, Error> {
        let text = |word: &OsString| {
            let word = word.to_str().map(str::to_owned);
            word.ok_or_else(|| Error::argument("paths of a run on Ray must be UTF-8"))
        };
        let words = words.iter().map(text).collect::<Result<_, _>>()?;
        let directory = env::current_dir()
            .map_err(|source| Error::Write { path: PathBuf::from("."), source })?
            .to_string_lossy()
            .into_owned();
        Ok(ClusterPlan { words, directory, address: args.address.clone() })
    }

    /// The plan as a file: with the version, and a checksum that shows a truncated or changed copy.
    pub fn to_json(&self) -> String {
        json::line(object(|plan| {
            plan.field("pixtune", VERSION).field("directory", self.directory.as_str());
            plan.field("words", list(self.words.iter().map(String::as_str)));
            plan.field("address", self.address.as_deref()).field("checksum", self.checksum().as_str());
        }))
    }

    /// Reads such a file. One of another version is an error.
    pub fn parse(text: &str) -> Result<ClusterPlan, Error> {
        let damaged = || Error::argument("the plan is damaged; write it again with `--write-plan`");
        let plan = json::parse(text.trim_end()).map_err(|_| damaged())?.value;
        let version = plan.text("pixtune").ok_or_else(damaged)?;
        if version != VERSION {
            return Err(Error::argument(format!(
                "the plan is of pixtune {version}, and this is pixtune {VERSION}; all processes of a run need one version"
            )));
        }
        let words = plan.get("words").and_then(Value::as_array).ok_or_else(damaged)?;
        let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        let read = ClusterPlan {
            words: words.ok_or_else(damaged)?,
            directory: plan.text("directory").ok_or_else(damaged)?.to_owned(),
            address: plan.text("address").map(str::to_owned),
        };
        if plan.text("checksum") != Some(read.checksum().as_str()) {
            return Err(damaged());
        }
        Ok(read)
    }

    fn checksum(&self) -> String {
        let ClusterPlan { words, directory, address } = self;
        let all = [directory.as_str(), address.as_deref().unwrap_or_default()].into_iter();
        let all: Vec<&str> = all.chain(words.iter().map(String::as_str)).collect();
        format!("{:032x}", content_hash(all.join("\0").as_bytes()))
    }
}

/// Starts a Python process that runs a plan, and waits for it. `program` are the words that start this program once more: those
/// of the Python package begin with its Python.
pub fn start(plan: &ClusterPlan, args: &EngineArgs, program: &[OsString]) -> Result<Outcome, Error> {
    let python = python(args, program);
    check_package(&python)?;
    let file = TemporaryPlan::write(plan)?;
    let mut command = Command::new(&python);
    // `-P`: a directory `pixtune` in the working directory is not the package.
    command.args(["-P", "-m", "pixtune.ray"]).arg(&file.path);
    let ended = command.status().map_err(|source| Error::NoPython { python: python.clone(), source })?;
    // A process that was killed has printed nothing.
    let code = ended.code().and_then(|code| u8::try_from(code).ok());
    code.map(Outcome::Ended).ok_or_else(|| Error::PythonDied { python, how: ended.to_string() })
}

fn python(args: &EngineArgs, program: &[OsString]) -> PathBuf {
    let of_package = program.first().filter(|_| program.iter().any(|word| word == "-m"));
    let chosen = args.python.clone().or_else(|| env::var_os("PIXTUNE_PYTHON").map(PathBuf::from));
    chosen.or_else(|| of_package.map(PathBuf::from)).unwrap_or_else(|| PathBuf::from("python3"))
}

/// Fails unless the Python has the package of this version.
fn check_package(python: &Path) -> Result<(), Error> {
    let mut command = Command::new(python);
    command.args(["-P", "-c", "import pixtune; print(pixtune.__version__)"]).stdin(Stdio::null());
    let printed = command.output().map_err(|source| Error::NoPython { python: python.to_owned(), source })?;
    let version = String::from_utf8_lossy(&printed.stdout).trim().to_owned();
    if !printed.status.success() {
        let stderr = String::from_utf8_lossy(&printed.stderr);
        let why = stderr.trim_end().lines().last().unwrap_or("it printed nothing").to_owned();
        return Err(Error::NoPackage { python: python.to_owned(), why });
    }
    match version == VERSION {
        true => Ok(()),
        false => Err(Error::OtherPackage { python: python.to_owned(), version }),
    }
}

/// A plan in the directory for temporary files, removed with the value.
struct TemporaryPlan {
    path: PathBuf,
}

impl TemporaryPlan {
    fn write(plan: &ClusterPlan) -> Result<TemporaryPlan, Error> {
        for number in 0.. {
            let path = env::temp_dir().join(format!("pixtune-plan-{}-{number}.json", std::process::id()));
            match std::fs::File::create_new(&path) {
                Ok(mut file) => {
                    let written = file.write_all(plan.to_json().as_bytes());
                    let plan = TemporaryPlan { path };
                    return match written {
                        Ok(()) => Ok(plan),
                        Err(source) => Err(Error::Write { path: plan.path.clone(), source }),
                    };
                }
                // What a killed run has left.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(Error::Write { path, source }),
            }
        }
        Err(Error::Write { path: env::temp_dir(), source: io::ErrorKind::AlreadyExists.into() })
    }
}

impl Drop for TemporaryPlan {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plan_is_read_back_and_a_changed_one_is_not() {
        let words = ["prepare", "a b.csv", "--out", "x\"y"].map(str::to_owned).to_vec();
        let plan = ClusterPlan { words, directory: "/data".to_owned(), address: None };
        let text = plan.to_json();
        assert_eq!(ClusterPlan::parse(&text).unwrap(), plan);
        for changed in [text.replace("/data", "/date"), text[..text.len() / 2].to_owned()] {
            assert!(ClusterPlan::parse(&changed).unwrap_err().to_string().contains("damaged"));
        }
        let other = text.replace(VERSION, "0.0.1");
        assert!(ClusterPlan::parse(&other).unwrap_err().to_string().contains("0.0.1"));
    }
}
