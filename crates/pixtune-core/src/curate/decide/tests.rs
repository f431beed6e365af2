//! A decision is the same in any budget of memory, and edges are the same in any partition.

use std::collections::BTreeSet;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;
use crate::curate::edges::{NearTexts, Stars};
use crate::curate::keys::BandKey;
use crate::curate::sorted::Space;
use crate::curate::{
    By, ImageFacts, ImageRecord, Sketch, Split, SplitKind, TextSketch, Validation, Visit, content_hash,
};
use crate::rules;

/// Records that are read in passes, with little memory to sort in.
struct Tight {
    records: Records,
    budget: usize,
}

impl Space for Tight {
    type Error = Infallible;
    type Scratch = Vec<u8>;

    fn scratch(&self) -> Result<Vec<u8>, Infallible> {
        Ok(Vec::new())
    }

    fn budget(&self) -> usize {
        self.budget
    }
}

impl Store for Tight {
    fn rows(&self) -> usize {
        Store::rows(&self.records)
    }

    fn images(&self) -> usize {
        Store::images(&self.records)
    }

    fn is_in_memory(&self) -> bool {
        false
    }

    fn each(&self, visit: Visit<'_, Infallible>) -> Result<(), Infallible> {
        self.records.each(visit)
    }
}

fn random(seed: u64, of: u64, at: u64) -> u64 {
    content_hash(&[seed, of, at].map(u64::to_le_bytes).concat()) as u64
}

fn image(seed: u64, number: u64) -> ImageRecord {
    let pixels = random(seed, 1, number) | (number % 2);
    let flips =
        (0..random(seed, 2, number) % 12).fold(0, |flips, at| flips | 1 << (random(number, 3, at) % 64));
    let facts = ImageFacts {
        pixels: pixels.max(2),
        phash: if number.is_multiple_of(11) { 0 } else { random(seed, 4, number / 3) ^ flips },
        width: 300 + (number % 3) as u32 * 100,
        height: if number.is_multiple_of(29) { 4000 } else { 300 },
        grayscale: number.is_multiple_of(37),
        ..ImageFacts::default()
    };
    ImageRecord { content: u128::from(random(seed, 5, number)), facts }
}

/// Rows of which many share images, texts, ids and groups, nearly or exactly.
fn records(seed: u64, rows: u64, distinct: u64) -> Records {
    let mut records = Records::default();
    for row in 0..rows {
        let pick = |of: u64, among: u64| random(seed, of, row) % among;
        let images: Vec<ImageRecord> =
            (0..pick(6, 3)).map(|at| image(seed, random(row, 7, at) % distinct)).collect();
        let prompt = (0..4 + pick(8, 3) * 10).map(|at| format!("p{} ", at / 4)).collect::<String>();
        let topic = pick(9, distinct);
        let answer: String =
            (0..20).map(|at| format!("w{} ", topic * 50 + at + pick(10, 2) * (at % 19 / 18))).collect();
        let texts = TextSketch {
            all: Sketch::of([prompt.as_str(), answer.as_str()]),
            answer: Sketch::of([answer.as_str()]),
            answer_hash: [content_hash(answer.as_bytes()) as u32, 0],
        };
        let given =
            [None, None, Some(GivenSplit::Train), Some(GivenSplit::Test), Some(GivenSplit::Validation)];
        let given = given[pick(11, if seed.is_multiple_of(2) { 3 } else { 5 }) as usize];
        let record = Record {
            rejected: pick(12, 13) == 0,
            given,
            text: content_hash((prompt.clone() + &answer).as_bytes()),
            prompt: content_hash(prompt.as_bytes()),
            answer_kind: pick(13, 3) as u8,
            texts,
            group: pick(14, 40).saturating_sub(20),
            stratum: pick(15, 5),
            id: pick(16, 2 * rows).saturating_sub(rows),
            tokens: 10 + pick(17, 1000) as u32,
            bytes: 100 + pick(18, 500),
            ..Record::default()
        };
        records.push(record, &images);
    }
    records
}

fn policy(seed: u64) -> Policy {
    let kinds = [SplitKind::Random, SplitKind::Group, SplitKind::Stratify, SplitKind::Auto];
    let sizes = [
        Validation::Fraction(0.1),
        Validation::Fraction(0.6),
        Validation::Count(20),
        Validation::Bytes(9000),
        Validation::Count(0),
    ];
    let drops = [vec![], vec![&rules::IMAGE_ODD_SIZE, &rules::IMAGE_GRAYSCALE]];
    let at = |of: u64, among: usize| (random(seed, of, 0) % among as u64) as usize;
    Policy {
        dedup: [Dedup::Off, Dedup::Exact, Dedup::Near][at(1, 3)],
        by: [By::Sample, By::Image][at(2, 2)],
        drop: drops[at(3, 2)].clone(),
        split: Split {
            kind: kinds[at(4, 4)],
            validation: sizes[at(5, 5)],
            seed: seed % 3,
            keeps_given: at(6, 4) > 0,
        },
        ..Policy::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn decision_does_not_depend_on_memory(
        seed in any::<u64>(), rows in 0..900u64, distinct in 1..400u64, budget in 0..60_000usize,
    ) {
        let records = records(seed, rows, distinct);
        let policy = policy(seed);
        let mut same = |one: u32, other: u32| !(one ^ other).is_multiple_of(3);
        let wanted = decide(&records, &policy, &mut same);
        let tight = Tight { records, budget };
        let Ok(decision) =
            decide_in(&tight, &policy, &mut same).and_then(|decided| decided.collect(&policy));
        prop_assert_eq!(decision, wanted);
    }

    #[test]
    fn edges_do_not_depend_on_partitions(seed in any::<u64>(), partitions in 1..9u64) {
        let records = records(seed, 400, 90);
        let mut keys: Vec<Keyed> = Vec::new();
        let mut bands: Vec<BandKey> = Vec::new();
        for (row, (record, images)) in (0..).zip(records.iter()) {
            keys.extend(Keyed::exact(By::Sample, record, images, row));
            bands.extend(BandKey::new(&record.texts.all, 3, row));
        }
        keys.sort_unstable();
        bands.sort_unstable();
        let edges = |partition: Option<u64>| {
            let is_in = |key: u64| partition.is_none_or(|partition| random(1, 2, key) % partitions == partition);
            let (mut stars, mut near) = (Stars::default(), NearTexts::default());
            let keys = keys.iter().filter(|key| is_in(key.key[0])).filter_map(|key| stars.next(*key));
            let bands = bands.iter().filter(|band| is_in(band.key)).filter_map(|band| near.next(*band));
            keys.chain(bands).collect::<Vec<Edge>>()
        };
        let whole: BTreeSet<Edge> = edges(None).into_iter().collect();
        prop_assert!(!whole.is_empty());
        prop_assert_eq!((0..partitions).flat_map(|partition| edges(Some(partition))).collect::<BTreeSet<_>>(), whole);
    }
}
