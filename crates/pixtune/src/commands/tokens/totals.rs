//! The table for people.

use std::collections::BTreeMap;

use pixtune_core::diagnostic::Finding;
use pixtune_core::quality::Histogram;
use pixtune_core::spec::ModelSpec;
use pixtune_core::text::grouped;
use pixtune_core::tokens::ChatEncoder;
use pixtune_io::tokens::Counted;

/// Sums over all files.
#[derive(Default)]
pub(super) struct Totals {
    samples: u64,
    pub(super) refused: u64,
    image_tokens: u64,
    trained_tokens: u64,
    pub(super) images: u64,
    /// Tokens of each sample.
    lengths: Histogram,
    longest: (u64, u64),
    by_rule: BTreeMap<&'static str, u64>,
}

impl Totals {
    pub(super) fn add(&mut self, line: u64, counted: &Result<Counted, Finding>) {
        self.samples += 1;
        let counts = match counted {
            Ok(counted) => &counted.counts,
            Err(finding) => {
                self.refused += 1;
                *self.by_rule.entry(finding.rule.id).or_default() += 1;
                return;
            }
        };
        let tokens = counts.tokens as u64;
        self.image_tokens += counts.image_tokens as u64;
        self.trained_tokens += counts.trained_tokens as u64;
        self.images += counts.images.len() as u64;
        self.longest = self.longest.max((tokens, line));
        self.lengths.add(tokens);
    }

    pub(super) fn table(&self, encoder: &ChatEncoder<'_>) -> String {
        let mut out = String::new();
        let mut row = |name: &str, value: String| out.push_str(&format!("{name:<16}{value}\n"));
        row("samples", grouped(self.samples));
        if self.refused > 0 {
            row("  refused", grouped(self.refused));
            for (rule, count) in &self.by_rule {
                row("", format!("{} {rule}", grouped(*count)));
            }
        }
        if self.lengths.count() == 0 {
            return out;
        }
        let tokens = self.lengths.sum() as u64;
        let context = encoder.spec.context as u64;
        row("tokens", grouped(tokens));
        row("  of images", format!("{} in {} images", grouped(self.image_tokens), grouped(self.images)));
        row("  of text", grouped(tokens - self.image_tokens));
        row("  trained", grouped(self.trained_tokens));
        let (median, mean) = (self.lengths.quantile(0.5), tokens / self.lengths.count());
        row("a sample", format!("median {}, mean {}", grouped(median), grouped(mean)));
        row("  longest", format!("{} in line {}", grouped(self.longest.0), grouped(self.longest.1)));
        let over = grouped(self.lengths.above(context));
        row("  context", format!("{} ({}): {over} longer", grouped(context), encoder.spec.id));
        out.push('\n');
        out.push_str(&bars(&self.lengths, encoder.spec));
        out
    }
}

/// Bars of how many samples have up to so many tokens, and where the model's context ends.
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
