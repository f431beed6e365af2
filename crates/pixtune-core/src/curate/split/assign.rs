//! Assigns a split to every row, so that rows which belong together stay together.

use std::collections::BTreeMap;

use super::fill::{Budget, Component, fill};
use super::{Split, Validation, threshold};
use crate::curate::edges::Edge;
use crate::curate::groups::Groups;
use crate::curate::keys::ShortKeyed;
use crate::curate::sorted::{Scratch, Sorted, Sorter};
use crate::curate::state::{State, Status};
use crate::curate::store::{Store, StoredRow};

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

/// What connects rows.
pub(in crate::curate) struct Links<'l, S> {
    /// The images of all rows, grouped by content.
    pub(in crate::curate) images: &'l mut Groups,
    /// Rows with nearly the same text.
    pub(in crate::curate) texts: &'l Sorted<Edge, S>,
    /// Rows by the hashes of their groups.
    pub(in crate::curate) groups: &'l Sorted<ShortKeyed, S>,
}

/// Assigns a split to every row that is still in the training split.
pub(in crate::curate) fn assign<S: Store>(
    store: &S,
    links: Links<'_, S::Scratch>,
    split: &Split,
    state: &mut State,
) -> Result<Vec<Unmet>, S::Error> {
    let open = state.rows().filter(|row| state.is_train(*row)).count() as u64;
    let asked = split.validation.rows(open);
    if asked == 0 {
        return Ok(vec![]);
    }
    let mut unmet = Vec::new();
    let mut rows = join_images_and_groups(links.images, links.groups, state)?;
    join_texts(links.texts, state, asked, &mut rows, &mut unmet)?;
    let sizes = sizes(&mut rows, state);
    // At least one row is in the training split.
    let wanted = asked.min(open.saturating_sub(1));
    unmet.extend(
        state
            .rows()
            .zip(&sizes)
            .filter(|(_, size)| **size > 1 && u64::from(**size) > wanted)
            .map(|(row, size)| Unmet::TooMany { first: row as usize, rows: u64::from(*size), wanted }),
    );
    let parts = Parts { rows, sizes };
    let held_out = match (split.validation, split.kind.has_strata()) {
        (Validation::Fraction(share), false) => by_share(store, &parts, (split, share), wanted, state)?,
        _ => by_filling(store, &parts, split, wanted, state, &mut unmet)?,
    };
    let exact = matches!(split.validation, Validation::Fraction(_)) && split.kind.has_strata();
    let missed = match split.validation {
        Validation::Count(count) => (held_out < count).then_some(count),
        _ => (held_out == 0 || exact && held_out != wanted).then_some(asked),
    };
    let before_strata = unmet.len() - usize::from(matches!(unmet.last(), Some(Unmet::SmallStrata { .. })));
    if let Some(wanted) = missed {
        unmet.insert(before_strata, Unmet::Missed { held_out, wanted });
    }
    let Parts { mut rows, .. } = parts;
    for row in state.rows() {
        if state.is_train(row) && state.of(rows.first(row)) == Status::Validation {
            state.set(row, Status::Validation);
        }
    }
    Ok(unmet)
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
fn join_images_and_groups<S: Scratch>(
    image_groups: &mut Groups,
    groups: &Sorted<ShortKeyed, S>,
    state: &State,
) -> Result<Groups, S::Error> {
    let mut rows = Groups::new(state.status.len());
    let mut of_image = vec![u32::MAX; image_groups.len()];
    for (row, images) in state.with_images().filter(|(row, _)| state.is_train(*row)) {
        for image in images {
            let first = &mut of_image[image_groups.first(image) as usize];
            if *first == u32::MAX {
                *first = row;
            }
            rows.join(*first, row);
        }
    }
    let mut first: Option<ShortKeyed> = None;
    groups.each(|group| {
        if state.is_train(group.number) {
            match first.filter(|first| first.key == group.key) {
                Some(first) => {
                    rows.join(first.number, group.number);
                }
                None => first = Some(group),
            }
        }
        Ok(())
    })?;
    Ok(rows)
}

/// The number of rows of the training split in each group, at its first row; 0 elsewhere.
fn sizes(groups: &mut Groups, state: &State) -> Vec<u32> {
    let mut sizes = vec![0u32; state.status.len()];
    for row in state.rows().filter(|row| state.is_train(*row)) {
        sizes[groups.first(row) as usize] += 1;
    }
    sizes
}

/// Joins rows with similar text, unless a component would be larger than the validation split: then the similarity is the
/// common style of the dataset.
fn join_texts<S: Scratch>(
    texts: &Sorted<Edge, S>,
    state: &State,
    wanted: u64,
    rows: &mut Groups,
    unmet: &mut Vec<Unmet>,
) -> Result<(), S::Error> {
    let is_tie = |Edge { one, other }: &Edge| {
        state.is_train(*one) && state.is_train(*other) && state.are_tied(*one, *other)
    };
    let mut joined: Option<Groups> = None;
    texts.each(|edge| {
        if is_tie(&edge) {
            joined.get_or_insert_with(|| rows.clone()).join(edge.one, edge.other);
        }
        Ok(())
    })?;
    let Some(mut joined) = joined else { return Ok(()) };
    let sizes = sizes(&mut joined, state);
    let mut too_many: BTreeMap<u32, u64> = BTreeMap::new();
    texts.each(|edge| {
        if is_tie(&edge) {
            let root = joined.first(edge.one);
            let size = u64::from(sizes[root as usize]);
            if size > wanted {
                too_many.insert(root, size);
            } else {
                rows.join(edge.one, edge.other);
            }
        }
        Ok(())
    })?;
    unmet.extend(too_many.into_iter().map(|(first, rows)| Unmet::AlikeTexts { first: first as usize, rows }));
    Ok(())
}

/// Rows that must be in the same split, by their first rows, and how many they are.
struct Parts {
    rows: Groups,
    sizes: Vec<u32>,
}

impl Parts {
    /// Calls `visit` with the first row of each component. A component has the key of its first row: with the lowest of its
    /// keys, large components would be in the validation split more often than small ones.
    fn each<S: Store>(
        &self,
        store: &S,
        mut visit: impl FnMut(StoredRow<'_>, u32) -> Result<(), S::Error>,
    ) -> Result<(), S::Error> {
        store.each(&mut |stored| match self.sizes[stored.row as usize] {
            0 => Ok(()),
            size => visit(stored, size),
        })
    }
}

/// Decides about each component by its own key; returns the rows of the validation split.
fn by_share<S: Store>(
    store: &S,
    parts: &Parts,
    (split, share): (&Split, f64),
    wanted: u64,
    state: &mut State,
) -> Result<u64, S::Error> {
    let (mut held_out, mut is_any_left) = (0, false);
    let mut largest: Option<(u64, u32, u64)> = None;
    parts.each(store, |StoredRow { row, record, images, .. }, size| {
        let (key, size) = (split.key(record, images), u64::from(size));
        if largest.is_none_or(|(before, ..)| before <= key) {
            largest = Some((key, row, size));
        }
        if key < threshold(share) && size <= wanted.max(1) {
            held_out += size;
            state.set(row, Status::Validation);
        } else {
            is_any_left = true;
        }
        Ok(())
    })?;
    // The training split must not be empty: if it is, it gets the component with the largest key.
    if let Some((_, row, size)) = largest.filter(|_| !is_any_left) {
        state.set(row, Status::Train);
        held_out -= size;
    }
    Ok(held_out)
}

/// Moves components to the validation split until it is full; returns its rows.
fn by_filling<S: Store>(
    store: &S,
    parts: &Parts,
    split: &Split,
    wanted: u64,
    state: &mut State,
    unmet: &mut Vec<Unmet>,
) -> Result<u64, S::Error> {
    let budget = match split.validation {
        Validation::Bytes(bytes) => Budget { rows: wanted, bytes },
        _ => Budget { rows: wanted, bytes: u64::MAX },
    };
    let bytes = match split.validation {
        Validation::Bytes(_) => bytes(store, parts, state)?,
        _ => Vec::new(),
    };
    let mut components = Sorter::new(store);
    parts.each(store, |StoredRow { row, record, images, .. }, size| {
        components.push(Component {
            stratum: split.kind.stratum(record),
            key: split.key(record, images),
            first: row,
            rows: size,
            bytes: bytes.get(row as usize).copied().unwrap_or_default(),
        })
    })?;
    drop(bytes);
    let filled = fill(store, &components.finish()?, budget, |first| state.set(first, Status::Validation))?;
    let none = filled.strata - filled.used_strata;
    if split.kind.has_strata() && none > 0 && filled.strata > 1 {
        unmet.push(Unmet::SmallStrata { strata: none, of: filled.strata });
    }
    Ok(filled.rows)
}

/// The bytes of the rows of each component, at its first row.
fn bytes<S: Store>(store: &S, parts: &Parts, state: &State) -> Result<Vec<u64>, S::Error> {
    let mut rows = parts.rows.clone();
    let mut bytes = vec![0; state.status.len()];
    store.each(&mut |StoredRow { row, record, .. }| {
        if state.is_train(row) {
            bytes[rows.first(row) as usize] += record.bytes;
        }
        Ok(())
    })?;
    Ok(bytes)
}
