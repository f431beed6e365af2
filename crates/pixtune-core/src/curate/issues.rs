//! Image quality issues: each has a score from 0 (bad) to 1, and a threshold below which it is reported.
//!
//! The issues and, unless noted, their thresholds are those of CleanVision 0.3.7. Scores are computed from luma at about the
//! model's resolution. Some measures differ, because CleanVision's are meant for photographs and flag documents: a page with
//! little print is not overexposed, and a chart with few colors does not lack information.

use super::ImageFacts;
use super::sorted::{Sorted, Sorter, Space, fixed};
use super::store::StoredRow;
use crate::diagnostic::{Finding, Rule};
use crate::rules;
use crate::spec::ModelSpec;

/// The score of an image for one issue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The rule that a low score violates.
    pub rule: &'static Rule,
    /// 0 is bad, 1 is good.
    pub score: f64,
    /// Scores below this violate the rule.
    pub threshold: f64,
}

impl Score {
    /// Whether the rule is violated.
    pub fn is_issue(&self) -> bool {
        self.score < self.threshold
    }
}

/// In a dark image even the brightest thousandth is dark; CleanVision uses the brightest hundredth, and flags screenshots of dark
/// user interfaces, whose print is less than that.
pub const DARK: f64 = 0.32;

/// In an overexposed image even the darkest thousandth is nearly white; CleanVision uses the darkest twentieth, and flags every
/// page with little print.
pub const LIGHT: f64 = 0.05;

/// Minimum share of 16 x 16 tiles with structure.
pub const LOW_INFORMATION: f64 = 0.01;

/// One divided by the width in pixels of the sharpest edges at the model's resolution: at six pixels letters run together.
pub const BLURRY: f64 = 1.0 / 6.0;

/// The shorter side divided by the longer.
pub const ODD_ASPECT_RATIO: f64 = 0.35;

/// Two patches of 16 pixels: a smaller side has no readable character.
pub const TOO_SMALL: u32 = 32;

/// Downscaling by more than this loses small print.
pub const SHRUNK: f64 = 4.0;

/// Height in pixels below which the model hardly reads print: half a patch.
pub const READABLE: f64 = 8.0;

/// The scores that do not depend on other images.
pub fn scores(facts: &ImageFacts, model: &ModelSpec) -> Vec<Score> {
    if !facts.is_measured() {
        return vec![];
    }
    let score = |rule, score: f64, threshold| Score { rule, score: score.clamp(0.0, 1.0), threshold };
    let shorter = f64::from(facts.width.min(facts.height));
    vec![
        score(&rules::IMAGE_DARK, facts.brightness_at(999), DARK),
        score(&rules::IMAGE_LIGHT, 1.0 - facts.brightness_at(1), LIGHT),
        score(&rules::IMAGE_LOW_INFORMATION, f64::from(facts.structure) / 1000.0, LOW_INFORMATION),
        score(&rules::IMAGE_BLURRY, 1.0 / edge_width(facts, model).max(1.0), BLURRY),
        score(&rules::IMAGE_TOO_SMALL, shorter / (2.0 * f64::from(TOO_SMALL)), 0.5),
        score(&rules::IMAGE_SHRUNK, 1.0 / shrunk(facts, model), 1.0 / SHRUNK),
    ]
}

/// Width in pixels of the sharpest edges at the model's resolution; 0 without edges.
pub fn edge_width(facts: &ImageFacts, model: &ModelSpec) -> f64 {
    let seen = f64::from(facts.width.max(facts.height)) / shrunk(facts, model);
    f64::from(facts.edge_width) / 100.0 * seen / f64::from(facts.working_side().max(1))
}

/// The factor by which the model downscales the image; 1 if it fits.
pub fn shrunk(facts: &ImageFacts, model: &ModelSpec) -> f64 {
    (f64::from(facts.width.max(facts.height)) / f64::from(model.max_side)).max(1.0)
}

/// Findings about an image alone.
pub fn judge(facts: &ImageFacts, model: &ModelSpec) -> Vec<Finding> {
    let broken = scores(facts, model).into_iter().filter(Score::is_issue);
    broken.map(|score| finding(&score, facts, model)).collect()
}

fn finding(score: &Score, facts: &ImageFacts, model: &ModelSpec) -> Finding {
    let ImageFacts { width, height, .. } = facts;
    let percent = |share: f64| (100.0 * share).round();
    let (message, hint) = if score.rule == &rules::IMAGE_DARK {
        (
            format!(
                "even the brightest thousandth of the image has only {} % of full brightness",
                percent(score.score)
            ),
            None,
        )
    } else if score.rule == &rules::IMAGE_LIGHT {
        (
            format!("the whole image is brighter than {} % of full brightness", percent(1.0 - score.score)),
            None,
        )
    } else if score.rule == &rules::IMAGE_LOW_INFORMATION {
        ("the image shows next to nothing".to_owned(), None)
    } else if score.rule == &rules::IMAGE_BLURRY {
        (
            format!(
                "the sharpest edges are {:.0} pixels wide at the model's resolution",
                edge_width(facts, model)
            ),
            None,
        )
    } else if score.rule == &rules::IMAGE_TOO_SMALL {
        (
            format!("{width}x{height} pixels are at most a few patches"),
            Some("use the image that it was cropped from".to_owned()),
        )
    } else {
        let factor = shrunk(facts, model);
        let survives = READABLE * factor;
        (
            format!(
                "{width}x{height} is downscaled by {factor:.1}: print below {survives:.0} pixels is lost"
            ),
            Some(
                "crop it to the part that the question is about, or split it into several images".to_owned(),
            ),
        )
    };
    let finding = Finding::new(score.rule, "", message);
    match hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// An image that is unlike most of its dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlier {
    /// Its row.
    pub row: usize,
    /// Its number in the row, from 1.
    pub image: usize,
    /// The rule that it violates.
    pub rule: &'static Rule,
    /// Its width and height.
    pub size: (u32, u32),
}

impl Outlier {
    /// The finding.
    pub fn finding(&self) -> Finding {
        let ((width, height), image) = (self.size, self.image);
        let message = if self.rule == &rules::IMAGE_GRAYSCALE {
            format!("image {image} is gray, nearly all others are colored")
        } else if self.rule == &rules::IMAGE_ODD_ASPECT_RATIO {
            format!("image {image} has an unusual aspect ratio: {width}x{height}")
        } else {
            format!("image {image} has an unusual size: {width}x{height} pixels")
        };
        Finding::new(self.rule, "", message)
    }
}

/// Minimum images for outliers.
const SET: usize = 10;

/// One image in so many is rare.
const RARE: usize = 20;

/// Distance from the quartiles, in interquartile ranges, beyond which a size is an outlier.
const SPREAD: f64 = 3.0;

/// The kinds of outliers, in the order in which they are reported.
const KINDS: [&Rule; 3] = [&rules::IMAGE_ODD_SIZE, &rules::IMAGE_ODD_ASPECT_RATIO, &rules::IMAGE_GRAYSCALE];

/// Which kinds of outlier an image is, if few others are.
fn kinds(facts: &ImageFacts, (low, high): (f64, f64)) -> [bool; 3] {
    [size(facts) < low || size(facts) > high, facts.aspect() < ODD_ASPECT_RATIO, facts.grayscale]
}

/// Images of a kind, at most, that are outliers: what holds for more than a twentieth of the dataset is a kind of image that belongs
/// to it: scans are gray, receipts are long.
fn rare(images: usize) -> usize {
    if images < SET { 0 } else { (images / RARE).max(1) }
}

/// Outliers among measured images, each given with its row and its number in the row: in size, in aspect ratio, or grayscale.
pub fn outliers_among(all: &[(usize, usize, &ImageFacts)]) -> Vec<Outlier> {
    let usual = usual_sizes(all.iter().map(|(_, _, facts)| *facts));
    let mut outliers = Vec::new();
    for (kind, rule) in KINDS.into_iter().enumerate() {
        let those = || all.iter().filter(|(_, _, facts)| kinds(facts, usual)[kind]);
        if those().count() <= rare(all.len()) {
            outliers.extend(those().map(|(row, image, facts)| {
                let size = (facts.width, facts.height);
                Outlier { row: *row, image: *image, rule, size }
            }));
        }
    }
    outliers.sort_by_key(|outlier| (outlier.row, outlier.image));
    outliers
}

fixed! {
    /// The size of an image: bits of a number that is not negative, which are ordered as the numbers are.
    pub(super) Size {
        bits: u64,
    }
}

impl Size {
    /// The size of an image, if it was measured.
    pub(super) fn of(facts: &ImageFacts) -> Option<Size> {
        facts.is_measured().then(|| Size { bits: size(facts).to_bits() })
    }
}

fixed! {
    /// An [`Outlier`].
    pub StoredOutlier {
        /// Its row.
        row: u32,
        /// Its number in the row, from 1.
        image: u32,
        /// Its kind, an index.
        kind: u8,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    }
}

impl StoredOutlier {
    /// The outlier.
    pub fn outlier(&self) -> Outlier {
        Outlier {
            row: self.row as usize,
            image: self.image as usize,
            rule: KINDS[usize::from(self.kind)],
            size: (self.width, self.height),
        }
    }
}

/// The search for the outliers that [`outliers_among`] finds.
pub(super) struct OutlierSearch<'s, S: Space> {
    space: &'s S,
    usual: (f64, f64),
    most: usize,
    /// What was found of each kind; `None` for more than are rare.
    found: [Option<Vec<StoredOutlier>>; 3],
}

impl<'s, S: Space> OutlierSearch<'s, S> {
    /// Starts with the sizes of all images that were measured.
    pub(super) fn new(space: &'s S, sizes: &Sorted<Size, S::Scratch>) -> Result<Self, S::Error> {
        let images = sizes.len() as usize;
        let mut wanted = quartiles(images);
        let mut at = 0;
        sizes.each(|size| {
            for (position, value) in &mut wanted {
                if *position == at {
                    *value = f64::from_bits(size.bits);
                }
            }
            at += 1;
            Ok(())
        })?;
        let usual = usual(images, wanted);
        Ok(OutlierSearch { space, usual, most: rare(images), found: [const { Some(Vec::new()) }; 3] })
    }

    /// Inspects the images of a row.
    pub(super) fn inspect(&mut self, stored: &StoredRow<'_>) {
        if self.most == 0 {
            return;
        }
        for (image, facts) in (1..).zip(stored.images.iter().map(|image| &image.facts)) {
            if !facts.is_measured() {
                continue;
            }
            for (kind, is_outlier) in (0..).zip(kinds(facts, self.usual)) {
                let found = &mut self.found[usize::from(kind)];
                if let Some(found) = found.as_mut().filter(|_| is_outlier) {
                    let (width, height) = (facts.width, facts.height);
                    found.push(StoredOutlier { row: stored.row, image, kind, width, height });
                }
                if found.as_ref().is_some_and(|found| found.len() > self.most) {
                    *found = None;
                }
            }
        }
    }

    /// The outliers, in order of their rows and images.
    pub(super) fn finish(self) -> Result<Sorted<StoredOutlier, S::Scratch>, S::Error> {
        let mut all = Sorter::new(self.space);
        self.found.into_iter().flatten().flatten().try_for_each(|outlier| all.push(outlier))?;
        all.finish()
    }
}

/// The side of a square with as many pixels.
fn size(facts: &ImageFacts) -> f64 {
    (f64::from(facts.width) * f64::from(facts.height)).sqrt()
}

/// The smallest and the largest usual size.
pub fn usual_sizes<'f>(facts: impl Iterator<Item = &'f ImageFacts>) -> (f64, f64) {
    let mut sizes: Vec<f64> = facts.map(size).collect();
    sizes.sort_by(f64::total_cmp);
    let at = quartiles(sizes.len());
    usual(sizes.len(), at.map(|(at, _)| (at, sizes.get(at).copied().unwrap_or_default())))
}

/// The positions around the lower and the upper quartile of so many values in order, each with room for its value.
fn quartiles(count: usize) -> [(usize, f64); 4] {
    let [low, high] = [0.25, 0.75].map(|share| share * count.saturating_sub(1) as f64);
    [low.floor(), low.ceil(), high.floor(), high.ceil()].map(|at| (at as usize, 0.0))
}

/// The smallest and the largest usual of so many sizes, by the values around their quartiles.
fn usual(count: usize, values: [(usize, f64); 4]) -> (f64, f64) {
    if count == 0 {
        return (0.0, f64::INFINITY);
    }
    let between = |share: f64, below: f64, above: f64| {
        let at = share * (count - 1) as f64;
        below + (above - below) * at.fract()
    };
    let [a, b, c, d] = values.map(|(_, value)| value);
    let (low, high) = (between(0.25, a, b), between(0.75, c, d));
    // Half a pixel of tolerance: if all images have one size the range is 0, and rounding is not an outlier.
    let range = SPREAD * (high - low) + 0.5;
    (low - range, high + range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::{ImageRecord, Policy, Record, Records, decide};
    use crate::spec::PIXTRAL_12B;

    fn facts(width: u32, height: u32) -> ImageFacts {
        ImageFacts {
            pixels: 1,
            width,
            height,
            brightness: [2, 5, 20, 120, 220, 230, 240],
            edge_width: 150,
            structure: 700,
            entropy: 700,
            ..ImageFacts::default()
        }
    }

    fn issues(facts: ImageFacts) -> Vec<&'static str> {
        judge(&facts, &PIXTRAL_12B).iter().map(|finding| finding.rule.id).collect()
    }

    #[test]
    fn each_issue_has_its_measure() {
        assert_eq!(issues(facts(800, 600)), [""; 0]);
        assert_eq!(
            issues(ImageFacts { brightness: [0, 1, 2, 9, 40, 70, 81], ..facts(800, 600) }),
            ["image-dark"]
        );
        let dark_interface = ImageFacts { brightness: [7, 12, 20, 24, 33, 56, 255], ..facts(800, 600) };
        assert_eq!(issues(dark_interface), [""; 0]);
        assert_eq!(
            issues(ImageFacts { brightness: [243, 250, 251, 252, 253, 254, 255], ..facts(800, 600) }),
            ["image-light"]
        );
        assert_eq!(issues(ImageFacts { structure: 9, ..facts(800, 600) }), ["image-low-information"]);
        assert_eq!(issues(ImageFacts { edge_width: 620, ..facts(800, 600) }), ["image-blurry"]);
        assert_eq!(issues(facts(31, 600)), ["image-too-small"]);
        assert_eq!(issues(facts(4200, 600)), ["image-shrunk"]);
        assert_eq!(issues(ImageFacts { pixels: 0, structure: 0, ..facts(8, 8) }), [""; 0]);
    }

    #[test]
    fn blur_is_measured_at_the_models_resolution() {
        // Averaged down by 2 to 800 for measuring, by 1.56 to 1024 by the model.
        let width = edge_width(&ImageFacts { edge_width: 500, ..facts(1600, 1200) }, &PIXTRAL_12B);
        assert!((width - 5.0 * 1024.0 / 800.0).abs() < 1e-9);
    }

    #[test]
    fn reports_the_height_of_readable_print() {
        let finding = &judge(&facts(8192, 4000), &PIXTRAL_12B)[0];
        assert_eq!(finding.message, "8192x4000 is downscaled by 8.0: print below 64 pixels is lost");
    }

    fn odd_rules(set: &[ImageFacts]) -> Vec<(usize, &'static str)> {
        let mut records = Records::default();
        set.iter()
            .for_each(|facts| records.push(Record::default(), &[ImageRecord { content: 1, facts: *facts }]));
        let found = decide(&records, &Policy::default(), &mut |_, _| false).outliers;
        let all: Vec<_> = set.iter().enumerate().map(|(row, facts)| (row, 1, facts)).collect();
        assert_eq!(found, outliers_among(&all));
        found.iter().map(|outlier| (outlier.row, outlier.rule.id)).collect()
    }

    #[test]
    fn outliers_are_unlike_most_images() {
        let mut set = vec![facts(800, 600); 20];
        assert_eq!(odd_rules(&set), []);
        set[3] = facts(6000, 4000);
        set[5] = ImageFacts { grayscale: true, ..facts(800, 600) };
        set[7] = facts(300, 1600);
        assert_eq!(
            odd_rules(&set),
            [(3, "image-odd-size"), (5, "image-grayscale"), (7, "image-odd-aspect-ratio")]
        );
        // Two in twenty are a kind of image.
        set[9] = facts(1600, 300);
        set[11] = ImageFacts { grayscale: true, ..facts(800, 600) };
        assert_eq!(odd_rules(&set), [(3, "image-odd-size")]);
        let scans = vec![ImageFacts { grayscale: true, ..facts(300, 1600) }; 20];
        assert_eq!(odd_rules(&scans), []);
        assert_eq!(odd_rules(&set[..9]), []);
    }
}
