//! Which of a block's symbols: 256 bits.

use super::MAX_SYMBOLS;

/// A set of symbol numbers, each below [`MAX_SYMBOLS`]; 32 bytes, no allocation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolSet([u64; MAX_SYMBOLS / 64]);

impl SymbolSet {
    /// No symbol.
    pub const EMPTY: Self = Self([0; MAX_SYMBOLS / 64]);

    /// The empty set.
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// The set of all symbols below `count`.
    pub fn below(count: usize) -> Self {
        Self(std::array::from_fn(|word| match count.saturating_sub(word * 64) {
            bits @ 0..64 => (1 << bits) - 1,
            _ => u64::MAX,
        }))
    }

    /// Adds `symbol`; true if it was not there before. A number outside the block is not added.
    pub fn insert(&mut self, symbol: usize) -> bool {
        let Some(word) = self.0.get_mut(symbol / 64) else { return false };
        let bit = 1 << (symbol % 64);
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Takes `symbol` out; true if it was there.
    pub fn remove(&mut self, symbol: usize) -> bool {
        let Some(word) = self.0.get_mut(symbol / 64) else { return false };
        let bit = 1 << (symbol % 64);
        let there = *word & bit != 0;
        *word &= !bit;
        there
    }

    /// Takes all symbols out.
    pub fn clear(&mut self) {
        *self = Self::EMPTY;
    }

    /// Whether `symbol` is in the set.
    pub fn contains(&self, symbol: usize) -> bool {
        self.0.get(symbol / 64).is_some_and(|word| word & (1 << (symbol % 64)) != 0)
    }

    /// How many symbols are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no symbol is in the set.
    pub fn is_empty(&self) -> bool {
        *self == Self::EMPTY
    }

    /// The symbols in the set, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = usize> + use<> {
        let words = self.0;
        (0..words.len()).flat_map(move |word| {
            let mut rest = words[word];
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                rest &= rest.wrapping_sub(1);
                (bit < 64).then_some(word * 64 + bit)
            })
        })
    }

    /// The symbols below `count` that are not in the set.
    pub fn missing(&self, count: usize) -> Self {
        Self::below(count).difference(self)
    }

    /// Whether all symbols below `count` are in the set.
    pub fn has_all(&self, count: usize) -> bool {
        count <= MAX_SYMBOLS && self.missing(count).is_empty()
    }

    /// The symbols of both sets.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// The symbols of this set that are not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & !other.0[word]))
    }

    /// The bits, symbol 0 in the lowest of the first word: for the wire.
    pub const fn words(&self) -> [u64; MAX_SYMBOLS / 64] {
        self.0
    }

    /// The set of these bits, the reverse of [`SymbolSet::words`].
    pub const fn from_words(words: [u64; MAX_SYMBOLS / 64]) -> Self {
        Self(words)
    }
}

impl FromIterator<usize> for SymbolSet {
    fn from_iter<I: IntoIterator<Item = usize>>(symbols: I) -> Self {
        let mut set = Self::new();
        for symbol in symbols {
            set.insert(symbol);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_set_of_numbers(
            steps in proptest::collection::vec((any::<bool>(), 0..300_usize), 0..400),
            count in 0..300_usize,
        ) {
            let (mut set, mut model) = (SymbolSet::new(), BTreeSet::new());
            for (insert, symbol) in steps {
                if insert {
                    prop_assert_eq!(set.insert(symbol), symbol < MAX_SYMBOLS && model.insert(symbol));
                } else {
                    prop_assert_eq!(set.remove(symbol), model.remove(&symbol));
                }
            }
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert!(set.iter().eq(model.iter().copied()));
            prop_assert!((0..300).all(|symbol| set.contains(symbol) == model.contains(&symbol)));
            let missing: Vec<usize> = (0..count.min(MAX_SYMBOLS)).filter(|s| !model.contains(s)).collect();
            prop_assert!(set.missing(count).iter().eq(missing.iter().copied()));
            prop_assert_eq!(set.has_all(count), count <= MAX_SYMBOLS && missing.is_empty());
            prop_assert_eq!(set.iter().collect::<SymbolSet>(), set);
            prop_assert_eq!(SymbolSet::from_words(set.words()), set);
        }
    }

    #[test]
    fn below_the_maximum_is_everything() {
        assert_eq!(SymbolSet::below(0), SymbolSet::EMPTY);
        for count in [1, 63, 64, 65, 128, 255, 256] {
            assert!(SymbolSet::below(count).iter().eq(0..count), "{count}");
        }
        assert_eq!(SymbolSet::below(MAX_SYMBOLS + 1), SymbolSet::below(MAX_SYMBOLS));
    }
}
