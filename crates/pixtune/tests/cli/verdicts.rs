//! Every command gives the same verdict on the same image.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;

use pixtune_core::json::{self, Value};
use pixtune_io::base64::data_uri;

use crate::harness::{Case, png_header, root, text};

/// An image that no command may use, and the rule that says why.
struct Hostile {
    name: &'static str,
    bytes: Vec<u8>,
    rule: &'static str,
}

fn hostile(name: &'static str, bytes: impl Into<Vec<u8>>, rule: &'static str) -> Hostile {
    Hostile { name, bytes: bytes.into(), rule }
}

fn fixture(name: &str) -> Vec<u8> {
    fs::read(root().join("fixtures/images").join(name)).unwrap()
}

fn half(name: &str) -> Vec<u8> {
    let bytes = fixture(name);
    bytes[..bytes.len() / 2].to_vec()
}

fn images() -> Vec<Hostile> {
    vec![
        hostile("empty.jpg", "", "image-unreadable"),
        hostile("page.jpg", "<!doctype html><title>Log in</title>", "image-unreadable"),
        hostile("text.png", "404 not found", "image-unreadable"),
        hostile("phone.heic", *b"\0\0\0\x18ftypheic\0\0\0\0heicmif1", "image-unsupported"),
        hostile("half.jpg", half("photo_prog_500x375.jpg"), "image-unreadable"),
        hostile("half.png", half("photo_320x240.png"), "image-unreadable"),
        hostile("half.webp", half("photo_300x200.webp"), "image-unreadable"),
        hostile("half.gif", half("shapes_400x300.gif"), "image-unreadable"),
        hostile("no-area.png", png_header(0, 5), "image-unreadable"),
        hostile("wide.png", png_header(20_000, 20), "image-too-large"),
        hostile("bomb.png", png_header(60_000, 60_000), "image-too-large"),
    ]
}

fn chat(image: &str) -> String {
    format!(
        r#"{{"messages":[{{"role":"user","content":[{{"type":"image_url","image_url":"{image}"}},{{"type":"text","text":"{}"}}]}},{{"role":"assistant","content":"a"}}]}}"#,
        image.len()
    ) + "\n"
}

/// The header of a bitmap with 24 bits a pixel.
fn bitmap_header(width: u32, height: u32) -> Vec<u8> {
    let fields = [54 + width * height * 3, 0, 54, 40, width, height, 1 | 24 << 16];
    let fields = fields.into_iter().flat_map(u32::to_le_bytes);
    b"BM".iter().copied().chain(fields).chain([0; 24]).collect()
}

/// A row for each image, as a file and inline, and what each row is to be refused for.
fn write_rows(case: &Case) -> Vec<&'static str> {
    let (mut rows, mut rules) = (String::new(), Vec::new());
    for Hostile { name, bytes, rule } in images() {
        rows += &chat(&format!("file://{}", case.path(name).display()));
        rules.push(rule);
        if !bytes.is_empty() {
            rows += &chat(&data_uri("", &bytes));
            rules.push(rule);
        }
        case.write(name, bytes);
    }
    // A bitmap whose header declares more than the limit, in a file of holes.
    let mut bitmap = File::create(case.path("huge.bmp")).unwrap();
    bitmap.write_all(&bitmap_header(10_000, 9500)).unwrap();
    bitmap.set_len(54 + 10_000 * 9500 * 3).unwrap();
    fs::create_dir(case.path("directory.png")).unwrap();
    for (name, rule) in [
        ("huge.bmp", "image-too-large"),
        ("missing.png", "image-missing"),
        ("directory.png", "image-unreadable"),
    ] {
        rows += &chat(&format!("file://{}", case.path(name).display()));
        rules.push(rule);
    }
    rows += &chat("data:image/png;base64,iVBORw0KGgo");
    rules.push("image-bad-data-uri");
    case.write("rows.jsonl", rows);
    rules
}

/// The rule of each line, from the JSON that a command prints.
fn verdicts(printed: &str, rule: impl Fn(&Value<'static>) -> Option<String>) -> Vec<(u64, String)> {
    let found = printed.lines().filter_map(|line| {
        let value = json::parse(line).unwrap().value.into_owned();
        let Some(Value::Number(number)) = value.get("line") else { panic!("{line} names no line") };
        Some((number.parse().unwrap(), rule(&value)?))
    });
    found.collect()
}

#[test]
fn every_command_refuses_the_same_images_for_the_same_reason() {
    let case = Case::new();
    let rules = write_rows(&case);
    let expected: Vec<(u64, String)> = (1..).zip(rules.iter().map(ToString::to_string)).collect();
    let error = |value: &Value<'static>| (text(value, "/severity") == "error").then(|| text(value, "/rule"));

    case.run(&["prepare", "rows.jsonl", "--out", "out"]).ends(1);
    assert_eq!(verdicts(&case.read("out/rejected.jsonl"), error), expected, "prepare");
    for verify in ["header", "full"] {
        let args = ["check", "rows.jsonl", "--select", "image", "--format", "json", "--verify", verify];
        assert_eq!(verdicts(&case.run(&args).ends(1).stdout, error), expected, "check --verify {verify}");
    }
    let args = ["fix", "rows.jsonl", "--out", "fixed.jsonl", "--select", "image", "--format", "json"];
    assert_eq!(verdicts(&case.run(&args).ends(1).stdout, error), expected, "fix");
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(1);
    let refused = |value: &Value<'static>| value.get("refused").map(|refused| text(refused, "/rule"));
    assert_eq!(verdicts(&run.stdout, refused), expected, "tokens");

    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    rules.iter().for_each(|rule| *counts.entry(rule).or_default() += 1);
    let counts: Vec<String> = counts.iter().map(|(rule, count)| format!("\"{rule}\":{count}")).collect();
    let counts = format!("\"refused\":{{{}}}", counts.join(","));
    for extra in [&[][..], &["--verify", "header"]] {
        let run = case.run(&[&["stats", "rows.jsonl", "--format", "json"], extra].concat()).ends(1);
        assert!(run.stdout.contains(&counts), "stats {extra:?}: {counts} is not in {}", run.stdout);
    }
    case.run(&["report", "rows.jsonl", "--out", "report.html"]).ends(1);
    let page = case.read("report.html");
    assert!(rules.iter().all(|rule| page.contains(rule)), "report");
}

#[test]
fn damaged_pixels_are_found_wherever_images_are_decoded() {
    let case = Case::new();
    let mut png = fixture("photo_320x240.png");
    let middle = png.len() / 2;
    png[middle..middle + 64].fill(0);
    case.write("rows.jsonl", chat(&data_uri("image/png", &png)));
    case.run(&["prepare", "rows.jsonl", "--out", "out"]).ends(1);
    assert_eq!(case.rejected(), ["image-unreadable"]);
    for args in [
        &["check", "rows.jsonl", "--select", "image-unreadable", "--verify", "full", "--format", "json"][..],
        &["stats", "rows.jsonl", "--format", "json"],
    ] {
        let run = case.run(args).ends(1);
        assert!(run.stdout.contains("image-unreadable"), "{args:?}: {}", run.stdout);
    }
}

/// A PNG with a chunk right before its pixels.
fn png_with(chunk: &[u8]) -> Vec<u8> {
    let mut png = fixture("photo_320x240.png");
    let at = png.windows(4).position(|name| name == b"IDAT").unwrap() - 4;
    png.splice(at..at, chunk.iter().copied());
    png
}

/// Whole pixels in files that Pillow does not open: a wrong checksum, and a segment that is too short.
fn refused_by_pillow() -> [Vec<u8>; 2] {
    let mut jpeg = fixture("gray_200x120.jpg");
    jpeg.splice(2..2, *b"\xff\xe0\0\x06JFIF");
    [png_with(b"\0\0\0\x04tEXta\0bc\0\0\0\0"), jpeg]
}

#[test]
fn images_that_pillow_refuses_are_errors_and_prepare_re_encodes_them() {
    let case = Case::new();
    let rows: String = refused_by_pillow().iter().map(|image| chat(&data_uri("", image))).collect();
    case.write("rows.jsonl", &rows);
    for verify in ["header", "full"] {
        let args = ["check", "rows.jsonl", "--select", "image", "--verify", verify];
        let run = case.run(&args).ends(1);
        assert_eq!(run.stdout.matches("error[image-unreadable]").count(), 2, "{}", run.stdout);
        for part in ["refuses: the checksum of its chunk `tEXt` is wrong", "re-encode it"] {
            assert!(run.stdout.contains(part), "{}", run.stdout);
        }
    }
    let run = case.run(&["tokens", "rows.jsonl", "--format", "json"]).ends(1);
    assert_eq!(run.stdout.matches("image-unreadable").count(), 2, "{}", run.stdout);
    let run = case.run(&["prepare", "rows.jsonl", "--out", "kept", "--images", "keep"]).ends(1);
    run.prints("error[image-unreadable]");
    let run = case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"]).ends(0);
    run.prints("warning[image-structure]").prints("is re-encoded: its JFIF segment is too short");
    case.run(&["check", "out/train.jsonl", "--verify", "full", "--select", "image-unreadable"]).ends(0);
    case.run(&["fix", "rows.jsonl", "--out", "fixed.jsonl", "--unsafe", "--select", "image-unreadable"])
        .ends(0);
    case.run(&["check", "fixed.jsonl", "--select", "image-unreadable"]).ends(0);
}

#[test]
fn bytes_behind_the_end_of_an_image_are_reported_and_dropped() {
    let case = Case::new();
    let images = ["photo_320x240.png", "gray_200x120.jpg", "photo_300x200.webp"].map(fixture);
    let longer = images.clone().map(|image| [image, b"a second image".to_vec()].concat());
    let rows: String = longer.iter().map(|image| chat(&data_uri("", image))).collect();
    case.write("rows.jsonl", &rows);
    for verify in ["header", "full"] {
        let run =
            case.run(&["check", "rows.jsonl", "--select", "image-structure", "--verify", verify]).ends(0);
        assert_eq!(run.stdout.matches("14 bytes behind the end of the image").count(), 3, "{}", run.stdout);
    }
    let run = case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"]).ends(0);
    run.prints("has 14 bytes behind the end of its image, which are dropped");
    let written = case.read("out/train.jsonl");
    assert!(images.iter().all(|image| written.contains(&data_uri("", image)["data:;base64,".len()..])));
}

/// A JPEG of 1200x8 pixels with a gray color profile of the gamma 1.8.
fn wide_jpeg_with_profile() -> Vec<u8> {
    let mut profile = vec![0; 132 + 24];
    profile[16..20].copy_from_slice(b"GRAY");
    profile[36..40].copy_from_slice(b"acsp");
    profile[131] = 2;
    for (at, name, place, data) in [
        (132, b"kTRC", 156, &b"curv\0\0\0\0\0\0\0\x01\x01\xcc"[..]),
        (144, b"desc", 170, b"desc\0\0\0\0\0\0\0\x09Gamma 1.8"),
    ] {
        profile[at..at + 4].copy_from_slice(name);
        profile[at + 4..at + 8].copy_from_slice(&u32::to_be_bytes(place));
        profile[at + 8..at + 12].copy_from_slice(&(data.len() as u32).to_be_bytes());
        profile.extend(data);
    }
    let mut jpeg = Vec::new();
    let pixels = vec![90; 1200 * 8 * 3];
    pixtune_io::image::jpeg::encode_rgb(
        &pixels,
        (1200, 8),
        80,
        pixtune_io::image::jpeg::Subsampling::Quarter,
        &mut jpeg,
    )
    .unwrap();
    let body = [b"ICC_PROFILE\0\x01\x01", &profile[..]].concat();
    let segment = [b"\xff\xe2", &(body.len() as u16 + 2).to_be_bytes()[..], &body].concat();
    jpeg.splice(2..2, segment);
    jpeg
}

#[test]
fn color_profiles_that_are_dropped_are_reported() {
    let case = Case::new();
    case.write("rows.jsonl", chat(&data_uri("image/jpeg", &wide_jpeg_with_profile())));
    let run = case.run(&["prepare", "rows.jsonl", "--out", "out", "--validation", "0"]).ends(0);
    run.prints("warning[image-profile]").prints("is re-encoded without its color profile, `Gamma 1.8`");
    let args = ["prepare", "rows.jsonl", "--out", "kept", "--validation", "0", "--images", "keep"];
    assert!(!case.run(&args).ends(0).stderr.contains("image-profile"));
}
