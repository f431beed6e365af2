//! progress.json of a checkpoint: what is accepted is written back to the same state.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_train::state::RunState;

fuzz_target!(|text: &str| {
    let Ok(state) = RunState::from_json(text) else { return };
    let again = RunState::from_json(&state.to_json()).expect("what was written reads back");
    // Compared as text: a NaN is not equal to itself.
    assert_eq!(again.to_json(), state.to_json());
});
