//! Conversations: a row without errors is written in a form that reads back without findings and is written to the same bytes
//! again; findings point into the row.
#![no_main]
use libfuzzer_sys::fuzz_target;
use pixtune_core::diagnostic::Severity;
use pixtune_core::sample::{Image, ImageSource, Sample};
use pixtune_core::target::{self, Target};
use pixtune_core::{conversation, json};
use pixtune_fuzz::{leads_somewhere, placed};
use pixtune_io::write::{WrittenImage, writer};

fn line(sample: &Sample<Image>, target: &Target) -> String {
    let images: Vec<_> =
        (0..sample.images.len()).map(|n| WrittenImage::Reference(format!("https://p/{n}"))).collect();
    let mut out = Vec::new();
    writer(target).write(sample, &images, &mut out);
    String::from_utf8(out).expect("lines are UTF-8")
}

fuzz_target!(|text: &str| {
    let Ok(row) = json::parse(text) else { return };
    let (sample, findings) = conversation::read(&row.value, &["id"]);
    for finding in &findings {
        assert!(leads_somewhere(&finding.pointer, &row.value), "{finding:?}");
    }
    if findings.iter().any(|finding| finding.rule.severity == Severity::Error) {
        return;
    }
    assert_eq!(placed(&sample), (0..sample.images.len()).collect::<Vec<_>>());
    for target in target::ACCEPTED {
        let written = line(&sample, target);
        let body = written.strip_suffix('\n').expect("a line ends");
        assert!(!body.contains('\n'));
        let parsed = json::parse(body).expect("a line is JSON");
        let (again, findings) = conversation::read(&parsed.value, &[]);
        assert_eq!(findings, []);
        assert_eq!(again.images.len(), sample.images.len());
        for (index, image) in again.images.iter().enumerate() {
            assert_eq!(image.source, ImageSource::Url(format!("https://p/{index}")));
        }
        assert_eq!(line(&again, target), written);
    }
});
