//! Groups of what is alike: how many there are, and the first of them.

use pixtune_core::curate::Groups;

/// Groups of images or of texts that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alike<Member> {
    /// How many groups there are.
    pub groups: u64,
    /// How many members they have in all.
    pub members: u64,
    /// Groups with members on both sides of the split.
    pub across: u64,
    /// Those across the split first, then the largest; at most 50.
    pub first: Vec<AlikeGroup<Member>>,
}

/// What is alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlikeGroup<Member> {
    /// How many members there are.
    pub count: u64,
    /// Whether they stand on both sides of the split.
    pub across: bool,
    /// The first of them, at most 24; distances and similarities are to the very first.
    pub members: Vec<Member>,
}

/// So many groups are kept.
const KEPT_GROUPS: usize = 50;
/// So many members of each.
const KEPT_MEMBERS: usize = 24;

impl<Member> Default for Alike<Member> {
    fn default() -> Alike<Member> {
        Alike { groups: 0, members: 0, across: 0, first: Vec::new() }
    }
}

impl<Member> Alike<Member> {
    /// Puts groups of several together. `sides` tells of a number whether it is trained on and whether it is held out;
    /// `member` describes one beside the first of its group.
    pub(super) fn of(
        mut groups: Groups,
        sides: impl Fn(u32) -> [bool; 2],
        member: impl Fn(u32, u32) -> Member,
    ) -> Alike<Member> {
        let several = groups.several();
        let is_across = |group: &Vec<u32>| {
            let on = |side: usize| group.iter().any(|index| sides(*index)[side]);
            on(0) && on(1)
        };
        let mut ranked: Vec<(bool, &Vec<u32>)> =
            several.iter().map(|group| (is_across(group), group)).collect();
        ranked.sort_by_key(|(across, group)| std::cmp::Reverse((*across, group.len())));
        let kept = ranked.iter().take(KEPT_GROUPS).map(|(across, group)| AlikeGroup {
            count: group.len() as u64,
            across: *across,
            members: group.iter().take(KEPT_MEMBERS).map(|index| member(group[0], *index)).collect(),
        });
        Alike {
            groups: several.len() as u64,
            members: several.iter().map(|group| group.len() as u64).sum(),
            across: ranked.iter().filter(|(across, _)| *across).count() as u64,
            first: kept.collect(),
        }
    }
}
