//! Pictures of a set that show the same, by the index that `prepare` decides with.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;

use pixtune_core::curate::measure::{Thumbnail, looks_same};
use pixtune_core::curate::near::{DISTANCE, near_pictures};
use pixtune_core::curate::quality::{Odd, odd_among};
use pixtune_core::curate::{Image, PictureFacts};

use super::{FileSide, LinePlace, PictureLook, PicturePlace};

/// Groups of pictures that show the same and are not the same file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NearPictures {
    /// How many groups there are.
    pub groups: u64,
    /// How many different files are in them.
    pub pictures: u64,
    /// Groups with members on both sides of the split.
    pub across: u64,
    /// Those across the split first, then the largest.
    pub first: Vec<NearGroup>,
}

/// Pictures that show the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearGroup {
    /// How many there are.
    pub count: u64,
    /// Whether they stand on both sides of the split.
    pub across: bool,
    /// The first of them; distances are from the first.
    pub members: Vec<NearPicture>,
}

/// A picture of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NearPicture {
    /// Where it stands first.
    pub place: PicturePlace,
    /// Width and height.
    pub size: (u32, u32),
    /// In how many of 64 bits its perceptual hash differs from that of the first of its group.
    pub distance: u32,
    /// Whether its pixels are those of the first, in another file.
    pub same_pixels: bool,
}

/// So many groups are kept.
const KEPT_GROUPS: usize = 50;
/// So many members of each.
const KEPT_MEMBERS: usize = 24;
/// So many thumbnails of a kilobyte are held; others are made again where they are asked for.
const HELD: usize = 1 << 16;

/// Different pictures as they come: 96 bytes each.
#[derive(Default)]
pub(super) struct Gathered {
    images: Vec<Image>,
    places: Vec<Place>,
    thumbnails: HashMap<u32, Thumbnail>,
}

#[derive(Clone, Copy)]
struct Place {
    picture: PicturePlace,
    is_held_out: bool,
}

impl Gathered {
    /// Takes note of a picture that is not there yet.
    pub(super) fn add(&mut self, place: PicturePlace, side: FileSide, look: &PictureLook) {
        let Some(facts) = look.facts else { return };
        let index = self.images.len() as u32;
        if let Some(thumbnail) = look.thumbnail.as_ref().filter(|_| self.thumbnails.len() < HELD) {
            self.thumbnails.insert(index, thumbnail.clone());
        }
        self.images.push(Image { content: look.hash, facts });
        self.places.push(Place { picture: place, is_held_out: side == FileSide::Validation });
    }

    /// Groups them. Where a thumbnail is not held any more, `again` makes it from the file.
    pub(super) fn groups(
        &mut self,
        threads: NonZeroUsize,
        mut again: impl FnMut(PicturePlace) -> Option<Thumbnail>,
    ) -> NearPictures {
        let mut held = std::mem::take(&mut self.thumbnails);
        let places = &self.places;
        let mut same = |one: u32, other: u32| {
            // Room is made before, so that the second does not push out the first.
            if held.len() + 2 > HELD {
                held.clear();
            }
            for index in [one, other] {
                if let std::collections::hash_map::Entry::Vacant(vacant) = held.entry(index)
                    && let Some(made) = again(places[index as usize].picture)
                {
                    vacant.insert(made);
                }
            }
            held.get(&one).zip(held.get(&other)).is_some_and(|(one, other)| looks_same(one, other))
        };
        let mut groups = near_pictures(&self.images, DISTANCE, threads, &mut same);
        // Only groups of several are put together: most pictures stand alone.
        let mut sizes: HashMap<u32, u32> = HashMap::new();
        for index in 0..self.images.len() as u32 {
            let first = groups.first(index);
            if first != index {
                *sizes.entry(first).or_insert(1) += 1;
            }
        }
        let mut gathered: BTreeMap<u32, NearGroup> = BTreeMap::new();
        for index in 0..self.images.len() as u32 {
            let first = groups.first(index);
            if sizes.contains_key(&first) {
                let group = gathered.entry(first).or_insert_with(NearGroup::empty);
                group.count += 1;
                group.across |=
                    self.places[index as usize].is_held_out != self.places[first as usize].is_held_out;
                if group.members.len() < KEPT_MEMBERS {
                    group.members.push(self.member(first, index));
                }
            }
        }
        let mut found = NearPictures { groups: gathered.len() as u64, ..NearPictures::default() };
        found.pictures = gathered.values().map(|group| group.count).sum();
        found.across = gathered.values().filter(|group| group.across).count() as u64;
        let mut first: Vec<NearGroup> = gathered.into_values().collect();
        first.sort_by_key(|group| std::cmp::Reverse((group.across, group.count)));
        first.truncate(KEPT_GROUPS);
        found.first = first;
        found
    }

    fn member(&self, first: u32, index: u32) -> NearPicture {
        let [leader, image] = [first, index].map(|index| &self.images[index as usize]);
        NearPicture {
            place: self.places[index as usize].picture,
            size: (image.facts.width, image.facts.height),
            distance: leader.distance(image),
            same_pixels: index != first && leader.identity() == image.identity(),
        }
    }

    /// What is unlike most of the set.
    pub(super) fn odd(&self) -> Vec<(Odd, PicturePlace)> {
        let all: Vec<(usize, usize, &PictureFacts)> =
            self.images.iter().enumerate().map(|(index, image)| (index, 1, &image.facts)).collect();
        let mut odd = odd_among(&all);
        for odd in &mut odd {
            odd.picture = self.places[odd.row].picture.index as usize + 1;
        }
        odd.into_iter().map(|odd| (odd, self.places[odd.row].picture)).collect()
    }
}

impl NearGroup {
    fn empty() -> NearGroup {
        NearGroup { count: 0, across: false, members: Vec::new() }
    }

    /// The place of its first picture.
    pub fn leader(&self) -> Option<LinePlace> {
        self.members.first().map(|member| member.place.line)
    }
}
