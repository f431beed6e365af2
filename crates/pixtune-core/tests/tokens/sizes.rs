//! Image sizes to grids.

use pixtune_core::spec::{MISTRAL_SMALL_3_1, ModelSpec, PIXTRAL_12B};
use pixtune_core::tokens::grid;

use crate::vectors::{number, read};

fn check(name: &str, spec: &ModelSpec) {
    for row in read(name) {
        let side = |key: &str| number(row.get(key).unwrap());
        let grid = grid(spec, side("w"), side("h"));
        let cell = spec.patch * spec.merge;
        assert_eq!((grid.columns, grid.rows), (side("gw"), side("gh")), "{row}");
        assert_eq!((grid.width, grid.height), (side("gw") * cell, side("gh") * cell), "{row}");
        assert_eq!((grid.width, grid.height), (side("rw"), side("rh")), "{row}");
        assert_eq!(grid.tokens(), side("n") as usize, "{row}");
    }
}

#[test]
fn sizes_have_the_grids_of_mistral_common() {
    check("image_sizes_p16_m1_1024.jsonl.gz", &PIXTRAL_12B);
    check("image_sizes_p14_m2_1540.jsonl.gz", &MISTRAL_SMALL_3_1);
}
