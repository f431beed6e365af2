//! The report as a library call: where samples came from is shown where it is known.

use std::fs;

use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::tokens::{ChatEncoder, Layout, Tokenizer};
use pixtune_io::image::Limits;
use pixtune_io::report::{ReportOptions, report};
use pixtune_io::survey::{Inspector, Source};
use pixtune_io::verify::Inspection;

#[test]
fn the_source_of_a_sample_is_shown_with_it_and_with_its_findings() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.jsonl");
    let line = |response: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":"What?"}},{{"role":"assistant","content":"{response}"}}]}}"#
        ) + "\n"
    };
    let samples = line("It.") + &line("That.");
    fs::write(&path, &samples).unwrap();
    // The second sample is from a row of a file with an unusual name.
    let manifest = format!(
        r#"{{"plan":{{"model":"pixtral-12b"}},"outputs":[{{"path":"data.jsonl","bytes":{},"lines":2,"blake3":""}}]}}"#,
        samples.len()
    );
    fs::write(directory.path().join("manifest.json"), manifest).unwrap();
    let provenance = r#"{"file":"data.jsonl","line":2,"source":"labels<1>.csv","row":20,"images":[]}"#;
    fs::write(directory.path().join("provenance.jsonl"), provenance.to_owned() + "\n").unwrap();
    let encoder =
        ChatEncoder { spec: &PIXTRAL_12B, tokenizer: Tokenizer::embedded(), layout: Layout::MistralCommon };
    let inspector = Inspector { encoder, inspection: Inspection::HEADERS, limits: Limits::default() };
    let source = Source::open(&[path]).unwrap();
    let options = ReportOptions { seed: 0, samples: 9, images: 9, threads: 1 };
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
