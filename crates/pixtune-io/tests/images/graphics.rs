//! The example's images, looked at: graphics are written as PNG, photos as JPEG.
use pixtune_io::image::{Limits, Reading, decode, inspect, is_graphic};

fn check(graphic: bool, names: &[&str]) {
    for name in names {
        let path = super::fixtures().join("../../examples/visual-qa/images").join(name);
        let bytes = std::fs::read(path).unwrap();
        let header = inspect(&bytes, &Limits::default()).unwrap();
        let decoded = decode(&bytes, &header, &Limits::default(), Reading::Corrected).unwrap();
        assert_eq!(is_graphic(&decoded.rgb), graphic, "{name}");
    }
}

#[test]
fn charts_screenshots_and_text_are_graphics() {
    check(
        true,
        &["code-benchmarks.png", "compression-bars.png", "fine-tuning-bars.png", "knowledge-bars.png"],
    );
    check(true, &["languages-table.webp", "mmlu-scatter.png", "quarterly-sales.png", "formulas.png"]);
    check(true, &["form-price-error.png", "form-status.png", "form-tags.png", "ticket-answered.png"]);
    check(true, &["chessboard.png", "sideways-text.png", "page-183.tif", "reasoning-steps.png"]);
}

#[test]
fn photos_are_not() {
    check(false, &["countryside.jpg", "floor-sign.jpg", "park-waterfall.jpg", "stained-glass.webp"]);
    check(false, &["cliff-waterfall-3.jpg", "bricks-colour.png", "bricks-gray.gif"]);
}
