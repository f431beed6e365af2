//! Prepared images: the result has the declared format and size, fits the model's grid, and is not changed a second time.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::target;
use pixtune_core::tokens::grid;
use pixtune_fuzz::{SMALL, only_our_panics_count};
use pixtune_io::image::fit::{FitOptions, Resampling, fit};
use pixtune_io::image::{Limits, Loaded, inspect};

fuzz_target!(init: only_our_panics_count(), |bytes: &[u8]| {
    for target in target::ACCEPTED {
        let options = FitOptions {
            limits: SMALL,
            model: &PIXTRAL_12B,
            target: **target,
            measure: true,
            keep: false,
            decode_all: true,
            resampling: Resampling::Mistral,
            jpeg_quality: 85,
        };
        let fitted = Loaded::new(bytes.to_vec(), &SMALL).and_then(|image| fit(image, &options));
        let ready = match fitted {
            Ok(ready) => ready,
            Err(error) => {
                error.finding("the image", "");
                continue;
            }
        };
        let header = inspect(&ready.bytes, &Limits::default()).expect("what is written can be read");
        assert_eq!((header.format, header.width, header.height), (ready.format, ready.width, ready.height));
        assert!(target.formats.contains(&ready.format) && header.orientation.is_normal());
        let seen = grid(&PIXTRAL_12B, ready.width, ready.height);
        assert!(!seen.shrunk && ready.width.max(ready.height) <= 1024);
        if ready.shrunk {
            assert_eq!((seen.width, seen.height), (ready.width, ready.height));
            assert!(ready.original.0.max(ready.original.1) > 1024);
        } else {
            assert_eq!(ready.original, (ready.width, ready.height));
        }
        let options = FitOptions { limits: Limits::default(), ..options };
        let image = Loaded::new(ready.bytes.clone(), &options.limits).expect("the output can be loaded");
        let again = fit(image, &options).expect("the output is ready");
        assert_eq!(again.bytes, ready.bytes);
    }
});
