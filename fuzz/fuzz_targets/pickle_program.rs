//! The pickle in a file of torch.save: any program ends with tensors or an error, in memory that its length bounds.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pixtune_model::weights::pickled;

fuzz_target!(|program: &[u8]| {
    let Ok(tensors) = pickled::run(program) else { return };
    for tensor in &tensors {
        assert!(tensor.shape.len() <= 16 && tensor.strides.len() <= 16);
        // Every tensor has a name of its own in the program.
        assert!(tensor.name.len() <= program.len());
    }
    let names: usize = tensors.iter().map(|tensor| tensor.name.len() + 1).sum();
    assert!(names <= program.len());
});
