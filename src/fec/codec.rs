//! Reed–Solomon over GF(2⁸): repair symbols of a block, and missing symbols out of repair symbols.

use std::sync::LazyLock;

use reed_solomon_erasure::galois_8;

use super::{Block, MAX_SYMBOLS, SymbolSet};

/// Makes repair symbols, and source symbols out of them.
///
/// The code is that of `reed-solomon-erasure`, and so is the arithmetic on slices; what this adds is the choice of
/// single rows. Column by column, the k source symbols of a block are the values of a polynomial of degree below k at
/// the points 0, 1 … k−1, and repair symbol r is its value at the point k + r. So any k symbols determine the
/// polynomial, and Lagrange's formula gives any other symbol as a sum of those k times a coefficient each:
///
/// ```text
/// value at t = Σ c(x) · value at x      c(x) = f(t) / ((t − x) · f(x))      f(p) = Π (p − q) over the k points q ≠ p
/// ```
///
/// The coefficients cost a few table look-ups each, so nothing is cached but one table for all k (64 KiB a process,
/// made in 0.2 ms), and a block of a new size costs no more than any other.
#[derive(Clone, Debug, Default)]
pub struct Codec {
    /// One symbol that is being put together; as long as the longest so far.
    scratch: Vec<u8>,
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
        let mut sum = Sum::new(out);
        for (symbol, payload) in block.payloads().enumerate() {
            sum.add(coefficient(products, point, symbol), payload);
        }
        sum.finish();
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
        // Points of the repair symbols in use, and their bytes.
        let mut points = SymbolSet::new();
        let mut used: [(usize, &[u8]); MAX_SYMBOLS] = [(0, &[]); MAX_SYMBOLS];
        let usable = repairs
            .iter()
            .filter(|(repair, bytes)| *repair < block.max_repairs() && bytes.len() == block.repair_len())
            .map(|&(repair, bytes)| (symbols + repair, bytes))
            .filter(|&(point, _)| points.insert(point));
        let count = usable.take(wanted).zip(&mut used).map(|(repair, slot)| *slot = repair).count();
        if count < wanted {
            return Err(NotEnough { missing: wanted, repairs: count });
        }
        let used = &used[..wanted];

        let mut products = PRODUCTS[symbols];
        let present = SymbolSet::below(symbols).difference(&missing);
        for point in present.iter().chain(missing.iter()).chain(points.iter()) {
            let more: u32 = points.iter().map(|other| log_difference(point, other)).sum();
            let less: u32 = missing.iter().map(|other| log_difference(point, other)).sum();
            // 255 × 256 is 0 in the exponent, and more than `less` can be.
            products[point] = ((u32::from(products[point]) + more + 255 * 256 - less) % 255) as u8;
        }

        for target in missing.iter() {
            let len = block.symbol_len(target);
            if self.scratch.len() < len {
                self.scratch.resize(len, 0);
            }
            let mut sum = Sum::new(&mut self.scratch[..len]);
            for symbol in present.iter() {
                sum.add(coefficient(&products, target, symbol), block.payload(symbol));
            }
            for &(point, bytes) in used {
                sum.add(coefficient(&products, target, point), bytes);
            }
            sum.finish();
            block.payload_mut(target).copy_from_slice(&self.scratch[..len]);
        }
        Ok(())
    }
}

/// Logarithms of the products f(p) for every k and every point p.
type Products = [[u8; MAX_SYMBOLS]; MAX_SYMBOLS + 1];

static PRODUCTS: LazyLock<Box<Products>> = LazyLock::new(|| {
    let mut products = Box::new([[0; MAX_SYMBOLS]; MAX_SYMBOLS + 1]);
    for symbols in 1..=MAX_SYMBOLS {
        for point in 0..MAX_SYMBOLS {
            let before = u32::from(products[symbols - 1][point]);
            products[symbols][point] = ((before + log_difference(point, symbols - 1)) % 255) as u8;
        }
    }
    products
});

/// Logarithm of the difference of two points, which is their exclusive or; 0, the logarithm of 1, for equal points:
/// all products here leave a point's difference from itself out.
fn log_difference(a: usize, b: usize) -> u32 {
    u32::from(galois_8::LOG_TABLE[(a ^ b) & 0xff])
}

/// What the symbol at point `known` is to be multiplied with in the sum for the one at point `target`.
fn coefficient(products: &[u8; MAX_SYMBOLS], target: usize, known: usize) -> u8 {
    let exponent =
        255 * 2 + u32::from(products[target]) - u32::from(products[known]) - log_difference(target, known);
    galois_8::EXP_TABLE[exponent as usize % 255]
}

/// A sum of symbols, each multiplied with a coefficient.
///
/// The library multiplies 32 bytes at a time and what is left over singly, which for 1,428 bytes is a third of the
/// time. So here the last 32 bytes are summed once more as a whole, and the bytes left over are taken from there.
struct Sum<'a> {
    out: &'a mut [u8],
    /// Bytes of `out` that the library multiplies quickly.
    body: usize,
    /// Sum over the last bytes of the symbols.
    edge: [u8; EDGE],
}

/// Bytes in the widest vector of the library as it is built here (AVX2).
const EDGE: usize = 32;

impl<'a> Sum<'a> {
    fn new(out: &'a mut [u8]) -> Self {
        out.fill(0);
        let body = if out.len() > EDGE { out.len() / EDGE * EDGE } else { out.len() };
        Self { out, body, edge: [0; EDGE] }
    }

    /// Adds `factor` × `symbol`. What a symbol is longer than the sum does not count, what it is shorter is zero.
    fn add(&mut self, factor: u8, symbol: &[u8]) {
        let len = self.out.len();
        let symbol = &symbol[..symbol.len().min(len)];
        let body = symbol.len().min(self.body);
        multiply_add(factor, &symbol[..body], &mut self.out[..body]);
        if self.body == len {
            return;
        }
        // The edge begins `EDGE` bytes before the end of a whole symbol.
        let start = len - EDGE;
        if symbol.len() > start {
            let edge = &symbol[start..];
            multiply_add(factor, edge, &mut self.edge[..edge.len()]);
        }
    }

    fn finish(self) {
        let rest = self.out.len() - self.body;
        self.out[self.body..].copy_from_slice(&self.edge[EDGE - rest..]);
    }
}

/// `sum += factor × symbol`, both of the same length. The library does not take empty slices.
fn multiply_add(factor: u8, symbol: &[u8], sum: &mut [u8]) {
    if !symbol.is_empty() {
        galois_8::mul_slice_xor(factor, symbol, sum);
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
