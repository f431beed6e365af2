//! Where the output goes, whole or not at all.

use std::fs;

use super::{golden, hashes};
use crate::harness::Case;

#[test]
fn rejects_output_paths_that_would_lose_data() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.convert("hf", "hf", "mistral", &["--force"]).ends(2).prints("`hf` is also the source");
    case.convert("hf", "./hf/../hf", "mistral", &["--force"]).ends(2).prints("is also the source");
    case.convert("hf", ".", "mistral", &["--force"]).ends(2).prints("`.` contains the source `hf`");
    case.convert("hf", "hf/config.json", "mistral", &[]).ends(2).prints("is not a directory");
    case.write("mine/notes.txt", "keep me");
    case.convert("hf", "mine", "mistral", &[]).ends(2).prints("`mine` exists and is not empty");
    case.convert("hf", "mine", "mistral", &["--force"]).ends(2).prints("was not written by pixtune");
    assert_eq!(case.read("mine/notes.txt"), "keep me");
    // Both formats never meet in one directory.
    case.model("native_bf16", "native");
    case.convert("hf", "native", "mistral", &["--force"]).ends(2).prints("was not written by pixtune");
    case.convert("hf", "out", "mistral", &[]).ends(0);
    case.convert("out", "out2", "hf", &[]).ends(0);
    case.convert("hf", "out2", "mistral", &["--force"]).ends(0);
    assert!(!case.path("out2/model.safetensors").exists(), "a replaced directory holds nothing of before");
    fs::create_dir(case.path("empty")).unwrap();
    case.convert("hf", "empty", "mistral", &[]).ends(0);
}

#[cfg(unix)]
#[test]
fn converts_read_only_source() {
    use std::os::unix::fs::PermissionsExt as _;
    let case = Case::new();
    case.model("hf_bf16", "hf");
    let mode = |mode| fs::set_permissions(case.path("hf"), fs::Permissions::from_mode(mode)).unwrap();
    mode(0o555);
    case.convert("hf", "out", "mistral", &["--verify"]).ends(0);
    mode(0o755);
}

#[test]
fn removes_remains_of_interrupted_run() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    case.write("out.partial/consolidated.safetensors", "half of something");
    case.write("out.partial/model-00001-of-00002.safetensors", "and of something else");
    case.convert("hf", "out", "mistral", &[]).ends(0);
    assert!(!case.path("out.partial").exists());
    assert!(!case.path("out/model-00001-of-00002.safetensors").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_leaves_no_output() {
    let case = Case::new();
    case.model("hf_bf16", "hf");
    // A limit on the size of files fails a write in the middle, as a full disk does.
    let mut command = std::process::Command::new("bash");
    let program = env!("CARGO_BIN_EXE_pixtune");
    let script =
        format!("trap '' XFSZ; ulimit -f 300; exec {program} convert hf out --to mistral --shard-size none");
    command.current_dir(case.path("")).args(["-c", &script]);
    let run = crate::harness::finish(command).ends(2);
    run.prints("consolidated.safetensors").prints("no partial output was left; free disk space");
    assert!(!case.path("out").exists() && !case.path("out.partial").exists());
}

#[cfg(unix)]
#[test]
fn killed_run_leaves_no_final_name() {
    use std::os::unix::process::ExitStatusExt as _;
    let case = Case::new();
    case.model("hf_bf16", "hf");
    let mut child = case.command(&["convert", "hf", "out", "--to", "mistral"]).spawn().unwrap();
    child.kill().unwrap();
    let status = child.wait().unwrap();
    // Wherever the kill came: either nothing has its final name, or everything has.
    if status.signal().is_some() && case.path("out").exists() {
        assert!(case.path("out/conversion_report.json").exists() && case.path("out/params.json").exists());
    }
    case.convert("hf", "out", "mistral", &["--force"]).ends(0);
    assert_eq!(hashes(&case.path("out")), golden("native_bf16_sha256"));
}
