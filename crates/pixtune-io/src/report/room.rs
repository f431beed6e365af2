//! How much a page may hold, so that it stays below 5 MB for any set: every part has its share.

/// Bytes of the lists of places, names and texts.
const LISTS: usize = 500_000;
/// Bytes of the conversations in the browser of samples, without their images.
const STREAMS: usize = 700_000;
/// Bytes of images, with what is said of each: in the browser of samples, among the worst, side by side, and by
/// chance.
const IMAGES: [usize; 4] = [1_200_000, 800_000, 700_000, 750_000];

/// A part of a page that shows images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shelf {
    /// The browser of samples.
    Samples,
    /// The worst by each score.
    Worst,
    /// Side by side.
    NearDuplicates,
    /// A choice by chance.
    Gallery,
}

/// What is left of the room.
#[derive(Debug)]
pub(super) struct Room {
    lists: usize,
    streams: usize,
    images: [usize; 4],
    /// Images that were left out.
    pub(super) images_left_out: u64,
}

impl Room {
    pub(super) fn new() -> Room {
        Room { lists: LISTS, streams: STREAMS, images: IMAGES, images_left_out: 0 }
    }

    /// Adds as many of the rows as there is room for, at most `most`; how many of `total` are missing is told.
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

    /// Bytes that each of so many images of a shelf may take.
    pub(super) fn image_share(shelf: Shelf, images: usize) -> usize {
        IMAGES[shelf as usize] / images.max(1)
    }

    /// Whether there is room for so many bytes of an image; they are taken then.
    pub(super) fn take_image(&mut self, shelf: Shelf, bytes: usize) -> bool {
        let left = &mut self.images[shelf as usize];
        let fits = bytes <= *left;
        if fits {
            *left -= bytes;
        } else {
            self.images_left_out += 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_end_where_the_room_ends_and_say_so() {
        let mut room = Room::new();
        let mut out = String::new();
        let missing = |count: u64| format!("[{count} more]");
        room.list(&mut out, (3, 9), (0..9).map(|n| n.to_string()), missing);
        assert_eq!(out, "012[6 more]");
        out.clear();
        room.list(&mut out, (9, 9), (0..9).map(|_| "x".repeat(100_000)), missing);
        assert_eq!((out.len(), out.ends_with("[5 more]")), (400_008, true));
    }

    #[test]
    fn all_shares_together_leave_room_for_the_frame() {
        assert!(LISTS + STREAMS + IMAGES.iter().sum::<usize>() < 4_900_000);
        let mut room = Room::new();
        assert!(room.take_image(Shelf::Worst, 700_000));
        assert!(!room.take_image(Shelf::Worst, 200_000) && room.take_image(Shelf::NearDuplicates, 200_000));
        assert_eq!(room.images_left_out, 1);
    }
}
