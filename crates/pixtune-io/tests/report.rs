//! The report as a library call: where samples came from is shown where it is known.

use std::fs;

use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::tokens::{ChatEncoder, Layout, Tekken};
use pixtune_io::image::Limits;
use pixtune_io::report::{Origins, ReportOptions, report};
use pixtune_io::survey::{DataFile, Inspector, Source};
use pixtune_io::verify::Inspection;

/// Every sample but the first is from a row of `labels.csv`.
#[derive(Debug)]
struct Labels;

impl Origins for Labels {
    fn origin(&self, file: &DataFile, line: u64) -> Option<String> {
        (file.name.ends_with("data.jsonl") && line > 1).then(|| format!("labels<1>.csv:{}", line + 18))
    }
}

#[test]
fn the_source_of_a_sample_is_shown_with_it_and_with_its_findings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.jsonl");
    let line = |response: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"What?"}},{{"role":"assistant","content":"{response}"}}]}}"#
        ) + "\n"
    };
    fs::write(&path, line("It.") + &line("That.")).unwrap();
    let encoder =
        ChatEncoder { spec: &PIXTRAL_12B, tekken: Tekken::embedded(), layout: Layout::MistralCommon };
    let inspector = Inspector { encoder, inspection: Inspection::HEADERS, limits: Limits::default() };
    let source = Source::open(&[path]).unwrap();
    let options = ReportOptions { seed: 0, samples: 9, images: 9, threads: 1, origins: Some(&Labels) };
    let (_, page) = report(&source, "data", &inspector, None, options, &mut |_| {}).unwrap();
    let shown = "from <code>labels&lt;1&gt;.csv:20</code>";
    let finding =
        page.split("id=\"finding-contradiction\"").nth(1).unwrap().split("</article>").next().unwrap();
    assert!(finding.contains(shown), "{finding}");
    let sample = page.split("id=\"sample1\"").nth(1).unwrap().split("</h3>").next().unwrap();
    assert!(sample.contains(shown), "{sample}");
    let first = page.split("id=\"sample0\"").nth(1).unwrap().split("</h3>").next().unwrap();
    assert!(!first.contains("from <code>"), "{first}");
}
