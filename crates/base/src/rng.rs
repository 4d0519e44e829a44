//! Chance as a value that is handed over: the operating system's, or a seeded sequence.

use std::sync::{Arc, Mutex, PoisonError};

/// A source of random bits. Cheap to clone behind an [`Arc`].
pub trait Rng: Send + Sync + 'static {
    /// 64 fresh bits.
    fn next_u64(&self) -> u64;

    /// A number in `0..bound`; 0 where `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // The high half of a 128-bit product is uniform enough for bounds far below 2^64.
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Fills `out` with fresh bytes.
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let bytes = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

/// The operating system's generator; fit for tokens and keys.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    #[expect(clippy::panic, reason = "without the operating system's randomness no token is safe; stopping is the only answer")]
    fn fill(&self, out: &mut [u8]) {
        if let Err(error) = getrandom::fill(out) {
            panic!("the operating system gives no random bytes: {error}");
        }
    }
}

/// A repeatable sequence (splitmix64) for simulations and for ids that a re-run must draw again.
#[derive(Debug, Clone)]
pub struct SeededRng(Arc<Mutex<u64>>);

impl SeededRng {
    /// The sequence that `seed` names.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(seed)))
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
