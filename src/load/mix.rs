//! Which request comes next: exact proportions, seeded order, any position at once.

/// A weighted choice that is exact over each block of as many positions as the weights add up to.
///
/// Within a block the order is a permutation that follows from the seed and the block's number, so that
/// position `i` is known without those before it, and a short load still contains every name.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// Weights added up, one entry a name; the last is the block's size.
    sums: Vec<u64>,
    seed: u64,
}

impl Mix {
    /// Chooses among as many names as there are weights. Weights are reduced by their common divisor.
    pub fn new(weights: impl IntoIterator<Item = u32>, seed: u64) -> Mix {
        let weights: Vec<u64> = weights.into_iter().map(u64::from).collect();
        let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
        let sums = weights
            .iter()
            .scan(0, |sum, weight| {
                *sum += weight / divisor;
                Some(*sum)
            })
            .collect();
        Mix { sums, seed }
    }

    /// The number of the name at a position.
    pub fn choose(&self, position: u64) -> usize {
        let block = self.sums.last().copied().unwrap_or(0);
        if block == 0 {
            return 0;
        }
        let place = permute(position % block, block, hash(self.seed, position / block));
        self.sums.partition_point(|sum| *sum <= place)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Where `value` goes in a permutation of `0..size` that follows from `key`: a Feistel network over the
/// next larger power of four, walked until it lands inside.
fn permute(value: u64, size: u64, key: u64) -> u64 {
    let bits = (u64::BITS - (size - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1 << bits) - 1;
    let mut value = value;
    loop {
        let (mut left, mut right) = (value >> bits, value & mask);
        for round in 0..8 {
            (left, right) = (right, left ^ (hash(key, (round << 32) | right) & mask));
        }
        value = (left << bits) | right;
        if value < size {
            return value;
        }
    }
}

/// A well mixed number from two (the finaliser of SplitMix64).
pub(super) fn hash(seed: u64, value: u64) -> u64 {
    let mut z =
        seed.wrapping_mul(0xd134_2543_de82_ef95) ^ value.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2 {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
    }
    z
}

/// A number in (0, 1] from a seed and a position.
pub(super) fn unit(seed: u64, value: u64) -> f64 {
    ((hash(seed, value) >> 11) + 1) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_block_holds_each_name_by_its_weight(
            weights in prop::collection::vec(0u32..40, 1..8), seed: u64, block in 0u64..1000,
        ) {
            prop_assume!(weights.iter().any(|w| *w > 0));
            let mix = Mix::new(weights.clone(), seed);
            let size = *mix.sums.last().expect("weights");
            let mut counts = vec![0u64; weights.len()];
            for position in block * size..(block + 1) * size {
                counts[mix.choose(position)] += 1;
            }
            let divisor = weights.iter().map(|w| u64::from(*w)).fold(0, greatest_common_divisor);
            let expected: Vec<u64> = weights.iter().map(|w| u64::from(*w) / divisor).collect();
            prop_assert_eq!(counts, expected);
        }

        #[test]
        fn a_permutation_hits_every_place_once(size in 1u64..600, key: u64) {
            let mut places: Vec<u64> = (0..size).map(|value| permute(value, size, key)).collect();
            places.sort_unstable();
            prop_assert!(places.into_iter().eq(0..size));
        }
    }

    #[test]
    fn every_place_of_a_block_takes_every_name() {
        let mix = Mix::new([1, 1, 1, 1, 1], 7);
        let blocks = 10_000;
        for place in 0..5 {
            let mut counts = [0; 5];
            for block in 0..blocks {
                counts[mix.choose(block * 5 + place)] += 1;
            }
            for count in counts {
                assert!((1_800..2_200).contains(&count), "place {place}: {counts:?}");
            }
        }
    }

    #[test]
    fn the_seed_decides_the_order() {
        let order = |seed| (0..60).map(|i| Mix::new([3, 2, 1], seed).choose(i)).collect::<Vec<_>>();
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
