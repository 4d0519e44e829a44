//! Everything that is due later, when the clock is set.

use allclear_domain::Span;
use allclear_store::record::{delivery, timer};
use allclear_store::{Lane, Store, Tx, Write};

use crate::OpsError;

/// Moves everything that is due later by so many microseconds, in one commit; what is due already stays due.
///
/// # Errors
/// Errors of the store.
pub async fn shift(store: &Store, by_us: i64) -> Result<(), OpsError> {
    let by = Span::from_micros(by_us);
    let work = move |tx: &mut Tx<'_>| {
        timer::shift_timers(tx, by)?;
        delivery::shift_deliveries(tx, by)?;
        Ok::<_, OpsError>(())
    };
    store.write(Write::new("shift due times", Lane::Act), work).await
}
