//! Event files of TensorBoard: any bytes are read or rejected, as a file and as the event inside it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_train::tensorboard::{event, events_of};

fuzz_target!(|data: &[u8]| {
    let _ = events_of(&mut &data[..], &mut |event| assert!(!event.scalars.is_empty()));
    let Some(event) = event(data) else { return };
    let tags: usize = event.scalars.iter().map(|(tag, _)| tag.len()).sum();
    // A byte that is no UTF-8 becomes three.
    assert!(tags <= 3 * data.len());
});
