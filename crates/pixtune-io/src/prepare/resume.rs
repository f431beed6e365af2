//! What a run that is resumed has in common with the one before: its options, its inputs and the program.

use pixtune_core::json::{self, Difference, Value, differences, list, object};
use pixtune_core::rules;
use pixtune_core::text::counted;

use super::Preparation;
use super::plan::without_guesses;

/// The file that a run leaves for the next.
pub(super) fn to_json(plan: &Preparation) -> String {
    json::document(object(|run| {
        // A journal refers to rules by their number, so another list of rules is another run.
        run.field("pixtune", env!("CARGO_PKG_VERSION")).field("rules", rules::ALL.len());
        run.field("plan", plan.to_value()).field("bytes", list(plan.sizes()));
    }))
}

/// What differs between the run that left this file and a plan, if anything does.
pub(super) fn difference(before: &str, plan: &Preparation) -> Option<String> {
    let now = json::parse(&to_json(plan)).map(|parsed| parsed.value.into_owned());
    let (Ok(before), Ok(now)) = (json::parse(before), now) else { return Some(OTHER_VERSION.to_owned()) };
    let before = before.value;
    let (Some(old), Some(new)) = (before.get("plan"), now.get("plan")) else {
        return Some(OTHER_VERSION.to_owned());
    };
    if before.get("pixtune") != now.get("pixtune") || before.get("rules") != now.get("rules") {
        return Some(OTHER_VERSION.to_owned());
    }
    let (old, new) = (without_guesses(old), without_guesses(new));
    let options = differences(&old, &new).into_iter().map(|difference| with_flag(difference).to_string());
    let all: Vec<String> = options.chain(other_sizes(before.get("bytes"), plan)).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

const OTHER_VERSION: &str = "it was started by another version of pixtune";

/// An option is named by its flag.
fn with_flag(difference: Difference) -> Difference {
    let key = match difference.key.as_str() {
        "inputs" => "inputs".to_owned(),
        key => format!("--{}", key.replace('_', "-")),
    };
    Difference { key, ..difference }
}

/// Inputs that do not have the size they had.
fn other_sizes(before: Option<&Value<'_>>, plan: &Preparation) -> Vec<String> {
    let before = before.and_then(Value::as_array).unwrap_or_default().iter().map(|bytes| match bytes {
        Value::Number(text) => text.parse().unwrap_or(0),
        _ => 0,
    });
    let sizes = plan.inputs.iter().zip(plan.sizes()).zip(before);
    let changed = sizes.filter(|((_, now), before)| **now != *before);
    changed
        .map(|((planned, now), before): (_, u64)| {
            format!("`{}` had {}, has {}", planned.input.name, counted(before, "byte"), counted(*now, "byte"))
        })
        .collect()
}
