//! The state of a 4-bit weight: any bytes are parsed or rejected, and an accepted state has a block size and floats.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_model::weights::quantized::QuantState;

fuzz_target!(|bytes: &[u8]| {
    let Ok(state) = QuantState::parse(bytes) else { return };
    assert!(["nf4", "fp4"].contains(&state.quant_type.as_str()) && state.dtype.is_weight());
    assert!(state.block.is_power_of_two() && (32..=4096).contains(&state.block));
    if let Some(nested) = state.nested {
        assert!(nested.block.is_power_of_two() && nested.offset.is_finite());
    }
});
