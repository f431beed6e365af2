//! The strict reader: findings point into the request; an accepted request is encoded or rejected with a finding, and the
//! counts of an encoding add up.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::tokens::{ChatEncoder, Layout};
use pixtune_core::{json, strict};
use pixtune_fuzz::{leads_somewhere, placed};

fuzz_target!(|text: &str| {
    let Ok(request) = json::parse(text) else { return };
    let sample = match strict::read(&request.value) {
        Ok(sample) => sample,
        Err(findings) => {
            assert!(!findings.is_empty());
            for finding in &findings {
                assert!(leads_somewhere(&finding.pointer, &request.value), "{finding:?}");
            }
            return;
        }
    };
    assert_eq!(placed(&sample), (0..sample.images.len()).collect::<Vec<_>>());
    let sizes: Vec<(u32, u32)> = (0..sample.images.len() as u32).map(|n| (1 + 77 * n % 3000, 40)).collect();
    for layout in Layout::ALL {
        let encoder = ChatEncoder::new(&PIXTRAL_12B, layout);
        match (encoder.encode(&sample, &sizes), encoder.count(&sample, &sizes)) {
            (Ok(encoded), Ok(counts)) => {
                assert_eq!(encoded.counts, counts);
                assert_eq!(encoded.ids.len(), counts.tokens);
                assert!(encoded.ids.iter().all(|&id| (id as usize) < encoder.tokenizer.len()));
                assert_eq!(counts.runs.iter().map(|run| run.tokens).sum::<usize>(), counts.tokens);
                let trained = counts.runs.iter().filter(|run| run.trained).map(|run| run.tokens);
                assert_eq!(trained.sum::<usize>(), counts.trained_tokens);
                let images: usize = counts.images.iter().map(|grid| grid.tokens()).sum();
                assert_eq!(images, counts.image_tokens);
                assert_eq!(counts.images.len(), sample.images.len());
            }
            (Err(one), Err(other)) => assert_eq!(one, other),
            (one, other) => panic!("encode and count disagree: {one:?}, {other:?}"),
        }
    }
});
