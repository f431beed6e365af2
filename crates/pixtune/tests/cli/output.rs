//! What every command has in common: exit codes and their reason, `--exit-zero`, `--quiet`, `--color`, completions.

use crate::harness::{Case, Run, finish, read_directory};

const COMMANDS: [&str; 14] = [
    "prepare",
    "tokens",
    "check",
    "fix",
    "rules",
    "stats",
    "report",
    "plan",
    "train",
    "convert",
    "generate",
    "adapter",
    "completions",
    "man",
];

fn last_line(run: &Run) -> &str {
    run.stderr.lines().last().unwrap_or_default()
}

/// A table with a duplicate row.
fn with_duplicate() -> Case {
    Case::table("image,prompt,completion\na.png,What?,A\na.png,What?,A\nb.jpg,What?,B\n")
}

/// A table with a row whose image is missing, and a duplicate.
fn with_error() -> Case {
    Case::table("image,prompt,completion\na.png,What?,A\na.png,What?,A\nmissing.png,What?,B\n")
}

#[test]
fn dropped_duplicates_alone_are_no_findings() {
    let case = with_duplicate();
    let run = case.prepare(&[]).ends(0).prints("warning[duplicate]: data.csv:3: the same images and text");
    assert!(run.stdout.contains("1 duplicate"), "{}", run.stdout);
    assert_eq!(case.rejected(), ["duplicate"]);
    // Ignoring the warning hides it nowhere: the row is dropped all the same.
    case.prepare(&["--ignore", "duplicate", "--force"]).ends(0).prints("warning[duplicate]");
    let quiet = case.prepare(&["-q", "--force"]).ends(0);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
}

#[test]
fn the_last_line_states_why_the_exit_code_is_1() {
    let case = with_error();
    let run = case.prepare(&[]).ends(1);
    assert_eq!(last_line(&run), "exit code 1: 1 row was rejected; `out/rejected.jsonl` lists the reasons");
    let run = case.prepare(&["--force", "--exit-zero"]).ends(0).prints("error[image-missing]");
    assert!(!run.stderr.contains("exit code"), "{}", run.stderr);
    let run = case.prepare(&["--force", "--quiet"]).ends(1);
    assert_eq!(run.stdout, "");
    let lines: Vec<_> = run.stderr.lines().collect();
    assert!(lines[0].starts_with("error[image-missing]: data.csv:4"), "{lines:?}");
    assert!(lines[lines.len() - 1].starts_with("exit code 1: "), "{lines:?}");
    let run = case.prepare(&["--force", "--format", "json"]).ends(1);
    assert_eq!(last_line(&run), "exit code 1: 1 row was rejected; `out/rejected.jsonl` lists the reasons");
}

#[test]
fn commands_that_read_samples_agree_on_exit_codes() {
    let case = Case::new();
    case.write(
        "train.jsonl",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\"b\"}]}\n\
         {\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n",
    );
    for (command, reason) in [
        (&["check", "train.jsonl"][..], "1 error in 1 sample"),
        (&["tokens", "train.jsonl"], "1 invalid sample"),
        (&["stats", "train.jsonl"], "1 invalid sample, listed by `pixtune check`"),
        (&["report", "train.jsonl", "--force"], "1 invalid sample, listed by `pixtune check`"),
        (&["plan", "train.jsonl"], "1 invalid sample, listed by `pixtune check`"),
        (&["fix", "train.jsonl", "--out", "fixed.jsonl", "--force"], "1 error left in 1 sample"),
    ] {
        let run = case.run(command).ends(1);
        assert_eq!(last_line(&run), format!("exit code 1: {reason}"), "{command:?}");
        let run = case.run(&[command, &["-q"]].concat()).ends(1);
        assert_eq!(last_line(&run), format!("exit code 1: {reason}"), "{command:?} -q");
        case.run(&[command, &["--exit-zero"]].concat()).ends(0);
        case.run(&[&["--exit-zero", "-q"], command].concat()).ends(0);
    }
}

#[test]
fn quiet_check_prints_errors_alone() {
    let case = Case::new();
    case.write(
        "train.jsonl",
        "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\" b\"}]}\n\
         {\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n",
    );
    let loud = case.run(&["check", "train.jsonl"]).ends(1);
    assert!(loud.stdout.contains("warning["), "{}", loud.stdout);
    let quiet = case.run(&["check", "-q", "train.jsonl"]).ends(1);
    assert!(quiet.stdout.starts_with("error["), "{}", quiet.stdout);
    assert!(!quiet.stdout.contains("warning[") && !quiet.stdout.contains("samples in"), "{}", quiet.stdout);
}

#[test]
fn every_command_has_the_global_options() {
    let case = Case::new();
    for command in COMMANDS {
        let help = case.run(&[command, "--help"]).ends(0).stdout;
        for option in ["-q, --quiet", "--exit-zero", "--color <auto|always|never>"] {
            assert!(help.contains(option), "{command}: {help}");
        }
    }
    for command in ["check", "convert", "merge"] {
        assert!(case.run(&["adapter", command, "--help"]).ends(0).stdout.contains("-q, --quiet"));
    }
}

#[test]
fn colors_follow_the_flag_then_the_environment() {
    let case = with_error();
    let colored = |args: &[&str], variables: &[(&str, &str)]| {
        let base = ["prepare", "data.csv", "--out", "out", "--force"];
        let mut command = case.command(&[&base[..], args].concat());
        for name in ["NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE"] {
            command.env_remove(name);
        }
        command.envs(variables.iter().copied());
        finish(command).ends(1).stderr.contains("\u{1b}[")
    };
    assert!(!colored(&[], &[]));
    assert!(colored(&["--color", "always"], &[]));
    assert!(colored(&["--color", "always"], &[("NO_COLOR", "1")]));
    assert!(colored(&[], &[("FORCE_COLOR", "1")]));
    assert!(!colored(&[], &[("FORCE_COLOR", "0")]));
    assert!(!colored(&[], &[("FORCE_COLOR", "1"), ("NO_COLOR", "1")]));
    assert!(!colored(&["--color", "never"], &[("FORCE_COLOR", "1")]));
}

#[test]
fn man_pages_know_commands_and_options() {
    let case = Case::new();
    case.run(&["man", "man1"]).ends(0);
    let pages: Vec<String> = read_directory(&case.path("man1")).into_keys().collect();
    for page in ["pixtune.1", "pixtune-prepare.1", "pixtune-adapter-merge.1"] {
        assert!(pages.iter().any(|name| name == page), "{page} is not in {pages:?}");
    }
    assert!(!pages.iter().any(|name| name.contains("help")), "{pages:?}");
    let page = case.read("man1/pixtune-prepare.1");
    assert!(page.starts_with(".ie") && page.contains("image\\-folder"), "{page}");
    case.run(&["man", "man1/pixtune.1"])
        .ends(2)
        .prints("`man1/pixtune.1` is a file; name the directory for the pages");
}

#[test]
fn completions_know_commands_and_options() {
    let case = Case::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = case.run(&["completions", shell, "--color", "always"]).ends(0).stdout;
        assert!(script.contains("prepare") && script.contains("learning-rate"), "{shell}");
        assert!(!script.contains('\u{1b}'), "{shell}");
    }
    case.run(&["completions", "dos"]).ends(2).prints("possible values");
}

#[test]
fn rules_are_listed_as_json() {
    let case = Case::new();
    let all = case.run(&["rules", "--format", "json"]).ends(0).stdout;
    assert_eq!(all.lines().count(), pixtune_core::rules::ALL.len());
    let one = case.run(&["rules", "duplicate", "--format", "json"]).ends(0).stdout;
    assert!(one.starts_with(r#"{"rule":"duplicate","group":"#), "{one}");
    assert!(all.contains(&one), "{one}");
    let tools = case.run(&["rules", "tools", "--format", "json"]).ends(0).stdout;
    assert!(
        tools.lines().count() > 1 && tools.lines().all(|line| line.contains(r#""group":"tools""#)),
        "{tools}"
    );
}

#[cfg(unix)]
#[test]
fn interrupted_prepare_names_the_way_to_continue() {
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};

    let case = Case::new();
    let mut command = case.command(&["prepare", "-", "--out", "out"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // The run waits for more of its standard input until it is interrupted.
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"prompt,completion\na,b\n").unwrap();
    input.flush().unwrap();
    while !case.path("out.partial").exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(code, Some(130), "{errors}");
    assert!(errors.contains("`--resume`"), "{errors}");
}

#[test]
fn check_repeats_its_errors_after_the_warnings() {
    let case = Case::new();
    let good = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"},{\"role\":\"assistant\",\"content\":\" b\"}]}\n";
    let bad = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}\n";
    case.write("train.jsonl", [bad, good, bad, bad, bad].concat() + &good.repeat(9));
    let run = case.run(&["check", "train.jsonl"]).ends(1);
    let (_, end) = run.stdout.split_once("errors by rule\n").unwrap();
    assert!(end.contains("train.jsonl:1, train.jsonl:3, train.jsonl:4, …"), "{end}");
    case.write("train.jsonl", [bad, good].concat());
    assert!(!case.run(&["check", "train.jsonl"]).ends(1).stdout.contains("errors by rule"));
}

#[test]
fn suggests_directories_and_options_that_were_meant() {
    let case = Case::table("image,prompt,completion\nphoto/a.png,What?,A\nb.jpg,What?,B\n");
    case.fixture("photos/a.png", "grad_64x48.png");
    case.prepare(&[]).ends(1).prints("did you mean `photos/a.png`?");
    case.run(&["prepare", "photo/a.png", "-o", "other"]).ends(2).prints("did you mean `photos/a.png`?");
    let run = case.run(&["plan", "out", "--gpu", "5090"]).ends(2).prints("`--vram 32GB`");
    assert!(run.stderr.contains("rtx4090-24gb"), "{}", run.stderr);
    case.run(&["plan", "out", "--vram", "32GB"]).ends(0);
}

#[test]
fn full_standard_output_is_an_error_and_a_closed_pipe_is_not() {
    let case = Case::new();
    case.write("one.jsonl", crate::check::good_lines(12));
    for command in [
        "stats one.jsonl",
        "plan one.jsonl",
        "check one.jsonl",
        "tokens one.jsonl",
        "tokens --ids one.jsonl",
        "tokens --image 640x480",
        "rules",
        "rules --format markdown",
    ] {
        let program = env!("CARGO_BIN_EXE_pixtune");
        case.shell(&format!("{program} {command} > /dev/full")).ends(2).prints("No space left");
        case.shell(&format!("{program} {command} | true")).ends(0);
    }
}

#[test]
fn a_closed_pipe_changes_neither_the_verdict_nor_the_output() {
    let case = Case::new();
    case.write("rows.jsonl", "{\n".repeat(20_000) + &crate::check::good_lines(12));
    let program = env!("CARGO_BIN_EXE_pixtune");
    let verdict = |command: &str| {
        case.shell(&format!("{{ {program} {command}; echo $? > code; }} | head -1"));
        case.read("code")
    };
    assert_eq!(verdict("check rows.jsonl"), "1\n");
    assert_eq!(verdict("check --format json rows.jsonl"), "1\n");
    assert_eq!(verdict("fix --unsafe rows.jsonl --out fixed.jsonl"), "0\n");
    assert_eq!(case.lines("fixed.jsonl").len(), 12);
}
