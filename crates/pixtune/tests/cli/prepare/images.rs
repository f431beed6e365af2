//! What becomes of images.

use std::collections::BTreeSet;
use std::fs;

use pixtune_io::image::{self, Limits, Reading};

use super::{THREE, image, kept};
use crate::harness::{Case, text};

#[test]
fn keeps_small_image_and_resizes_large_one_to_the_grid() {
    let case = Case::table(THREE);
    case.prepare(&["--validation", "0"]).ends(0);
    let lines = kept(&case);
    assert_eq!(text(&lines[0], "/messages/0/content/1/text"), "what?");
    assert_eq!(text(&lines[0], "/messages/1/content"), "a gradient");
    let (mime, bytes) = image(&text(&lines[0], "/messages/0/content/0/image_url"));
    assert_eq!((mime.as_str(), &bytes), ("data:image/png", &fs::read(case.path("a.png")).unwrap()));
    let (_, bytes) = image(&text(&lines[2], "/messages/0/content/0/image_url"));
    let header = image::inspect(&bytes, &Limits::default()).unwrap();
    assert_eq!((header.width, header.height), (1024, 688), "1200x800 becomes 64x43 patches");
}

#[test]
fn resized_image_is_not_resized_again() {
    let case = Case::table(THREE);
    case.prepare(&["--validation", "0"]).ends(0);
    case.run(&["prepare", "out/train.jsonl", "--out", "again", "--validation", "0"]).ends(0);
    assert_eq!(case.read("again/train.jsonl"), case.read("out/train.jsonl"));
}

#[test]
fn same_image_is_in_one_split() {
    let mut table = "image,prompt,completion\n".to_owned();
    for (index, name) in ["a.png", "b.jpg", "c.png", "d.webp"].iter().cycle().take(200).enumerate() {
        table.push_str(&format!("{name},question {index}?,answer {index}\n"));
    }
    let case = Case::table(&table);
    case.prepare(&["--validation", "0.4"]).ends(0);
    let images = |file: &str| -> BTreeSet<String> {
        case.lines(file).iter().map(|line| text(line, "/messages/0/content/0/image_url")).collect()
    };
    let (train, validation) = (images("out/train.jsonl"), images("out/validation.jsonl"));
    assert!(train.is_disjoint(&validation));
    assert_eq!(train.len() + validation.len(), 4);
}

#[test]
fn auto_orients_photo_unless_images_are_kept() {
    let case = Case::table("image,prompt,completion\nturned.jpg,q,a\n");
    case.fixture("turned.jpg", "exif6_160x90.jpg");
    case.prepare(&["--validation", "0"]).ends(0);
    let (_, bytes) = image(&text(&kept(&case)[0], "/messages/0/content/0/image_url"));
    let header = image::inspect(&bytes, &Limits::default()).unwrap();
    assert_eq!((header.width, header.height, header.orientation.is_normal()), (90, 160, true));
    case.prepare(&["--validation", "0", "--images", "keep", "--force"])
        .ends(0)
        .prints("warning[image-sideways]");
    let (_, bytes) = image(&text(&kept(&case)[0], "/messages/0/content/0/image_url"));
    assert_eq!(bytes, fs::read(case.path("turned.jpg")).unwrap());
}

#[test]
fn flattens_transparency_onto_white() {
    let case = Case::table("image,prompt,completion\nclear.png,q,a\n");
    case.fixture("clear.png", "alpha_full_transparent_20x20.png");
    case.prepare(&["--validation", "0"]).ends(0);
    let (_, bytes) = image(&text(&kept(&case)[0], "/messages/0/content/0/image_url"));
    let header = image::inspect(&bytes, &Limits::default()).unwrap();
    let decoded = image::decode(&bytes, &header, &Limits::default(), Reading::Reference).unwrap();
    assert!(!header.alpha && decoded.rgb.pixels.iter().all(|value| *value == 255));
}
