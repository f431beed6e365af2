//! No crate has a cycle between its modules, except between a module and its parent: whoever reads a module need not read
//! the modules that use it.
//!
//! The test reads the sources, so it finds every path that is written as `crate::…` or `super::…`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the helpers are not marked as tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The crates without module cycles.
const CRATES: [&str; 6] =
    ["pixtune", "pixtune-core", "pixtune-files", "pixtune-infer", "pixtune-model", "pixtune-train"];

#[test]
fn modules_have_no_cycles() {
    let mut found = Vec::new();
    for name in CRATES {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name).join("src");
        let mut files = Vec::new();
        read(&sources, &mut Vec::new(), &mut files);
        assert!(!files.is_empty(), "{} has no modules", sources.display());
        found.extend(cycles(&files).into_iter().map(|cycle| format!("{name}: {cycle}")));
    }
    assert_eq!(found, [""; 0]);
}

#[test]
fn finds_a_cycle_between_siblings() {
    let file = |module: &str, text: &str| File { module: path(module), text: text.to_owned() };
    let mut files = vec![
        file("a", "use crate::b::{self, B};\nuse super::c;"),
        file("a::inner", "use super::super::b::B;"),
        file("b", "mod inner;\n// crate::a\n"),
        file("b::inner", "use super::Parent;\n#[cfg(test)]\nmod tests { use crate::a::A; }"),
        file("c", "fn c() { crate::b::f::<u8>() }"),
    ];
    assert_eq!(cycles(&files), [""; 0]);
    files.push(file("b::inner", "use {std::fs, crate::{c, text::A}};"));
    assert_eq!(cycles(&files), ["b → c → b"]);
}

type ModulePath = Vec<String>;

struct File {
    module: ModulePath,
    text: String,
}

fn path(module: &str) -> ModulePath {
    module.split("::").map(str::to_owned).collect()
}

/// Reads the modules of a directory; files named `tests.rs` are not part of the graph.
fn read(directory: &Path, module: &mut ModulePath, files: &mut Vec<File>) {
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap().path();
        let stem = entry.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_source = entry.extension().is_some_and(|extension| extension == "rs");
        let is_own = matches!(stem.as_str(), "mod" | "lib" | "main");
        if is_own && is_source {
            files.push(File { module: module.clone(), text: fs::read_to_string(&entry).unwrap() });
        } else if entry.is_dir() || (is_source && stem != "tests") {
            module.push(stem);
            match entry.is_dir() {
                true => read(&entry, module, files),
                false => {
                    files.push(File { module: module.clone(), text: fs::read_to_string(&entry).unwrap() });
                }
            }
            module.pop();
        }
    }
}

/// Every cycle between the children of one module.
fn cycles(files: &[File]) -> Vec<String> {
    let modules: BTreeSet<&[String]> = files.iter().map(|file| file.module.as_slice()).collect();
    let mut siblings: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for file in files {
        for target in references(file) {
            let known = (0..=target.len()).rev().find_map(|length| modules.get(&target[..length]));
            let Some(target) = known else { continue };
            let common =
                file.module.iter().zip(target.iter()).take_while(|(one, other)| one == other).count();
            if let (Some(from), Some(to)) = (file.module.get(common), target.get(common)) {
                siblings.entry(&file.module[..common]).or_default().entry(from).or_default().insert(to);
            }
        }
    }
    let found = siblings.iter().filter_map(|(parent, edges)| {
        let cycle = edges.keys().find_map(|start| cycle_from(start, edges))?;
        Some(parent.iter().map(String::as_str).chain([cycle.as_str()]).collect::<Vec<_>>().join("::"))
    });
    found.collect()
}

/// The shortest way from a module back to itself.
fn cycle_from(start: &str, edges: &BTreeMap<&str, BTreeSet<&str>>) -> Option<String> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    let mut next = 0;
    while next < ways.len() {
        for &to in edges.get(ways[next].last()?).into_iter().flatten() {
            let way = [ways[next].as_slice(), &[to]].concat();
            if to == start {
                return Some(way.join(" → "));
            }
            if seen.insert(to) {
                ways.push(way);
            }
        }
        next += 1;
    }
    None
}

/// The absolute path of everything that a file names by `crate::…` or `super::…`.
fn references(file: &File) -> Vec<ModulePath> {
    let code = file.text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_start =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        if is_start {
            tree(&code[at..], Vec::new(), &mut found);
        }
    }
    found.iter().filter_map(|segments| absolute(segments, &file.module)).collect()
}

/// Reads a path and the groups in it; returns what follows.
fn tree<'t>(text: &'t str, mut prefix: Vec<&'t str>, found: &mut Vec<Vec<&'t str>>) -> &'t str {
    let mut rest = text.trim_start();
    loop {
        if let Some(mut group) = rest.strip_prefix('{') {
            while !group.trim_start().starts_with('}') {
                group = tree(group, prefix.clone(), found).trim_start();
                match group.strip_prefix(',') {
                    Some(next) => group = next,
                    None => break,
                }
            }
            return group.trim_start().strip_prefix('}').unwrap_or(group);
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        prefix.push(&rest[..end]);
        rest = &rest[end..];
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    found.push(prefix);
    let renamed = rest.trim_start().strip_prefix("as ");
    renamed.map_or(rest, |name| name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_'))
}

fn absolute(segments: &[&str], module: &[String]) -> Option<ModulePath> {
    let ups = segments.iter().take_while(|segment| **segment == "super").count();
    let base = match segments.first()? {
        &"crate" => &[],
        _ => module.get(..module.len().checked_sub(ups)?)?,
    };
    let names = segments.iter().skip(ups.max(1)).filter(|segment| **segment != "self");
    Some(base.iter().cloned().chain(names.map(|name| (*name).to_owned())).collect())
}
