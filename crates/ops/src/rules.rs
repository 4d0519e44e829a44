//! What a change of the rules means for incidents that are open: they press as if the rules had always been these.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::ComponentId;
use allclear_domain::incident::Incident;
use allclear_domain::status::published::Affected;
use allclear_store::record::{component, incident as incidents};
use allclear_store::{StoreError, Tx};

use crate::apply::system_entry;
use crate::draw::Ids;
use crate::status;

/// Lets each incident press by the rules as they are now, derives every component that this touches once, and lets the
/// public incidents follow. The caller holds the incidents, every component that they press on before or after, and
/// the pages that show them; it publishes.
pub(crate) fn follow(tx: &mut Tx<'_>, ids: &Ids, open: &[Incident]) -> Result<(), StoreError> {
    let mut touched: BTreeMap<ComponentId, &Incident> = BTreeMap::new();
    for incident in open {
        touched.extend(press_anew(tx, incident)?.into_iter().map(|component| (component, incident)));
    }
    let rev = tx.catalog().rev();
    let mut affected: Vec<Affected> = Vec::new();
    for (component, incident) in touched {
        let cause = serde_json::json!({ "incident": incident.id, "configuration": rev, "run": incident.run });
        let (change, entry) = status::rederive(tx, ids, &incident.id, &component, &cause)?;
        affected.extend(change);
        let now = tx.now();
        let drafts: Vec<_> = entry.into_iter().map(|kind| system_entry(now, kind)).collect();
        incidents::append_log(tx, &incident.id, &[ids.pagerduty_record(now)], &drafts)?;
    }
    let catalog = tx.catalog();
    for incident in open {
        status::follow_public_incident(tx, ids, &catalog, (incident, false), &affected)?;
    }
    Ok(())
}

/// The components on which an incident presses differently now.
fn press_anew(tx: &mut Tx<'_>, incident: &Incident) -> Result<BTreeSet<ComponentId>, StoreError> {
    let catalog = tx.catalog();
    status::clear_rule_timers(tx, incident)?;
    let mut touched: BTreeSet<ComponentId> = component::pressed_by(tx, &incident.id)?.into_iter().collect();
    for id in &touched {
        component::release(tx, id, &incident.id)?;
    }
    for (id, rule) in catalog.rules_of(&incident.service) {
        if status::presses_now(tx, incident, &id, rule)? {
            component::press(tx, &rule.component, &incident.id, &id, rule.status(incident.urgency))?;
            touched.insert(rule.component.clone());
        }
    }
    Ok(touched)
}
