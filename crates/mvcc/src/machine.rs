//! Applies commands, one after the other.

use crate::auth::{self, Access, AuthState, RightsCache, TokenChange};
use crate::lease::{self, Lease};
use crate::pending::Pending;
use crate::read::{COMPACTED, REVISION, counter, header};
use crate::table::{Table, View};
use crate::write::Writer;
use crate::{Error, Result};
use bytes::Bytes;
use prost::Message;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmResponse, AlarmType, CompactionResponse, LeaseCheckpointResponse, TxnRequest,
};
use tricorn_proto::mvccpb::Event;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;
use tricorn_proto::peer::{AuthAnswer, AuthCommand, Command, QuotaAnswer, SetQuota};

const ALARMS: &[u8] = b"alarms";
const QUOTA: &[u8] = b"quota";

/// The state machine: a few counters; everything else is in the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    revision: i64,
    compacted: i64,
    alarms: Vec<AlarmMember>,
    quota: Option<u64>,
    auth: AuthState,
    rights: RightsCache,
}

/// Where in the log a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The term it was appended in.
    pub term: u64,
    /// Its number.
    pub index: u64,
}

/// What became of one command.
#[derive(Debug)]
pub struct Applied {
    /// For the proposer.
    pub answer: Result<Reply>,
    /// What watchers see; all of it happened at `revision`.
    pub events: Vec<Event>,
    /// The newest revision now.
    pub revision: i64,
    /// Leases that came, went or were marked.
    pub leases: Vec<LeaseChange>,
    /// Tokens that came or went.
    pub tokens: Vec<TokenChange>,
}

/// What a command changes beside rows.
#[derive(Default)]
struct Effects {
    leases: Vec<LeaseChange>,
    tokens: Vec<TokenChange>,
}

/// A change of the set of leases, for those who keep their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseChange {
    /// A new lease.
    Granted(Lease),
    /// Gone, with its keys.
    Revoked(i64),
    /// What is left of it was written down.
    Marked(Lease),
}

impl Machine {
    /// The machine that left `view` behind.
    pub fn load(view: &dyn View) -> Result<Self> {
        let alarms = match view.get(Table::META, ALARMS)? {
            Some(row) => AlarmResponse::decode(row).map_err(|error| Error::State(format!("alarms: {error}")))?.alarms,
            None => Vec::new(),
        };
        let quota = match view.get(Table::META, QUOTA)? {
            Some(row) => Some(SetQuota::decode(row).map_err(|error| Error::State(format!("quota: {error}")))?.bytes),
            None => None,
        };
        let (revision, compacted) = (counter(view, REVISION, 1)?, counter(view, COMPACTED, -1)?);
        Ok(Self { revision, compacted, alarms, quota, auth: AuthState::read(view)?, rights: RightsCache::default() })
    }

    /// The newest revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction; -1 when there was none.
    #[must_use]
    pub fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The alarms that are on.
    #[must_use]
    pub fn alarms(&self) -> &[AlarmMember] {
        &self.alarms
    }

    /// Bytes that each member's database may take, when that has been said to all of them; 0 for no bound.
    #[must_use]
    pub fn quota(&self) -> Option<u64> {
        self.quota
    }

    /// Whether authentication is on, and how often users and roles have changed.
    #[must_use]
    pub fn auth(&self) -> AuthState {
        self.auth
    }

    /// Runs one command of the log entry at `place`. Its rows go to `pending`; a refused command leaves none.
    ///
    /// [`Error::State`] in the answer means that the rows themselves could not be read: the host must stop.
    pub fn apply(&mut self, pending: &mut Pending<'_>, command: &Command, place: Place) -> Applied {
        let mut writer = Writer::new(pending, self.revision, self.compacted);
        let mut effects = Effects::default();
        let answer = match command.fence {
            Some(fence) if fence != place.term => Err(Error::Fenced { fence, term: place.term }),
            _ => self.admit(&writer, command).and_then(|()| self.run(&mut writer, command.op.as_ref(), place, &mut effects)),
        };
        let revision = writer.revision();
        let events = std::mem::take(&mut writer.events);
        let Effects { leases, tokens } = effects;
        if revision == self.revision {
            return Applied { answer, events, revision, leases, tokens };
        }
        let answer = answer.map_err(|error| Error::State(format!("a command failed half way: {error}")));
        pending.put(Table::META, Bytes::from_static(REVISION), Bytes::copy_from_slice(&revision.to_be_bytes()));
        self.revision = revision;
        Applied { answer, events, revision, leases, tokens }
    }

    /// Refuses what the caller may not do, and what there is no room for.
    fn admit(&mut self, writer: &Writer<'_, '_>, command: &Command) -> Result<()> {
        let access = Access::of(command.caller.as_ref(), self.auth, &*writer.pending, &mut self.rights)?;
        access.command(&writer.reader(), command.op.as_ref())?;
        if self.is_full() && takes_space(command.op.as_ref()) { Err(Error::NoSpace) } else { Ok(()) }
    }

    fn run(&mut self, writer: &mut Writer<'_, '_>, op: Option<&Op>, place: Place, effects: &mut Effects) -> Result<Reply> {
        match op {
            Some(Op::Put(put)) => writer.put(put).map(Reply::Put),
            Some(Op::DeleteRange(delete)) => writer.delete_range(delete).map(Reply::DeleteRange),
            Some(Op::Txn(txn)) => writer.txn(txn).map(Reply::Txn),
            Some(Op::Compact(compact)) => self.compact(writer.pending, compact.revision),
            Some(Op::LeaseGrant(request)) => {
                let (response, lease) = lease::grant(writer.pending, self.revision, request)?;
                effects.leases.push(LeaseChange::Granted(lease));
                Ok(Reply::LeaseGrant(response))
            }
            Some(Op::LeaseRevoke(request)) => {
                let response = writer.revoke(request.id)?;
                effects.leases.push(LeaseChange::Revoked(request.id));
                Ok(Reply::LeaseRevoke(response))
            }
            Some(Op::LeaseCheckpoint(request)) => {
                let marked = lease::checkpoint(writer.pending, &request.checkpoints)?;
                effects.leases.extend(marked.into_iter().map(LeaseChange::Marked));
                Ok(Reply::LeaseCheckpoint(LeaseCheckpointResponse { header: header(self.revision) }))
            }
            Some(Op::Alarm(request)) => self.alarm(writer.pending, request).map(Reply::Alarm),
            Some(Op::Quota(request)) => Ok(Reply::Quota(self.set_quota(writer.pending, *request))),
            Some(Op::Auth(command)) => self.change_auth(writer.pending, command, place, effects).map(Reply::Auth),
            // The host takes groups apart.
            Some(Op::Group(_)) | None => Err(Error::State("a command without an operation".into())),
        }
    }

    fn change_auth(&mut self, pending: &mut Pending<'_>, command: &AuthCommand, place: Place, effects: &mut Effects) -> Result<AuthAnswer> {
        let token = auth::run(pending, &mut self.auth, command, place.index, &mut effects.tokens)?;
        Ok(AuthAnswer { header: header(self.revision), token })
    }

    /// Makes everything before `revision` unreadable at once; the rows go later, a few at a time.
    fn compact(&mut self, pending: &mut Pending<'_>, revision: i64) -> Result<Reply> {
        if revision <= self.compacted {
            return Err(Error::Compacted);
        }
        if revision > self.revision {
            return Err(Error::FutureRevision);
        }
        pending.put(Table::META, Bytes::from_static(COMPACTED), Bytes::copy_from_slice(&revision.to_be_bytes()));
        self.compacted = revision;
        Ok(Reply::Compact(CompactionResponse { header: header(self.revision) }))
    }

    fn is_full(&self) -> bool {
        self.alarms.iter().any(|alarm| alarm.alarm() == AlarmType::Nospace)
    }

    fn alarm(&mut self, pending: &mut Pending<'_>, request: &AlarmRequest) -> Result<AlarmResponse> {
        let wanted = AlarmMember { member_id: request.member_id, alarm: request.alarm };
        let about = |alarm: &AlarmMember| request.alarm() == AlarmType::None || alarm.alarm == request.alarm;
        let named = match request.action() {
            AlarmAction::Get => self.alarms.iter().filter(|alarm| about(alarm)).copied().collect(),
            AlarmAction::Activate => {
                if !self.alarms.contains(&wanted) {
                    self.alarms.push(wanted);
                }
                vec![wanted]
            }
            AlarmAction::Deactivate => {
                let (gone, kept) = std::mem::take(&mut self.alarms).into_iter().partition(|alarm| *alarm == wanted);
                self.alarms = kept;
                gone
            }
        };
        if request.action() != AlarmAction::Get {
            self.keep_alarms(pending);
        }
        Ok(AlarmResponse { header: header(self.revision), alarms: named })
    }

    fn keep_alarms(&self, pending: &mut Pending<'_>) {
        let row = AlarmResponse { header: None, alarms: self.alarms.clone() }.encode_to_vec();
        pending.put(Table::META, Bytes::from_static(ALARMS), row.into());
    }

    /// A member that has not enough room even so raises its alarm again at the next write.
    fn set_quota(&mut self, pending: &mut Pending<'_>, request: SetQuota) -> QuotaAnswer {
        self.quota = Some(request.bytes);
        pending.put(Table::META, Bytes::from_static(QUOTA), request.encode_to_vec().into());
        self.alarms.retain(|alarm| alarm.alarm() != AlarmType::Nospace);
        self.keep_alarms(pending);
        QuotaAnswer { header: header(self.revision) }
    }
}

/// Whether the operation can make the database larger: those stop when it is full.
#[must_use]
pub fn takes_space(op: Option<&Op>) -> bool {
    match op {
        Some(Op::Put(_) | Op::LeaseGrant(_)) => true,
        Some(Op::Txn(txn)) => has_put(txn),
        _ => false,
    }
}

fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Request::RequestPut(_)) => true,
        Some(Request::RequestTxn(inner)) => has_put(inner),
        _ => false,
    })
}
