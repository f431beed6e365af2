//! Groups of near-duplicates: how many there are, and the first of them.

use pixtune_core::curate::Groups;

/// Groups of near-duplicate images or texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearDuplicates<Member> {
    /// How many groups there are.
    pub groups: u64,
    /// How many members they have in all.
    pub members: u64,
    /// Groups with members in both splits.
    pub across: u64,
    /// Groups with members in both splits first, then the largest; at most 50.
    pub first: Vec<NearGroup<Member>>,
}

/// A group of near-duplicates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NearGroup<Member> {
    /// How many members there are.
    pub count: u64,
    /// Whether they are in both splits.
    pub across: bool,
    /// The first members, at most 24; distances and similarities are those to the first one.
    pub members: Vec<Member>,
}

/// Groups that are kept.
const KEPT_GROUPS: usize = 50;
/// Members that are kept of each.
const KEPT_MEMBERS: usize = 24;

impl<Member> Default for NearDuplicates<Member> {
    fn default() -> NearDuplicates<Member> {
        NearDuplicates { groups: 0, members: 0, across: 0, first: Vec::new() }
    }
}

impl<Member> NearDuplicates<Member> {
    /// Collects groups of several members. `splits` returns for a member whether it is in the training split and whether it is in
    /// the validation split; `member` describes one compared with the first of its group.
    pub(super) fn of(
        mut groups: Groups,
        splits: impl Fn(u32) -> [bool; 2],
        member: impl Fn(u32, u32) -> Member,
    ) -> NearDuplicates<Member> {
        let several = groups.several();
        let is_across = |group: &Vec<u32>| {
            let is_in = |split: usize| group.iter().any(|index| splits(*index)[split]);
            is_in(0) && is_in(1)
        };
        let mut ranked: Vec<(bool, &Vec<u32>)> =
            several.iter().map(|group| (is_across(group), group)).collect();
        ranked.sort_by_key(|(across, group)| std::cmp::Reverse((*across, group.len())));
        let kept = ranked.iter().take(KEPT_GROUPS).map(|(across, group)| NearGroup {
            count: group.len() as u64,
            across: *across,
            members: group.iter().take(KEPT_MEMBERS).map(|index| member(group[0], *index)).collect(),
        });
        NearDuplicates {
            groups: several.len() as u64,
            members: several.iter().map(|group| group.len() as u64).sum(),
            across: ranked.iter().filter(|(across, _)| *across).count() as u64,
            first: kept.collect(),
        }
    }
}
