//! The command that prepares a dataset again: the options in its manifest which are not those that `prepare` has by itself.

use std::collections::BTreeSet;

use pixtune_core::columns::Role;
use pixtune_core::json::Value;
use pixtune_core::text::shell_word;

use crate::manifest::Manifest;

/// Options with a value: the key in the plan, the flag, and the value without the flag.
const VALUES: [(&str, &str, &str); 18] = [
    ("model", "--model", "pixtral-12b"),
    ("target", "--target", "mistral"),
    ("encoding", "--encoding", "null"),
    ("separator", "--separator", "null"),
    ("sheet", "--sheet", "null"),
    ("image_folder", "--image-folder", "null"),
    ("images", "--images", "fit"),
    ("image_position", "--image-position", "first"),
    ("resampling", "--resampling", "mistral"),
    ("verify", "--verify", "full"),
    ("jpeg_quality", "--jpeg-quality", "85"),
    ("answers", "--answers", "most-common"),
    ("max_tokens", "--max-tokens", "null"),
    ("validation", "--validation", "0.1"),
    ("dedup", "--dedup", "exact"),
    ("dedup_by", "--dedup-by", "sample"),
    ("near_distance", "--near-distance", "10"),
    ("seed", "--seed", "0"),
];

/// Options with a list of values.
const LISTS: [(&str, &str); 3] =
    [("removed_columns", "--remove-columns"), ("drop", "--drop"), ("ignore", "--ignore")];

/// The run of `prepare` that wrote a manifest, into the directory `out`, with a further option that comes before its own.
pub(super) fn command(manifest: &Manifest, out: &str, further: &str) -> String {
    let plan = &manifest.plan;
    let mut command = "pixtune prepare".to_owned();
    for input in manifest.inputs.iter().take(8) {
        command += &format!(" {}", shell_word(&input.path));
    }
    command += &format!(" --out {out}");
    let is_further = |flag: &str| further.split(' ').next() == Some(flag);
    let mut add = |flag: &str, value: Option<String>| {
        if let Some(value) = value.filter(|_| !is_further(flag)) {
            command += &format!(" {flag} {}", shell_word(&value));
        }
    };
    add("--columns", given_columns(plan));
    // What needs measured images replaces the options against measuring.
    let measures = further.starts_with("--dedup near") || further.starts_with("--drop");
    for (key, flag, default) in VALUES.iter().filter(|(key, ..)| *key != "verify" || !measures) {
        add(flag, scalar(plan, key).filter(|value| value != default));
    }
    add("--split", split(plan));
    for (key, flag) in LISTS {
        let values: Vec<&str> = array(plan, key).iter().filter_map(Value::as_str).collect();
        add(flag, (!values.is_empty()).then(|| values.join(",")));
    }
    if plan.get("write_test") == Some(&Value::Bool(true)) {
        command += " --write-test";
    }
    if plan.get("measure") == Some(&Value::Bool(false)) && !measures {
        command += " --no-measure";
    }
    match plan.get("fetch").and_then(Value::as_str) {
        Some("all") => command += " --fetch --fetch-private",
        Some(_) => command += " --fetch",
        None => {}
    }
    if !further.is_empty() {
        command += " ";
        command += further;
    }
    command
}

fn array<'p>(plan: &'p Value<'_>, key: &str) -> &'p [Value<'p>] {
    plan.get(key).and_then(Value::as_array).unwrap_or_default()
}

fn scalar(plan: &Value<'_>, key: &str) -> Option<String> {
    match plan.get(key)? {
        Value::String(text) => Some(text.to_string()),
        value @ (Value::Number(_) | Value::Null) => Some(value.to_string()),
        _ => None,
    }
}

/// The value of `--columns`: the columns that were not guessed. Without marks, from an earlier version, nothing is known.
fn given_columns(plan: &Value<'_>) -> Option<String> {
    let mut given: Vec<String> = Vec::new();
    let mut known = BTreeSet::new();
    for input in array(plan, "inputs") {
        let guessed = input.get("guessed")?.as_array()?;
        for role in Role::NAMED.map(Role::as_str) {
            if guessed.iter().any(|other| other.as_str() == Some(role)) {
                continue;
            }
            let columns = match input.get(role) {
                Some(Value::Array(columns)) => columns.iter().filter_map(Value::as_str).collect(),
                Some(Value::String(column)) => vec![column.as_ref()],
                _ => Vec::new(),
            };
            for column in columns {
                if known.insert((role, column)) {
                    given.push(format!("{role}={column}"));
                }
            }
        }
    }
    (!given.is_empty()).then(|| given.join(","))
}

/// The value of `--split`, where it was given.
fn split(plan: &Value<'_>) -> Option<String> {
    let kind = plan.get("split")?.as_str()?;
    let is_given = plan.get("keep_given_split") == Some(&Value::Bool(false));
    match kind {
        "stratify" => {
            let column = array(plan, "inputs").iter().find_map(|input| input.get("stratify"))?.as_str()?;
            Some(format!("stratify={column}"))
        }
        _ => is_given.then(|| kind.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_of(plan: &str, further: &str) -> String {
        let text = format!(
            r#"{{"plan":{{"model":"pixtral-12b",{plan}}},"inputs":[{{"path":"a b.csv"}}],"outputs":[]}}"#
        );
        command(&Manifest::parse(&text).unwrap(), "out-2", further)
    }

    #[test]
    fn names_the_columns_that_were_given() {
        let inputs = r#""inputs":[
            {"path":"a b.csv","image":["file","back"],"prompt":"q 1","completion":"answer","guessed":["completion"]},
            {"path":"c.csv","image":["file"],"completion":"answer","guessed":["completion"]}]"#;
        let expected = "pixtune prepare 'a b.csv' --out out-2 --columns 'image=file,image=back,prompt=q 1'";
        assert_eq!(command_of(inputs, ""), expected);
        let guessed =
            r#""inputs":[{"image":["file"],"completion":"answer","guessed":["image","completion"]}]"#;
        assert_eq!(command_of(guessed, ""), "pixtune prepare 'a b.csv' --out out-2");
        let unmarked = r#""inputs":[{"image":["file"],"completion":"answer"}]"#;
        assert_eq!(command_of(unmarked, ""), "pixtune prepare 'a b.csv' --out out-2");
    }

    #[test]
    fn names_the_options_that_were_given() {
        let plan = r#""inputs":[{"completion":"answer","stratify":"kind","guessed":["completion"]}],"seed":7,
            "split":"stratify","keep_given_split":false,"removed_columns":["boxes","notes"],"write_test":true,
            "dedup":"off","drop":["image-dark"],"measure":true,"fetch":"public","validation":"0.1""#;
        assert_eq!(
            command_of(plan, "--dedup near"),
            "pixtune prepare 'a b.csv' --out out-2 --seed 7 --split stratify=kind --remove-columns boxes,notes \
             --drop image-dark --write-test --fetch --dedup near"
        );
        assert!(command_of(plan, "--split random").ends_with("--fetch --split random"));
        let quick = r#""measure":false,"verify":"header""#;
        let expected = "pixtune prepare 'a b.csv' --out out-2 --verify header --no-measure --seed 1";
        assert_eq!(command_of(quick, "--seed 1"), expected);
        assert_eq!(command_of(quick, "--dedup near"), "pixtune prepare 'a b.csv' --out out-2 --dedup near");
        let group = r#""split":"group","keep_given_split":true"#;
        assert_eq!(command_of(group, ""), "pixtune prepare 'a b.csv' --out out-2");
    }
}
