//! Training rows that are in another split of the dataset too, or nearly.

use super::duplicates::Linked;
use super::edges::Edge;
use super::groups::Groups;
use super::sorted::{Sorted, Sorter, fixed};
use super::state::{State, Status};
use super::store::Store;

fixed! {
    /// A text of a row without images; rows of the other splits come first.
    pub(super) Text {
        key: [u64; 2],
        is_trained: u8,
        row: u32,
    }
}

fixed! {
    /// A training row and a row of another split. The best reason comes first.
    pub(super) Leak {
        row: u32,
        reason: u8,
        other: u32,
    }
}

const SAME_IMAGE: u8 = 0;
const SAME_TEXT: u8 = 1;
const NEAR_TEXT: u8 = 2;

/// Training rows that share an image or nearly all of their text with a row of the validation or test split that the dataset
/// came with: what is measured there is partly remembered. `has_validation`: the validation split is one that the dataset came with.
pub(super) fn leaks<S: Store>(
    store: &S,
    (images, texts): (&mut Groups, &Sorted<Edge, S::Scratch>),
    state: &State,
    has_validation: bool,
) -> Result<Sorted<Linked, S::Scratch>, S::Error> {
    let is_given = |row: u32| match state.of(row) {
        Status::Validation => has_validation,
        status => status == Status::Test,
    };
    let mut found = Sorter::new(store);
    if !state.rows().any(is_given) {
        return Sorter::new(store).finish();
    }
    // The first row of the other splits with an image of a group.
    let mut elsewhere = vec![u32::MAX; images.len()];
    for (row, those) in state.with_images().filter(|(row, _)| is_given(*row)) {
        for image in those {
            let first = &mut elsewhere[images.first(image) as usize];
            *first = (*first).min(row);
        }
    }
    for (row, mut those) in state.with_images().filter(|(row, _)| state.is_train(*row)) {
        let other = those.find_map(|image| {
            let other = elsewhere[images.first(image) as usize];
            (other != u32::MAX).then_some(other)
        });
        other.map_or(Ok(()), |other| found.push(Leak { row, reason: SAME_IMAGE, other }))?;
    }
    drop(elsewhere);
    // Prompts repeat in datasets of images; without images the text is all there is.
    let mut same = Sorter::new(store);
    store.each(&mut |stored| {
        let (row, text) = (stored.row, stored.record.text);
        let is_trained = state.is_train(row);
        if !stored.images.is_empty() || !is_trained && !is_given(row) {
            return Ok(());
        }
        same.push(Text { key: [(text >> 64) as u64, text as u64], is_trained: is_trained.into(), row })
    })?;
    let mut given: Option<Text> = None;
    same.finish()?.each(|text| {
        match given.filter(|given| given.key == text.key) {
            Some(given) if text.is_trained != 0 => {
                return found.push(Leak { row: text.row, reason: SAME_TEXT, other: given.row });
            }
            Some(_) => {}
            None => given = Some(text).filter(|text| text.is_trained == 0),
        }
        Ok(())
    })?;
    texts.each(|Edge { one, other }| {
        let has_images = state.images(one) > 0 || state.images(other) > 0;
        for (row, given) in [(one, other), (other, one)] {
            if !has_images && state.is_train(row) && is_given(given) {
                found.push(Leak { row, reason: NEAR_TEXT, other: given })?;
            }
        }
        Ok(())
    })?;
    let (mut leaks, mut last) = (Sorter::new(store), None);
    found.finish()?.each(|Leak { row, other, .. }| {
        let is_first = last != Some(row);
        last = Some(row);
        if is_first { leaks.push(Linked { row, other }) } else { Ok(()) }
    })?;
    leaks.finish()
}
