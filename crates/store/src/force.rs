//! Beginning a group anew with the one member that is left of it.
//!
//! What the member's directory holds is kept, log entries too that nobody knows to have been committed: a client may have been told that
//! they were. The others are not asked, for they are gone; should one come back it finds another cluster's id here, and is refused.

use crate::current;
use crate::engine::{Disk, Purpose};
use crate::error::{Error, Result};
use crate::identity::Identity;
use crate::log;
use crate::start::hashed;
use crate::state::Position;
use crate::types::{Member, Members, log_id};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Makes the stopped member on `disk` the only one of a new cluster. Blocks.
pub(crate) fn alone(disk: &dyn Disk, mine: &Member) -> Result<()> {
    let Some(identity) = Identity::read(disk)? else { return Ok(()) };
    let failed = |error: io::Error| Error::disk(format!("begin a new cluster in {}", disk.location()), &error);
    let position = position(disk).map_err(failed)?;
    let log = disk.open("raft", Purpose::Log).map_err(failed)?;
    let tail = log::tail(log.as_ref()).map_err(failed)?;
    let members = tail.members.as_ref().unwrap_or_else(|| position.members.membership());
    let me = identity.member_id;
    let known: BTreeSet<u64> = members.nodes().map(|(id, _)| *id).collect();
    if known.is_empty() || (known.len() == 1 && members.voter_ids().eq([me])) {
        tracing::info!("no other members are known here: nothing is forced");
        return Ok(());
    }
    let names: Vec<&str> = members.nodes().filter(|(id, _)| **id != me).map(|(_, member)| member.name.as_str()).collect();
    tracing::warn!(forgotten = ?names, "beginning a new cluster with this member alone");
    let mine = members.get_node(&me).map_or_else(|| mine.clone(), |known| Member { peer_urls: mine.peer_urls.clone(), ..known.clone() });
    let alone = Members::new(vec![BTreeSet::from([me])], BTreeMap::from([(me, mine)])).map_err(|error| Error::Config(error.to_string()))?;
    // First: from here on nobody of the old group is listened to, whatever becomes of the rest.
    let old = format!("{:x}", identity.cluster_id);
    let fresh = Identity { cluster_id: hashed(&["forced", &old, &format!("{me:x}")]), restored: true, ..identity };
    fresh.write(disk)?;
    let last = tail.last.max(position.applied);
    let term = last.map_or(0, |last| last.leader_id.term).max(tail.term);
    let next = log_id(term, last.map_or(0, |last| last.index) + 1);
    log::append_members(log.as_ref(), next, alone, me).map_err(failed)
}

fn position(disk: &dyn Disk) -> io::Result<Position> {
    let engine = disk.open(current::read(disk)?.as_deref().unwrap_or(current::FIRST), Purpose::State)?;
    let view = engine.view()?;
    Position::read(view.as_ref())
}
