//! Pairs of near-duplicate texts: those that share a band of their sketches and are similar.

use super::bits::Bits;
use super::edges::{Edge, NearTexts, Speakers, Stars, TEXTS_COMPARED};
use super::groups::Groups;
use super::keys::{BandKey, Keyed, ShortKeyed};
use super::minhash::{BANDS, SIMILAR, Sketch};
use super::sorted::{Fixed, List, Memory, Sorted, Sorter, Space, fixed};
use super::texts::{ANSWER, TextSketch};

fixed! {
    /// A text and its sketch.
    pub(super) Sketched {
        /// The row.
        row: u32,
        /// The minima.
        minima: [u8; super::minhash::MINIMA],
        /// The number of shingles.
        shingles: u16,
    }
}

/// Calls a function with texts: the row, and the sketch of its whole text.
pub(super) type EachText<'e, E> =
    &'e mut dyn FnMut(&mut dyn FnMut(u32, &Sketch) -> Result<(), E>) -> Result<(), E>;

/// Edges between rows with nearly the same text, each once. Every text is compared with a bounded number of others; the edges connect
/// all members of a group, but not every pair has one. `each` is called several times, with the same rows; reading them may be slow, so
/// that as many bands are searched at a time as `bands`.
pub(super) fn near_texts<S: Space>(
    space: &S,
    rows: usize,
    bands: usize,
    each: EachText<'_, S::Error>,
) -> Result<Sorted<Edge, S::Scratch>, S::Error> {
    let mut edges = Sorter::new(space);
    let mut firsts = Bits::new(rows);
    let mut equal = Sorter::new(space);
    each(&mut |row, sketch| Keyed::sketch(sketch, row).map_or(Ok(()), |key| equal.push(key)))?;
    let mut stars = Stars::default();
    equal.finish()?.each(|key| match stars.next(key) {
        Some(edge) => edges.push(edge),
        None => {
            firsts.set(key.number);
            Ok(())
        }
    })?;
    // Only texts that share a key with another are compared, so only their sketches are sorted.
    let mut met = Bits::new(rows);
    for from in (0..BANDS).step_by(bands) {
        let mut of_bands: Vec<Sorter<'_, ShortKeyed, S>> =
            (from..BANDS.min(from + bands)).map(|_| Sorter::one_of(bands, space)).collect();
        each(&mut |row, sketch| {
            for (sorter, band) in of_bands.iter_mut().zip(from..) {
                if let Some(key) = sketch.band(band).filter(|_| firsts.has(row)) {
                    sorter.push(ShortKeyed { key, number: row })?;
                }
            }
            Ok(())
        })?;
        for sorter in of_bands {
            let mut last: Option<ShortKeyed> = None;
            sorter.finish()?.each(|row| {
                if let Some(last) = last.filter(|last| last.key == row.key) {
                    met.set(last.number);
                    met.set(row.number);
                }
                last = Some(row);
                Ok(())
            })?;
        }
    }
    drop(firsts);
    let mut texts = List::new(space);
    each(&mut |row, sketch| match met.has(row) {
        true => texts.push(Sketched { row, minima: sketch.minima, shingles: sketch.shingles }),
        false => Ok(()),
    })?;
    drop(met);
    for band in 0..BANDS {
        let mut keys = Sorter::new(space);
        for index in 0..texts.len() {
            let Sketched { row, minima, shingles } = texts.get(index)?;
            BandKey::new(&Sketch { minima, shingles }, band, row).map_or(Ok(()), |key| keys.push(key))?;
        }
        let mut search = NearTexts::default();
        keys.finish()?.each(|key| search.next(key).map_or(Ok(()), |edge| edges.push(edge)))?;
    }
    distinct(space, &edges.finish()?)
}

/// Each of several equal items once.
fn distinct<K: Fixed, S: Space>(
    space: &S,
    items: &Sorted<K, S::Scratch>,
) -> Result<Sorted<K, S::Scratch>, S::Error> {
    let (mut once, mut last) = (Sorter::new(space), None);
    items.each(|item| {
        let is_new = last != Some(item);
        last = Some(item);
        if is_new { once.push(item) } else { Ok(()) }
    })?;
    once.finish()
}

/// Edges between texts in memory, in order; see [`NearTexts`].
pub fn near_text_edges(sketches: &[Sketch]) -> Vec<Edge> {
    let mut edges = Vec::new();
    let Ok(sorted) = near_texts(&Memory, sketches.len(), 1, &mut |visit| {
        sketches.iter().zip(0..).try_for_each(|(sketch, row)| visit(row, sketch))
    });
    let Ok(()) = sorted.each(|edge| {
        edges.push(edge);
        Ok(())
    });
    edges
}

/// Calls `meet` with pairs of the first `count` indices that have a common key in a band and are near.
pub(super) fn meet_in_bands(
    count: usize,
    key: impl Fn(u32, usize) -> Option<u64>,
    is_near: impl Fn(u32, u32) -> bool,
    mut meet: impl FnMut(u32, u32),
) {
    let mut keys: Vec<(u64, u32)> = Vec::new();
    for band in 0..BANDS {
        keys.clear();
        keys.extend((0..count as u32).filter_map(|index| Some((key(index, band)?, index))));
        keys.sort_unstable();
        let mut speakers: Speakers<u64, u32, TEXTS_COMPARED> = Speakers::default();
        for (key, index) in &keys {
            if let Some(speaker) = speakers.next(*key, *index, |one, other| is_near(*one, *other)) {
                meet(speaker, *index);
            }
        }
    }
}

/// Groups texts that are similar as a whole and in their answers.
///
/// A band also has two bytes of the answer: if all samples share a long prompt, all of them would meet in its bands, and those
/// with the same answer would not find each other.
pub fn near_text_groups<'t, T>(texts: &'t [T], sketch: impl Fn(&'t T) -> &'t TextSketch) -> Groups {
    let sketch = |index: u32| sketch(&texts[index as usize]);
    let key = |index, band: usize| {
        let of = sketch(index);
        let pair = &of.answer.minima[2 * band % ANSWER..][..2];
        Some(of.all.band(band)? << 16 | u64::from(pair[0]) << 8 | u64::from(pair[1]))
    };
    let is_near = |one, other| {
        let (one, other) = (sketch(one), sketch(other));
        one.all.similarity(&other.all) >= SIMILAR && one.same_answer(other)
    };
    let mut groups = Groups::new(texts.len());
    meet_in_bands(texts.len(), key, is_near, |one, other| {
        groups.join(one, other);
    });
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::content_hash;

    fn text(words: impl IntoIterator<Item = usize>) -> String {
        words.into_iter().map(|word| format!("word{word}, ")).collect()
    }

    #[test]
    fn finds_similar_texts() {
        // Every third text is a copy of the one before it with one word of 200 changed.
        let mut texts = Vec::new();
        for n in 0..300 {
            let words: Vec<usize> = (0..200).map(|at| n * 1000 + at * at % 997).collect();
            let mut copy = words.clone();
            copy[100] = 999_999;
            texts.extend([words, copy]);
        }
        let sketches: Vec<Sketch> =
            texts.iter().map(|words| Sketch::of([text(words.clone()).as_str()])).collect();
        let pairs: Vec<Edge> = (0..300).map(|n| Edge::new(2 * n, 2 * n + 1)).collect();
        assert_eq!(near_text_edges(&sketches), pairs);
    }

    #[test]
    fn groups_similar_answers_to_one_long_prompt() {
        let prompt = "Read every line of this bill and tell what is to be paid in the end. ".repeat(20);
        let answer = |n: usize| (0..40).map(|at| format!("w{} ", n * 100 + at)).collect::<String>();
        let texts: Vec<TextSketch> = (0..2000)
            .flat_map(|n| [sketch(&prompt, &answer(n)), sketch(&prompt, &(answer(n) + "more"))])
            .collect();
        let mut groups = near_text_groups(&texts, |text| text);
        let pairs = groups.several();
        assert!(pairs.iter().all(|pair| pair.len() == 2 && pair[0] + 1 == pair[1] && pair[0] % 2 == 0));
        assert!(pairs.len() > 1980, "{}", pairs.len());
    }

    fn sketch(prompt: &str, answer: &str) -> TextSketch {
        let hash = content_hash(answer.as_bytes()) as u64;
        TextSketch {
            all: Sketch::of([prompt, answer]),
            answer: Sketch::of([answer]),
            answer_hash: [hash as u32, (hash >> 32) as u32],
        }
    }

    #[test]
    fn groups_texts_of_one_prompt_by_their_answers() {
        let long =
            "Read every line of the bill in this image and tell what is to be paid in the end. ".repeat(4);
        let texts = [
            sketch(&long, "The guest has to pay twelve euros and fifty cents for two coffees and a cake."),
            sketch(&long, "Nothing."),
            sketch(&long, "the guest has to pay twelve euros and fifty cents for two coffees and a cake"),
            sketch("Something else", "altogether and not alike"),
            sketch(&long, "Nothing."),
        ];
        let mut groups = near_text_groups(&texts, |text| text);
        let firsts: Vec<u32> = (0..5).map(|index| groups.first(index)).collect();
        assert_eq!(firsts, [0, 1, 0, 3, 1]);
        assert_eq!((texts[0].similarity(&texts[2]), size_of::<TextSketch>()), (100, 92));
    }
}
