//! Decisions over more rows than fit into memory are the same, byte for byte.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use pixtune_core::columns::{Answers, ColumnChoice, ImagePosition};
use pixtune_core::curate::{By, Dedup, Split, SplitKind};
use pixtune_core::diagnostic::Diagnostic;
use pixtune_core::rules;
use pixtune_core::spec::PIXTRAL_12B;
use pixtune_core::target::MISTRAL;
use pixtune_io::image::fit::Resampling;
use pixtune_io::image::{self, Limits, Reading, encode_png, jpeg};
use pixtune_io::prepare::{self, Images, Options, Preparation, PrepareError, ScanOptions, Summary, Watch};
use pixtune_io::progress::Progress;
use pixtune_io::read::TextChoice;
use pixtune_io::verify::Verify;

/// Images of which some are nearly or exactly the same, and texts of which many are, or are rejected.
fn write_rows(directory: &Path) {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/images/photo_300x200.webp");
    let limits = Limits::default();
    let decode = |bytes: &[u8], reading| {
        image::decode(bytes, &image::inspect(bytes, &limits).unwrap(), &limits, reading).unwrap().rgb
    };
    let photo = decode(&fs::read(fixture).unwrap(), Reading::Corrected);
    for quality in [30, 90] {
        let mut bytes = Vec::new();
        let size = (photo.width, photo.height);
        jpeg::encode_rgb(&photo.pixels, size, quality, jpeg::Subsampling::Quarter, &mut bytes).unwrap();
        let same = decode(&bytes, Reading::Reference);
        fs::write(directory.join(format!("q{quality}.jpg")), &bytes).unwrap();
        fs::write(directory.join(format!("q{quality}.png")), encode_png(&same)).unwrap();
    }
    fs::write(directory.join("photo.png"), encode_png(&photo)).unwrap();
    let images = ["photo.png", "q30.jpg", "q90.jpg", "q30.png", "missing.png", "q90.png"];
    let mut rows = String::from("image,prompt,completion,batch,kind,part,number\n");
    for row in 0..500usize {
        let topic = row * row % 211;
        let answer: String = (0..24).map(|at| format!("word{} ", topic * 40 + at)).collect();
        let image = if row % 14 == 0 { images[row / 14 % images.len()] } else { "" };
        let more = if row % 7 == 0 { "and more" } else { "" };
        let question = if image.is_empty() { row % 13 } else { 1 };
        let answer = if image.is_empty() { answer } else { format!("a photo {}", row % 3) };
        let (batch, kind, number) = (row % 90, row % 4, row % 400);
        let part = ["train", "train", "train", "validation", "test"][row % 5];
        writeln!(rows, "{image},what is {question}?,{answer}{more},b{batch},k{kind},{part},{number}")
            .unwrap();
    }
    fs::write(directory.join("data.csv"), rows).unwrap();
}

fn options(directory: &Path, columns: &str) -> Options {
    Options {
        inputs: vec![directory.join("data.csv").to_str().unwrap().to_owned()],
        out: directory.join("out"),
        columns: ColumnChoice::parse(columns).unwrap(),
        image_folder: None,
        fetch: None,
        tokenizer: None,
        scan: ScanOptions {
            model: &PIXTRAL_12B,
            target: MISTRAL,
            images: Images::Fit,
            image_position: ImagePosition::First,
            answers: Answers::MostCommon,
            resampling: Resampling::Mistral,
            verify: Verify::Full,
            jpeg_quality: 85,
            measure: true,
            max_tokens: None,
            drop: vec![],
            ignore: vec![],
            max_image_bytes: 1 << 20,
            max_image_side: 10_000,
            max_decoded_bytes: 1 << 30,
        },
        split: Split { keeps_given: false, ..Split::default() },
        write_test: true,
        dedup: Dedup::Exact,
        by: By::Sample,
        distance: 10,
        threads: 2,
        max_reject: None,
        resume: false,
        force: true,
        memory: usize::MAX,
        max_row_bytes: 1 << 20,
        text: TextChoice::default(),
    }
}

#[derive(Default)]
struct Findings(Vec<String>);

impl Watch for Findings {
    fn finding(&mut self, diagnostic: &Diagnostic) {
        self.0.push(format!("{diagnostic:?}"));
    }

    fn progress(&mut self, _progress: Progress) {}

    fn finishing(&mut self) {}
}

type Output = (Summary, Vec<String>, BTreeMap<String, Vec<u8>>);

fn run(options: &Options, memory: usize) -> Result<Output, PrepareError> {
    let plan = Preparation::new(Options { memory, ..options.clone() })?;
    let mut findings = Findings::default();
    let summary = prepare::run(&plan, &mut findings)?;
    let files = fs::read_dir(&options.out).unwrap().map(|file| {
        let file = file.unwrap();
        (file.file_name().to_str().unwrap().to_owned(), fs::read(file.path()).unwrap())
    });
    Ok((summary, findings.0, files.collect()))
}

const COLUMNS: &str = "image=image,prompt=prompt,completion=completion,id=number";

#[test]
fn output_does_not_depend_on_memory() {
    let directory = tempfile::tempdir().unwrap();
    write_rows(directory.path());
    let plain = || options(directory.path(), COLUMNS);
    let split = |kind, validation: &str| Split {
        kind,
        validation: validation.parse().unwrap(),
        seed: 3,
        keeps_given: false,
    };
    let mut stratified = plain();
    stratified.columns.stratify("kind");
    stratified.split = split(SplitKind::Stratify, "0.2");
    let mut grouped =
        options(directory.path(), "image=image,prompt=prompt,completion=completion,group=batch");
    grouped.split = split(SplitKind::Group, "0.3");
    let mut given = options(directory.path(), "image=image,prompt=prompt,completion=completion,split=part");
    given.split.keeps_given = true;
    let mut dropping = plain();
    dropping.scan.drop = vec![&rules::IMAGE_ODD_SIZE, &rules::IMAGE_GRAYSCALE];
    let near = Options { dedup: Dedup::Near, split: split(SplitKind::Random, "60"), ..plain() };
    let by_image = Options { by: By::Image, split: split(SplitKind::Random, "20kB"), ..near.clone() };
    let off = Options { dedup: Dedup::Off, split: split(SplitKind::Auto, "0.1"), ..plain() };
    for options in [plain(), stratified, grouped, given, dropping, near, by_image, off] {
        let wanted = run(&options, usize::MAX).unwrap();
        for memory in [0, 100_000] {
            assert_eq!(run(&options, memory).unwrap(), wanted, "{:?}", options.split);
        }
        assert!(wanted.0.rejected > 0);
        assert!(!directory.path().join("out.partial").exists());
    }
}

#[test]
fn failed_scratch_file_leaves_a_run_that_can_be_resumed() {
    let directory = tempfile::tempdir().unwrap();
    write_rows(directory.path());
    let options = options(directory.path(), COLUMNS);
    let wanted = run(&options, usize::MAX).unwrap();
    fs::remove_dir_all(&options.out).unwrap();
    // Names of scratch files are taken by directories, so that the scan succeeds and the decision fails.
    let plan = Preparation::new(Options { memory: 0, ..options.clone() }).unwrap();
    struct Blocking<'d>(&'d Path);
    impl Watch for Blocking<'_> {
        fn finding(&mut self, _: &Diagnostic) {}
        fn progress(&mut self, _: Progress) {}
        fn finishing(&mut self) {
            (0..20_000).for_each(|number| {
                let _ = fs::create_dir(self.0.join(format!("scratch-{number}")));
            });
        }
    }
    let partial = directory.path().join("out.partial");
    let result = prepare::run(&plan, &mut Blocking(&partial));
    assert!(matches!(result, Err(PrepareError::Write { path, .. }) if path.ends_with("out.partial")));
    drop(plan);
    for file in fs::read_dir(&partial).unwrap() {
        let _ = fs::remove_dir(file.unwrap().path());
    }
    let (summary, _, files) = run(&Options { resume: true, ..options }, 0).unwrap();
    assert_eq!((summary.resumed, files), (500, wanted.2));
}
