//! The split into training and validation: by hash, so that it is stable, and by component, so that it does not leak.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use super::groups::Groups;
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
    /// As `Stratify`, over the kind of the answer, the number of pictures and the length in tokens.
    Auto,
}

impl SplitKind {
    fn has_strata(self) -> bool {
        matches!(self, SplitKind::Stratify | SplitKind::Auto)
    }

    fn stratum(self, row: &Record) -> u64 {
        match self {
            SplitKind::Random | SplitKind::Group => 0,
            SplitKind::Stratify => row.stratum,
            // Lengths count by their power of two, pictures up to four.
            SplitKind::Auto => {
                let length = u64::from(32 - row.tokens.leading_zeros());
                1 + (u64::from(row.answer_kind) << 16 | u64::from(row.images.min(4)) << 8 | length)
            }
        }
    }
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
                if !self.kind.has_strata() && self.key(row, images) < threshold(share) =>
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
        twox_hash::XxHash3_64::oneshot_with_seed(self.seed, &content.to_le_bytes())
    }
}

/// Hashes below this are a `share` of all.
fn threshold(share: f64) -> u64 {
    (share * 2f64.powi(64)) as u64
}

/// In what a split is not what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// Rows that must stay together are more than may be held out, so they are trained on.
    TooMany {
        /// The first of them.
        first: usize,
        /// How many there are.
        rows: u64,
        /// How many may be held out.
        wanted: u64,
    },
    /// Texts are so alike that keeping the rows together would leave nothing to hold out; they are split all the same.
    AlikeTexts {
        /// The first row.
        first: usize,
        /// How many there are.
        rows: u64,
    },
    /// Another number of rows is held out than was asked for.
    Missed {
        /// How many are held out.
        held_out: u64,
        /// How many should be.
        wanted: u64,
    },
    /// Strata too small to give a row.
    SmallStrata {
        /// How many give none although the share of the larger ones does.
        strata: u64,
        /// How many there are.
        of: u64,
    },
}

/// Rows that must stay on one side.
struct Component {
    first: usize,
    key: u64,
    stratum: u64,
    rows: u64,
    bytes: u64,
    held_out: bool,
}

/// A text of fewer shingles is too common to tie two rows with pictures to each other.
const TELLING: u16 = 16;

/// Gives every row that is still in training its side.
pub(super) fn assign(
    records: &Records,
    pictures: &mut Groups,
    texts: &[(u32, u32)],
    split: &Split,
    verdicts: &mut [Verdict],
) -> Vec<Unmet> {
    let open =
        |verdicts: &[Verdict]| verdicts.iter().filter(|verdict| **verdict == Verdict::Train).count() as u64;
    let wanted = split.validation.rows(open(verdicts));
    if wanted == 0 {
        return vec![];
    }
    let mut unmet = Vec::new();
    let mut rows = join_pictures_and_groups(records, pictures, verdicts);
    join_texts(records, texts, verdicts, wanted, &mut rows, &mut unmet);
    let mut of_root: BTreeMap<u32, Component> = BTreeMap::new();
    for (index, (row, images)) in records.iter().enumerate() {
        if verdicts[index] != Verdict::Train {
            continue;
        }
        // A component stands where its first row stands: with the lowest of its keys, large ones would be held out more
        // often than small ones.
        let component = of_root.entry(rows.first(index as u32)).or_insert_with(|| Component {
            first: index,
            key: split.key(row, images),
            stratum: split.kind.stratum(row),
            rows: 0,
            bytes: 0,
            held_out: false,
        });
        component.rows += 1;
        component.bytes += row.bytes;
    }
    let mut parts: Vec<&mut Component> = of_root.values_mut().collect();
    hold_out(&mut parts, split, wanted, &mut unmet);
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if *verdict == Verdict::Train && of_root[&rows.first(index as u32)].held_out {
            *verdict = Verdict::Validation;
        }
    }
    unmet
}

impl Validation {
    /// How many of so many rows are held out at most, before their bytes are looked at.
    fn rows(self, all: u64) -> u64 {
        match self {
            Validation::Fraction(0.0) => 0,
            Validation::Fraction(share) => ((share * all as f64).round_ties_even() as u64).max(1),
            Validation::Count(count) => count,
            Validation::Bytes(0) => 0,
            Validation::Bytes(_) => all.div_ceil(5),
        }
    }
}

/// Joins rows that show the same picture or belong to one group.
fn join_pictures_and_groups(records: &Records, pictures: &mut Groups, verdicts: &[Verdict]) -> Groups {
    let mut rows = Groups::new(verdicts.len());
    let mut of_picture = vec![u32::MAX; records.images.len()];
    let mut of_group: HashMap<u64, u32, BuildHasherDefault<Prehashed>> = HashMap::default();
    let mut picture = 0;
    for (index, (row, images)) in records.iter().enumerate() {
        let those = picture..picture + images.len();
        picture = those.end;
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let index = index as u32;
        for picture in those {
            let first = &mut of_picture[pictures.first(picture as u32) as usize];
            if *first == u32::MAX {
                *first = index;
            }
            rows.join(*first, index);
        }
        if row.group != 0 {
            rows.join(*of_group.entry(row.group).or_insert(index), index);
        }
    }
    rows
}

/// Joins rows of nearly the same text, unless more would hang together than can be held out: then what is alike is the
/// way all answers of the set are written.
fn join_texts(
    records: &Records,
    texts: &[(u32, u32)],
    verdicts: &[Verdict],
    wanted: u64,
    rows: &mut Groups,
    unmet: &mut Vec<Unmet>,
) {
    let ties = |(one, other): &&(u32, u32)| {
        let [one, other] = [one, other].map(|index| &records.rows[*index as usize]);
        let telling = one.texts.all.shingles.min(other.texts.all.shingles) >= TELLING;
        telling || one.images == 0 && other.images == 0
    };
    let kept = |(one, other): &&(u32, u32)| {
        [one, other].iter().all(|index| verdicts[**index as usize] == Verdict::Train)
    };
    let ties: Vec<(u32, u32)> = texts.iter().filter(kept).filter(ties).copied().collect();
    if ties.is_empty() {
        return;
    }
    let mut joined = rows.clone();
    ties.iter().for_each(|(one, other)| {
        joined.join(*one, *other);
    });
    let mut sizes: HashMap<u32, u64> = HashMap::new();
    for index in (0..verdicts.len()).filter(|index| verdicts[*index] == Verdict::Train) {
        *sizes.entry(joined.first(index as u32)).or_default() += 1;
    }
    let mut too_many: BTreeMap<u32, u64> = BTreeMap::new();
    for (one, other) in ties {
        let root = joined.first(one);
        let size = sizes[&root];
        if size > wanted {
            too_many.insert(root, size);
        } else {
            rows.join(one, other);
        }
    }
    unmet.extend(too_many.into_iter().map(|(first, rows)| Unmet::AlikeTexts { first: first as usize, rows }));
}

fn hold_out(parts: &mut [&mut Component], split: &Split, wanted: u64, unmet: &mut Vec<Unmet>) {
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    // At least one row is trained on.
    let (asked, wanted) = (wanted, wanted.min(rows.saturating_sub(1)));
    let too_many = |part: &&&mut Component| part.rows > 1 && part.rows > wanted;
    unmet.extend(parts.iter().filter(too_many).map(|part| Unmet::TooMany {
        first: part.first,
        rows: part.rows,
        wanted,
    }));
    match (split.validation, split.kind.has_strata()) {
        (Validation::Fraction(share), false) => {
            for part in &mut *parts {
                part.held_out = part.key < threshold(share) && part.rows <= wanted.max(1);
            }
            keep_one(parts);
        }
        (Validation::Bytes(bytes), _) => fill(parts, Budget { rows: wanted, bytes }),
        _ => fill(parts, Budget { rows: wanted, bytes: u64::MAX }),
    }
    let held_out: u64 = parts.iter().filter(|part| part.held_out).map(|part| part.rows).sum();
    let exact = match split.validation {
        Validation::Fraction(_) => split.kind.has_strata(),
        Validation::Count(count) => {
            if held_out < count {
                unmet.push(Unmet::Missed { held_out, wanted: count });
            }
            false
        }
        Validation::Bytes(_) => false,
    };
    if held_out == 0 && !matches!(split.validation, Validation::Count(_)) || exact && held_out != wanted {
        unmet.push(Unmet::Missed { held_out, wanted: asked });
    }
    if split.kind.has_strata() {
        unmet.extend(small_strata(parts));
    }
}

/// Something has to be trained on: if everything is held out, the component with the largest key is not.
fn keep_one(parts: &mut [&mut Component]) {
    if parts.iter().all(|part| part.held_out)
        && let Some(last) = parts.iter_mut().max_by_key(|part| part.key)
    {
        last.held_out = false;
    }
}

fn small_strata(parts: &[&mut Component]) -> Option<Unmet> {
    let mut strata: BTreeMap<u64, bool> = BTreeMap::new();
    for part in parts {
        *strata.entry(part.stratum).or_default() |= part.held_out;
    }
    let (of, none) = (strata.len() as u64, strata.values().filter(|gives| !**gives).count() as u64);
    (none > 0 && of > 1).then_some(Unmet::SmallStrata { strata: none, of })
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
    let mut queue: BinaryHeap<_> = strata.into_iter().map(Reverse).collect();
    while let Some(Reverse(mut stratum)) = queue.pop() {
        if budget.rows == 0 || budget.bytes == 0 {
            return;
        }
        let part = &mut parts[stratum.next];
        stratum.next += 1;
        if part.rows <= budget.rows && part.bytes <= budget.bytes {
            budget.rows -= part.rows;
            budget.bytes -= part.bytes;
            stratum.given += part.rows;
            part.held_out = true;
        }
        if stratum.next < stratum.end {
            queue.push(Reverse(stratum));
        }
    }
}

/// The components `next..end` of one stratum that are still to be looked at. Ordered by the share that it would have
/// given with one row more, exactly.
#[derive(PartialEq, Eq)]
struct Stratum {
    next: usize,
    end: usize,
    rows: u64,
    given: u64,
}

impl Ord for Stratum {
    fn cmp(&self, other: &Stratum) -> std::cmp::Ordering {
        let share = |one: &Stratum, other: &Stratum| u128::from(one.given + 1) * u128::from(other.rows);
        share(self, other).cmp(&share(other, self)).then(self.next.cmp(&other.next))
    }
}

impl PartialOrd for Stratum {
    fn partial_cmp(&self, other: &Stratum) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::{Decision, Dedup, Policy, Sketch, TextSketch, decide};

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

    fn decided(records: &Records, kind: SplitKind, validation: &str) -> Decision {
        let split = Split { kind, validation: validation.parse().unwrap(), seed: 0 };
        decide(records, &Policy { dedup: Dedup::Off, split, ..Policy::default() }, &mut |_, _| true)
    }

    fn held_out(records: &Records, kind: SplitKind, validation: &str) -> Vec<bool> {
        decided(records, kind, validation)
            .verdicts
            .iter()
            .map(|verdict| *verdict == Verdict::Validation)
            .collect()
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
        // A group is honoured also where the split is by something else.
        let sides = held_out(&records, SplitKind::Auto, "0.2");
        assert!(sides.chunks(10).all(|group| count(group) == 0 || count(group) == 10));
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

    #[test]
    fn what_hangs_together_as_a_whole_is_trained_on_and_told() {
        let one_picture = set((0..50).map(|_| (0, 0, vec![7])));
        let one_group = set((0..50).map(|_| (3, 0, vec![])));
        for (records, kind) in [(one_picture, SplitKind::Random), (one_group, SplitKind::Group)] {
            for validation in ["0.1", "5", "1kB"] {
                let decision = decided(&records, kind, validation);
                assert!(decision.verdicts.iter().all(|verdict| *verdict == Verdict::Train));
                let wanted = if validation == "1kB" { 10 } else { 5 };
                assert_eq!(decision.unmet[0], Unmet::TooMany { first: 0, rows: 50, wanted });
                assert_eq!(decision.unmet[1], Unmet::Missed { held_out: 0, wanted });
            }
        }
    }

    #[test]
    fn one_row_is_trained_on() {
        for seed in 0..20 {
            let mut records = Records::default();
            records.push(Record { text: seed, bytes: 9, ..Record::default() }, &[]);
            let decision = decided(&records, SplitKind::Random, "0.9");
            assert_eq!(decision.verdicts, [Verdict::Train]);
            assert_eq!(decision.unmet, [Unmet::Missed { held_out: 0, wanted: 1 }]);
        }
        assert_eq!(decided(&Records::default(), SplitKind::Random, "0.9").verdicts, []);
    }

    #[test]
    fn a_stratum_for_every_row_is_told_and_does_not_take_long() {
        let records = set((0..200_000).map(|i| (0, 1 + i, vec![])));
        let decision = decided(&records, SplitKind::Stratify, "0.1");
        let held_out = decision.verdicts.iter().filter(|verdict| **verdict == Verdict::Validation).count();
        assert_eq!(held_out, 20_000);
        assert_eq!(decision.unmet, [Unmet::SmallStrata { strata: 180_000, of: 200_000 }]);
    }

    #[test]
    fn more_than_there_is_leaves_one_row_to_train_on() {
        let records = set((0..10).map(|_| (0, 0, vec![])));
        let decision = decided(&records, SplitKind::Random, "50");
        assert_eq!(decision.verdicts.iter().filter(|verdict| **verdict == Verdict::Train).count(), 1);
        assert_eq!(decision.unmet, [Unmet::Missed { held_out: 9, wanted: 50 }]);
    }

    #[test]
    fn automatic_strata_are_answer_kind_pictures_and_length() {
        let mut records = Records::default();
        for index in 0..1000u32 {
            let long = index % 2 == 0;
            let row = Record {
                text: u128::from(index),
                tokens: if long { 900 } else { 30 },
                answer_kind: (index % 5 == 0).into(),
                ..Record::default()
            };
            records.push(row, &[]);
        }
        let sides = held_out(&records, SplitKind::Auto, "0.1");
        let of = |kind, tokens| {
            let rows = records.rows().iter().zip(&sides);
            rows.filter(|(row, side)| row.answer_kind == kind && row.tokens == tokens && **side).count()
        };
        assert_eq!([of(0, 900), of(0, 30), of(1, 900), of(1, 30)], [40, 40, 10, 10]);
    }

    fn told(texts: impl IntoIterator<Item = String>) -> Records {
        let mut records = Records::default();
        for text in texts {
            let texts = TextSketch { all: Sketch::of([text.as_str()]), ..TextSketch::default() };
            let text = super::super::content_hash(text.as_bytes());
            records.push(Record { text, texts, ..Record::default() }, &[]);
        }
        records
    }

    #[test]
    fn near_texts_stay_on_one_side_unless_all_are_alike() {
        let words = |n: usize| (0..60).map(|at| format!("w{} ", n * 100 + at)).collect::<String>();
        let pairs = told((0..400).flat_map(|n| [words(n), words(n) + "more"]));
        let sides = held_out(&pairs, SplitKind::Random, "0.2");
        assert!(sides.chunks(2).all(|pair| pair[0] == pair[1]) && count(&sides) > 40);
        let alike = told((0..400).map(|n| words(0) + &n.to_string()));
        let decision = decided(&alike, SplitKind::Random, "0.2");
        assert_eq!(decision.unmet, [Unmet::AlikeTexts { first: 0, rows: 400 }]);
        assert!(decision.verdicts.contains(&Verdict::Validation));
    }
}
