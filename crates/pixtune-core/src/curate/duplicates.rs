//! Duplicates, near-duplicates and conflicting labels.

use super::edges::Edge;
use super::groups::Groups;
use super::keys::{Keyed, ShortKeyed, combined};
use super::minhash::{MINIMA, Sketch};
use super::sorted::{Scratch, Sorted, Sorter, Space, fixed};
use super::state::{State, Status};
use super::store::{Store, StoredRow};
use super::texts::{ANSWER, TextSketch};
use super::{By, Repeat};

fixed! {
    /// A row that duplicates another.
    pub Repeated {
        /// The row.
        row: u32,
        /// The row that is kept.
        of: u32,
        /// 1 for a near-duplicate, 0 for the same pixels and the same text.
        is_near: u8,
        /// See [`Near::distance`].
        distance: u8,
        /// See [`Near::similarity`].
        similarity: u8,
    }
}

fixed! {
    /// A row and another that it has to do with.
    pub Linked {
        /// The row.
        row: u32,
        /// The other.
        other: u32,
    }
}

fixed! {
    /// A prompt with its images, and the label.
    pub(super) Prompted {
        key: [u64; 2],
        row: u32,
        answer_hash: [u32; 2],
    }
}

fixed! {
    /// A row that may be a near-duplicate of the others of its group.
    pub(super) Member {
        group: u32,
        row: u32,
        /// Pixels of its images.
        area: u64,
        text: [u64; 2],
        minima: [u8; MINIMA],
        shingles: u16,
        answer_minima: [u8; ANSWER],
        answer_shingles: u16,
        answer_hash: [u32; 2],
    }
}

fixed! {
    /// A perceptual hash of a member.
    pub(super) MemberImage {
        group: u32,
        row: u32,
        nth: u32,
        phash: u64,
    }
}

fixed! {
    /// A row and its group.
    pub(super) InGroup {
        row: u32,
        group: u32,
    }
}

/// How similar near-duplicates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Near {
    /// The maximum Hamming distance of the perceptual hashes of their images.
    pub distance: u8,
    /// The share of the text that is the same, in percent.
    pub similarity: u8,
}

impl Repeated {
    /// The row that is kept, and how similar the two are.
    pub fn repeat(&self) -> Repeat {
        let near = Near { distance: self.distance, similarity: self.similarity };
        Repeat { of: self.of as usize, near: (self.is_near != 0).then_some(near) }
    }
}

/// Marks every exact duplicate of an earlier row.
pub(super) fn mark_exact<S: Space>(
    keys: &Sorted<Keyed, S::Scratch>,
    state: &mut State,
    repeats: &mut Sorter<'_, Repeated, S>,
) -> Result<(), S::Error> {
    let mut first: Option<Keyed> = None;
    keys.each(|Keyed { key, number: row }| {
        if !state.is_train(row) {
            return Ok(());
        }
        match first {
            Some(first) if first.key == key => {
                state.set(row, Status::Duplicate);
                repeats.push(Repeated { row, of: first.number, is_near: 0, distance: 0, similarity: 0 })
            }
            _ => {
                first = Some(Keyed { key, number: row });
                Ok(())
            }
        }
    })
}

/// Every row of the training split that is a near-duplicate of another, with the row to keep: the one with the largest images, the
/// first of several.
pub(super) fn near<S: Store>(
    store: &S,
    by: By,
    (images, texts): (&mut Groups, &Sorted<Edge, S::Scratch>),
    state: &State,
) -> Result<Sorted<Repeated, S::Scratch>, S::Error> {
    let mut found = Sorter::new(store);
    let members = in_groups(store, by, (images, texts), state)?;
    if members.is_empty() {
        return found.finish();
    }
    let (members, hashes) = with_facts(store, &members)?;
    let (mut members, mut hashes) = (members.cursor()?, hashes.cursor()?);
    let (mut next, mut next_hash) = (members.next()?, hashes.next()?);
    // The members of one group at a time are in memory.
    while let Some(Member { group, .. }) = next {
        let mut left = Vec::new();
        while let Some(member) = next.filter(|member| member.group == group) {
            let mut phashes = Vec::new();
            while let Some(hash) = next_hash.filter(|hash| (hash.group, hash.row) == (group, member.row)) {
                phashes.push(hash.phash);
                next_hash = hashes.next()?;
            }
            left.push((member, phashes));
            next = members.next()?;
        }
        pick(by, left, &mut found)?;
    }
    found.finish()
}

/// The rows of the training split that have the images and the text of another, nearly, with the numbers of their groups.
fn in_groups<S: Space>(
    space: &S,
    by: By,
    (images, texts): (&mut Groups, &Sorted<Edge, S::Scratch>),
    state: &State,
) -> Result<Sorted<InGroup, S::Scratch>, S::Error> {
    let mut together = Groups::new(state.status.len());
    texts.each(|Edge { one, other }| {
        together.join(one, other);
        Ok(())
    })?;
    let mut keys = Sorter::new(space);
    for (row, those) in state.with_images().filter(|(row, _)| state.is_train(*row)) {
        let text = u128::from(together.first(row));
        let roots = those.map(|image| u128::from(images.first(image)));
        combined(by, text, roots).map_or(Ok(()), |key| keys.push(Keyed::new(key, row)))?;
    }
    drop(together);
    let mut members = Sorter::new(space);
    let (mut last, mut group, mut is_alone): (Option<Keyed>, u32, bool) = (None, 0, true);
    keys.finish()?.each(|key| {
        match last.filter(|last| last.key == key.key) {
            Some(last) => {
                if is_alone {
                    members.push(InGroup { row: last.number, group })?;
                }
                is_alone = false;
                members.push(InGroup { row: key.number, group })?;
            }
            None => (group, is_alone) = (group + u32::from(!is_alone), true),
        }
        last = Some(key);
        Ok(())
    })?;
    members.finish()
}

/// Members by group, with the facts that they are compared by.
#[allow(clippy::type_complexity, reason = "two sorted lists that are read side by side")]
fn with_facts<S: Store>(
    store: &S,
    members: &Sorted<InGroup, S::Scratch>,
) -> Result<(Sorted<Member, S::Scratch>, Sorted<MemberImage, S::Scratch>), S::Error> {
    let mut wanted = members.cursor()?;
    let mut next = wanted.next()?;
    let (mut facts, mut hashes) = (Sorter::one_of(2, store), Sorter::one_of(2, store));
    store.each(&mut |StoredRow { row, record, images, .. }| {
        let Some(InGroup { group, .. }) = next.filter(|next| next.row == row) else { return Ok(()) };
        next = wanted.next()?;
        let area = |image: &super::ImageRecord| u64::from(image.facts.width) * u64::from(image.facts.height);
        let TextSketch { all, answer, answer_hash } = record.texts;
        for (nth, image) in (0..).zip(images) {
            hashes.push(MemberImage { group, row, nth, phash: image.facts.phash })?;
        }
        facts.push(Member {
            group,
            row,
            area: images.iter().map(area).sum(),
            text: [(record.text >> 64) as u64, record.text as u64],
            minima: all.minima,
            shingles: all.shingles,
            answer_minima: answer.minima,
            answer_shingles: answer.shingles,
            answer_hash,
        })
    })?;
    Ok((facts.finish()?, hashes.finish()?))
}

impl Member {
    fn texts(&self) -> TextSketch {
        TextSketch {
            all: Sketch { minima: self.minima, shingles: self.shingles },
            answer: Sketch { minima: self.answer_minima, shingles: self.answer_shingles },
            answer_hash: self.answer_hash,
        }
    }
}

fn pick<S: Space>(
    by: By,
    mut left: Vec<(Member, Vec<u64>)>,
    found: &mut Sorter<'_, Repeated, S>,
) -> Result<(), S::Error> {
    left.sort_by_key(|(member, _)| (std::cmp::Reverse(member.area), member.row));
    // Whole texts can be similar while the answers differ; such rows are not duplicates.
    while !left.is_empty() {
        let mut others = left.into_iter();
        let Some((best, kept_hashes)) = others.next() else { return Ok(()) };
        let mut different = Vec::new();
        for (member, hashes) in others {
            if by == By::Sample && !best.texts().same_answer(&member.texts()) {
                different.push((member, hashes));
                continue;
            }
            let apart = kept_hashes.iter().zip(&hashes).map(|(one, other)| (one ^ other).count_ones());
            let similarity =
                if best.text == member.text { 100 } else { best.texts().similarity(&member.texts()) };
            let distance = apart.max().unwrap_or(0) as u8;
            found.push(Repeated { row: member.row, of: best.row, is_near: 1, distance, similarity })?;
        }
        different.sort_unstable_by_key(|(member, _)| member.row);
        left = different;
    }
    Ok(())
}

impl Prompted {
    /// The prompt of a row, if it has one.
    pub(super) fn new(row: StoredRow<'_>) -> Option<Prompted> {
        let StoredRow { row, record, images, .. } = row;
        let identities = images.iter().map(super::ImageRecord::identity);
        let key = combined(By::Sample, record.prompt, identities).filter(|_| record.prompt != 0)?;
        let Keyed { key, .. } = Keyed::new(key, row);
        Some(Prompted { key, row, answer_hash: record.texts.answer_hash })
    }
}

/// Kept rows with the images and the prompt of an earlier kept row and a conflicting label.
pub(super) fn contradictions<S: Space>(
    space: &S,
    prompts: &Sorted<Prompted, S::Scratch>,
    state: &State,
) -> Result<Sorted<Linked, S::Scratch>, S::Error> {
    let (mut found, mut first): (_, Option<Prompted>) = (Sorter::new(space), None);
    prompts.each(|prompt| {
        if !state.of(prompt.row).is_kept() {
            return Ok(());
        }
        match first.filter(|first| first.key == prompt.key) {
            Some(first) if first.answer_hash != prompt.answer_hash => {
                found.push(Linked { row: prompt.row, other: first.row })
            }
            Some(_) => Ok(()),
            None => {
                first = Some(prompt);
                Ok(())
            }
        }
    })?;
    found.finish()
}

/// Kept rows with the id of an earlier kept row.
pub(super) fn repeated_ids<S: Space>(
    space: &S,
    ids: &Sorted<ShortKeyed, S::Scratch>,
    state: &State,
) -> Result<Sorted<Linked, S::Scratch>, S::Error> {
    let (mut found, mut first): (_, Option<ShortKeyed>) = (Sorter::new(space), None);
    ids.each(|id| {
        if !state.of(id.number).is_kept() {
            return Ok(());
        }
        match first.filter(|first| first.key == id.key) {
            Some(first) => found.push(Linked { row: id.number, other: first.number }),
            None => {
                first = Some(id);
                Ok(())
            }
        }
    })?;
    found.finish()
}

/// All items, in order.
pub(super) fn collected<K: super::sorted::Fixed, S: Scratch>(
    items: &Sorted<K, S>,
) -> Result<Vec<K>, S::Error> {
    let mut all = Vec::new();
    items.each(|item| {
        all.push(item);
        Ok(())
    })?;
    Ok(all)
}
