//! Assigns a split to every row, so that rows which belong together stay together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::hash::BuildHasherDefault;

use super::{Split, Validation, threshold};
use crate::curate::groups::Groups;
use crate::curate::{Prehashed, Records, Verdict};

/// How a split deviates from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmet {
    /// A group is larger than the validation split may be, so it is in the training split.
    TooMany {
        /// Its first row.
        first: usize,
        /// The number of rows.
        rows: u64,
        /// The maximum of the validation split.
        wanted: u64,
    },
    /// Texts are so similar that keeping the rows together would leave no validation split; they are split anyway.
    AlikeTexts {
        /// The first row.
        first: usize,
        /// The number of rows.
        rows: u64,
    },
    /// The validation split has another number of rows than requested.
    Missed {
        /// The actual number.
        held_out: u64,
        /// The requested number.
        wanted: u64,
    },
    /// Strata are too small for a row in the validation split.
    SmallStrata {
        /// Strata without a row in the validation split.
        strata: u64,
        /// The number of rows.
        of: u64,
    },
}

/// Rows that must be in the same split.
struct Component {
    first: usize,
    key: u64,
    stratum: u64,
    rows: u64,
    bytes: u64,
    held_out: bool,
}

/// Shorter texts are too common to connect two rows with images.
const TELLING: u16 = 16;

/// Assigns a split to every row that is still in the training split.
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
    // In the order of their first rows. The number of a component is stored at that row.
    let mut components: Vec<Component> = Vec::new();
    let mut number = vec![u32::MAX; verdicts.len()];
    for (index, (row, images)) in records.iter().enumerate() {
        if verdicts[index] != Verdict::Train {
            continue;
        }
        let number = &mut number[rows.first(index as u32) as usize];
        // A component has the key of its first row: with the lowest of its keys, large components would be in the validation
        // split more often than small ones.
        if *number == u32::MAX {
            *number = components.len() as u32;
            components.push(Component {
                first: index,
                key: split.key(row, images),
                stratum: split.kind.stratum(row),
                rows: 0,
                bytes: 0,
                held_out: false,
            });
        }
        let component = &mut components[*number as usize];
        component.rows += 1;
        component.bytes += row.bytes;
    }
    let mut parts: Vec<&mut Component> = components.iter_mut().collect();
    hold_out(&mut parts, split, wanted, &mut unmet);
    for (index, verdict) in verdicts.iter_mut().enumerate() {
        if *verdict == Verdict::Train
            && components[number[rows.first(index as u32) as usize] as usize].held_out
        {
            *verdict = Verdict::Validation;
        }
    }
    unmet
}

impl Validation {
    /// Maximum rows of the validation split, before bytes are considered.
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

/// Joins rows with the same image or the same group.
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

/// Joins rows with similar text, unless a component would be larger than the validation split: then the similarity is the
/// common style of the dataset.
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
    let mut sizes = vec![0u32; verdicts.len()];
    for index in (0..verdicts.len()).filter(|index| verdicts[*index] == Verdict::Train) {
        sizes[joined.first(index as u32) as usize] += 1;
    }
    let mut too_many: BTreeMap<u32, u64> = BTreeMap::new();
    for (one, other) in ties {
        let root = joined.first(one);
        let size = u64::from(sizes[root as usize]);
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
    // At least one row is in the training split.
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

/// The training split must not be empty: if it is, it gets the component with the largest key.
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

/// Moves components to the validation split until no more fits, each time from the stratum with the smallest share so far;
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

/// The remaining components `next..end` of one stratum. Ordered by the exact share that it would have with one more row.
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
