//! A side for every row, so that rows which belong together stay together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use super::{Split, Validation, threshold};
use crate::curate::groups::Groups;
use crate::curate::{Prehashed, Records, Verdict};

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

/// A text of fewer shingles is too common to tie two rows with images to each other.
const TELLING: u16 = 16;

/// Gives every row that is still in training its side.
pub(in crate::curate) fn assign(
    records: &Records,
    images: &mut Groups,
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
    let mut rows = join_images_and_groups(records, images, verdicts);
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

/// Joins rows that show the same image or belong to one group.
fn join_images_and_groups(records: &Records, image_groups: &mut Groups, verdicts: &[Verdict]) -> Groups {
    let mut rows = Groups::new(verdicts.len());
    let mut of_image = vec![u32::MAX; records.images.len()];
    let mut of_group: HashMap<u64, u32, BuildHasherDefault<Prehashed>> = HashMap::default();
    let mut image = 0;
    for (index, (row, images)) in records.iter().enumerate() {
        let those = image..image + images.len();
        image = those.end;
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let index = index as u32;
        for image in those {
            let first = &mut of_image[image_groups.first(image as u32) as usize];
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
