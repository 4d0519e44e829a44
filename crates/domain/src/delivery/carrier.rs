//! Which of two channels carries a message. The second is used all the time, so that it is known to work on the day when
//! the first does not.

use super::Status;

/// Every incident whose number is a multiple of this is told by the second channel first: often enough to notice within
/// weeks that it is broken, and all messages of one incident come from one place.
pub const EXERCISED_EVERY: i64 = 4;

/// Accepted messages in a row without a receipt after which receipts count as stopped: one may be a telephone that is off.
const RECEIPTS_MISSED: usize = 2;

/// Chooses the carrier of the next attempt, which goes the other way than the `last` one, if there was one; a channel that is
/// not well is passed over for one that is.
pub fn carrier_of<T: Copy + PartialEq>(
    first: T,
    second: Option<T>,
    incident_number: i64,
    last: Option<T>,
    is_well: impl Fn(T) -> bool,
) -> T {
    let Some(second) = second else { return first };
    let exercised = incident_number % EXERCISED_EVERY == 0;
    let (preferred, other) = match last {
        Some(last) if last == first => (second, first),
        Some(_) => (first, second),
        None if exercised => (second, first),
        None => (first, second),
    };
    if !is_well(preferred) && is_well(other) { other } else { preferred }
}

/// Whether a carrier's receipts have stopped, from how its messages stand that were accepted long enough ago, newest first.
#[must_use]
pub fn receipts_stopped(newest_first: &[Status]) -> bool {
    newest_first.len() >= RECEIPTS_MISSED && newest_first.iter().take(RECEIPTS_MISSED).all(|status| *status == Status::Accepted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_fourth_incident_goes_the_second_way_first() {
        let chosen: Vec<char> = (1..=8).map(|number| carrier_of('a', Some('b'), number, None, |_| true)).collect();
        assert_eq!(chosen, ['a', 'a', 'a', 'b', 'a', 'a', 'a', 'b']);
    }

    #[test]
    fn the_next_attempt_goes_the_other_way() {
        for number in [1, 4] {
            assert_eq!(carrier_of('a', Some('b'), number, Some('a'), |_| true), 'b');
            assert_eq!(carrier_of('a', Some('b'), number, Some('b'), |_| true), 'a');
        }
    }

    #[test]
    fn receipts_stop_when_two_in_a_row_are_missing() {
        use Status::{Accepted, Delivered, Undelivered};
        for (stand, stopped) in [
            (&[][..], false),
            (&[Accepted], false),
            (&[Accepted, Accepted], true),
            (&[Accepted, Accepted, Delivered], true),
            (&[Accepted, Delivered, Accepted], false),
            (&[Undelivered, Accepted, Accepted], false),
        ] {
            assert_eq!(receipts_stopped(stand), stopped, "{stand:?}");
        }
    }

    proptest! {
        #[test]
        fn a_channel_that_is_not_well_carries_nothing_while_the_other_is(number in 1_i64..1_000, last in prop::option::of(prop::sample::select(vec!['a', 'b'])), sick in any::<bool>()) {
            let sick = if sick { 'a' } else { 'b' };
            prop_assert_ne!(carrier_of('a', Some('b'), number, last, |one| one != sick), sick);
        }

        #[test]
        fn without_a_second_the_first_carries_everything(number in 1_i64..1_000, well in any::<bool>()) {
            prop_assert_eq!(carrier_of('a', None, number, Some('a'), |_| well), 'a');
        }
    }
}
