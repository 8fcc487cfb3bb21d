//! The least of many values that change one at a time.

/// A value in each of some slots, or none, and always the least of them.
///
/// A tournament: a change is played up to the root, so that it costs log₂ of the number of slots and no allocation. Slots
/// are made as they are named; their number is the caller's to bound.
#[derive(Debug)]
pub(super) struct Least<T> {
    /// The root is at 1, the children of i are 2 i and 2 i + 1, the slots are the lower half.
    nodes: Vec<Option<T>>,
}

impl<T> Default for Least<T> {
    /// Without any value.
    fn default() -> Self {
        Self { nodes: Vec::new() }
    }
}

impl<T: Copy + Ord> Least<T> {
    /// The least value; `None` if no slot has one.
    pub(super) fn get(&self) -> Option<T> {
        self.nodes.get(1).copied().flatten()
    }

    /// Puts a value into a slot, or none.
    pub(super) fn set(&mut self, slot: usize, value: Option<T>) {
        while self.nodes.len() / 2 <= slot {
            self.grow();
        }
        let mut at = self.nodes.len() / 2 + slot;
        self.nodes[at] = value;
        while at > 1 {
            at /= 2;
            self.nodes[at] = lesser(self.nodes[2 * at], self.nodes[2 * at + 1]);
        }
    }

    /// Twice as many slots.
    fn grow(&mut self) {
        let slots = self.nodes.len() / 2;
        let values = self.nodes.split_off(slots);
        self.nodes = vec![None; (4 * slots).max(2)];
        let first = self.nodes.len() / 2;
        self.nodes[first..first + slots].copy_from_slice(&values[..slots]);
        for at in (1..first).rev() {
            self.nodes[at] = lesser(self.nodes[2 * at], self.nodes[2 * at + 1]);
        }
    }
}

fn lesser<T: Copy + Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_least_of_what_is_there(
            changes in proptest::collection::vec((0..40_usize, proptest::option::of(0..100_u32)), 0..200),
        ) {
            let mut least = Least::default();
            let mut values = [None; 40];
            prop_assert_eq!(least.get(), None);
            for (slot, value) in changes {
                least.set(slot, value);
                values[slot] = value;
                prop_assert_eq!(least.get(), values.iter().flatten().min().copied());
            }
        }
    }
}
