//! The split into training and validation: by hash, so that it is stable, and by component, so that it does not leak.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasherDefault;

use super::{Image, Prehashed, Record, Records, Verdict};

/// How rows are told apart for the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SplitKind {
    /// By picture and text alone.
    #[default]
    Random,
    /// Rows of one group stay together.
    Group,
    /// Every stratum gives the same share.
    Stratify,
}

/// How much is held out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Validation {
    /// About this share of the rows, each decided by its own hash: adding rows moves no other row.
    Fraction(f64),
    /// This many rows, those with the smallest hashes.
    Count(u64),
    /// As many rows as fit into this many bytes, but at most a fifth of them.
    Bytes(u64),
}

/// Not a share, a count or a size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share (`0.1`, `10%`), a number of rows (`500`) or a size (`1MB`)")]
pub struct ValidationError {
    text: String,
}

impl std::str::FromStr for Validation {
    type Err = ValidationError;

    fn from_str(text: &str) -> Result<Validation, ValidationError> {
        let wrong = || ValidationError { text: text.to_owned() };
        let share =
            |share: f64| (0.0..1.0).contains(&share).then_some(Validation::Fraction(share)).ok_or_else(wrong);
        if let Ok(count) = text.parse() {
            return Ok(Validation::Count(count));
        }
        if let Some(percent) = text.strip_suffix('%') {
            return share(percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0);
        }
        match parse_size(text) {
            Some(bytes) => Ok(Validation::Bytes(bytes)),
            None => share(text.parse().map_err(|_| wrong())?),
        }
    }
}

impl std::fmt::Display for Validation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Validation::Fraction(share) => write!(f, "{share}"),
            Validation::Count(count) => write!(f, "{count}"),
            Validation::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// A size with a unit: `B`, decimal `kB MB GB` or binary `KiB MiB GiB`, in any case.
pub fn parse_size(text: &str) -> Option<u64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..unit_at].trim().parse().ok().filter(|number| *number >= 0.0)?;
    let unit: u64 = match text[unit_at..].to_ascii_lowercase().as_str() {
        "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    Some((number * unit as f64) as u64)
}

/// The rule of a split.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Split {
    /// How rows are told apart.
    pub kind: SplitKind,
    /// How much is held out.
    pub validation: Validation,
    /// Another seed holds out other rows.
    pub seed: u64,
}

impl Default for Split {
    fn default() -> Split {
        Split { kind: SplitKind::Random, validation: Validation::Fraction(0.1), seed: 0 }
    }
}

/// A side of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Trained on.
    Train,
    /// Held out.
    Validation,
}

impl Split {
    /// The side a row takes when no other row changes it: right for nearly all rows of a split by share, so
    /// that lines can be written to their place before all rows are known.
    pub fn likely_side(&self, row: &Record, images: &[Image]) -> Side {
        match self.validation {
            Validation::Fraction(share)
                if self.kind != SplitKind::Stratify && self.key(row, images) < threshold(share) =>
            {
                Side::Validation
            }
            _ => Side::Train,
        }
    }

    /// The row's place in the order of the split: its group's, else its first picture's, else its text's hash.
    fn key(&self, row: &Record, images: &[Image]) -> u64 {
        let content = match images.first() {
            _ if self.kind == SplitKind::Group && row.group != 0 => u128::from(row.group),
            Some(image) => image.content,
            None => row.text,
        };
        xxhash_rust::xxh3::xxh3_64_with_seed(&content.to_le_bytes(), self.seed)
    }
}

/// Hashes below this are a `share` of all.
fn threshold(share: f64) -> u64 {
    (share * 2f64.powi(64)) as u64
}

/// Rows that must stay on one side.
struct Component {
    key: u64,
    stratum: u64,
    rows: u64,
    bytes: u64,
    held_out: bool,
}

/// Gives every row that is still in training its side.
pub(super) fn assign(records: &Records, split: &Split, verdicts: &mut [Verdict]) {
    let roots = components(records, split.kind, verdicts);
    let mut of_root: BTreeMap<usize, Component> = BTreeMap::new();
    for (index, (row, images)) in records.iter().enumerate() {
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let key = split.key(row, images);
        let stratum = if split.kind == SplitKind::Stratify { row.stratum } else { 0 };
        let component = of_root.entry(roots[index] as usize).or_insert(Component {
            key,
            stratum,
            rows: 0,
            bytes: 0,
            held_out: false,
        });
        component.key = component.key.min(key);
        component.rows += 1;
        component.bytes += row.bytes;
    }
    let mut parts: Vec<&mut Component> = of_root.values_mut().collect();
    hold_out(&mut parts, split);
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if *verdict == Verdict::Train && of_root[&(roots[index] as usize)].held_out {
            *verdict = Verdict::Validation;
        }
    }
}

/// The first row of each row's component: rows are joined by every picture they share, and by group.
fn components(records: &Records, kind: SplitKind, verdicts: &[Verdict]) -> Vec<u32> {
    let mut parents: Vec<u32> = (0..u32::try_from(verdicts.len()).unwrap_or(u32::MAX)).collect();
    let mut first: HashMap<u128, u32, BuildHasherDefault<Prehashed>> = HashMap::default();
    for (index, (row, images)) in records.iter().enumerate() {
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let group = (kind == SplitKind::Group && row.group != 0).then_some(u128::from(row.group));
        for key in images.iter().map(|image| image.content).chain(group) {
            let earlier = *first.entry(key).or_insert(parents[index]);
            join(&mut parents, earlier, index as u32);
        }
    }
    for index in 0..parents.len() {
        parents[index] = root(&mut parents, index as u32);
    }
    parents
}

fn join(parents: &mut [u32], one: u32, other: u32) {
    let (one, other) = (root(parents, one), root(parents, other));
    parents[one.max(other) as usize] = one.min(other);
}

fn root(parents: &mut [u32], mut index: u32) -> u32 {
    while parents[index as usize] != index {
        parents[index as usize] = parents[parents[index as usize] as usize];
        index = parents[index as usize];
    }
    index
}

fn hold_out(parts: &mut [&mut Component], split: &Split) {
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    match (split.validation, split.kind) {
        (Validation::Fraction(share), SplitKind::Random | SplitKind::Group) => {
            parts.iter_mut().for_each(|part| part.held_out = part.key < threshold(share));
        }
        (Validation::Fraction(share), SplitKind::Stratify) => {
            let budget = (share * rows as f64).round_ties_even() as u64;
            fill(parts, Budget { rows: budget, bytes: u64::MAX });
        }
        (Validation::Count(count), _) => fill(parts, Budget { rows: count, bytes: u64::MAX }),
        (Validation::Bytes(bytes), _) => fill(parts, Budget { rows: rows.div_ceil(5), bytes }),
    }
}

struct Budget {
    rows: u64,
    bytes: u64,
}

/// Holds out components until nothing more fits, each time from the stratum that has given the smallest share;
/// within a stratum in the order of the keys.
fn fill(parts: &mut [&mut Component], mut budget: Budget) {
    parts.sort_by_key(|part| (part.stratum, part.key));
    let mut strata: Vec<Stratum> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if strata.last().is_none_or(|stratum| parts[stratum.next].stratum != part.stratum) {
            strata.push(Stratum { next: index, end: index, rows: 0, given: 0 });
        }
        let stratum = strata.last_mut().expect("one was just pushed");
        stratum.end = index + 1;
        stratum.rows += part.rows;
    }
    loop {
        let open = strata.iter_mut().filter(|stratum| stratum.next < stratum.end);
        let share = |given: u64, rows: u64| given as f64 / rows as f64;
        let Some(stratum) = open.min_by(|a, b| {
            share(a.given + 1, a.rows).total_cmp(&share(b.given + 1, b.rows)).then(a.next.cmp(&b.next))
        }) else {
            return;
        };
        let part = &mut parts[stratum.next];
        stratum.next += 1;
        if part.rows <= budget.rows && part.bytes <= budget.bytes {
            budget.rows -= part.rows;
            budget.bytes -= part.bytes;
            stratum.given += part.rows;
            part.held_out = true;
        }
    }
}

/// The components `next..end` of one stratum that are still to be looked at.
struct Stratum {
    next: usize,
    end: usize,
    rows: u64,
    given: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::{Dedup, decide};

    fn set(rows: impl IntoIterator<Item = (u64, u64, Vec<u128>)>) -> Records {
        let mut records = Records::default();
        for (index, (group, stratum, images)) in rows.into_iter().enumerate() {
            let text = super::super::content_hash(&index.to_le_bytes());
            let images: Vec<Image> =
                images.into_iter().map(|content| Image { content, ..Image::default() }).collect();
            records.push(Record { text, group, stratum, bytes: 100, ..Record::default() }, &images);
        }
        records
    }

    fn held_out(records: &Records, kind: SplitKind, validation: &str) -> Vec<bool> {
        let split = Split { kind, validation: validation.parse().unwrap(), seed: 0 };
        let decision = decide(records, Dedup::Off, &split);
        decision.verdicts.iter().map(|verdict| *verdict == Verdict::Validation).collect()
    }

    fn count(sides: &[bool]) -> usize {
        sides.iter().filter(|held_out| **held_out).count()
    }

    #[test]
    fn reads_shares_counts_and_sizes() {
        for (text, value) in [
            ("0.1", Validation::Fraction(0.1)),
            ("10%", Validation::Fraction(0.1)),
            ("0", Validation::Count(0)),
            ("500", Validation::Count(500)),
            ("1MB", Validation::Bytes(1_000_000)),
            ("1.5KiB", Validation::Bytes(1536)),
        ] {
            assert_eq!(text.parse(), Ok(value), "{text}");
        }
        for wrong in ["1.5", "-0.1", "x", "", "10 rows", "NaN", "-1MB"] {
            assert!(wrong.parse::<Validation>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_decided_row_by_row() {
        let large = set((0..5000).map(|_| (0, 0, vec![])));
        let small = set((0..4000).map(|_| (0, 0, vec![])));
        let sides = held_out(&large, SplitKind::Random, "0.1");
        assert!((400..600).contains(&count(&sides)), "{}", count(&sides));
        assert_eq!(held_out(&small, SplitKind::Random, "0.1"), sides[..4000]);
        for (row, images) in large.iter() {
            assert_eq!(
                Split::default().likely_side(row, images) == Side::Validation,
                sides[row_index(&large, row)]
            );
        }
    }

    fn row_index(records: &Records, row: &Record) -> usize {
        records.rows().iter().position(|other| other == row).unwrap()
    }

    #[test]
    fn a_shared_picture_never_stands_on_both_sides() {
        // Rows 2k and 2k+1 share a picture; every tenth row also shares one with the row eleven before it.
        let rows =
            (0..2000u128).map(|i| (0, 0, if i % 10 == 0 { vec![i / 2, (i + 11) / 2] } else { vec![i / 2] }));
        let records = set(rows);
        for validation in ["0.3", "300", "40kB"] {
            let sides = held_out(&records, SplitKind::Random, validation);
            assert!(count(&sides) > 0);
            let mut side_of = HashMap::new();
            for (index, (_, images)) in records.iter().enumerate() {
                for image in images {
                    assert_eq!(*side_of.entry(image.content).or_insert(sides[index]), sides[index]);
                }
            }
        }
    }

    #[test]
    fn groups_stay_together_when_asked() {
        let records = set((0..1000).map(|i| (1 + i / 10, 0, vec![])));
        let sides = held_out(&records, SplitKind::Group, "0.2");
        assert!(sides.chunks(10).all(|group| count(group) == 0 || count(group) == 10));
        assert!(count(&sides) > 0);
        let sides = held_out(&records, SplitKind::Random, "0.2");
        assert!(sides.chunks(10).any(|group| count(group) != 0 && count(group) != 10));
    }

    #[test]
    fn counts_are_met_and_sizes_kept() {
        let records = set((0..1000).map(|_| (0, 0, vec![])));
        assert_eq!(count(&held_out(&records, SplitKind::Random, "137")), 137);
        assert_eq!(count(&held_out(&records, SplitKind::Random, "1050B")), 10);
        assert_eq!(count(&held_out(&records, SplitKind::Random, "1GB")), 200);
        assert_eq!(count(&held_out(&records, SplitKind::Random, "0")), 0);
    }

    #[test]
    fn strata_give_equal_shares() {
        let records = set((0..1000).map(|i| (0, if i % 10 < 7 { 1 } else { 2 }, vec![])));
        for validation in ["0.1", "100", "10kB"] {
            let sides = held_out(&records, SplitKind::Stratify, validation);
            let of = |stratum| {
                let rows = records.rows().iter().zip(&sides);
                rows.filter(|(row, side)| row.stratum == stratum && **side).count()
            };
            assert_eq!((of(1), of(2)), (70, 30), "{validation}");
        }
    }
}
