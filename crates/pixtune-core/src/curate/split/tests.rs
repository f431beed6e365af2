use std::collections::HashMap;

use super::*;
use crate::curate::{Decision, Dedup, Policy, Records, Sketch, TextSketch, Verdict, content_hash, decide};

fn set(rows: impl IntoIterator<Item = (u64, u64, Vec<u128>)>) -> Records {
    let mut records = Records::default();
    for (index, (group, stratum, images)) in rows.into_iter().enumerate() {
        let text = content_hash(&index.to_le_bytes());
        let images: Vec<ImageRecord> =
            images.into_iter().map(|content| ImageRecord { content, ..ImageRecord::default() }).collect();
        records.push(Record { text, group, stratum, bytes: 100, ..Record::default() }, &images);
    }
    records
}

fn decided(records: &Records, kind: SplitKind, validation: &str) -> Decision {
    let split = Split { kind, validation: validation.parse().unwrap(), seed: 0, keeps_given: true };
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
fn share_is_decided_row_by_row() {
    let large = set((0..5000).map(|_| (0, 0, vec![])));
    let small = set((0..4000).map(|_| (0, 0, vec![])));
    let sides = held_out(&large, SplitKind::Random, "0.1");
    assert!((400..600).contains(&count(&sides)), "{}", count(&sides));
    assert_eq!(held_out(&small, SplitKind::Random, "0.1"), sides[..4000]);
    for (row, images) in large.iter() {
        assert_eq!(
            Split::default().likely_subset(row, images) == Subset::Validation,
            sides[row_index(&large, row)]
        );
    }
}

fn row_index(records: &Records, row: &Record) -> usize {
    records.rows().iter().position(|other| other == row).unwrap()
}

#[test]
fn shared_image_is_never_in_both_splits() {
    // Rows 2k and 2k+1 share an image; every tenth row also shares one with the row eleven before it.
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
fn groups_stay_together_on_request() {
    let records = set((0..1000).map(|i| (1 + i / 10, 0, vec![])));
    let sides = held_out(&records, SplitKind::Group, "0.2");
    assert!(sides.chunks(10).all(|group| count(group) == 0 || count(group) == 10));
    assert!(count(&sides) > 0);
    // Groups also apply to other kinds of split.
    let sides = held_out(&records, SplitKind::Auto, "0.2");
    assert!(sides.chunks(10).all(|group| count(group) == 0 || count(group) == 10));
}

#[test]
fn meets_counts_and_sizes() {
    let records = set((0..1000).map(|_| (0, 0, vec![])));
    assert_eq!(count(&held_out(&records, SplitKind::Random, "137")), 137);
    assert_eq!(count(&held_out(&records, SplitKind::Random, "1050B")), 10);
    assert_eq!(count(&held_out(&records, SplitKind::Random, "1GB")), 200);
    assert_eq!(count(&held_out(&records, SplitKind::Random, "0")), 0);
}

#[test]
fn strata_have_equal_shares() {
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
fn reports_a_component_that_is_too_large_to_split() {
    let one_image = set((0..50).map(|_| (0, 0, vec![7])));
    let one_group = set((0..50).map(|_| (3, 0, vec![])));
    for (records, kind) in [(one_image, SplitKind::Random), (one_group, SplitKind::Group)] {
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
fn one_row_is_in_the_training_split() {
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
fn reports_a_stratum_per_row_quickly() {
    let records = set((0..200_000).map(|i| (0, 1 + i, vec![])));
    let decision = decided(&records, SplitKind::Stratify, "0.1");
    let held_out = decision.verdicts.iter().filter(|verdict| **verdict == Verdict::Validation).count();
    assert_eq!(held_out, 20_000);
    assert_eq!(decision.unmet, [Unmet::SmallStrata { strata: 180_000, of: 200_000 }]);
}

#[test]
fn too_large_a_request_leaves_one_training_row() {
    let records = set((0..10).map(|_| (0, 0, vec![])));
    let decision = decided(&records, SplitKind::Random, "50");
    assert_eq!(decision.verdicts.iter().filter(|verdict| **verdict == Verdict::Train).count(), 1);
    assert_eq!(decision.unmet, [Unmet::Missed { held_out: 9, wanted: 50 }]);
}

#[test]
fn automatic_strata_use_answer_kind_images_and_length() {
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
        let text = content_hash(text.as_bytes());
        records.push(Record { text, texts, ..Record::default() }, &[]);
    }
    records
}

#[test]
fn similar_texts_stay_together_unless_all_are_similar() {
    let words = |n: usize| (0..60).map(|at| format!("w{} ", n * 100 + at)).collect::<String>();
    let pairs = told((0..400).flat_map(|n| [words(n), words(n) + "more"]));
    let sides = held_out(&pairs, SplitKind::Random, "0.2");
    assert!(sides.chunks(2).all(|pair| pair[0] == pair[1]) && count(&sides) > 40);
    let alike = told((0..400).map(|n| words(0) + &n.to_string()));
    let decision = decided(&alike, SplitKind::Random, "0.2");
    assert_eq!(decision.unmet, [Unmet::AlikeTexts { first: 0, rows: 400 }]);
    assert!(decision.verdicts.contains(&Verdict::Validation));
}
