//! Modules with the same fate, put together for reading.

use super::{ModuleVerdict, Verdict};
use crate::weights::Module;

/// Modules of the same name in several layers that fare alike.
#[derive(Debug, PartialEq)]
pub struct Group<'r> {
    /// The path, with the layers in the place of the layer: `layers.0-39.self_attn.q_proj`.
    pub path: String,
    /// How many modules.
    pub count: usize,
    /// What becomes of them.
    pub verdict: Verdict,
    /// Why.
    pub reason: &'r str,
    /// How that is known.
    pub source: &'r str,
}

/// Puts modules together that differ only in their layer.
pub fn groups<'r>(modules: &'r [ModuleVerdict]) -> Vec<Group<'r>> {
    let mut collected: Vec<(String, Vec<u32>, &'r ModuleVerdict)> = Vec::new();
    for module in modules {
        let (start, layer, end) = split(module);
        let key = format!("{start}\u{0}{end}");
        let same = collected.iter_mut().find(|(other, _, first)| {
            *other == key
                && (first.verdict, &first.reason, first.source)
                    == (module.verdict, &module.reason, module.source)
        });
        match same {
            Some((_, layers, _)) => layers.extend(layer),
            None => collected.push((key, layer.into_iter().collect(), module)),
        }
    }
    let group = |(key, layers, first): (String, Vec<u32>, &'r ModuleVerdict)| Group {
        path: key.replace('\u{0}', &ranges(&layers)),
        count: layers.len().max(1),
        verdict: first.verdict,
        reason: &first.reason,
        source: first.source,
    };
    collected.into_iter().map(group).collect()
}

/// A path before, at and after the number of its layer.
fn split(module: &ModuleVerdict) -> (&str, Option<u32>, &str) {
    let layer = match module.module {
        Module::Text(layer, _) | Module::Vision(layer, _) => layer,
        _ => return (&module.path, None, ""),
    };
    let mark = format!("layers.{layer}.");
    match module.path.find(&mark) {
        Some(at) => (&module.path[..at + "layers.".len()], Some(layer), &module.path[at + mark.len() - 1..]),
        None => (&module.path, None, ""),
    }
}

/// `0-3,7`.
fn ranges(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, end)) if *end + 1 == *number => *end = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .map(|(start, end)| if start == end { start.to_string() } else { format!("{start}-{end}") })
        .collect();
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_shown_as_ranges() {
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7-8");
        assert_eq!(ranges(&[]), "");
    }
}
