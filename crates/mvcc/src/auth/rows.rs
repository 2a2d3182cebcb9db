//! How users and roles are kept: one row each, in etcd's own messages, and one row that says whether they count.

use crate::pending::Pending;
use crate::table::{Table, View};
use crate::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use tricorn_proto::authpb::{Role, User};

/// The user who must exist, and the role that may do everything.
pub(super) const ROOT: &str = "root";

const STATE: &[u8] = b"state";
const USER: u8 = b'u';
const ROLE: u8 = b'r';

/// Whether authentication is on, and how often users, roles or that have changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthState {
    /// Users and roles count.
    pub enabled: bool,
    /// Grows with every change; whoever was known at an older one must be looked at again.
    pub revision: u64,
}

impl Default for AuthState {
    fn default() -> Self {
        Self { enabled: false, revision: 1 }
    }
}

impl AuthState {
    /// The state that left `view` behind.
    pub fn read(view: &dyn View) -> Result<Self> {
        let Some(row) = view.get(Table::AUTH, STATE)? else { return Ok(Self::default()) };
        let damaged = || Error::State("damaged auth row".into());
        let (enabled, revision) = row.split_first().ok_or_else(damaged)?;
        let revision: [u8; 8] = revision.try_into().map_err(|_| damaged())?;
        Ok(Self { enabled: *enabled == 1, revision: u64::from_be_bytes(revision) })
    }

    pub(crate) fn write(self, pending: &mut Pending<'_>) {
        let mut row = BytesMut::with_capacity(9);
        row.put_u8(u8::from(self.enabled));
        row.put_u64(self.revision);
        pending.put(Table::AUTH, Bytes::from_static(STATE), row.freeze());
    }
}

/// A message that has a row of its own.
pub(crate) trait Kept: Message + Default {
    const KIND: u8;
    const WHAT: &'static str;
    fn name(&self) -> &[u8];
}

impl Kept for User {
    const KIND: u8 = USER;
    const WHAT: &'static str = "user";

    fn name(&self) -> &[u8] {
        &self.name
    }
}

impl Kept for Role {
    const KIND: u8 = ROLE;
    const WHAT: &'static str = "role";

    fn name(&self) -> &[u8] {
        &self.name
    }
}

fn key(kind: u8, name: &[u8]) -> Bytes {
    let mut key = BytesMut::with_capacity(1 + name.len());
    key.put_u8(kind);
    key.put_slice(name);
    key.freeze()
}

fn decode<T: Kept>(row: &[u8]) -> Result<T> {
    T::decode(row).map_err(|error| Error::State(format!("{} row: {error}", T::WHAT)))
}

/// One user or role.
pub(super) fn get<T: Kept>(view: &dyn View, name: &str) -> Result<Option<T>> {
    view.get(Table::AUTH, &key(T::KIND, name.as_bytes()))?.map(|row| decode(&row)).transpose()
}

/// All users or all roles, by name.
pub(super) fn all<T: Kept>(view: &dyn View) -> Result<Vec<T>> {
    let mut found = Vec::new();
    let mut cursor = view.scan(Table::AUTH, &[T::KIND], Some(&[T::KIND + 1]))?;
    while cursor.valid() {
        found.push(decode(cursor.value())?);
        cursor.advance()?;
    }
    Ok(found)
}

pub(crate) fn put<T: Kept>(pending: &mut Pending<'_>, item: &T) {
    pending.put(Table::AUTH, key(T::KIND, item.name()), item.encode_to_vec().into());
}

pub(super) fn remove<T: Kept>(pending: &mut Pending<'_>, name: &str) {
    pending.delete(Table::AUTH, key(T::KIND, name.as_bytes()));
}
