//! The decision, step by step: passes over the facts of all rows, sorted keys, and a few bytes for each row and image in memory.

#[cfg(test)]
mod tests;

use super::duplicates::{
    Linked, Prompted, Repeated, collected, contradictions, mark_exact, near, repeated_ids,
};
use super::edges::Edge;
use super::groups::Groups;
use super::issues::{OutlierSearch, Size, StoredOutlier};
use super::keys::{ImageKey, Keyed, ShortKeyed};
use super::leaks::leaks;
use super::minhash::BANDS;
use super::near::{join_identical, join_near};
use super::near_texts::near_texts;
use super::records::{Record, Records};
use super::sorted::{Scratch, Sorted, Sorter};
use super::split::{Links, Unmet, assign};
use super::state::{State, Status};
use super::store::{Store, StoredRow};
use super::{Decision, Dedup, Policy, Verdict};
use crate::split::GivenSplit;

/// The decisions for a dataset, with lists that need not fit into memory.
#[derive(Debug)]
pub struct SortedDecision<S> {
    /// The decision about every row, in input order: a byte each.
    pub status: Vec<Status>,
    /// The reason of every [`Status::Duplicate`], by row.
    pub duplicates: Sorted<Repeated, S>,
    /// Rows with the id of an earlier row.
    pub repeated_ids: Sorted<Linked, S>,
    /// Near-duplicates that are kept, by row.
    pub near: Sorted<Repeated, S>,
    /// Rows with the images and the prompt of an earlier row and a conflicting label.
    pub contradictions: Sorted<Linked, S>,
    /// Outlier images, in order.
    pub outliers: Sorted<StoredOutlier, S>,
    /// Where the split deviates from the request.
    pub unmet: Vec<Unmet>,
    /// Training rows that are in another split of the dataset too, or nearly, with the row of that split.
    pub leaks: Sorted<Linked, S>,
    /// The images of all rows, grouped by content.
    pub images: Groups,
}

/// Decides about every row. `same` compares two images, by their indices among those of all rows; it is called only for images whose
/// hashes are close.
pub fn decide(records: &Records, policy: &Policy, same: &mut dyn FnMut(u32, u32) -> bool) -> Decision {
    let Ok(decision) = decide_in(records, policy, same).and_then(|decided| decided.collect(policy));
    decision
}

/// Decides as [`decide`] does, about rows that need not fit into memory. Beside what is sorted, memory holds up to 14 bytes for each
/// row and 4 for each image; while hashes are compared, 2 for each row, 4 for each image and 28 to 44 for each hash; and the members of one
/// group of near-duplicates. Eight more bytes for each row are needed to fill a validation split of a size in bytes.
pub fn decide_in<S: Store>(
    store: &S,
    policy: &Policy,
    same: &mut dyn FnMut(u32, u32) -> bool,
) -> Result<SortedDecision<S::Scratch>, S::Error> {
    let (mut state, first) = first_pass(store, policy)?;
    let FirstPass { identities, sizes, exact, groups } = first;
    let mut images = Groups::new(store.images());
    join_identical(&identities, &mut images)?;
    drop(identities);
    let outliers = second_pass(store, policy, &sizes, &mut images, same)?;
    drop(sizes);
    outliers.each(|outlier| {
        let is_dropped = policy.drop.contains(&outlier.outlier().rule);
        if is_dropped && state.is_train(outlier.row) {
            state.set(outlier.row, Status::Outlier);
        }
        Ok(())
    })?;
    let mut duplicates = Sorter::new(store);
    mark_exact(&exact, &mut state, &mut duplicates)?;
    drop(exact);
    let bands = if store.is_in_memory() { 1 } else { BANDS };
    let texts: Sorted<Edge, _> = near_texts(store, store.rows(), bands, &mut |visit| {
        store.each(&mut |StoredRow { row, record, .. }| match state.of(row) {
            Status::Train | Status::Validation | Status::Test => visit(row, &record.texts.all),
            Status::Rejected | Status::Duplicate | Status::Outlier => Ok(()),
        })
    })?;
    let mut near = match policy.dedup {
        Dedup::Off => Sorted::default(),
        Dedup::Exact | Dedup::Near => near(store, policy.by, (&mut images, &texts), &state)?,
    };
    if policy.dedup == Dedup::Near {
        near.each(|repeated| {
            state.set(repeated.row, Status::Duplicate);
            duplicates.push(repeated)
        })?;
        near = Sorted::default();
    }
    // Where the dataset has a validation split, no row moves out of its training split.
    let has_validation = state.status.contains(&Status::Validation);
    let links = Links { images: &mut images, texts: &texts, groups: &groups };
    let unmet = match has_validation {
        true => Vec::new(),
        false => assign(store, links, &policy.split, &mut state)?,
    };
    drop(groups);
    let leaks = match policy.split.keeps_given {
        true => leaks(store, (&mut images, &texts), &state, has_validation)?,
        false => Sorted::default(),
    };
    drop(texts);
    let (ids, prompts) = last_pass(store, &state)?;
    Ok(SortedDecision {
        duplicates: duplicates.finish()?,
        repeated_ids: repeated_ids(store, &ids, &state)?,
        near,
        contradictions: contradictions(store, &prompts, &state)?,
        outliers,
        unmet,
        leaks,
        images,
        status: state.status,
    })
}

struct FirstPass<S> {
    identities: Sorted<Keyed, S>,
    sizes: Sorted<Size, S>,
    exact: Sorted<Keyed, S>,
    groups: Sorted<ShortKeyed, S>,
}

fn first_pass<S: Store>(store: &S, policy: &Policy) -> Result<(State, FirstPass<S::Scratch>), S::Error> {
    let mut state = State::new(store.rows());
    let (mut identities, mut sizes) = (Sorter::one_of(4, store), Sorter::one_of(4, store));
    let (mut exact, mut groups) = (Sorter::one_of(4, store), Sorter::one_of(4, store));
    store.each(&mut |stored| {
        let StoredRow { row, record, images, .. } = stored;
        let status = start(record, policy);
        state.push(status, images.len() as u32, record.texts.all.shingles);
        for (number, image) in stored.numbered() {
            identities.push(Keyed::identity(image, number))?;
            Size::of(&image.facts).map_or(Ok(()), |size| sizes.push(size))?;
        }
        if status != Status::Train {
            return Ok(());
        }
        if record.group != 0 {
            groups.push(ShortKeyed { key: record.group, number: row })?;
        }
        match policy.dedup {
            Dedup::Off => Ok(()),
            Dedup::Exact | Dedup::Near => {
                Keyed::exact(policy.by, record, images, row).map_or(Ok(()), |key| exact.push(key))
            }
        }
    })?;
    let (identities, sizes) = (identities.finish()?, sizes.finish()?);
    Ok((state, FirstPass { identities, sizes, exact: exact.finish()?, groups: groups.finish()? }))
}

fn start(record: &Record, policy: &Policy) -> Status {
    match record.given.filter(|_| policy.split.keeps_given) {
        _ if record.rejected => Status::Rejected,
        Some(GivenSplit::Validation) => Status::Validation,
        Some(GivenSplit::Test) => Status::Test,
        Some(GivenSplit::Train) | None => Status::Train,
    }
}

/// Finds outliers, and joins images that show the same.
fn second_pass<S: Store>(
    store: &S,
    policy: &Policy,
    sizes: &Sorted<Size, S::Scratch>,
    images: &mut Groups,
    same: &mut dyn FnMut(u32, u32) -> bool,
) -> Result<Sorted<StoredOutlier, S::Scratch>, S::Error> {
    let mut outliers = OutlierSearch::new(store, sizes)?;
    let mut keys = Sorter::new(store);
    store.each(&mut |stored| {
        outliers.inspect(&stored);
        for (number, image) in stored.numbered().filter(|(number, _)| images.is_first(*number)) {
            ImageKey::new(image, number).map_or(Ok(()), |key| keys.push(key))?;
        }
        Ok(())
    })?;
    join_near(store, &keys.finish()?, (policy.distance, policy.threads), images, same)?;
    outliers.finish()
}

/// The ids and the prompts of kept rows.
#[allow(clippy::type_complexity, reason = "two lists of one pass")]
fn last_pass<S: Store>(
    store: &S,
    state: &State,
) -> Result<(Sorted<ShortKeyed, S::Scratch>, Sorted<Prompted, S::Scratch>), S::Error> {
    let (mut ids, mut prompts) = (Sorter::one_of(2, store), Sorter::one_of(2, store));
    store.each(&mut |stored| {
        let StoredRow { row, record, .. } = stored;
        if !state.of(row).is_kept() {
            return Ok(());
        }
        if record.id != 0 {
            ids.push(ShortKeyed { key: record.id, number: row })?;
        }
        Prompted::new(stored).map_or(Ok(()), |prompt| prompts.push(prompt))
    })?;
    Ok((ids.finish()?, prompts.finish()?))
}

impl<S: Scratch> SortedDecision<S> {
    /// The same with all lists in memory.
    pub fn collect(self, policy: &Policy) -> Result<Decision, S::Error> {
        let outliers: Vec<_> = collected(&self.outliers)?.iter().map(StoredOutlier::outlier).collect();
        let mut verdicts: Vec<Verdict> = Vec::with_capacity(self.status.len());
        let mut duplicates = self.duplicates.cursor()?;
        for (row, status) in self.status.into_iter().enumerate() {
            let dropped =
                |outlier: &super::issues::Outlier| outlier.row == row && policy.drop.contains(&outlier.rule);
            let verdict = match status {
                Status::Train => Verdict::Train,
                Status::Validation => Verdict::Validation,
                Status::Test => Verdict::Test,
                Status::Rejected => Verdict::Rejected,
                Status::Duplicate => match duplicates.next()? {
                    Some(repeated) => Verdict::Duplicate(repeated.repeat()),
                    None => Verdict::Rejected,
                },
                Status::Outlier => Verdict::Outlier(outliers.iter().position(dropped).unwrap_or_default()),
            };
            verdicts.push(verdict);
        }
        let pairs = |linked: &Sorted<Linked, S>| -> Result<Vec<(usize, usize)>, S::Error> {
            let pairs = collected(linked)?;
            Ok(pairs.iter().map(|Linked { row, other }| (*row as usize, *other as usize)).collect())
        };
        Ok(Decision {
            verdicts,
            repeated_ids: pairs(&self.repeated_ids)?,
            near: collected(&self.near)?.iter().map(|near| (near.row as usize, near.repeat())).collect(),
            contradictions: pairs(&self.contradictions)?,
            outliers,
            unmet: self.unmet,
            leaks: pairs(&self.leaks)?,
            images: self.images,
        })
    }
}
