//! Images: a decoded image has the size in its header, is within the limits, and decodes to the same pixels twice.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_fuzz::{SMALL, only_our_panics_count};
use pixtune_io::image::{Format, Reading, check_structure, decode, inspect, sniff};

fuzz_target!(init: only_our_panics_count(), |bytes: &[u8]| {
    let structure = check_structure(bytes);
    let format = match sniff(bytes) {
        Ok(format) => format,
        Err(error) => {
            assert_eq!(structure, Err(error.into()));
            assert_eq!(inspect(bytes, &SMALL), Err(error.into()));
            return;
        }
    };
    let Ok(header) = inspect(bytes, &SMALL) else { return };
    assert_eq!(header.format, format);
    assert!(header.width > 0 && header.height > 0 && header.frames > 0);
    assert!(header.width.max(header.height) <= SMALL.max_side);
    assert!(u64::from(header.width) * u64::from(header.height) <= SMALL.max_pixels);
    for reading in [Reading::Corrected, Reading::Reference] {
        let Ok(decoded) = decode(bytes, &header, &SMALL, reading) else { continue };
        let turned = reading == Reading::Corrected || format == Format::Tiff;
        let size = if turned { header.oriented_size() } else { (header.width, header.height) };
        assert_eq!((decoded.rgb.width as u32, decoded.rgb.height as u32), size);
        assert_eq!(decoded.rgb.pixels.len(), decoded.rgb.width * decoded.rgb.height * 3);
        assert_eq!(decode(bytes, &header, &SMALL, reading).as_ref(), Ok(&decoded));
    }
});
