//! How fast a provider lets somebody be.

use serde::{Deserialize, Serialize};

/// Whether rates are in force.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rates {
    /// As the provider has them.
    #[default]
    Real,
    /// Not at all: for measurements of the product alone.
    Lifted,
}

/// One thing every so often, with a few at once after a rest.
#[derive(Debug, Clone, Default)]
pub struct Pace {
    /// When the next one would come if all came at the steady rate, in milliseconds since 1970.
    next_ms: u64,
}

impl Pace {
    /// Takes one, where `at_once` may follow each other and then one `every_ms`.
    ///
    /// # Errors
    /// How long to wait, in milliseconds.
    pub fn take(&mut self, now_ms: u64, every_ms: u64, at_once: u64) -> Result<(), u64> {
        let latest = now_ms + every_ms * at_once.saturating_sub(1);
        if self.next_ms > latest {
            return Err(self.next_ms - latest);
        }
        self.next_ms = self.next_ms.max(now_ms) + every_ms;
        Ok(())
    }

    /// Takes one whose turn may be later; how long until then, in milliseconds.
    pub fn queue(&mut self, now_ms: u64, every_ms: u64) -> u64 {
        let turn = self.next_ms.max(now_ms);
        self.next_ms = turn + every_ms;
        turn - now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_at_a_time() {
        let mut pace = Pace::default();
        let at = |pace: &mut Pace, ms| pace.take(ms, 1_000, 3);
        assert_eq!([at(&mut pace, 0), at(&mut pace, 0), at(&mut pace, 0)], [Ok(()); 3]);
        assert_eq!(at(&mut pace, 1), Err(999));
        assert_eq!(at(&mut pace, 1_000), Ok(()));
        assert_eq!(at(&mut pace, 1_000), Err(1_000));
        assert_eq!([at(&mut pace, 9_000), at(&mut pace, 9_000), at(&mut pace, 9_000)], [Ok(()); 3]);
    }

    #[test]
    fn a_queue_gives_everybody_a_turn() {
        let mut pace = Pace::default();
        let turns: Vec<u64> = (0..3).map(|_| pace.queue(500, 1_000)).collect();
        assert_eq!(turns, [0, 1_000, 2_000]);
        assert_eq!(pace.queue(9_000, 1_000), 0);
    }
}
