//! Runs that somebody asks for. The wish is a row; the engine begins the run.

use allclear_domain::catalog::Catalog;
use allclear_domain::{LocationName, TestId, Timestamp};
use allclear_store::record::wish::{self, RunWish};
use allclear_store::{Lane, Store, Tx, Write};

use crate::{Actor, OpsError, Permission};

/// The name of the location that this server is.
pub const HERE: &str = "local";

/// Asks for a run of a test in an environment, besides its slots, from the location that this server is; the instant at which it was
/// asked for. It begins as soon as no other run of the test is under way there.
///
/// # Errors
/// [`OpsError::Invalid`] for a test that cannot run there now, with why; [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of
/// the store.
pub async fn ask_for_run(
    store: &Store,
    actor: &Actor,
    test: &TestId,
    environment: &str,
    here: &LocationName,
) -> Result<Timestamp, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let person = actor.name().to_owned();
    let (test, environment, here) = (test.clone(), environment.to_owned(), here.clone());
    let work = move |tx: &mut Tx<'_>| {
        may_run(&tx.catalog(), &test, &environment, &here, tx.now())?;
        wish::put_wish(tx, &test, &environment, &person)?;
        Ok(tx.now())
    };
    store.write(Write::new("ask for a run", Lane::Events), work).await
}

fn may_run(catalog: &Catalog, id: &TestId, environment: &str, here: &LocationName, now: Timestamp) -> Result<(), OpsError> {
    let test = catalog.test(id).ok_or_else(|| OpsError::NotFound { what: "test", id: id.0.clone() })?;
    let is_here =
        |schedule: &allclear_domain::apitest::document::Schedule| schedule.environment == environment && schedule.locations.contains(here);
    if !test.schedules.iter().any(is_here) {
        return Err(OpsError::Invalid(format!(
            "the test has no schedule in {environment:?} from {here}: only what is scheduled can be run now"
        )));
    }
    if test.is_paused(now) {
        return Err(OpsError::Invalid("the test is paused: let it go on first".into()));
    }
    Ok(())
}

/// Whether a wish can be carried out, as the configuration is now.
#[must_use]
pub fn is_possible(store: &Store, wish: &RunWish) -> bool {
    may_run(&store.catalog(), &wish.test, &wish.environment, &LocationName::from(HERE), store.now()).is_ok()
}

/// Wishes that are looked at together.
const MOST_AT_ONCE: u32 = 64;

/// The wishes that wait, oldest first.
///
/// # Errors
/// Errors of the store.
pub async fn waiting(store: &Store) -> Result<Vec<RunWish>, OpsError> {
    store.look("look for wishes", |tx| Ok(wish::wishes(tx, MOST_AT_ONCE)?)).await
}

/// A wish was carried out, or never can be.
///
/// # Errors
/// Errors of the store.
pub async fn done(store: &Store, wish: RunWish) -> Result<(), OpsError> {
    store.write(Write::new("a wish is done", Lane::Events), move |tx| Ok(wish::take_wish(tx, &wish)?)).await
}
