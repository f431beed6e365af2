//! Image quality issues: each has a score from 0 (bad) to 1, and a threshold below which it is reported.
//!
//! The issues and, unless noted, their thresholds are those of CleanVision 0.3.7. Scores are computed from luma at about the
//! model's resolution. Some measures differ, because CleanVision's are meant for photographs and flag documents: a page with
//! little print is not overexposed, and a chart with few colors does not lack information.

use super::{ImageFacts, Records};
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

/// The images that are unlike most of the dataset: see [`outliers_among`].
pub fn outliers(records: &Records) -> Vec<Outlier> {
    let all: Vec<(usize, usize, &ImageFacts)> = records
        .iter()
        .enumerate()
        .flat_map(|(row, (_, images))| {
            images.iter().enumerate().map(move |(at, image)| (row, at + 1, &image.facts))
        })
        .filter(|(_, _, facts)| facts.is_measured())
        .collect();
    outliers_among(&all)
}

/// Outliers among measured images, each given with its row and its number in the row: in size, in aspect ratio, or grayscale.
/// What holds for more than a twentieth of the dataset is a kind of image that belongs to it: scans are gray, receipts are long.
pub fn outliers_among(all: &[(usize, usize, &ImageFacts)]) -> Vec<Outlier> {
    if all.len() < SET {
        return vec![];
    }
    let mut outliers = Vec::new();
    let mut find = |rule, is: &dyn Fn(&ImageFacts) -> bool| {
        let found = all.iter().filter(|(_, _, facts)| is(facts)).count();
        if found <= (all.len() / RARE).max(1) {
            let those = all.iter().filter(|(_, _, facts)| is(facts));
            outliers.extend(those.map(|(row, image, facts)| {
                let size = (facts.width, facts.height);
                Outlier { row: *row, image: *image, rule, size }
            }));
        }
    };
    let (low, high) = usual_sizes(all.iter().map(|(_, _, facts)| *facts));
    find(&rules::IMAGE_ODD_SIZE, &|facts| size(facts) < low || size(facts) > high);
    find(&rules::IMAGE_ODD_ASPECT_RATIO, &|facts| facts.aspect() < ODD_ASPECT_RATIO);
    find(&rules::IMAGE_GRAYSCALE, &|facts| facts.grayscale);
    outliers.sort_by_key(|outlier| (outlier.row, outlier.image));
    outliers
}

/// The side of a square with as many pixels.
fn size(facts: &ImageFacts) -> f64 {
    (f64::from(facts.width) * f64::from(facts.height)).sqrt()
}

/// The smallest and the largest usual size.
pub fn usual_sizes<'f>(facts: impl Iterator<Item = &'f ImageFacts>) -> (f64, f64) {
    let mut sizes: Vec<f64> = facts.map(size).collect();
    if sizes.is_empty() {
        return (0.0, f64::INFINITY);
    }
    sizes.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        let at = share * (sizes.len() - 1) as f64;
        let (below, above) = (sizes[at.floor() as usize], sizes[at.ceil() as usize]);
        below + (above - below) * at.fract()
    };
    let (low, high) = (quantile(0.25), quantile(0.75));
    // Half a pixel of tolerance: if all images have one size the range is 0, and rounding is not an outlier.
    let range = SPREAD * (high - low) + 0.5;
    (low - range, high + range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::curate::{ImageRecord, Record};
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
        outliers(&records).iter().map(|outlier| (outlier.row, outlier.rule.id)).collect()
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
