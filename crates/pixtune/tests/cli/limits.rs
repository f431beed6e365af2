//! Conversions and merges of a checkpoint that is larger than the memory they may take; killed, without rights, and on a
//! full disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use pixtune_core::json::{self, Value};

use crate::harness::{Case, finish, root};

/// What help promises: 100 MB.
const PROMISED: u64 = 100_000_000;

/// How many times as wide as the fixture: 430 MB of weights.
const FACTOR: usize = 32;

/// Sides of the fixture's tensors that stay: vocabulary, colors, patch, rank.
const KEPT: [usize; 4] = [400, 3, 16, 8];

impl Case {
    /// The tiny Pixtral made wide, in `wide`, and an adapter of it in `lora`. The files are sparse: all weights are zero.
    fn wide() -> Case {
        let case = Case::new();
        let fixture = root().join("fixtures/tiny_pixtral");
        let config = fs::read_to_string(fixture.join("hf_bf16/config.json")).unwrap();
        let mut wide = config;
        for (key, size) in
            [("hidden_size", 64), ("intermediate_size", 96), ("head_dim", 32), ("head_dim", 16)]
        {
            wide = wide.replace(&format!("\"{key}\": {size},"), &format!("\"{key}\": {},", size * FACTOR));
        }
        case.write("wide/config.json", wide);
        widen(&fixture.join("hf_bf16/model.safetensors"), &case.path("wide/model.safetensors"));
        let config = fs::read_to_string(fixture.join("lora_text_proj/adapter_config.json")).unwrap();
        case.write("lora/adapter_config.json", config);
        let file = "adapter_model.safetensors";
        widen(&fixture.join("lora_text_proj").join(file), &case.path("lora").join(file));
        case
    }

    /// Asserts that the directory of the case holds nothing but these.
    #[track_caller]
    fn holds(&self, names: &[&str]) {
        let mut found: Vec<String> = fs::read_dir(self.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        assert_eq!(found, names);
    }
}

/// Writes a file with the same tensors in larger shapes, without data.
fn widen(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = json::parse(std::str::from_utf8(&bytes[8..8 + length]).unwrap()).unwrap().value;
    let mut text = String::from("{");
    let mut end = 0;
    for (name, about) in header.as_object().unwrap().iter().filter(|(name, _)| name != "__metadata__") {
        let sides = about.get("shape").and_then(Value::as_array).unwrap();
        let wide = |side: &Value<'_>| match side.to_string().parse().unwrap() {
            side if KEPT.contains(&side) => side,
            side => side * FACTOR,
        };
        let shape: Vec<usize> = sides.iter().map(wide).collect();
        let dtype = about.get("dtype").and_then(Value::as_str).unwrap();
        let start = end;
        end += shape.iter().product::<usize>() * if dtype == "F32" { 4 } else { 2 };
        let comma = if text.len() > 1 { "," } else { "" };
        text += &format!(
            r#"{comma}"{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#
        );
    }
    text.push('}');
    let mut file = File::create(to).unwrap();
    file.write_all(&(text.len() as u64).to_le_bytes()).unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.set_len((8 + text.len() + end) as u64).unwrap();
}

const CONVERT: &[&str] = &["convert", "wide", "out", "--to", "mistral", "--quiet"];
const MERGE: &[&str] = &["adapter", "merge", "wide", "lora", "out", "--quiet"];
const CONVERT_ADAPTER: &[&str] = &["adapter", "convert", "lora", "out", "--to", "mistral", "--base", "wide"];

/// The most resident memory a process has had so far; none once it has ended.
#[cfg(target_os = "linux")]
fn peak(child: &Child) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// Runs a command to its end and returns the largest peak that was seen. The peak only grows, and is asked for often.
#[cfg(target_os = "linux")]
fn peak_of(mut command: Command) -> u64 {
    let mut child = command.spawn().unwrap();
    let mut most = 0;
    let status = loop {
        most = peak(&child).unwrap_or(0).max(most);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    assert!(status.success(), "{status}");
    most
}

#[cfg(target_os = "linux")]
#[test]
fn memory_stays_within_documented_limits() {
    let case = Case::wide();
    assert!(fs::metadata(case.path("wide/model.safetensors")).unwrap().len() > 4 * PROMISED);
    let check = |what: &str, args: &[&str]| {
        let most = peak_of(case.command(args));
        // Less than a few buffers would mean that nothing was measured.
        assert!((20_000_000..PROMISED).contains(&most), "{what}: {most} bytes at its peak");
        fs::remove_dir_all(case.path("out")).unwrap();
    };
    check("convert", CONVERT);
    check("convert --verify", &[CONVERT, &["--verify"]].concat());
    check("convert --dtype f32", &[CONVERT, &["--dtype", "f32"]].concat());
    check("merge", MERGE);
    check("merge --to mistral", &[MERGE, &["--to", "mistral"]].concat());
}

/// Kills a run as soon as its output has this many bytes, and tells whether it was still running.
#[cfg(unix)]
fn killed(case: &Case, args: &[&str], file: &str, bytes: u64) -> bool {
    use std::os::unix::process::ExitStatusExt as _;
    let mut child = case.command(args).spawn().unwrap();
    let path = case.path("out.partial/final").join(file);
    while fs::metadata(&path).map_or(0, |about| about.len()) < bytes && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap().signal().is_some()
}

#[cfg(unix)]
#[test]
fn run_killed_in_the_middle_leaves_no_final_name() {
    let case = Case::wide();
    for (args, file) in [(CONVERT, "consolidated.safetensors"), (MERGE, "model.safetensors")] {
        assert!(killed(&case, args, file, 64 << 20), "{args:?} ended before it was killed");
        case.holds(&["lora", "out.partial", "wide"]);
        finish(case.command(args)).ends(0);
        case.holds(&["lora", "out", "wide"]);
        fs::remove_dir_all(case.path("out")).unwrap();
    }
    // An adapter is written in a moment: either nothing has its final name, or everything has.
    if killed(&case, CONVERT_ADAPTER, "lora.safetensors", 1) {
        assert!(!case.path("out").exists() || case.path("out/lora.safetensors").exists());
    }
    finish(case.command(&[CONVERT_ADAPTER, &["--force"]].concat())).ends(0);
    case.holds(&["lora", "out", "wide"]);
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_leaves_no_final_name() {
    let case = Case::wide();
    // Beyond the limit a file cannot grow: to the program that is a full disk.
    for (args, kilobytes) in [(CONVERT, 100_000), (MERGE, 100_000), (CONVERT_ADAPTER, 1000)] {
        let mut command = Command::new("bash");
        let script = format!("trap '' XFSZ; ulimit -f {kilobytes}; exec \"$0\" \"$@\"");
        command.current_dir(case.path("")).args(["-c", &script, env!("CARGO_BIN_EXE_pixtune")]).args(args);
        finish(command).ends(2).prints("cannot write `out").prints("no partial output was left");
        case.holds(&["lora", "wide"]);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn read_only_directory_gets_no_files() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::os::unix::process::CommandExt as _;
    let case = Case::wide();
    let allow =
        |name: &str, mode| fs::set_permissions(case.path(name), fs::Permissions::from_mode(mode)).unwrap();
    fs::create_dir(case.path("locked")).unwrap();
    allow("", 0o755);
    allow("locked", 0o555);
    // Root may write everywhere, so the program runs as nobody, from where nobody can run it.
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let program = case.path("pixtune");
    fs::copy(env!("CARGO_BIN_EXE_pixtune"), &program).unwrap();
    for args in [CONVERT, MERGE, CONVERT_ADAPTER] {
        let inside = args.iter().map(|arg| if *arg == "out" { "locked/out" } else { arg });
        let mut command = Command::new(&program);
        command.current_dir(case.path("")).args(inside);
        if root {
            command.uid(65534).gid(65534);
        }
        finish(command).ends(2).prints("cannot write `locked/out");
        assert_eq!(fs::read_dir(case.path("locked")).unwrap().count(), 0);
    }
}
