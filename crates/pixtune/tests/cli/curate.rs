//! Duplicates, splits without leaks and the quality of images, through the program.

use std::collections::BTreeSet;
use std::fs;

use pixtune_core::rules;
use pixtune_io::base64;
use pixtune_io::image::{self, Limits, Reading, Rgb, encode_png, jpeg};

use crate::harness::{Case, root, text};

/// A photograph of the fixtures, decoded.
fn photo() -> Rgb {
    let bytes = fs::read(root().join("fixtures/images/photo_300x200.webp")).unwrap();
    let header = image::inspect(&bytes, &Limits::default()).unwrap();
    image::decode(&bytes, &header, &Limits::default(), Reading::Corrected).unwrap().rgb
}

fn changed(rgb: &Rgb, change: impl Fn(usize, usize) -> [u8; 3]) -> Rgb {
    let pixels = (0..rgb.width * rgb.height).flat_map(|at| change(at % rgb.width, at / rgb.width)).collect();
    Rgb { pixels, ..*rgb }
}

fn pixel(rgb: &Rgb, x: usize, y: usize) -> [u8; 3] {
    rgb.pixels.as_chunks::<3>().0[y * rgb.width + x]
}

fn as_jpeg(rgb: &Rgb, quality: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let size = (rgb.width, rgb.height);
    jpeg::encode_rgb(&rgb.pixels, size, quality, jpeg::Subsampling::Quarter, &mut out).unwrap();
    out
}

/// A photograph, copies of it in other words, and images that are none.
fn variants() -> Case {
    let case = Case::new();
    let photo = photo();
    let mirrored = changed(&photo, |x, y| pixel(&photo, photo.width - 1 - x, y));
    let bright = changed(&photo, |x, y| pixel(&photo, x, y).map(|value| value.saturating_add(25)));
    let (wide, high) = (photo.width * 97 / 100, photo.height * 97 / 100);
    let cut = Rgb { width: wide, height: high, pixels: vec![] };
    let cut = changed(&cut, |x, y| pixel(&photo, x + 4, y + 3));
    case.write("photo.png", encode_png(&photo));
    case.write("q30.jpg", as_jpeg(&photo, 30));
    case.write("bright.jpg", as_jpeg(&bright, 85));
    case.write("cut.jpg", as_jpeg(&cut, 85));
    case.write("mirrored.png", encode_png(&mirrored));
    case
}

const NEAR: &str = "image,prompt,completion\nq30.jpg,what is this?,a quiet place by the water\nphoto.png,What is this,a quiet place by the water.\ncut.jpg,what is this?,a quiet place by the water\nbright.jpg,what is this?,a quiet place by the water\nmirrored.png,what is this?,a quiet place by the water\n";

#[test]
fn near_duplicates_keep_the_largest_and_name_it() {
    let case = variants();
    case.write("data.csv", NEAR);
    let run = case.prepare(&["--validation", "0", "--dedup", "near"]).ends(0);
    assert_eq!(case.rejected(), ["near-duplicate"; 3]);
    // Of two of one size the first is kept; the mirrored image is another one.
    assert!(run.stderr.contains("data.csv:3: a near-duplicate of data.csv:2 (images "), "{}", run.stderr);
    assert_eq!(case.read("out/train.jsonl").lines().count(), 2);
    assert!(case.read("out/manifest.json").contains("\"duplicates\": 3"));
}

#[test]
fn reports_kept_near_duplicates() {
    let case = variants();
    case.write("data.csv", NEAR);
    let run = case.prepare(&["--validation", "0"]).ends(0);
    assert_eq!(run.stderr.matches("warning[near-duplicate]").count(), 3, "{}", run.stderr);
    let run = case.prepare(&["--validation", "0", "--dedup", "off", "--force"]).ends(0);
    assert!(!run.stderr.contains("near-duplicate"));
}

#[test]
fn near_images_with_other_responses_are_not_duplicates() {
    let case = variants();
    case.write("data.csv", "image,prompt,completion\nphoto.png,what?,water and trees\nq30.jpg,how many?,3\n");
    case.prepare(&["--validation", "0", "--dedup", "near"]).ends(0);
    case.prepare(&["--validation", "0", "--dedup", "near", "--dedup-by", "image", "--force"]).ends(0);
    assert_eq!(case.rejected(), ["near-duplicate"]);
}

#[test]
fn the_same_pixels_in_another_file_are_an_exact_duplicate() {
    let case = variants();
    let mut with_comment = as_jpeg(&photo(), 90);
    case.write("one.jpg", &with_comment);
    with_comment.splice(2..2, *b"\xff\xfe\x00\x06meta");
    case.write("two.jpg", &with_comment);
    case.write("data.csv", "image,prompt,completion\none.jpg,q,a\ntwo.jpg,q,a\n");
    case.prepare(&["--validation", "0"]).ends(0).prints("the same images and text as data.csv:2");
}

#[test]
fn the_same_pixels_in_another_format_are_an_exact_duplicate() {
    let case = variants();
    let flat = changed(&photo(), |_, _| [90, 120, 60]);
    for (name, image) in [("photo", photo()), ("flat", flat)] {
        let jpeg = as_jpeg(&image, 90);
        let header = image::inspect(&jpeg, &Limits::default()).unwrap();
        let decoded = image::decode(&jpeg, &header, &Limits::default(), Reading::Reference).unwrap().rgb;
        let mut touched = decoded.clone();
        touched.pixels[3000] ^= 1;
        case.write(&format!("{name}.jpg"), &jpeg);
        case.write(&format!("{name}-same.png"), encode_png(&decoded));
        case.write(&format!("{name}-touched.png"), encode_png(&touched));
    }
    case.write(
        "data.csv",
        "image,prompt,completion\nphoto.jpg,q,a\nphoto-same.png,q,a\nphoto-touched.png,q,a\nflat-same.png,q,a\nflat.jpg,q,a\nflat-touched.png,q,a\nphoto.jpg,another q,b\n",
    );
    let run = case.prepare(&["--validation", "0"]).ends(0);
    assert_eq!(case.rejected(), ["duplicate"; 2]);
    run.prints("data.csv:3: the same images and text as data.csv:2, which is kept")
        .prints("data.csv:6: the same images and text as data.csv:5, which is kept")
        .prints("warning[near-duplicate]: data.csv:4");
    let stats = case.run(&["stats", "photo.jpg", "photo-same.png", "photo-touched.png"]).ends(0).stdout;
    assert!(
        stats.contains("photo.jpg, photo-same.png (same pixels), photo-touched.png (distance "),
        "{stats}"
    );
    case.prepare(&["--validation", "0", "--dedup", "off", "--force"]).ends(0);
}

#[test]
fn near_images_are_in_one_split() {
    let case = variants();
    let names = ["photo.png", "q30.jpg", "cut.jpg", "bright.jpg"];
    let mut table = "image,prompt,completion\n".to_owned();
    for (at, name) in names.iter().cycle().take(40).enumerate() {
        table.push_str(&format!("{name},question {at},answer {at}\n"));
    }
    table.push_str("mirrored.png,and this?,another\n");
    case.write("data.csv", table);
    for seed in 0..4 {
        case.prepare(&["--validation", "0.5", "--seed", &seed.to_string(), "--force"]);
        let train = case.read("out/train.jsonl").lines().count();
        assert!([0, 1, 40, 41].contains(&train), "{train}");
    }
}

#[test]
fn reports_conflicting_labels() {
    let case = Case::table("image,prompt,completion\na.png,what?,a cat\na.png,what?,a dog\n");
    case.prepare(&["--validation", "0"])
        .ends(0)
        .prints("warning[contradiction]: data.csv:3: data.csv:2 has the same");
}

#[test]
fn reports_bad_images_and_drops_them_on_request() {
    let case = Case::new();
    let photo = photo();
    let dark = changed(&photo, |x, y| pixel(&photo, x, y).map(|value| value / 5));
    let flat = changed(&photo, |_, _| [230, 120, 120]);
    case.write("dark.png", encode_png(&dark));
    case.write("flat.png", encode_png(&flat));
    case.write("dot.png", encode_png(&Rgb { width: 1, height: 1, pixels: vec![128; 3] }));
    case.write("fine.png", encode_png(&photo));
    case.write(
        "data.csv",
        "image,prompt,completion\ndark.png,q,a\nflat.png,q,b\ndot.png,q,c\nfine.png,q,d\n",
    );
    let run = case.prepare(&["--validation", "0"]).ends(0);
    for output in [
        "image-dark]: data.csv:2 /image",
        "image-low-information]: data.csv:2",
        "image-too-small]: data.csv:4",
        "… and 2 more of image-low-information; `--format json` lists all",
    ] {
        assert!(run.stderr.contains(output), "{output} is not in:\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("data.csv:5"), "{}", run.stderr);
    case.prepare(&["--validation", "0", "--drop", "dark,image-too-small", "--force"]).ends(1);
    assert_eq!(case.rejected(), ["image-dark", "image-too-small"]);
    assert_eq!(text(&case.lines("out/rejected.jsonl")[0], "/severity"), "error");
    case.prepare(&["--drop", "blury", "--force"]).ends(2).prints("did you mean `image-blurry`?");
    case.prepare(&["--drop", "dark", "--verify", "header", "--force"]).ends(2).prints("--verify header");
}

#[test]
fn reports_every_rule_about_pixels() {
    let case = Case::new();
    let photo = photo();
    let of_size = |width, height| Rgb { width, height, pixels: vec![] };
    let wave = |x: usize| (128.0 + 100.0 * (x as f64 / 10.0).sin()) as u8;
    let images = [
        ("dark", changed(&photo, |x, y| pixel(&photo, x, y).map(|value| value / 5))),
        ("light", changed(&photo, |x, y| pixel(&photo, x, y).map(|value| 245 + value / 30))),
        ("flat", changed(&photo, |_, _| [230, 120, 120])),
        ("blurry", changed(&photo, |x, y| [wave(x), wave(y), wave(x + y)])),
        ("tiny", changed(&of_size(20, 20), |x, y| pixel(&photo, x, y))),
        ("wide", changed(&of_size(4200, 300), |x, y| pixel(&photo, x % 300, y % 200))),
        ("gray", changed(&photo, |x, y| [pixel(&photo, x, y)[1]; 3])),
    ];
    case.write("photo.png", encode_png(&photo));
    let mut table = "image,prompt,completion\n".to_owned();
    (0..60).for_each(|at| table.push_str(&format!("photo.png,question {at},answer {at}\n")));
    for (name, image) in &images {
        case.write(&format!("{name}.png"), encode_png(image));
        table.push_str(&format!("{name}.png,what is {name}?,it is {name}\n"));
    }
    case.write("data.csv", table);
    let run = case.prepare(&["--validation", "0"]).ends(0);
    for rule in rules::OF_PIXELS {
        assert!(
            run.stderr.contains(&format!("warning[{}]", rule.id)),
            "{} is not in:\n{}",
            rule.id,
            run.stderr
        );
    }
    assert!((2..62).all(|line| !run.stderr.contains(&format!("data.csv:{line} "))), "{}", run.stderr);
}

fn asked(question: &str, mime: &str, image: &[u8]) -> String {
    let mut uri = format!("data:{mime};base64,").into_bytes();
    base64::encode(image, &mut uri);
    let uri = String::from_utf8(uri).unwrap();
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{uri}"}},{{"type":"text","text":"{question}"}}]}},{{"role":"assistant","content":"{question} It depends."}}]}}
"#
    )
}

#[test]
fn check_finds_reencoded_images_in_both_splits() {
    let case = Case::new();
    let photo = photo();
    let file = as_jpeg(&photo, 90);
    let header = image::inspect(&file, &Limits::default()).unwrap();
    let decoded = image::decode(&file, &header, &Limits::default(), Reading::Reference).unwrap().rgb;
    let mirrored = changed(&photo, |x, y| pixel(&photo, photo.width - 1 - x, y));
    case.write("train.jsonl", asked("What is this?", "image/jpeg", &file));
    case.write(
        "validation.jsonl",
        asked("How many?", "image/png", &encode_png(&decoded))
            + &asked("Which color?", "image/jpeg", &as_jpeg(&photo, 30))
            + &asked("Where?", "image/png", &encode_png(&mirrored)),
    );
    let check = |more: &[&str]| {
        let files =
            ["check", "train.jsonl", "validation.jsonl", "--select", "shared-image,shared-near-image"];
        case.run(&[&files[..], more].concat()).ends(0).stdout
    };
    let output = check(&["--verify", "full"]);
    for wanted in [
        "warning[shared-image]: validation.jsonl:1 /messages/0/content/0",
        "train.jsonl:1 has the same pixels in another image file, in the other split",
        "warning[shared-near-image]: validation.jsonl:2 /messages/0/content/0",
        "train.jsonl:1 has a near-duplicate image, in the other split (",
    ] {
        assert!(output.contains(wanted), "{wanted} is not in:\n{output}");
    }
    assert!(!output.contains("validation.jsonl:3"), "{output}");
    let output = check(&["--verify", "full", "--no-measure"]);
    assert!(!output.contains("warning"), "images are compared only if they were measured: {output}");
    let output = check(&[]);
    assert!(
        !output.contains("warning") && output.contains("--verify full also finds those that"),
        "{output}"
    );
}

#[test]
fn drops_outlier_images_on_request() {
    let case = Case::table("");
    let mut table = "image,prompt,completion\n".to_owned();
    (0..12).for_each(|at| table.push_str(&format!("a.png,question {at},answer {at}\n")));
    case.write("data.csv", table + "big.png,what?,large\n");
    case.prepare(&["--validation", "0"]).ends(0).prints("warning[image-odd-size]: data.csv:14");
    case.prepare(&["--validation", "0", "--drop", "odd-size", "--force"]).ends(1);
    assert_eq!(case.rejected(), ["image-odd-size"]);
    assert_eq!(case.read("out/train.jsonl").lines().count(), 12);
}

#[test]
fn reports_one_image_for_all_rows() {
    let mut table = "image,prompt,completion\n".to_owned();
    (0..30).for_each(|at| table.push_str(&format!("a.png,question {at},answer {at}\n")));
    let case = Case::table(table);
    for validation in ["0.2", "5", "3kB"] {
        let run = case.prepare(&["--validation", validation, "--force"]).ends(0);
        assert!(run.stderr.contains("warning[split-unmet]: data.csv:2: 30 rows"), "{}", run.stderr);
        assert_eq!(case.read("out/train.jsonl").lines().count(), 30);
    }
}

/// Rows of text alone with one more column.
fn labelled(column: &str, label: impl Fn(usize) -> String) -> String {
    let row = |at: usize| format!("question {at},answer {at},{}\n", label(at));
    format!("prompt,completion,{column}\n") + &(0..30).map(row).collect::<String>()
}

fn held_out(case: &Case) -> usize {
    case.read("out/validation.jsonl").lines().count()
}

#[test]
fn reports_impossible_splits() {
    let case = Case::table("prompt,completion\nq,a\n");
    case.prepare(&["--validation", "0.5"]).ends(0).prints(
        "split-unmet]: data.csv:2: the validation split has 0 rows instead of 1: linked rows stay together",
    );
    assert_eq!(case.read("out/train.jsonl").lines().count(), 1);

    case.write("data.csv", labelled("shop", |_| "the only one".into()));
    let by_group = ["--columns", "group=shop", "--split", "group", "--validation", "0.2", "--force"];
    case.prepare(&by_group).ends(0).prints(
        "data.csv:2: 30 rows from here on are linked by image, text or group; the validation split holds at most 6",
    );
    assert_eq!(held_out(&case), 0);

    case.write("data.csv", labelled("kind", |at| at.to_string()));
    case.prepare(&["--split", "stratify=kind", "--validation", "0.2", "--force"])
        .ends(0)
        .prints("data.csv:2: 24 of 30 strata are too small for a row in the validation split");
    assert_eq!(held_out(&case), 6);
}

#[test]
fn rejects_directory_without_images() {
    let case = Case::new();
    case.write("directory/notes.txt", "no image");
    case.run(&["prepare", "directory", "--out", "out"])
        .ends(2)
        .prints("`directory` has no metadata.csv or metadata.jsonl");
    assert!(!case.path("out").exists() && !case.path("out.partial").exists());
}

#[test]
fn flat_images_are_duplicates_only_with_equal_pixels() {
    let case = Case::new();
    let flat = |side, color: [u8; 3]| {
        encode_png(&changed(&Rgb { width: side, height: side, pixels: vec![] }, |_, _| color))
    };
    let mut table = "image,prompt,completion\n".to_owned();
    let images = [(1, [0; 3]), (1, [255; 3]), (90, [255; 3]), (90, [254; 3]), (1, [0; 3])];
    for (at, (side, color)) in images.into_iter().enumerate() {
        case.write(&format!("{at}.png"), flat(side, color));
        table.push_str(&format!("{at}.png,what?,nothing\n"));
    }
    case.write("data.csv", table);
    let run = case.prepare(&["--validation", "0", "--dedup", "near"]).ends(0);
    assert_eq!(case.rejected(), ["duplicate"]);
    run.prints("data.csv:6: the same images and text as data.csv:2");
}

#[test]
fn automatic_stratification_needs_no_column() {
    let mut table = "prompt,completion\n".to_owned();
    for at in 0..200 {
        let answer =
            if at % 2 == 0 { at.to_string() } else { format!("a sentence of row {at} that is unlike") };
        table.push_str(&format!("question of row {at},{answer}\n"));
    }
    let case = Case::table(table);
    case.prepare(&["--validation", "20", "--split", "auto"]).ends(0);
    let answers: Vec<String> =
        case.lines("out/validation.jsonl").iter().map(|line| text(line, "/messages/1/content")).collect();
    let numbers = answers.iter().filter(|answer| answer.parse::<u32>().is_ok()).count();
    assert_eq!((answers.len(), numbers), (20, 10));
    assert_eq!(answers.iter().collect::<BTreeSet<_>>().len(), 20);
}
