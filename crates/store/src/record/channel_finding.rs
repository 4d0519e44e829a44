//! What is known to be wrong with a channel, or with one address on it. At most one finding stands for
//! each; it ends when something is taken there again.

use allclear_domain::delivery::ChannelFinding;
use allclear_domain::{ChannelId, Timestamp};

use crate::value::{Row, params};
use crate::{StoreError, Tx};

/// A finding, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The channel.
    pub channel: ChannelId,
    /// The address on it; nothing where it concerns the channel as a whole.
    pub address: Option<String>,
    /// What is wrong.
    pub finding: ChannelFinding,
    /// What the provider said, in words.
    pub why: String,
    /// The revision of the channel's document when it was found.
    pub revision: i64,
    /// Since when.
    pub since: Timestamp,
}

fn from_row(row: &Row) -> Result<Found, StoreError> {
    let word = row.text(2)?;
    let unknown = || StoreError::Fault { context: format!("unknown finding {word:?}"), source: None };
    let address = row.text(1)?;
    Ok(Found {
        channel: row.text(0)?.into(),
        address: (!address.is_empty()).then(|| address.to_owned()),
        finding: ChannelFinding::from_word(word).ok_or_else(unknown)?,
        why: row.text(3)?.to_owned(),
        revision: row.int(4)?,
        since: row.time(5)?,
    })
}

/// Records a finding. One of the same kind that stands already keeps its time, but for an endpoint that
/// says again that it is gone; and that it is gone is not overwritten by less.
///
/// # Errors
/// The database cannot be written.
pub fn put_finding(
    tx: &mut Tx<'_>,
    channel: &ChannelId,
    address: Option<&str>,
    finding: ChannelFinding,
    why: &str,
) -> Result<(), StoreError> {
    let revision = revision_of(tx, channel);
    let now = tx.now();
    tx.execute(
        "INSERT INTO channel_finding (channel_id, address, finding, why, revision, since) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (channel_id, address) DO UPDATE SET finding = $3, why = $4, revision = $5, \
         since = CASE WHEN channel_finding.finding = $3 AND channel_finding.revision = $5 AND $3 <> 'gone' \
           THEN channel_finding.since ELSE $6 END \
         WHERE channel_finding.finding <> 'gone' OR $3 = 'gone' OR channel_finding.revision <> $5",
        params![channel.as_str(), address.unwrap_or_default(), finding.word(), why, revision, now],
    )?;
    Ok(())
}

/// The revision at which a channel's document was last written.
fn revision_of(tx: &Tx<'_>, channel: &ChannelId) -> i64 {
    let catalog = tx.catalog();
    catalog.get(allclear_domain::catalog::Kind::Channel, channel.as_str()).map_or(0, |resource| resource.rev)
}

/// Ends what was found of a channel as a whole, or of one address on it: something was taken there.
/// Whether there was anything.
///
/// # Errors
/// The database cannot be written.
pub fn clear_finding(tx: &mut Tx<'_>, channel: &ChannelId, address: Option<&str>) -> Result<bool, StoreError> {
    let ended = tx.execute(
        "DELETE FROM channel_finding WHERE channel_id = $1 AND address = $2",
        params![channel.as_str(), address.unwrap_or_default()],
    )?;
    Ok(ended > 0)
}

/// Whether something is known of an address on a channel.
///
/// # Errors
/// The database cannot be read.
pub fn is_known(tx: &mut Tx<'_>, channel: &ChannelId, address: &str) -> Result<bool, StoreError> {
    let row = tx.query_opt("SELECT 1 FROM channel_finding WHERE channel_id = $1 AND address = $2", params![channel.as_str(), address])?;
    Ok(row.is_some())
}

/// What is known of a channel as a whole, as far as its document has not changed since.
///
/// # Errors
/// The database cannot be read.
pub fn finding_of_channel(tx: &mut Tx<'_>, channel: &ChannelId) -> Result<Option<Found>, StoreError> {
    let row = tx.query_opt(
        "SELECT channel_id, address, finding, why, revision, since FROM channel_finding WHERE channel_id = $1 AND address = ''",
        params![channel.as_str()],
    )?;
    let found = row.as_ref().map(from_row).transpose()?;
    let revision = revision_of(tx, channel);
    Ok(found.filter(|found| found.revision == revision))
}

/// Everything that is wrong with channels that are there, oldest first, as far as their documents have not
/// changed since; at most `most`.
///
/// # Errors
/// The database cannot be read.
pub fn list_findings(tx: &mut Tx<'_>, most: u32) -> Result<Vec<Found>, StoreError> {
    /// As many channels and people's addresses as one catalog may have trouble with.
    const MOST_READ: u32 = 10_000;
    let rows = tx.query(
        "SELECT channel_id, address, finding, why, revision, since FROM channel_finding ORDER BY since, channel_id, address LIMIT $1",
        params![MOST_READ],
    )?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut all = Vec::new();
    for row in &rows {
        let found = from_row(row)?;
        let stands = match found.finding {
            // A number that asked for silence stays silent whatever becomes of the document.
            ChannelFinding::OptedOut => tx.catalog().channel(&found.channel).is_some(),
            ChannelFinding::Gone | ChannelFinding::Broken | ChannelFinding::Refusing => {
                tx.catalog().channel(&found.channel).is_some() && found.revision == revision_of(tx, &found.channel)
            }
        };
        if stands {
            all.push(found);
        }
        if all.len() >= most {
            break;
        }
    }
    Ok(all)
}
