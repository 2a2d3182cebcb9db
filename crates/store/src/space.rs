//! How much room the state may take: the quota, and the alarm of a member that has used it up.

use crate::error::Result;
use crate::leases::command;
use crate::node::Node;
use tricorn_proto::etcdserverpb::alarm_request::AlarmAction;
use tricorn_proto::etcdserverpb::{AlarmMember, AlarmRequest, AlarmType};
use tricorn_proto::peer::command::Op;

impl Node {
    /// Bytes that the state may take here: what all members were told while they ran, or else what this one is configured with. 0 for no
    /// bound.
    pub fn quota(&self) -> u64 {
        self.state.quota().unwrap_or(self.quota_bytes)
    }

    /// Refuses what would make a full database larger, and raises the alarm that has every other member refuse it too.
    pub async fn admit_growth(&self, op: &Op) -> Result<()> {
        let quota = self.quota();
        if quota == 0 || !tricorn_mvcc::takes_space(Some(op)) || self.state.size(quota) <= quota {
            return Ok(());
        }
        self.raise_no_space(quota).await;
        Err(tricorn_mvcc::Error::NoSpace.into())
    }

    /// Nothing where the alarm is on already.
    async fn raise_no_space(&self, quota: u64) {
        let mine = AlarmMember { member_id: self.id, alarm: AlarmType::Nospace.into() };
        if self.state.room().alarms.contains(&mine) {
            return;
        }
        tracing::warn!(quota, "the database has reached its quota: writes that make it larger are refused");
        let request = AlarmRequest { action: AlarmAction::Activate.into(), member_id: self.id, alarm: mine.alarm };
        if let Err(error) = self.propose(&command(Op::Alarm(request), None)).await {
            tracing::warn!(%error, "the alarm about the quota could not be raised; the next write that is refused tries again");
        }
    }
}
