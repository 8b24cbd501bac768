//! Random decisions that every replica takes alike: a hash of the seed, the purpose and the request's id.
//!
//! The algorithm is fixed: runs of different versions of `sre` are compared with each other.

/// What is decided. Each purpose has a hash of its own, so that no two decisions hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the simulated database fails.
    DatabaseError,
    /// How long the simulated query takes.
    QueryTime,
    /// Whether the fault switch makes this request an error.
    InjectedError,
    /// Whether the fault switch makes this request an exception.
    InjectedException,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Purpose::DatabaseError => "database-error",
            Purpose::QueryTime => "query-time",
            Purpose::InjectedError => "injected-error",
            Purpose::InjectedException => "injected-exception",
        }
    }
}

/// Decides from a seed: the same seed, purpose and request id always give the same answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chance {
    seed: u64,
}

impl Chance {
    /// Decisions that follow from this seed.
    pub fn new(seed: u64) -> Chance {
        Chance { seed }
    }

    /// Whether a request is among this share (0 to 1) of all requests.
    pub fn hits(self, purpose: Purpose, id: &str, share: f64) -> bool {
        unit(self.hash(purpose, id)) < share
    }

    /// A factor around 1 as service times have it: log-normal with median 1 and a 99th percentile of 3.2,
    /// never below 0.2 nor above 10.
    pub fn spread(self, purpose: Purpose, id: &str) -> f64 {
        const SIGMA: f64 = 0.5;
        let hash = self.hash(purpose, id);
        // Box and Muller: two uniform numbers give a normal one. 1 - u is never 0.
        let (u, v) = (1.0 - unit(hash), unit(splitmix(hash)));
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        (SIGMA * normal).exp().clamp(0.2, 10.0)
    }

    /// FNV-1a of the seed (little-endian), the purpose, a zero byte and the id; then splitmix64 spreads
    /// the last bytes' difference over all bits.
    fn hash(self, purpose: Purpose, id: &str) -> u64 {
        let seed = self.seed.to_le_bytes();
        let bytes = seed.iter().chain(purpose.as_str().as_bytes()).chain(&[0]).chain(id.as_bytes());
        splitmix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

/// One step of splitmix64.
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The upper 53 bits as a number from 0 up to, but without, 1.
fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share_hit(chance: Chance, purpose: Purpose, share: f64) -> f64 {
        let hits = (0..100_000).filter(|i| chance.hits(purpose, &format!("r-{i}"), share)).count();
        hits as f64 / 100_000.0
    }

    #[test]
    fn the_hash_is_the_same_in_every_version() {
        // Computed by an implementation of FNV-1a and splitmix64 in another language.
        assert_eq!(Chance::new(42).hash(Purpose::DatabaseError, "r-1"), 0x3110_f3c3_87ad_e289);
        assert_eq!(Chance::new(0).hash(Purpose::QueryTime, ""), 0x1a5f_6ce7_2e50_d498);
    }

    #[test]
    fn about_the_share_asked_for_is_hit() {
        for share in [0.02, 0.2, 0.5] {
            let hit = share_hit(Chance::new(42), Purpose::DatabaseError, share);
            assert!((hit - share).abs() < 0.005, "{hit} of {share}");
        }
        assert_eq!(share_hit(Chance::new(42), Purpose::DatabaseError, 0.0), 0.0);
        assert_eq!(share_hit(Chance::new(42), Purpose::DatabaseError, 1.0), 1.0);
    }

    #[test]
    fn seeds_and_purposes_decide_apart() {
        let both = |a: (u64, Purpose), b: (u64, Purpose)| {
            let hit = |(seed, purpose): (u64, Purpose), id: &str| Chance::new(seed).hits(purpose, id, 0.5);
            (0..10_000).map(|i| format!("r-{i}")).filter(|id| hit(a, id) && hit(b, id)).count()
        };
        // A quarter, if one decision tells nothing of the other.
        for other in [(43, Purpose::DatabaseError), (42, Purpose::InjectedError)] {
            let count = both((42, Purpose::DatabaseError), other);
            assert!((2_300..2_700).contains(&count), "{count}");
        }
    }

    #[test]
    fn the_spread_has_its_median_and_its_tail() {
        let chance = Chance::new(7);
        let mut factors: Vec<f64> =
            (0..100_000).map(|i| chance.spread(Purpose::QueryTime, &format!("r-{i}"))).collect();
        factors.sort_by(f64::total_cmp);
        assert!((factors[50_000] - 1.0).abs() < 0.02, "median {}", factors[50_000]);
        assert!((factors[99_000] - 3.2).abs() < 0.15, "p99 {}", factors[99_000]);
        assert!(factors[0] >= 0.2 && factors[99_999] <= 10.0);
    }
}
