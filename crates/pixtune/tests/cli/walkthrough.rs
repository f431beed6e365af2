//! The commands of docs/walkthrough.md, run in order as a reader would.

use std::fs;
use std::process::Command;

use crate::harness::{Case, Run, finish, root};

/// What stands in the document's blocks of shell commands, a command a line.
fn commands(document: &str) -> Vec<&str> {
    let blocks = document.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    blocks.flat_map(str::lines).collect()
}

#[test]
fn walkthrough_commands_work() {
    let case = Case::new();
    let fixtures = root().join("fixtures").canonicalize().unwrap();
    std::os::unix::fs::symlink(fixtures, case.path("fixtures")).unwrap();
    let document = fs::read_to_string(root().join("docs/walkthrough.md")).unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_pixtune")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let run = |line: &str| -> Run {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(case.path(".")).env("PATH", &path);
        finish(shell)
    };
    let commands = commands(&document);
    assert!(commands.len() > 12, "{commands:?}");
    let mut answers = Vec::new();
    for line in commands {
        let run = run(line);
        assert_eq!(run.code, 0, "{line}\n{}{}", run.stdout, run.stderr);
        if line.starts_with("pixtune generate") {
            answers.push(run.stdout.trim().to_owned());
        }
    }
    assert_eq!(answers, ["a gradient", "a street"]);
}
