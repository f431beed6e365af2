//! The table for people.

use std::collections::BTreeMap;

use pixtune_core::quality::Histogram;
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::{counted, grouped};
use pixtune_io::tokens::Totals;

/// The totals as a table, with a histogram of tokens per sample.
pub(super) fn table(totals: &Totals, spec: &ModelSpec) -> String {
    let mut out = String::new();
    let mut row = |name: &str, value: String| out.push_str(&format!("{name:<16}{value}\n"));
    row("samples", grouped(totals.samples));
    if totals.refused > 0 {
        row("  refused", grouped(totals.refused));
        for (rule, count) in &totals.refused_by_rule {
            row("", format!("{} {rule}", grouped(*count)));
        }
    }
    if totals.lengths.count() == 0 {
        return out;
    }
    let tokens = totals.lengths.sum() as u64;
    let context = spec.context as u64;
    row("tokens", grouped(tokens));
    row("  of images", format!("{} in {}", grouped(totals.image_tokens), counted(totals.images, "image")));
    row("  of text", grouped(tokens - totals.image_tokens));
    row("  trained", grouped(totals.trained_tokens));
    let (median, mean) = (totals.lengths.quantile(0.5), tokens / totals.lengths.count());
    row("per sample", format!("median {}, mean {}", grouped(median), grouped(mean)));
    row("  longest", format!("{} in line {}", grouped(totals.longest.0), grouped(totals.longest.1)));
    let over = grouped(totals.lengths.above(context));
    row("  context", format!("{} ({}): {over} longer", grouped(context), spec.id));
    out.push('\n');
    out.push_str(&bars(&totals.lengths, spec));
    out
}

/// A histogram of samples by tokens, with the model's context marked.
fn bars(lengths: &Histogram, model: &ModelSpec) -> String {
    const WIDTH: u64 = 40;
    let mut octaves: BTreeMap<u64, u64> = BTreeMap::new();
    for (tokens, count) in lengths.bars() {
        *octaves.entry(tokens.max(1).next_power_of_two()).or_default() += count;
    }
    let most = octaves.values().copied().max().unwrap_or(1);
    let mut out = String::from("samples by tokens\n");
    let (Some(first), Some(last)) = (octaves.keys().next(), octaves.keys().last()) else { return out };
    let context = model.context as u64;
    let mut limit = Some(format!("{:>11} {:┄<40} {}\n", grouped(context), " context ", model.id));
    let mut upper = *first;
    while upper <= *last {
        if upper > context {
            out.extend(limit.take());
        }
        let count = octaves.get(&upper).copied().unwrap_or(0);
        let bar = (count * WIDTH).div_ceil(most) as usize;
        let name = format!("≤ {}", grouped(upper));
        out.push_str(&format!("{name:>11} {:<40} {}\n", "█".repeat(bar), grouped(count)));
        upper *= 2;
    }
    out.extend(limit);
    out
}
