//! Whether a caller may do what it asks for.

use super::rights::{Rights, RightsCache};
use super::rows::AuthState;
use crate::read::Reader;
use crate::table::View;
use crate::{Error, Result};
use std::sync::Arc;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::request_op::Request;
use tricorn_proto::etcdserverpb::{DeleteRangeRequest, PutRequest, RequestOp, TxnRequest};
use tricorn_proto::peer::command::Op;
use tricorn_proto::peer::{AuthCommand, Caller, auth_command};

/// What one caller may do, as of one moment.
#[derive(Debug, Clone)]
pub struct Access {
    /// None: everything, because the cluster itself is asking, or because authentication is off.
    who: Option<Who>,
}

#[derive(Debug, Clone)]
struct Who {
    caller: Caller,
    /// The auth revision now.
    revision: u64,
    /// None: there is no such user.
    rights: Option<Arc<Rights>>,
}

impl Access {
    /// What the cluster itself may do, and everybody while authentication is off.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { who: None }
    }

    /// What `caller` may do to what is in `view`, whose auth state is `state`.
    pub fn of(caller: Option<&Caller>, state: AuthState, view: &dyn View, cache: &mut RightsCache) -> Result<Self> {
        let Some(caller) = caller.filter(|_| state.enabled) else { return Ok(Self::unlimited()) };
        let rights = if caller.user.is_empty() { None } else { cache.get(view, state.revision, &caller.user)? };
        Ok(Self { who: Some(Who { caller: caller.clone(), revision: state.revision, rights }) })
    }

    /// Refuses a client that has not said who it is.
    pub fn named(&self) -> Result<()> {
        match &self.who {
            Some(who) if who.caller.revision == 0 => Err(Error::UserEmpty),
            _ => Ok(()),
        }
    }

    /// Refuses everybody without the role `root`.
    pub fn root(&self) -> Result<()> {
        let Some(who) = &self.who else { return Ok(()) };
        if who.caller.user.is_empty() {
            return Err(Error::UserEmpty);
        }
        match &who.rights {
            None => Err(Error::UserNotFound),
            Some(rights) if rights.is_root() => Ok(()),
            Some(_) => Err(Error::PermissionDenied),
        }
    }

    fn keys(&self, may: impl FnOnce(&Rights) -> bool) -> Result<()> {
        let Some(who) = &self.who else { return Ok(()) };
        self.named()?;
        if who.caller.revision < who.revision {
            return Err(Error::AuthOldRevision);
        }
        match &who.rights {
            Some(rights) if may(rights) => Ok(()),
            _ => Err(Error::PermissionDenied),
        }
    }

    /// Refuses unless the whole range may be read.
    pub fn read(&self, key: &[u8], range_end: &[u8]) -> Result<()> {
        self.keys(|rights| rights.may_read(key, range_end))
    }

    /// Refuses unless the whole range may be written.
    pub fn write(&self, key: &[u8], range_end: &[u8]) -> Result<()> {
        self.keys(|rights| rights.may_write(key, range_end))
    }

    fn put(&self, reader: &Reader<'_>, put: &PutRequest) -> Result<()> {
        self.write(&put.key, &[])?;
        if put.lease != 0 {
            // Whoever may end the lease may delete the key, and the other way round.
            self.write_lease(reader, put.lease)?;
        }
        if put.prev_kv { self.read(&put.key, &[]) } else { Ok(()) }
    }

    fn delete(&self, delete: &DeleteRangeRequest) -> Result<()> {
        self.write(&delete.key, &delete.range_end)?;
        if delete.prev_kv { self.read(&delete.key, &delete.range_end) } else { Ok(()) }
    }

    /// Refuses unless every comparison and every operation, of all branches and all nested transactions, is allowed.
    pub fn txn(&self, reader: &Reader<'_>, txn: &TxnRequest) -> Result<()> {
        if self.who.is_none() {
            return Ok(());
        }
        for compare in &txn.compare {
            self.read(&compare.key, &compare.range_end)?;
        }
        txn.success.iter().chain(&txn.failure).try_for_each(|op| self.operation(reader, op))
    }

    fn operation(&self, reader: &Reader<'_>, op: &RequestOp) -> Result<()> {
        match &op.request {
            Some(Request::RequestRange(range)) => self.read(&range.key, &range.range_end),
            Some(Request::RequestPut(put)) => self.put(reader, put),
            Some(Request::RequestDeleteRange(delete)) => self.delete(delete),
            Some(Request::RequestTxn(inner)) => self.txn(reader, inner),
            None => Ok(()),
        }
    }

    /// Refuses unless every key that hangs on the lease may be written.
    pub fn write_lease(&self, reader: &Reader<'_>, id: i64) -> Result<()> {
        self.lease(reader, id, |key| self.write(key, &[]))
    }

    /// Refuses unless every key that hangs on the lease may be read.
    pub fn read_lease(&self, reader: &Reader<'_>, id: i64) -> Result<()> {
        self.lease(reader, id, |key| self.read(key, &[]))
    }

    fn lease(&self, reader: &Reader<'_>, id: i64, may: impl Fn(&[u8]) -> Result<()>) -> Result<()> {
        self.named()?;
        if self.root().is_ok() {
            return Ok(());
        }
        reader.lease_keys(id)?.iter().try_for_each(|key| may(key))
    }

    /// Refuses to show a user to anybody but itself and `root`.
    pub fn see_user(&self, name: &str) -> Result<()> {
        match &self.who {
            Some(who) if who.caller.user == name => Ok(()),
            _ => self.root(),
        }
    }

    /// Refuses to show a role to anybody but its holders and `root`.
    pub fn see_role(&self, role: &str) -> Result<()> {
        let rights = self.who.as_ref().and_then(|who| who.rights.as_ref());
        if rights.is_some_and(|rights| rights.has_role(role)) { Ok(()) } else { self.root() }
    }

    /// Refuses a command that the caller may not give.
    pub fn command(&self, reader: &Reader<'_>, op: Option<&Op>) -> Result<()> {
        if self.who.is_none() {
            return Ok(());
        }
        match op {
            Some(Op::Put(put)) => self.put(reader, put),
            Some(Op::DeleteRange(delete)) => self.delete(delete),
            Some(Op::Txn(txn)) => self.txn(reader, txn),
            Some(Op::Compact(_) | Op::LeaseGrant(_) | Op::Group(_)) | None => self.named(),
            Some(Op::LeaseRevoke(request)) => self.write_lease(reader, request.id),
            Some(Op::Alarm(request)) if request.action() == AlarmAction::Get => self.named(),
            // Who logs in is not known before; the password has been looked at.
            Some(Op::Auth(AuthCommand { op: Some(auth_command::Op::IssueToken(_)) })) => Ok(()),
            Some(Op::Alarm(_) | Op::Auth(_) | Op::LeaseCheckpoint(_) | Op::Quota(_)) => self.root(),
        }
    }
}
