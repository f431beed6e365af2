//! No crate has a cycle between its modules, except between a module and its parent: whoever reads a module need not read
//! the modules that use it.
//!
//! The test reads the sources, so it finds every path that is written as `crate::…` or `super::…`. A name that a module only
//! imports or re-exports stands for what it is of.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking; the helpers are not marked as tests"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

#[test]
fn modules_have_no_cycles() {
    let mut found = Vec::new();
    for directory in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap() {
        let directory = directory.unwrap().path();
        let (name, sources) = (directory.file_name().unwrap().display(), directory.join("src"));
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

#[test]
fn finds_a_cycle_behind_a_name_that_the_parent_imports() {
    let file = |module: &str, text: &str| File { module: path(module), text: text.to_owned() };
    let mut files = vec![
        File { module: Vec::new(), text: "mod a;\nmod b;\npub(crate) use a::{A, inner::C as D};".to_owned() },
        file("a", "use super::b::B;"),
        file("a::inner", ""),
        file("b", ""),
    ];
    assert_eq!(cycles(&files), [""; 0]);
    for text in ["use super::A;", "use crate::{D, std::fs};", "fn b() { super::D::f() }"] {
        files.push(file("b", text));
        assert_eq!(cycles(&files), ["a → b → a"], "{text}");
        files.pop();
    }
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
    let imports = imports(files, &modules);
    let mut siblings: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for file in files {
        for target in references(file) {
            let target = origin(target, &imports, &modules);
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

/// The names that modules import from modules of the same crate, each with what it stands for.
fn imports(files: &[File], modules: &BTreeSet<&[String]>) -> BTreeMap<ModulePath, ModulePath> {
    let mut found = BTreeMap::new();
    for File { module, text } in files {
        let code = code(text);
        for (at, _) in code.match_indices("use ") {
            let before = code[..at].rsplit('\n').next().unwrap_or_default();
            if !(before.is_empty()
                || before == "pub "
                || before.starts_with("pub(") && before.ends_with(") "))
            {
                continue;
            }
            let mut names = Vec::new();
            tree(&code[at + 4..], Vec::new(), &mut names);
            for Name { segments, alias } in names {
                let is_child =
                    |first: &str| modules.contains([module, &[first.to_owned()][..]].concat().as_slice());
                let target = match segments[0] {
                    "crate" | "super" => absolute(&segments, module),
                    first if is_child(first) => absolute(&[&["self"], segments.as_slice()].concat(), module),
                    _ => None,
                };
                let last = segments.iter().rfind(|segment| **segment != "self");
                if let (Some(target), Some(last)) = (target, last) {
                    found.insert([module, &[alias.unwrap_or(last).to_owned()][..]].concat(), target);
                }
            }
        }
    }
    found
}

/// Follows imported names to what they stand for.
fn origin(
    path: ModulePath,
    imports: &BTreeMap<ModulePath, ModulePath>,
    modules: &BTreeSet<&[String]>,
) -> ModulePath {
    let mut path = path;
    // Names that stand for each other in a circle are those of other namespaces.
    for _ in 0..8 {
        let ends = (1..=path.len()).rev();
        let imported = ends
            .filter(|end| !modules.contains(&path[..*end]))
            .find_map(|end| Some((end, imports.get(&path[..end])?)));
        match imported {
            Some((end, target)) => path = [target, &path[end..]].concat(),
            None => break,
        }
    }
    path
}

/// The text without comments and unit tests.
fn code(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The absolute path of everything that a file names by `crate::…` or `super::…`.
fn references(file: &File) -> Vec<ModulePath> {
    let code = code(&file.text);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_start =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || "_:$".contains(before));
        if is_start {
            tree(&code[at..], Vec::new(), &mut found);
        }
    }
    found.iter().filter_map(|name| absolute(&name.segments, &file.module)).collect()
}

/// A path as it is written, and the name given to it by `as`.
struct Name<'t> {
    segments: Vec<&'t str>,
    alias: Option<&'t str>,
}

/// Reads a path and the groups in it; returns what follows.
fn tree<'t>(text: &'t str, mut prefix: Vec<&'t str>, found: &mut Vec<Name<'t>>) -> &'t str {
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
        let (segment, behind) = word(rest);
        prefix.push(segment);
        rest = behind;
        match rest.strip_prefix("::") {
            Some(next) => rest = next,
            None => break,
        }
    }
    let (alias, rest) = match rest.trim_start().strip_prefix("as ") {
        Some(renamed) => {
            let (alias, rest) = word(renamed);
            (Some(alias), rest)
        }
        None => (None, rest),
    };
    found.push(Name { segments: prefix, alias });
    rest
}

fn word(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len()))
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
