//! Applies commands, one after the other.

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
use tricorn_proto::peer::Command;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

const ALARMS: &[u8] = b"alarms";

/// The state machine: a few counters; everything else is in the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Machine {
    revision: i64,
    compacted: i64,
    alarms: Vec<AlarmMember>,
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
        Ok(Self { revision: counter(view, REVISION, 1)?, compacted: counter(view, COMPACTED, -1)?, alarms })
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

    /// Runs one command of the log entry appended in `term`. Its rows go to `pending`; a refused command leaves none.
    ///
    /// [`Error::State`] in the answer means that the rows themselves could not be read: the host must stop.
    pub fn apply(&mut self, pending: &mut Pending<'_>, command: &Command, term: u64) -> Applied {
        let mut writer = Writer::new(pending, self.revision, self.compacted);
        let mut leases = Vec::new();
        let answer = match command.fence {
            Some(fence) if fence != term => Err(Error::Fenced { fence, term }),
            _ if self.is_full() && takes_space(command.op.as_ref()) => Err(Error::NoSpace),
            _ => self.run(&mut writer, command.op.as_ref(), &mut leases),
        };
        let revision = writer.revision();
        let events = std::mem::take(&mut writer.events);
        if revision == self.revision {
            return Applied { answer, events, revision, leases };
        }
        let answer = answer.map_err(|error| Error::State(format!("a command failed half way: {error}")));
        pending.put(Table::META, Bytes::from_static(REVISION), Bytes::copy_from_slice(&revision.to_be_bytes()));
        self.revision = revision;
        Applied { answer, events, revision, leases }
    }

    fn run(&mut self, writer: &mut Writer<'_, '_>, op: Option<&Op>, leases: &mut Vec<LeaseChange>) -> Result<Reply> {
        match op {
            Some(Op::Put(put)) => writer.put(put).map(Reply::Put),
            Some(Op::DeleteRange(delete)) => writer.delete_range(delete).map(Reply::DeleteRange),
            Some(Op::Txn(txn)) => writer.txn(txn).map(Reply::Txn),
            Some(Op::Compact(compact)) => self.compact(writer.pending, compact.revision),
            Some(Op::LeaseGrant(request)) => {
                let (response, lease) = lease::grant(writer.pending, self.revision, request)?;
                leases.push(LeaseChange::Granted(lease));
                Ok(Reply::LeaseGrant(response))
            }
            Some(Op::LeaseRevoke(request)) => {
                let response = writer.revoke(request.id)?;
                leases.push(LeaseChange::Revoked(request.id));
                Ok(Reply::LeaseRevoke(response))
            }
            Some(Op::LeaseCheckpoint(request)) => {
                let marked = lease::checkpoint(writer.pending, &request.checkpoints)?;
                leases.extend(marked.into_iter().map(LeaseChange::Marked));
                Ok(Reply::LeaseCheckpoint(LeaseCheckpointResponse { header: header(self.revision) }))
            }
            Some(Op::Alarm(request)) => self.alarm(writer.pending, request).map(Reply::Alarm),
            None => Err(Error::State("a command without an operation".into())),
        }
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
            let row = AlarmResponse { header: None, alarms: self.alarms.clone() }.encode_to_vec();
            pending.put(Table::META, Bytes::from_static(ALARMS), row.into());
        }
        Ok(AlarmResponse { header: header(self.revision), alarms: named })
    }
}

/// Whether the operation can make the database larger: those stop when it is full.
fn takes_space(op: Option<&Op>) -> bool {
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
