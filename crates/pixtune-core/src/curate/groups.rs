//! A union-find structure.

use std::collections::BTreeMap;

/// A partition of `0..len`; each group is named by its first member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    parents: Vec<u32>,
}

impl Groups {
    /// Creates groups of one member each.
    pub fn new(len: usize) -> Groups {
        Groups { parents: (0..u32::try_from(len).unwrap_or(u32::MAX)).collect() }
    }

    /// The first member of a group.
    pub fn first(&mut self, mut index: u32) -> u32 {
        while self.parents[index as usize] != index {
            self.parents[index as usize] = self.parents[self.parents[index as usize] as usize];
            index = self.parents[index as usize];
        }
        index
    }

    /// Whether it is the first member of its group.
    pub fn is_first(&self, index: u32) -> bool {
        self.parents[index as usize] == index
    }

    /// Joins two groups; returns false if they were one already.
    pub fn join(&mut self, one: u32, other: u32) -> bool {
        let (one, other) = (self.first(one), self.first(other));
        self.parents[one.max(other) as usize] = one.min(other);
        one != other
    }

    /// The groups of more than one member, ordered by their first members. Most members are alone, so only the others are
    /// collected.
    pub fn several(&mut self) -> Vec<Vec<u32>> {
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for index in 0..self.parents.len() as u32 {
            let first = self.first(index);
            if first != index {
                members.entry(first).or_insert_with(|| vec![first]).push(index);
            }
        }
        members.into_values().collect()
    }

    /// The number of members.
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.parents.is_empty()
    }
}
