//! progress.json of a checkpoint: what is accepted is written back to the same state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_train::progress::Progress;

fuzz_target!(|text: &str| {
    let Ok(progress) = Progress::from_json(text) else { return };
    let again = Progress::from_json(&progress.to_json()).expect("what was written reads back");
    // Compared as text: a NaN is not equal to itself.
    assert_eq!(again.to_json(), progress.to_json());
});
