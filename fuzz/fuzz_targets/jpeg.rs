//! JPEG: planes have the size in the header, are the same with reused buffers, pass the structure check, and can be encoded to a
//! file of the same size.
#![no_main]
use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pixtune_io::image::jpeg::{
    Decoder, Limits, Planes, Subsampling, check_structure, decode, encode_rgb, read_header,
};

thread_local! {
    static KEPT: RefCell<(Decoder, Planes)> = RefCell::default();
}

fuzz_target!(|file: &[u8]| {
    let limits = Limits { max_pixels: 1 << 16 };
    let fresh = decode(file, &limits);
    let kept = KEPT.with_borrow_mut(|(decoder, planes)| {
        decoder.decode_into(file, &limits, planes).map(|()| planes.clone())
    });
    let planes = match (fresh, kept) {
        (Err(fresh), Err(kept)) => return assert_eq!(fresh, kept),
        (Ok(fresh), Ok(kept)) => {
            assert_eq!(fresh.to_rgb(), kept.to_rgb());
            fresh
        }
        (fresh, kept) => panic!("fresh {:?}, kept {:?}", fresh.err(), kept.err()),
    };
    let header = read_header(file).expect("a decoded file has a header");
    assert_eq!((header.width as usize, header.height as usize), (planes.width, planes.height));
    assert_eq!(header.color, planes.color);
    assert!((planes.width * planes.height) as u64 <= limits.max_pixels);
    assert_eq!(check_structure(file).as_ref(), Ok(&header));
    for (plane, &ratio) in planes.planes.iter().zip(&header.subsampling) {
        assert_eq!(plane.ratio, ratio);
        assert_eq!(plane.width, planes.width.div_ceil(ratio.0.into()));
        assert_eq!(plane.height, planes.height.div_ceil(ratio.1.into()));
        assert_eq!(plane.rows().count(), plane.height);
    }
    let rgb = planes.to_rgb();
    assert_eq!(rgb.len(), planes.width * planes.height * 3);
    for subsampling in [Subsampling::None, Subsampling::Quarter] {
        let mut written = Vec::new();
        encode_rgb(&rgb, (planes.width, planes.height), 85, subsampling, &mut written)
            .expect("its pixels can be written");
        let again = decode(&written, &limits).expect("what is written can be read");
        assert_eq!((again.width, again.height), (planes.width, planes.height));
    }
});
