//! Sorting of more items than fit into memory: sorted runs in scratch space, merged while they are read.
//!
//! Where scratch space comes from is up to the caller; this crate opens no file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::convert::Infallible;
use std::ops::Range;

/// An item of a fixed number of bytes.
pub trait Fixed: Copy + Ord + Send {
    /// The number of bytes.
    const SIZE: usize;
    /// Appends the bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads an item from its bytes.
    fn read(bytes: &[u8]) -> Self;
}

/// Bytes that are appended once and read at any position.
pub trait Scratch {
    /// Why it can fail.
    type Error;
    /// Appends bytes.
    fn append(&mut self, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Fills a buffer from a position.
    fn read_at(&self, from: u64, buffer: &mut [u8]) -> Result<(), Self::Error>;
}

/// Memory for sorting, and scratch space for what exceeds it.
pub trait Space {
    /// Why scratch space can fail.
    type Error;
    /// Scratch space.
    type Scratch: Scratch<Error = Self::Error>;
    /// New scratch space, which is removed when it is dropped.
    fn scratch(&self) -> Result<Self::Scratch, Self::Error>;
    /// Maximum bytes of the items that the sorters which are filled at the same time hold in memory.
    fn budget(&self) -> usize;
}

/// All of the memory: nothing is ever written to scratch space.
#[derive(Debug, Clone, Copy)]
pub struct Memory;

impl Space for Memory {
    type Error = Infallible;
    type Scratch = Vec<u8>;

    fn scratch(&self) -> Result<Vec<u8>, Infallible> {
        Ok(Vec::new())
    }

    fn budget(&self) -> usize {
        usize::MAX
    }
}

impl Scratch for Vec<u8> {
    type Error = Infallible;

    fn append(&mut self, bytes: &[u8]) -> Result<(), Infallible> {
        self.extend_from_slice(bytes);
        Ok(())
    }

    fn read_at(&self, from: u64, buffer: &mut [u8]) -> Result<(), Infallible> {
        buffer.copy_from_slice(&self[from as usize..][..buffer.len()]);
        Ok(())
    }
}

/// Fewer items are never written to scratch space by themselves.
const FEWEST: usize = 256;

/// Bytes that are written and read at a time, at most.
const BLOCK: usize = 1 << 20;

/// Bytes of a run that are read at a time, at least.
const SMALLEST_BLOCK: usize = 4 << 10;

/// Items on their way to [`Sorted`].
pub struct Sorter<'s, K, S: Space> {
    space: &'s S,
    /// Bytes of the items in memory, at most.
    budget: usize,
    items: Vec<K>,
    scratch: Option<S::Scratch>,
    runs: Vec<Range<u64>>,
    written: u64,
}

impl<'s, K: Fixed, S: Space> Sorter<'s, K, S> {
    /// A sorter without items.
    pub fn new(space: &'s S) -> Self {
        Sorter::one_of(1, space)
    }

    /// A sorter without items, one of several that are filled at the same time.
    pub fn one_of(several: usize, space: &'s S) -> Self {
        let budget = space.budget() / several.max(1);
        Sorter { space, budget, items: Vec::new(), scratch: None, runs: Vec::new(), written: 0 }
    }

    /// Adds an item.
    pub fn push(&mut self, item: K) -> Result<(), S::Error> {
        let most = (self.budget / size_of::<K>()).max(FEWEST);
        if self.items.len() >= most {
            self.spill()?;
        }
        if self.items.len() == self.items.capacity() {
            // Doubling would exceed the budget.
            let more = self.items.len().max(FEWEST).min(most - self.items.len());
            self.items.reserve_exact(more);
        }
        self.items.push(item);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), S::Error> {
        self.items.sort_unstable();
        let scratch = match &mut self.scratch {
            Some(scratch) => scratch,
            none => none.insert(self.space.scratch()?),
        };
        let from = self.written;
        let mut block = Vec::with_capacity(BLOCK.min(self.items.len() * K::SIZE) + K::SIZE);
        for item in &self.items {
            item.write(&mut block);
            if block.len() >= BLOCK {
                scratch.append(&block)?;
                self.written += block.len() as u64;
                block.clear();
            }
        }
        scratch.append(&block)?;
        self.written += block.len() as u64;
        self.runs.push(from..self.written);
        self.items.clear();
        Ok(())
    }

    /// Sorts what was added.
    pub fn finish(mut self) -> Result<Sorted<K, S::Scratch>, S::Error> {
        if self.scratch.is_some() {
            self.spill()?;
            self.items = Vec::new();
        }
        self.items.sort_unstable();
        Ok(Sorted { items: self.items, scratch: self.scratch, runs: self.runs, budget: self.budget })
    }
}

/// Items in order, to be read any number of times.
#[derive(Debug)]
pub struct Sorted<K, S> {
    items: Vec<K>,
    scratch: Option<S>,
    runs: Vec<Range<u64>>,
    budget: usize,
}

impl<K, S> Default for Sorted<K, S> {
    fn default() -> Self {
        Sorted { items: vec![], scratch: None, runs: vec![], budget: 0 }
    }
}

impl<K: Fixed, S: Scratch> Sorted<K, S> {
    /// The number of items.
    pub fn len(&self) -> u64 {
        let written: u64 = self.runs.iter().map(|run| run.end - run.start).sum();
        self.items.len() as u64 + written / K::SIZE as u64
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from the first item.
    pub fn cursor(&self) -> Result<Cursor<'_, K, S>, S::Error> {
        let mut cursor = Cursor { sorted: self, next: 0, runs: Vec::new(), heads: BinaryHeap::new() };
        let block = (self.budget / self.runs.len().max(1)).clamp(SMALLEST_BLOCK, BLOCK) / K::SIZE * K::SIZE;
        for (index, run) in self.runs.iter().enumerate() {
            let mut open =
                OpenRun { left: run.clone(), buffer: Vec::new(), at: 0, block: block.max(K::SIZE) };
            if let (Some(scratch), true) = (&self.scratch, run.start < run.end) {
                let first = open.next(scratch)?;
                cursor.heads.extend(first.map(|item| Reverse((item, index))));
            }
            cursor.runs.push(open);
        }
        Ok(cursor)
    }

    /// Calls `visit` with every item in order.
    pub fn each(&self, mut visit: impl FnMut(K) -> Result<(), S::Error>) -> Result<(), S::Error> {
        let mut cursor = self.cursor()?;
        while let Some(item) = cursor.next()? {
            visit(item)?;
        }
        Ok(())
    }
}

/// Where [`Sorted`] is read.
#[derive(Debug)]
pub struct Cursor<'s, K, S> {
    sorted: &'s Sorted<K, S>,
    next: usize,
    runs: Vec<OpenRun>,
    /// The next item of each run.
    heads: BinaryHeap<Reverse<(K, usize)>>,
}

#[derive(Debug)]
struct OpenRun {
    left: Range<u64>,
    buffer: Vec<u8>,
    at: usize,
    block: usize,
}

impl OpenRun {
    fn next<K: Fixed, S: Scratch>(&mut self, scratch: &S) -> Result<Option<K>, S::Error> {
        if self.at == self.buffer.len() {
            let bytes = (self.left.end - self.left.start).min(self.block as u64) as usize;
            if bytes == 0 {
                return Ok(None);
            }
            self.buffer.resize(bytes, 0);
            scratch.read_at(self.left.start, &mut self.buffer)?;
            self.left.start += bytes as u64;
            self.at = 0;
        }
        self.at += K::SIZE;
        Ok(Some(K::read(&self.buffer[self.at - K::SIZE..self.at])))
    }
}

impl<K: Fixed, S: Scratch> Cursor<'_, K, S> {
    /// The next item.
    #[allow(clippy::should_implement_trait, reason = "reading can fail")]
    pub fn next(&mut self) -> Result<Option<K>, S::Error> {
        let Some(scratch) = &self.sorted.scratch else {
            self.next += 1;
            return Ok(self.sorted.items.get(self.next - 1).copied());
        };
        let Some(mut head) = self.heads.peek_mut() else { return Ok(None) };
        let Reverse((item, run)) = *head;
        match self.runs[run].next(scratch)? {
            Some(following) => *head = Reverse((following, run)),
            None => {
                std::collections::binary_heap::PeekMut::pop(head);
            }
        }
        Ok(Some(item))
    }
}

/// Items in the order in which they were added, each found by its index.
pub struct List<'s, K, S: Space> {
    space: &'s S,
    items: Vec<K>,
    scratch: Option<S::Scratch>,
    /// Items in scratch space.
    written: usize,
    /// Blocks of items that were read: their number, and the items.
    cache: Vec<Option<(usize, Vec<K>)>>,
}

/// Items of a block of a [`List`] that are read at a time.
const AT_A_TIME: usize = 64;

/// Blocks that a [`List`] holds in memory.
const CACHED: usize = 1024;

impl<'s, K: Fixed, S: Space> List<'s, K, S> {
    /// A list without items.
    pub fn new(space: &'s S) -> Self {
        List { space, items: vec![], scratch: None, written: 0, cache: vec![] }
    }

    /// Adds an item.
    pub fn push(&mut self, item: K) -> Result<(), S::Error> {
        self.items.push(item);
        let most = (self.space.budget() / size_of::<K>()).max(FEWEST);
        // After the first time, the same budget need not be filled again.
        if self.items.len() >= if self.written > 0 { most.min(BLOCK / K::SIZE) } else { most } {
            let scratch = match &mut self.scratch {
                Some(scratch) => scratch,
                none => none.insert(self.space.scratch()?),
            };
            for items in self.items.chunks(BLOCK / K::SIZE) {
                let mut block = Vec::with_capacity(items.len() * K::SIZE);
                items.iter().for_each(|item| item.write(&mut block));
                scratch.append(&block)?;
            }
            self.written += self.items.len();
            self.items = Vec::new();
        }
        Ok(())
    }

    /// The number of items.
    pub fn len(&self) -> usize {
        self.written + self.items.len()
    }

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item with an index below [`List::len`].
    pub fn get(&mut self, index: usize) -> Result<K, S::Error> {
        let (Some(scratch), Some(_)) = (&self.scratch, self.written.checked_sub(index + 1)) else {
            return Ok(self.items[index - self.written]);
        };
        self.cache.resize(CACHED, None);
        let (block, at) = (index / AT_A_TIME, index % AT_A_TIME);
        let cached = &mut self.cache[block % CACHED];
        if let Some((number, items)) = cached
            && *number == block
        {
            return Ok(items[at]);
        }
        let first = block * AT_A_TIME;
        let count = AT_A_TIME.min(self.written - first);
        let mut bytes = vec![0; count * K::SIZE];
        scratch.read_at((first * K::SIZE) as u64, &mut bytes)?;
        let items: Vec<K> = bytes.chunks_exact(K::SIZE).map(K::read).collect();
        let item = items[at];
        *cached = Some((block, items));
        Ok(item)
    }
}

/// Defines an item by its fields, the most significant first.
macro_rules! fixed {
    ($(#[$doc:meta])* $vis:vis $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        $vis struct $name {
            $($(#[$field_doc])* $vis $field: $type,)*
        }

        impl $crate::curate::sorted::Fixed for $name {
            const SIZE: usize = 0 $(+ <$type as $crate::curate::sorted::Field>::SIZE)*;

            fn write(&self, out: &mut Vec<u8>) {
                $($crate::curate::sorted::Field::write(&self.$field, out);)*
            }

            fn read(bytes: &[u8]) -> Self {
                let mut from = bytes;
                $name { $($field: $crate::curate::sorted::Field::read(&mut from),)* }
            }
        }
    };
}
pub(crate) use fixed;

/// A field of an item.
pub(crate) trait Field: Sized {
    const SIZE: usize;
    fn write(&self, out: &mut Vec<u8>);
    fn read(from: &mut &[u8]) -> Self;
}

macro_rules! number_field {
    ($($type:ty)*) => {
        $(impl Field for $type {
            const SIZE: usize = size_of::<$type>();

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(from: &mut &[u8]) -> Self {
                let mut bytes = [0; size_of::<$type>()];
                let (own, rest) = from.split_at(bytes.len());
                bytes.copy_from_slice(own);
                *from = rest;
                Self::from_le_bytes(bytes)
            }
        })*
    };
}
number_field!(u8 u16 u32 u64);

impl<T: Field, const COUNT: usize> Field for [T; COUNT] {
    const SIZE: usize = COUNT * T::SIZE;

    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|item| item.write(out));
    }

    fn read(from: &mut &[u8]) -> Self {
        std::array::from_fn(|_| T::read(from))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fixed! {
        Item { key: u64, more: [u8; 3], number: u32, }
    }

    struct Tight(usize);

    impl Space for Tight {
        type Error = Infallible;
        type Scratch = Vec<u8>;

        fn scratch(&self) -> Result<Vec<u8>, Infallible> {
            Ok(Vec::new())
        }

        fn budget(&self) -> usize {
            self.0
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn sorts_and_lists_in_any_budget(
            items in proptest::collection::vec((0..50u64, any::<[u8; 3]>(), any::<u32>()), 0..5000),
            budget in 0..100_000usize,
        ) {
            let items: Vec<Item> =
                items.into_iter().map(|(key, more, number)| Item { key, more, number }).collect();
            let space = Tight(budget);
            let (mut sorter, mut list) = (Sorter::new(&space), List::new(&space));
            for item in &items {
                let Ok(()) = sorter.push(*item);
                let Ok(()) = list.push(*item);
            }
            let Ok(sorted) = sorter.finish();
            prop_assert_eq!(sorted.len(), items.len() as u64);
            for (index, item) in items.iter().enumerate().rev() {
                let Ok(got) = list.get(index);
                prop_assert_eq!(got, *item);
            }
            let mut wanted = items;
            wanted.sort_unstable();
            for _ in 0..2 {
                let mut got = Vec::new();
                let Ok(()) = sorted.each(|item| {
                    got.push(item);
                    Ok(())
                });
                prop_assert_eq!(&got, &wanted);
            }
        }
    }
}
