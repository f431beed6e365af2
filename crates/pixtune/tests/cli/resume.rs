//! A run that is killed goes on as if nothing had happened.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Case, read_directory};

/// Enough rows for a kill to find the run in every phase: good ones, bad ones, repeated ones.
fn many_rows() -> Case {
    let mut table = "image,prompt,completion\n".to_owned();
    for index in 0..240 {
        let image = ["a.png", "b.jpg", "c.png", "d.webp", "missing.png", "turned.jpg"][index % 6];
        table.push_str(&format!("{image},question {}?,answer\n", index % 210));
    }
    let case = Case::table(&table);
    case.fixture("turned.jpg", "exif6_160x90.jpg");
    case
}

const ARGS: [&str; 8] = ["prepare", "data.csv", "--out", "out", "--validation", "0.3", "--threads", "2"];

#[test]
fn resumed_run_writes_the_same_bytes_after_a_kill_at_any_moment() {
    let case = many_rows();
    let start = Instant::now();
    case.run(&ARGS).ends(1);
    let mut whole = start.elapsed();
    let expected = case.output();
    let mut interrupted = 0;
    let mut attempt = 0u32;
    while interrupted < 50 {
        attempt += 1;
        assert!(attempt <= 400, "only {interrupted} of {attempt} runs were interrupted in their course");
        fs::remove_dir_all(case.path("out")).unwrap();
        // One kill somewhere in the run, every third time a second one during the resumed run. The golden ratio
        // spreads the moments evenly, however many it takes.
        let moment = whole.mul_f64(f64::from(attempt) * 0.618_034 % 1.0);
        for kill in 0..1 + usize::from(attempt.is_multiple_of(3)) {
            let args = if kill == 0 { ARGS.to_vec() } else { [&ARGS[..], &["--resume"]].concat() };
            let mut child = case.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            sleep(moment + Duration::from_micros(300));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let was_under_way = case.path("out.partial").exists();
        interrupted += u32::from(was_under_way);
        let start = Instant::now();
        case.run(&[&ARGS[..], &["--resume"]].concat()).ends(1);
        if !was_under_way {
            whole = whole.mul_f64(0.9).max(start.elapsed());
        }
        assert_eq!(case.output(), expected, "killed after {moment:?}");
        assert!(!case.path("out.partial").exists());
    }
}

#[test]
fn spool_truncated_at_any_byte_is_repaired() {
    let case = many_rows();
    case.run(&ARGS).ends(1);
    let expected = case.output();
    // Every file of the spool ends somewhere else, as after a power cut.
    let mut seed = 7u64;
    for _ in 0..12 {
        fs::remove_dir_all(case.path("out")).unwrap();
        let mut child = case.command(&ARGS).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !case.path("out.partial/journal").exists() && child.try_wait().unwrap().is_none() {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(30));
        child.kill().unwrap();
        child.wait().unwrap();
        if case.path("out.partial").exists() {
            for (name, bytes) in read_directory_files(&case) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if name != "plan" {
                    fs::write(
                        case.path("out.partial").join(name),
                        &bytes[..(seed >> 33) as usize % (bytes.len() + 1)],
                    )
                    .unwrap();
                }
            }
        }
        case.run(&[&ARGS[..], &["--resume"]].concat()).ends(1);
        assert_eq!(case.output(), expected);
    }
}

fn read_directory_files(case: &Case) -> Vec<(String, Vec<u8>)> {
    let directory = case.path("out.partial");
    let entries =
        fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    entries
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect()
}

#[test]
fn unfinished_run_is_neither_lost_nor_mixed() {
    let case = many_rows();
    case.write("out.partial/plan", "another plan\n");
    case.run(&ARGS).ends(2).prints("an unfinished run is in `out.partial`").prints("--resume");
    case.run(&[&ARGS[..], &["--resume"]].concat()).ends(2).prints("other options or inputs");
    case.run(&[&ARGS[..], &["--force"]].concat()).ends(1);
    assert!(read_directory(&case.path("out")).contains_key("manifest.json"));
    // Resuming what is finished tells so and changes nothing.
    let before = case.output();
    case.run(&[&ARGS[..], &["--resume"]].concat()).ends(1);
    assert_eq!(case.output(), before);
    // Columns that are given are those that were guessed.
    let columns = ["--resume", "--columns", "prompt=prompt,image=image"];
    case.run(&[&ARGS[..], &columns].concat()).ends(1);
    assert_eq!(case.output(), before);
    let columns = ["--resume", "--columns", "prompt=completion,completion=prompt"];
    case.run(&[&ARGS[..], &columns].concat()).ends(2).prints("`out` exists already");
    // But what was made of other inputs is not taken for finished.
    case.write("data.csv", case.read("data.csv").replace("answer", "other"));
    case.run(&[&ARGS[..], &["--resume"]].concat()).ends(2).prints("`out` exists already");
    assert_eq!(case.output(), before);
}

#[test]
fn resume_detects_changed_input() {
    let case = many_rows();
    // Half of the rows are finished when a limit on the size of files stops the run.
    let program = env!("CARGO_BIN_EXE_pixtune");
    let mut limited = std::process::Command::new("sh");
    limited
        .current_dir(case.path("."))
        .arg("-c")
        .arg(format!("trap '' XFSZ; ulimit -f 300; exec {program} {}", ARGS.join(" ")));
    crate::harness::finish(limited).ends(2).prints("run again with `--resume`");
    case.run(&[&ARGS[..], &["--resume", "--seed", "7"]].concat()).ends(2).prints("`--seed` was 0, is 7");
    let table = case.read("data.csv");
    case.write("data.csv", table.replacen("question 1?", "question X?", 1));
    case.run(&[&ARGS[..], &["--resume"]].concat()).ends(2).prints("data.csv:3 has changed");
    case.write("data.csv", table);
    case.run(&[&ARGS[..], &["--resume"]].concat()).ends(1);
}
