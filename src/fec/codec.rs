//! Reed–Solomon over GF(2⁸): repair symbols of a block, and missing symbols out of repair symbols.

use std::sync::LazyLock;

use reed_solomon_erasure::galois_8;

use super::{Block, MAX_SYMBOLS, SymbolSet};

/// Makes repair symbols, and source symbols out of them.
///
/// Code and arithmetic are those of `reed-solomon-erasure`; what is done here is to find the coefficients. Byte by
/// byte, the k source symbols of a block are the values of a polynomial of degree below k at the points 0, 1 … k − 1,
/// and repair symbol r is its value at the point k + r. So any k symbols determine the polynomial, and Lagrange's
/// formula gives every other symbol as a sum of those k:
///
/// ```text
/// value at t = Σ c(p) · value at p     c(p) = f(t) / ((t − p) · f(p))     f(p) = Π (p − q) over the k points q ≠ p
/// ```
///
/// A coefficient costs three table look-ups, so there is no matrix to build, to invert or to cache: the first block of
/// a new size costs no more than the next, and nothing grows. One table of 64 KiB, made in 0.1 ms, serves all k.
///
/// Microseconds for e symbols of 1,428 bytes, least of 6,000 runs, each with another loss (AVX2, one core,
/// `benches/fec.rs`). In the library's columns a matrix that serves any repair symbol is there already, which takes it
/// 1.5 ms at k = 64 and 9.3 ms at k = 128 (here: under 1 µs); every other loss means to invert another of k × k.
///
/// ```text
///   k   e   encode   library   reconstruct   library
///  64   1      3.7       3.9           4.6      48.7
///  64   4     14.5      13.1          16.1     101.6
///  64  16     56.4      54.2          60.6     295.4
///  88   1      6.6       6.3           7.6      99.3
///  88   4     20.6      18.9          22.7     185.2
///  88  16     79.4      67.5          88.4     528.0
/// 128   1      7.2       7.4           9.0     177.3
/// 128   4     29.2      30.2          29.8     359.9
/// 128  16    103.7     104.9         119.6    1029.0
/// ```
#[derive(Clone, Debug, Default)]
pub struct Codec {
    /// The symbol that is being put together; never more than one.
    sum: Vec<u8>,
}

impl Codec {
    /// A codec for blocks of any size.
    pub fn new() -> Self {
        LazyLock::force(&PRODUCTS);
        Self::default()
    }

    /// Writes repair symbol `repair` (from 0) of `block` into the first [`Block::repair_len`] bytes of `out`.
    ///
    /// # Errors
    /// The block has no such repair symbol, or `out` is too short for it.
    pub fn encode(&mut self, block: &Block, repair: usize, out: &mut [u8]) -> Result<(), EncodeError> {
        let symbols = block.symbols();
        if repair >= block.max_repairs() {
            return Err(EncodeError::NoSuchRepair { repair, symbols });
        }
        let needed = block.repair_len();
        let room = out.len();
        let out = out.get_mut(..needed).ok_or(EncodeError::NoRoom { room, needed })?;
        let products = &PRODUCTS[symbols];
        let point = symbols + repair;
        out.fill(0);
        for (symbol, payload) in block.payloads().enumerate() {
            add(out, coefficient(products, point, symbol), payload);
        }
        Ok(())
    }

    /// Fills in the payloads of the source symbols that are not in `have`, out of those that are and of `repairs`:
    /// pairs of a repair symbol's number (from 0) and its bytes.
    ///
    /// `block` has its final length. Repairs that are no repair symbol of this block (number, length) or come twice
    /// are left out; more than needed do no harm.
    ///
    /// # Errors
    /// Fewer usable repair symbols than missing source symbols; the block is then as it was.
    pub fn reconstruct(
        &mut self,
        block: &mut Block,
        have: &SymbolSet,
        repairs: &[(usize, &[u8])],
    ) -> Result<(), NotEnough> {
        let symbols = block.symbols();
        let missing = have.missing(symbols);
        let wanted = missing.len();
        if wanted == 0 {
            return Ok(());
        }
        // Points of the repair symbols to use, and their bytes.
        let mut used: [(usize, &[u8]); MAX_SYMBOLS] = [(0, &[]); MAX_SYMBOLS];
        let mut points = SymbolSet::new();
        let mut count = 0;
        for &(repair, bytes) in repairs {
            let usable = repair < block.max_repairs() && bytes.len() == block.repair_len();
            if usable && count < wanted && points.insert(symbols + repair) {
                used[count] = (symbols + repair, bytes);
                count += 1;
            }
        }
        if count < wanted {
            return Err(NotEnough { missing: wanted, repairs: count });
        }

        let present = SymbolSet::below(symbols).difference(&missing);
        let products = exchanged(symbols, &missing, &points);
        for target in missing.iter() {
            self.sum.clear();
            self.sum.resize(block.symbol_len(target), 0);
            for symbol in present.iter() {
                add(&mut self.sum, coefficient(&products, target, symbol), block.payload(symbol));
            }
            for &(point, bytes) in &used[..count] {
                add(&mut self.sum, coefficient(&products, target, point), bytes);
            }
            block.payload_mut(target).copy_from_slice(&self.sum);
        }
        Ok(())
    }
}

/// Logarithms of the products f(p) for every point p.
type Products = [u8; MAX_SYMBOLS];

/// The products over the k source symbols, by k.
static PRODUCTS: LazyLock<Box<[Products; MAX_SYMBOLS + 1]>> = LazyLock::new(|| {
    let mut all = Box::new([[0; MAX_SYMBOLS]; MAX_SYMBOLS + 1]);
    for symbols in 1..=MAX_SYMBOLS {
        for point in 0..MAX_SYMBOLS {
            let product = u32::from(all[symbols - 1][point]) + log_difference(point, symbols - 1);
            all[symbols][point] = (product % 255) as u8;
        }
    }
    all
});

/// The products for k points of which those in `gone` have been exchanged for those in `come`: at all these points.
fn exchanged(symbols: usize, gone: &SymbolSet, come: &SymbolSet) -> Products {
    let mut products = PRODUCTS[symbols];
    for point in SymbolSet::below(symbols).union(come).iter() {
        let less: u32 = gone.iter().map(|other| log_difference(point, other)).sum();
        let more: u32 = come.iter().map(|other| log_difference(point, other)).sum();
        // 255 × 256 is more than `less` can be, and 0 as an exponent.
        products[point] = ((u32::from(products[point]) + more + 255 * 256 - less) % 255) as u8;
    }
    products
}

/// Logarithm of the difference of two points, which is their exclusive or; 0, the logarithm of 1, for equal points:
/// all products here leave a point's difference from itself out.
fn log_difference(a: usize, b: usize) -> u32 {
    u32::from(galois_8::LOG_TABLE[(a ^ b) & 0xff])
}

/// What the symbol at point `known` is to be multiplied with in the sum for the one at point `target`.
fn coefficient(products: &Products, target: usize, known: usize) -> u8 {
    let exponent =
        255 * 2 + u32::from(products[target]) - u32::from(products[known]) - log_difference(target, known);
    galois_8::EXP_TABLE[exponent as usize % 255]
}

/// `sum += factor × symbol`. What the symbol is longer than the sum does not count, what it is shorter is zero.
fn add(sum: &mut [u8], factor: u8, symbol: &[u8]) {
    let len = sum.len().min(symbol.len());
    // The library reads the first byte even of nothing.
    if len > 0 {
        galois_8::mul_slice_xor(factor, &symbol[..len], &mut sum[..len]);
    }
}

/// Why a repair symbol could not be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Source and repair symbols together are at most 256, and an empty block has none.
    #[error("no repair symbol {repair} for a block of {symbols} source symbols")]
    NoSuchRepair {
        /// The number asked for.
        repair: usize,
        /// Source symbols of the block.
        symbols: usize,
    },
    /// The buffer is shorter than [`Block::repair_len`].
    #[error("{room} bytes are too few for a repair symbol of {needed}")]
    NoRoom {
        /// Bytes of the buffer.
        room: usize,
        /// Bytes of the repair symbol.
        needed: usize,
    },
}

/// Fewer usable repair symbols than missing source symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{missing} source symbols are missing and {repairs} repair symbols are usable")]
pub struct NotEnough {
    /// Source symbols that are missing.
    pub missing: usize,
    /// Repair symbols that could have been used.
    pub repairs: usize,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8::ReedSolomon;

    use super::super::Layout;
    use super::*;

    /// A block of random bytes; what lies around the payloads is random too.
    fn block(symbol_size: usize, len: usize, seed: u64) -> Block {
        let layout = Layout { symbol_size, head: 5, tail: 3 };
        let mut block = Block::new(layout, len.div_ceil(symbol_size));
        let mut rng = fastrand::Rng::with_seed(seed);
        block.set_len(block.capacity_bytes());
        for symbol in 0..block.capacity() {
            rng.fill(block.datagram_mut(symbol));
        }
        block.set_len(len);
        block
    }

    fn encoded(block: &Block, repair: usize) -> Vec<u8> {
        let mut out = vec![0x55; block.repair_len()];
        Codec::new().encode(block, repair, &mut out).unwrap();
        out
    }

    fn stream(block: &Block) -> Vec<u8> {
        block.payloads().flatten().copied().collect()
    }

    /// Loses `lost`, repairs with `repairs`, and compares.
    fn lose_and_repair(block: &Block, lost: &[usize], repairs: &[usize]) {
        let repairs: Vec<(usize, Vec<u8>)> = repairs.iter().map(|&r| (r, encoded(block, r))).collect();
        let repairs: Vec<(usize, &[u8])> = repairs.iter().map(|(r, bytes)| (*r, &bytes[..])).collect();
        let mut damaged = Block::new(block.layout(), block.capacity());
        damaged.set_len(block.len());
        let mut have = SymbolSet::below(block.symbols());
        for symbol in 0..block.symbols() {
            damaged.datagram_mut(symbol).fill(0xee);
            damaged.payload_mut(symbol).copy_from_slice(block.payload(symbol));
        }
        for &symbol in lost {
            have.remove(symbol);
            damaged.payload_mut(symbol).fill(0xdd);
        }
        Codec::new().reconstruct(&mut damaged, &have, &repairs).unwrap();
        assert!(stream(&damaged) == stream(block), "lost {lost:?}");
    }

    #[test]
    fn coefficients_are_those_of_the_library_for_any_number_of_repair_symbols() {
        for symbols in [1, 2, 3, 31, 64, 128, 255] {
            let unit: Vec<Vec<u8>> =
                (0..symbols).map(|i| (0..symbols).map(|j| u8::from(i == j)).collect()).collect();
            for repairs in [1, MAX_SYMBOLS - symbols] {
                let repairs = repairs.min(MAX_SYMBOLS - symbols);
                let mut rows = vec![vec![0; symbols]; repairs];
                ReedSolomon::new(symbols, repairs).unwrap().encode_sep(&unit, &mut rows).unwrap();
                for (repair, row) in rows.iter().enumerate() {
                    let own =
                        (0..symbols).map(|symbol| coefficient(&PRODUCTS[symbols], symbols + repair, symbol));
                    assert!(own.eq(row.iter().copied()), "repair symbol {repair} of {symbols}");
                }
            }
        }
    }

    #[test]
    fn repair_symbols_are_those_of_the_library_with_the_short_symbol_padded_with_zeros() {
        for (symbol_size, len) in
            [(1428, 1428 * 20), (1428, 1428 * 20 - 1), (1428, 1428 * 19 + 1), (1428, 1428 * 20 - 15)]
        {
            let block = block(symbol_size, len, 3);
            let padded: Vec<Vec<u8>> = block
                .payloads()
                .map(|payload| [payload, &vec![0; symbol_size - payload.len()]].concat())
                .collect();
            let mut repairs = vec![vec![0; symbol_size]; 7];
            ReedSolomon::new(padded.len(), 7).unwrap().encode_sep(&padded, &mut repairs).unwrap();
            for (repair, expected) in repairs.iter().enumerate() {
                assert!(encoded(&block, repair) == *expected, "{len} bytes, repair symbol {repair}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn any_k_symbols_give_the_block_back(
            symbol_size in 1..150_usize,
            symbols in 1..=MAX_SYMBOLS,
            short in 0..150_usize,
            losses in 0..=MAX_SYMBOLS,
            seed: u64,
        ) {
            let block = block(symbol_size, symbols * symbol_size - short % symbol_size, seed);
            let losses = losses.min(symbols).min(MAX_SYMBOLS - symbols);
            let mut rng = fastrand::Rng::with_seed(seed);
            let lost = rng.choose_multiple(0..symbols, losses);
            let mut repairs = rng.choose_multiple(0..MAX_SYMBOLS - symbols, losses);
            rng.shuffle(&mut repairs);
            lose_and_repair(&block, &lost, &repairs);
        }
    }

    #[test]
    fn half_a_block_comes_back_from_all_repair_symbols() {
        for symbols in [1, 2, 127, 128] {
            let all: Vec<usize> = (0..symbols).collect();
            let last: Vec<usize> = (MAX_SYMBOLS - 2 * symbols..MAX_SYMBOLS - symbols).collect();
            let block = block(70, 70 * symbols - 33, 9);
            lose_and_repair(&block, &all, &all);
            lose_and_repair(&block, &all, &last);
        }
        let block = block(70, 70 * 200, 9);
        let repairs: Vec<usize> = (0..56).collect();
        lose_and_repair(&block, &(144..200).collect::<Vec<_>>(), &repairs);
    }

    #[test]
    fn a_repair_symbol_of_a_single_symbol_is_its_copy() {
        for len in [1, 31, 32, 33, 100] {
            let block = block(100, len, 1);
            for repair in 0..block.max_repairs() {
                assert_eq!(encoded(&block, repair), block.payload(0));
            }
        }
    }

    #[test]
    fn damaged_repair_symbols_are_left_out_and_too_few_are_an_error() {
        let block = block(50, 50 * 10, 4);
        let (first, second) = (encoded(&block, 0), encoded(&block, 245));
        let mut damaged = Block::new(block.layout(), 10);
        damaged.set_len(block.len());
        for symbol in 2..10 {
            damaged.payload_mut(symbol).copy_from_slice(block.payload(symbol));
        }
        let have: SymbolSet = (2..10).chain(100..256).collect();
        let useless: [(usize, &[u8]); 5] =
            [(0, &first), (0, &second), (246, &second), (usize::MAX, &second), (1, &second[1..])];
        let mut codec = Codec::new();
        let before = stream(&damaged);
        let error = codec.reconstruct(&mut damaged, &have, &useless).unwrap_err();
        assert_eq!(error, NotEnough { missing: 2, repairs: 1 });
        assert!(stream(&damaged) == before);
        let enough = [&useless[..], &[(245, &second)]].concat();
        codec.reconstruct(&mut damaged, &have, &enough).unwrap();
        assert!(stream(&damaged) == stream(&block));
    }

    #[test]
    fn an_empty_block_needs_nothing_and_has_no_repair_symbol() {
        let mut block = Block::new(Layout { symbol_size: 100, head: 0, tail: 0 }, 4);
        let mut codec = Codec::new();
        codec.reconstruct(&mut block, &SymbolSet::new(), &[(0, &[])]).unwrap();
        let error = codec.encode(&block, 0, &mut [0; 100]).unwrap_err();
        assert_eq!(error, EncodeError::NoSuchRepair { repair: 0, symbols: 0 });
    }

    #[test]
    fn impossible_repair_symbols_are_refused() {
        let block = block(100, 950, 2);
        let mut codec = Codec::new();
        let mut out = [0; 100];
        codec.encode(&block, 245, &mut out).unwrap();
        assert_eq!(
            codec.encode(&block, 246, &mut out),
            Err(EncodeError::NoSuchRepair { repair: 246, symbols: 10 })
        );
        assert_eq!(
            codec.encode(&block, 0, &mut out[1..]),
            Err(EncodeError::NoRoom { room: 99, needed: 100 })
        );
    }
}
