//! The crates of the workspace depend on each other only along the edges that the architecture allows.

use std::collections::BTreeSet;
use std::process::Command;

use pixtune_core::json::{self, Value};

/// Each crate, and the crates it may depend on. What a crate must not know, it must not reach.
const ALLOWED: &[(&str, &[&str])] = &[
    ("pixtune-core", &[]),
    ("pixtune-files", &[]),
    ("pixtune-io", &["core", "files"]),
    ("pixtune-model", &["core", "files"]),
    ("pixtune-cuda", &["core", "files", "model"]),
    // For tests alone: nothing depends on it.
    ("pixtune-emulator", &["cuda", "model"]),
    // For checks against other libraries alone: nothing depends on it.
    ("pixtune-peers", &["core", "infer", "io", "model", "train"]),
    ("pixtune-infer", &["core", "cuda", "io", "model"]),
    ("pixtune-train", &["core", "evaluate", "files", "infer", "io", "model"]),
    ("pixtune-evaluate", &["core", "cuda", "files", "infer", "io", "model"]),
    ("pixtune-export", &["core", "files", "io"]),
    ("pixtune-api", &["core", "cuda", "files", "infer", "io", "model"]),
    ("pixtune-py", &["core", "io", "train"]),
    ("pixtune", &["api", "core", "cuda", "evaluate", "export", "files", "infer", "io", "model", "train"]),
];

/// What `cargo metadata` says about the crates of the workspace.
fn metadata() -> Value<'static> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json::parse(&String::from_utf8(output.stdout).unwrap()).unwrap().value.into_owned()
}

fn text<'v>(value: &'v Value<'_>, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'v>(value: &'v Value<'static>, key: &str) -> &'v [Value<'static>] {
    value.get(key).and_then(Value::as_array).unwrap()
}

#[test]
fn crates_depend_only_on_those_they_may() {
    let metadata = metadata();
    let mut found = BTreeSet::new();
    for package in list(&metadata, "packages") {
        let name = text(package, "name");
        found.insert(name);
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(of, _)| *of == name)
            .unwrap_or_else(|| panic!("`{name}` is not in the list of crates and their edges"));
        // Tests may use more than the crate itself.
        let used = list(package, "dependencies").iter().filter(|used| text(used, "kind") != "dev");
        for used in used.filter_map(|used| text(used, "name").strip_prefix("pixtune-")) {
            assert!(allowed.contains(&used), "`{name}` depends on `pixtune-{used}`, which it may not");
        }
    }
    for (name, _) in ALLOWED {
        assert!(found.contains(name), "`{name}` is in the list of crates and not in the workspace");
    }
}
