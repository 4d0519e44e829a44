//! What people do to status pages by hand. Whoever sets a component or writes a public incident owns it: rules then propose
//! and do not act, until it is given back to them.

use std::collections::BTreeMap;

use allclear_base::Rng;
use allclear_domain::delivery::About;
use allclear_domain::status::published::{Affected, PublishedIncident, PublishedUpdate, Stage};
use allclear_domain::status::{ComponentStatus, Indicator, Owner, rollup};
use allclear_domain::{ComponentId, IncidentId, PageId, Span};
use allclear_store::record::component::{self, ComponentChange, ComponentState};
use allclear_store::record::delivery as outbox;
use allclear_store::record::incident as incidents;
use allclear_store::record::page::{self, StatusIncident};
use allclear_store::{Lane, Lock, Store, Tx, Write};

use crate::apply::tell_mirror;
use crate::draw::Ids;
use crate::status::{follow_public_incident, publish};
use crate::{Actor, Draw, OpsError, Permission};

/// The longest title of a public incident, in characters.
pub const LONGEST_NAME: usize = 200;

/// The longest update, in characters; StatusPage's bound.
pub const LONGEST_BODY: usize = 25_000;

/// The most updates of one public incident.
const MOST_UPDATES: usize = 500;

/// How long it is on record what another page was told because of people.
const MIRRORED_KEPT: Span = Span::from_mins(24 * 60);

const OVER: &str = "It is resolved. Open a new public incident.";

/// What becomes of a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hand {
    /// A person says how it stands.
    Set(ComponentStatus),
    /// The rules decide again; it stands at once as the open incidents have it.
    GiveBack,
}

/// What is said to customers, and what becomes of components with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// How the public incident stands.
    pub stage: Stage,
    /// What customers read.
    pub body: String,
    /// Components that it concerns.
    pub components: Vec<(ComponentId, Hand)>,
}

impl Said {
    fn check(&self) -> Result<(), OpsError> {
        match self.body.trim().chars().count() {
            0 => Err(OpsError::Invalid("Say something to your customers: the update is empty.".into())),
            1..=LONGEST_BODY => Ok(()),
            _ => Err(OpsError::Invalid(format!("An update has at most {LONGEST_BODY} characters."))),
        }
    }
}

fn check_name(name: &str) -> Result<(), OpsError> {
    match name.trim().chars().count() {
        1..=LONGEST_NAME => Ok(()),
        _ => Err(OpsError::Invalid(format!("A title has 1 to {LONGEST_NAME} characters."))),
    }
}

/// Sets a component by hand, or gives it back; how it stands now.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn set_component(store: &Store, rng: &dyn Rng, actor: &Actor, id: &ComponentId, hand: Hand) -> Result<ComponentStatus, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let (draw, who, id) = (Draw::new(rng), actor.name().to_owned(), id.clone());
    let work = move |tx: &mut Tx<'_>| {
        let page = page_of(tx, &id)?;
        let wanted = [(id.clone(), hand)];
        lock(tx, &page, &wanted)?;
        change_components(tx, &draw.ids(), &who, &wanted)?;
        publish(tx, &page)?;
        Ok::<_, OpsError>(component::component_state(tx, &id)?.status)
    };
    store.write(Write::new("set component", Lane::Act), work).await
}

/// Opens a public incident by hand; its id.
///
/// # Errors
/// [`OpsError::Invalid`] for words that are missing or too long, or a component of another page; [`OpsError::NotFound`];
/// [`OpsError::Forbidden`]; errors of the store.
pub async fn open(store: &Store, rng: &dyn Rng, actor: &Actor, page: &PageId, name: &str, said: Said) -> Result<String, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    said.check()?;
    check_name(name)?;
    let (draw, who, page, name) = (Draw::new(rng), actor.name().to_owned(), page.clone(), name.trim().to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        if tx.catalog().page(&page).is_none() {
            return Err(OpsError::NotFound { what: "page", id: page.0.clone() });
        }
        lock(tx, &page, &said.components)?;
        let affected = change_components(tx, &ids, &who, &said.components)?;
        let (now, id) = (tx.now(), ids.statuspage());
        let shown = PublishedIncident {
            id: id.clone(),
            name: name.clone(),
            stage: said.stage,
            impact: Indicator::None,
            created_at: now,
            updated_at: now,
            resolved_at: None,
            components: vec![],
            updates: vec![],
        };
        let new = StatusIncident { page: page.clone(), follows: None, owner: Owner::Person, shown };
        write(tx, &ids, new, &said, &affected)?;
        Ok(id)
    };
    store.write(Write::new("open public incident", Lane::Act), work).await
}

/// Writes a further update of a public incident. One that followed a rule belongs to people from now on.
///
/// # Errors
/// As [`open`]; [`OpsError::Invalid`] for one that is over.
pub async fn update(store: &Store, rng: &dyn Rng, actor: &Actor, id: &str, said: Said) -> Result<(), OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    said.check()?;
    let (draw, who, id) = (Draw::new(rng), actor.name().to_owned(), id.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let page = found(tx, &id)?.page;
        lock(tx, &page, &said.components)?;
        let mut public = found(tx, &id)?;
        if public.shown.stage == Stage::Resolved {
            return Err(OpsError::Invalid(OVER.into()));
        }
        if public.shown.updates.len() >= MOST_UPDATES {
            return Err(OpsError::Invalid(format!("It has {MOST_UPDATES} updates. Resolve it, and open a new public incident.")));
        }
        public.owner = Owner::Person;
        let affected = change_components(tx, &ids, &who, &said.components)?;
        write(tx, &ids, public, &said, &affected)
    };
    store.write(Write::new("update public incident", Lane::Act), work).await
}

/// Lets a public incident follow its rule again; what it missed meanwhile is said at once.
///
/// # Errors
/// [`OpsError::Invalid`] for one that no rule opened; [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn give_back(store: &Store, rng: &dyn Rng, actor: &Actor, id: &str) -> Result<(), OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let (draw, id) = (Draw::new(rng), id.to_owned());
    let work = move |tx: &mut Tx<'_>| {
        let seen = found(tx, &id)?;
        let Some((incident, _)) = seen.follows else {
            return Err(OpsError::Invalid("No rule opened it: resolve it by hand.".into()));
        };
        tx.lock([Lock::Incident(incident.clone()), Lock::Page(seen.page.clone())])?;
        let mut public = found(tx, &id)?;
        if public.shown.stage == Stage::Resolved {
            return Err(OpsError::Invalid(OVER.into()));
        }
        public.owner = Owner::Automation;
        let page = public.page.clone();
        page::put_status_incident(tx, &public)?;
        let (catalog, incident) = (tx.catalog(), incidents::load_incident(tx, &incident)?);
        follow_public_incident(tx, &draw.ids(), &catalog, (&incident, false), &[])?;
        Ok::<_, OpsError>(publish(tx, &page)?)
    };
    store.write(Write::new("give back public incident", Lane::Act), work).await
}

fn found(tx: &mut Tx<'_>, id: &str) -> Result<StatusIncident, OpsError> {
    page::find_status_incident(tx, id)?.ok_or_else(|| OpsError::NotFound { what: "public incident", id: id.to_owned() })
}

fn page_of(tx: &Tx<'_>, id: &ComponentId) -> Result<PageId, OpsError> {
    let catalog = tx.catalog();
    catalog.component(id).map(|found| found.page.clone()).ok_or_else(|| OpsError::NotFound { what: "component", id: id.0.clone() })
}

/// Takes the locks of all that changes with these components.
fn lock(tx: &mut Tx<'_>, page: &PageId, components: &[(ComponentId, Hand)]) -> Result<(), OpsError> {
    let mut locks = vec![Lock::Page(page.clone())];
    for (id, _) in components {
        if page_of(tx, id)? != *page {
            return Err(OpsError::Invalid("A public incident concerns components of its own page.".into()));
        }
        locks.push(Lock::Component(id.clone()));
    }
    Ok(tx.lock(locks)?)
}

fn change_components(tx: &mut Tx<'_>, ids: &Ids, who: &str, wanted: &[(ComponentId, Hand)]) -> Result<Vec<Affected>, OpsError> {
    let (now, catalog) = (tx.now(), tx.catalog());
    // The last word on a component counts.
    let wanted: BTreeMap<&ComponentId, Hand> = wanted.iter().map(|(id, hand)| (id, *hand)).collect();
    let mut affected = Vec::new();
    for (id, hand) in wanted {
        let before = component::component_state(tx, id)?;
        let (status, owner) = match hand {
            Hand::Set(status) => (status, Owner::Person),
            Hand::GiveBack => {
                let pressures = component::pressures(tx, id)?;
                (pressures.into_iter().map(|(_, status)| status).max().unwrap_or_default(), Owner::Automation)
            }
        };
        let changed_at = if status == before.status { before.changed_at } else { now };
        component::put_component_state(tx, id, ComponentState { status, owner, changed_at })?;
        if status == before.status {
            continue;
        }
        let about = About::Component(id.clone());
        outbox::forget(tx, &about, now.minus(MIRRORED_KEPT))?;
        tell_mirror(tx, ids, about, id)?;
        let cause = serde_json::json!({ "by_hand": who });
        let change = ComponentChange { id: ids.uuid7(now), component: id.clone(), at: now, before: before.status, after: status, cause };
        component::insert_change(tx, &change)?;
        let name = catalog.component(id).map_or_else(|| id.0.clone(), |component| component.name.clone());
        affected.push(Affected { id: id.clone(), name, from: before.status, to: status });
    }
    Ok(affected)
}

/// Adds an update to a public incident and publishes its page.
fn write(tx: &mut Tx<'_>, ids: &Ids, mut public: StatusIncident, said: &Said, affected: &[Affected]) -> Result<(), OpsError> {
    let now = tx.now();
    let shown = &mut public.shown;
    for (id, hand) in &said.components {
        if !shown.components.contains(id) {
            shown.components.push(id.clone());
        }
        if let Hand::Set(status) = hand {
            shown.impact = shown.impact.max(rollup(&[*status]).0);
        }
    }
    let update = PublishedUpdate {
        id: ids.statuspage(),
        stage: said.stage,
        body: said.body.trim().to_owned(),
        at: now,
        affected: affected.to_vec(),
    };
    shown.updates.insert(0, update);
    shown.stage = said.stage;
    shown.updated_at = now;
    shown.resolved_at = (said.stage == Stage::Resolved).then_some(now);
    page::put_status_incident(tx, &public)?;
    Ok(publish(tx, &public.page)?)
}

/// How a component stands, for those who look after it.
#[derive(Debug, Clone)]
pub struct Looked {
    /// The component.
    pub id: ComponentId,
    /// How it stands, and who decides that.
    pub state: ComponentState,
    /// What rules would make of it.
    pub proposed: ComponentStatus,
    /// The first of the open incidents that press on it, with their numbers and titles.
    pub pressed_by: Vec<(IncidentId, i64, String)>,
    /// How many there are.
    pub pressing: i64,
}

/// The public incidents that are shown to them, besides those that are open.
pub const MOST_INCIDENTS: u32 = 50;

/// A page as those see it who look after it.
#[derive(Debug, Clone)]
pub struct PageView {
    /// Its components in their order.
    pub components: Vec<Looked>,
    /// Its latest public incidents, newest first.
    pub incidents: Vec<StatusIncident>,
}

/// A page with its components and public incidents.
///
/// # Errors
/// [`OpsError::NotFound`]; [`OpsError::Forbidden`]; errors of the store.
pub async fn show_page(store: &Store, actor: &Actor, page: &PageId) -> Result<PageView, OpsError> {
    /// Incidents that are named beside a component; the list has all.
    const MOST_PRESSING: u32 = 8;
    actor.require(Permission::IncidentsRead)?;
    let page = page.clone();
    let work = move |tx: &mut Tx<'_>| {
        let catalog = tx.catalog();
        if catalog.page(&page).is_none() {
            return Err(OpsError::NotFound { what: "page", id: page.0.clone() });
        }
        let (states, pressures) = (component::all_states(tx)?, component::all_pressures(tx)?);
        let mut named = BTreeMap::<_, Vec<_>>::new();
        for (id, incident) in component::first_pressing(tx, MOST_PRESSING)? {
            named.entry(id).or_default().push((incident.id, incident.number, incident.title));
        }
        let looked = |id: ComponentId| {
            let (proposed, pressing) = pressures.get(&id).copied().unwrap_or_default();
            Looked {
                state: states.get(&id).copied().unwrap_or_default(),
                pressed_by: named.remove(&id).unwrap_or_default(),
                id,
                proposed,
                pressing,
            }
        };
        let components =
            catalog.components_of(&page).into_iter().map(|(resource, _)| ComponentId(resource.id.clone())).map(looked).collect();
        Ok(PageView { components, incidents: page::latest_on_page(tx, &page, MOST_INCIDENTS)? })
    };
    store.read("show page", work).await
}

/// A public incident by its id.
///
/// # Errors
/// As [`show_page`].
pub async fn show_incident(store: &Store, actor: &Actor, id: &str) -> Result<StatusIncident, OpsError> {
    actor.require(Permission::IncidentsRead)?;
    let id = id.to_owned();
    store.read("show public incident", move |tx| found(tx, &id)).await
}
