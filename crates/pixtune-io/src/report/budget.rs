//! The size budget of a page, which stays below 5 MB for any dataset: every part has its share.

/// Bytes of the lists of locations, names and texts.
const LISTS: usize = 500_000;
/// Bytes of the conversations in the browser of samples, without their images.
const STREAMS: usize = 700_000;
/// Bytes of images with their captions: in the browser of samples, among the worst, among duplicates, in the gallery, and
/// of findings.
const IMAGES: [usize; 5] = [1_150_000, 700_000, 650_000, 650_000, 500_000];

/// A part of a page that shows images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageArea {
    /// The browser of samples.
    Samples,
    /// The worst by each score.
    Worst,
    /// Side by side.
    Duplicates,
    /// A random selection.
    Gallery,
    /// The first of each finding.
    Findings,
}

/// The bytes that are left.
#[derive(Debug)]
pub(super) struct SizeBudget {
    lists: usize,
    streams: usize,
    images: [usize; 5],
    /// Images that did not fit.
    pub(super) images_omitted: u64,
}

impl SizeBudget {
    pub(super) fn new() -> SizeBudget {
        SizeBudget { lists: LISTS, streams: STREAMS, images: IMAGES, images_omitted: 0 }
    }

    /// Adds as many of the rows as fit, at most `most`, and the number of those of `total` that are missing.
    pub(super) fn list(
        &mut self,
        out: &mut String,
        (most, total): (usize, u64),
        rows: impl Iterator<Item = String>,
        missing: impl Fn(u64) -> String,
    ) {
        let mut shown = 0;
        for row in rows.take(most) {
            if row.len() > self.lists {
                break;
            }
            self.lists -= row.len();
            out.push_str(&row);
            shown += 1;
        }
        if total > shown {
            out.push_str(&missing(total - shown));
        }
    }

    /// Bytes that each of so many conversations may take.
    pub(super) fn stream_share(&self, samples: usize) -> usize {
        self.streams / samples.max(1)
    }

    /// Bytes that each of so many images of a area may take.
    pub(super) fn image_share(area: ImageArea, images: usize) -> usize {
        IMAGES[area as usize] / images.max(1)
    }

    /// Takes so many bytes for an image if they are left; whether they were.
    pub(super) fn take_image(&mut self, area: ImageArea, bytes: usize) -> bool {
        let left = &mut self.images[area as usize];
        let fits = bytes <= *left;
        if fits {
            *left -= bytes;
        } else {
            self.images_omitted += 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_with_the_budget_and_count_the_rest() {
        let mut budget = SizeBudget::new();
        let mut out = String::new();
        let missing = |count: u64| format!("[{count} more]");
        budget.list(&mut out, (3, 9), (0..9).map(|n| n.to_string()), missing);
        assert_eq!(out, "012[6 more]");
        out.clear();
        budget.list(&mut out, (9, 9), (0..9).map(|_| "x".repeat(100_000)), missing);
        assert_eq!((out.len(), out.ends_with("[5 more]")), (400_008, true));
    }

    #[test]
    fn shares_leave_space_for_the_frame() {
        assert!(LISTS + STREAMS + IMAGES.iter().sum::<usize>() < 4_900_000);
        let mut budget = SizeBudget::new();
        assert!(budget.take_image(ImageArea::Worst, 600_000));
        assert!(
            !budget.take_image(ImageArea::Worst, 200_000)
                && budget.take_image(ImageArea::Duplicates, 200_000)
        );
        assert_eq!(budget.images_omitted, 1);
    }
}
