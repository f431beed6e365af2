//! Judging images by what was measured of them: each issue has a score from 0 (bad) to 1, and a threshold below which
//! it is told.
//!
//! The issues and, where nothing is said, their thresholds are those of CleanVision 0.3.7. Scores are taken of luma at
//! about the size the model sees. Where photographs are meant and documents would be hit, the measure is another one:
//! a page with little print is no over-exposed photograph, and a chart of few colors does not lack information.

use super::{ImageFacts, Records};
use crate::diagnostic::{Finding, Rule};
use crate::rules;
use crate::spec::ModelSpec;

/// How good an image is in one respect, and whether that is too little.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The rule that a low score breaks.
    pub rule: &'static Rule,
    /// 0 is bad, 1 is good.
    pub score: f64,
    /// Below this the rule is broken.
    pub threshold: f64,
}

impl Score {
    /// Whether the rule is broken.
    pub fn is_issue(&self) -> bool {
        self.score < self.threshold
    }
}

/// Of an image that is dark as a whole even its brightest hundredth is.
pub const DARK: f64 = 0.32;

/// Of an over-exposed image even the darkest thousandth is nearly white; CleanVision asks the darkest twentieth, and
/// finds every page with little print.
pub const LIGHT: f64 = 0.05;

/// At least this share of the 16 x 16 tiles shows something.
pub const LOW_INFORMATION: f64 = 0.01;

/// One divided by the width in pixels of the sharpest edges, as the model sees them: at six pixels letters run together.
pub const BLURRY: f64 = 1.0 / 6.0;

/// The shorter side divided by the longer.
pub const ODD_ASPECT_RATIO: f64 = 0.35;

/// Two patches of 16 pixels: less holds no readable character.
pub const TOO_SMALL: u32 = 32;

/// An image made smaller by more than this loses its small print.
pub const SHRUNK: f64 = 4.0;

/// Height in pixels below which print is hardly read by the model: half a patch.
pub const READABLE: f64 = 8.0;

/// The scores that need no other image.
pub fn scores(facts: &ImageFacts, model: &ModelSpec) -> Vec<Score> {
    if !facts.is_measured() {
        return vec![];
    }
    let score = |rule, score: f64, threshold| Score { rule, score: score.clamp(0.0, 1.0), threshold };
    let shorter = f64::from(facts.width.min(facts.height));
    vec![
        score(&rules::IMAGE_DARK, facts.brightness_at(990), DARK),
        score(&rules::IMAGE_LIGHT, 1.0 - facts.brightness_at(1), LIGHT),
        score(&rules::IMAGE_LOW_INFORMATION, f64::from(facts.structure) / 1000.0, LOW_INFORMATION),
        score(&rules::IMAGE_BLURRY, 1.0 / edge_width(facts, model).max(1.0), BLURRY),
        score(&rules::IMAGE_TOO_SMALL, shorter / (2.0 * f64::from(TOO_SMALL)), 0.5),
        score(&rules::IMAGE_SHRUNK, 1.0 / shrunk(facts, model), 1.0 / SHRUNK),
    ]
}

/// Pixels the sharpest edges are wide as the model sees the image; 0 without edges.
pub fn edge_width(facts: &ImageFacts, model: &ModelSpec) -> f64 {
    let seen = f64::from(facts.width.max(facts.height)) / shrunk(facts, model);
    f64::from(facts.edge_width) / 100.0 * seen / f64::from(facts.working_side().max(1))
}

/// By what factor the model's limit makes the image smaller; 1 for one that fits.
pub fn shrunk(facts: &ImageFacts, model: &ModelSpec) -> f64 {
    (f64::from(facts.width.max(facts.height)) / f64::from(model.max_side)).max(1.0)
}

/// What is to be said of an image by itself.
pub fn judge(facts: &ImageFacts, model: &ModelSpec) -> Vec<Finding> {
    let broken = scores(facts, model).into_iter().filter(Score::is_issue);
    broken.map(|score| told(&score, facts, model)).collect()
}

fn told(score: &Score, facts: &ImageFacts, model: &ModelSpec) -> Finding {
    let ImageFacts { width, height, .. } = facts;
    let percent = |share: f64| (100.0 * share).round();
    let (message, hint) = if score.rule == &rules::IMAGE_DARK {
        (
            format!(
                "even the brightest hundredth of the image has {} % of full brightness",
                percent(score.score)
            ),
            None,
        )
    } else if score.rule == &rules::IMAGE_LIGHT {
        (
            format!("all of the image is brighter than {} % of full brightness", percent(1.0 - score.score)),
            None,
        )
    } else if score.rule == &rules::IMAGE_LOW_INFORMATION {
        ("there is next to nothing to see in the image".to_owned(), None)
    } else if score.rule == &rules::IMAGE_BLURRY {
        (
            format!(
                "the sharpest edges are {:.0} pixels wide as the model sees them",
                edge_width(facts, model)
            ),
            None,
        )
    } else if score.rule == &rules::IMAGE_TOO_SMALL {
        (
            format!("{width}x{height} pixels are at most a few patches"),
            Some("use the image this was cut from".to_owned()),
        )
    } else {
        let factor = shrunk(facts, model);
        let survives = READABLE * factor;
        (
            format!(
                "{width}x{height} is made {factor:.1} times smaller: print below {survives:.0} pixels is lost"
            ),
            Some("cut out the part that the question is about, or give it in several images".to_owned()),
        )
    };
    let finding = Finding::new(score.rule, "", message);
    match hint {
        Some(hint) => finding.hint(hint),
        None => finding,
    }
}

/// An image that is unlike most of its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Odd {
    /// Its row.
    pub row: usize,
    /// Its number in the row, from 1.
    pub image: usize,
    /// In what it is odd.
    pub rule: &'static Rule,
    /// Its width and height.
    pub size: (u32, u32),
}

impl Odd {
    /// What is to be said of it.
    pub fn told(&self) -> Finding {
        let ((width, height), image) = (self.size, self.image);
        let message = if self.rule == &rules::IMAGE_GRAYSCALE {
            format!("image {image} is gray, most others are colored")
        } else if self.rule == &rules::IMAGE_ODD_ASPECT_RATIO {
            format!("image {image} has the shape of {width}x{height}, unlike most others")
        } else {
            format!("image {image} has {width}x{height} pixels, far from what most others have")
        };
        Finding::new(self.rule, "", message)
    }
}

/// Fewer images are no set to be odd in.
const SET: usize = 10;

/// The spread of sizes, in interquartile ranges around the quartiles, that is not odd.
const SPREAD: f64 = 3.0;

/// The images that are unlike most of the set: see [`odd_among`].
pub fn odd(records: &Records) -> Vec<Odd> {
    let all: Vec<(usize, usize, &ImageFacts)> = records
        .iter()
        .enumerate()
        .flat_map(|(row, (_, images))| {
            images.iter().enumerate().map(move |(at, image)| (row, at + 1, &image.facts))
        })
        .filter(|(_, _, facts)| facts.is_measured())
        .collect();
    odd_among(&all)
}

/// Of measured images, each with its row and its number in it, those that are unlike most: in size, in shape, or gray.
/// What is so for half of the set or more is its nature: scans are gray and receipts are long.
pub fn odd_among(all: &[(usize, usize, &ImageFacts)]) -> Vec<Odd> {
    if all.len() < SET {
        return vec![];
    }
    let mut odd = Vec::new();
    let mut tell = |rule, is: &dyn Fn(&ImageFacts) -> bool| {
        let found = all.iter().filter(|(_, _, facts)| is(facts)).count();
        if 2 * found < all.len() {
            let those = all.iter().filter(|(_, _, facts)| is(facts));
            odd.extend(those.map(|(row, image, facts)| {
                let size = (facts.width, facts.height);
                Odd { row: *row, image: *image, rule, size }
            }));
        }
    };
    let (low, high) = usual_sizes(all.iter().map(|(_, _, facts)| *facts));
    tell(&rules::IMAGE_ODD_SIZE, &|facts| size(facts) < low || size(facts) > high);
    tell(&rules::IMAGE_ODD_ASPECT_RATIO, &|facts| facts.aspect() < ODD_ASPECT_RATIO);
    tell(&rules::IMAGE_GRAYSCALE, &|facts| facts.grayscale);
    odd.sort_by_key(|odd| (odd.row, odd.image));
    odd
}

/// The side of a square with as many pixels.
fn size(facts: &ImageFacts) -> f64 {
    (f64::from(facts.width) * f64::from(facts.height)).sqrt()
}

/// The smallest and the largest size that is not odd.
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
    // Half a pixel of room: where all have one size the range is nothing, and rounding is not odd.
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
    fn each_issue_is_told_by_its_measure() {
        assert_eq!(issues(facts(800, 600)), [""; 0]);
        assert_eq!(
            issues(ImageFacts { brightness: [0, 1, 2, 9, 40, 81, 200], ..facts(800, 600) }),
            ["image-dark"]
        );
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
    fn blur_counts_as_the_model_sees_it() {
        // Averaged down by 2 to 800 for measuring, by 1.56 to 1024 by the model.
        let width = edge_width(&ImageFacts { edge_width: 500, ..facts(1600, 1200) }, &PIXTRAL_12B);
        assert!((width - 5.0 * 1024.0 / 800.0).abs() < 1e-9);
    }

    #[test]
    fn print_that_survives_is_told() {
        let finding = &judge(&facts(8192, 4000), &PIXTRAL_12B)[0];
        assert_eq!(finding.message, "8192x4000 is made 8.0 times smaller: print below 64 pixels is lost");
    }

    fn odd_rules(set: &[ImageFacts]) -> Vec<(usize, &'static str)> {
        let mut records = Records::default();
        set.iter()
            .for_each(|facts| records.push(Record::default(), &[ImageRecord { content: 1, facts: *facts }]));
        odd(&records).iter().map(|odd| (odd.row, odd.rule.id)).collect()
    }

    #[test]
    fn odd_is_what_most_of_the_set_is_not() {
        let mut set = vec![facts(800, 600); 20];
        assert_eq!(odd_rules(&set), []);
        set[3] = facts(6000, 4000);
        set[5] = ImageFacts { grayscale: true, ..facts(800, 600) };
        set[7] = facts(300, 1600);
        assert_eq!(
            odd_rules(&set),
            [(3, "image-odd-size"), (5, "image-grayscale"), (7, "image-odd-aspect-ratio")]
        );
        let scans = vec![ImageFacts { grayscale: true, ..facts(300, 1600) }; 20];
        assert_eq!(odd_rules(&scans), []);
        assert_eq!(odd_rules(&set[..9]), []);
    }
}
