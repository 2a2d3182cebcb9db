//! Who leads an election, and what the leader announces, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tonic::Status;
use tricorn_proto::etcdserverpb::ResponseHeader;
use tricorn_proto::mvccpb::KeyValue;
use tricorn_proto::mvccpb::event::EventType;
use tricorn_proto::v3electionpb::LeaderResponse;
use tricorn_store::{WatchMessage, WatchOptions, Watcher};

use crate::caller::Caller;
use crate::concurrency::{end_of, oldest};

/// Follows the leaders of one election. It moves when it is asked for more, so a slow client costs no memory.
pub(crate) struct Observer {
    caller: Arc<Caller>,
    prefix: Bytes,
    state: State,
    ready: VecDeque<LeaderResponse>,
}

enum State {
    /// Who leads is not known.
    Looking,
    /// Nobody leads: the first key that is put will.
    Vacant(Watcher),
    /// The key of the leader is watched.
    Following(Watcher),
}

impl Observer {
    pub fn new(caller: Caller, prefix: Bytes) -> Self {
        Self { caller: Arc::new(caller), prefix, state: State::Looking, ready: VecDeque::new() }
    }

    /// The next announcement.
    pub async fn next(mut self) -> Result<Option<(LeaderResponse, Self)>, Status> {
        let caller = self.caller.clone();
        let found = tokio::select! {
            found = self.find() => found?,
            status = caller.cut_short() => return Err(status),
        };
        Ok(Some((found, self)))
    }

    async fn find(&mut self) -> Result<LeaderResponse, Status> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Ok(found);
            }
            let message = match &mut self.state {
                State::Looking => {
                    self.look().await?;
                    continue;
                }
                State::Vacant(watcher) | State::Following(watcher) => watcher.next().await,
            };
            match message {
                Some(WatchMessage::Events { revision, events }) => {
                    for event in events.iter() {
                        if !self.take(event.r#type(), event.kv.as_ref(), revision) {
                            break;
                        }
                    }
                }
                Some(WatchMessage::Progress { .. }) => {}
                Some(WatchMessage::Canceled { compact_revision, .. }) if compact_revision != 0 => self.state = State::Looking,
                Some(WatchMessage::Canceled { reason, .. }) => return Err(Status::unavailable(reason)),
                None => return Err(Status::unavailable("etcdserver: server stopped")),
            }
        }
    }

    async fn look(&mut self) -> Result<(), Status> {
        let found = self.caller.range(oldest(&self.prefix)).await?;
        let from = found.header.as_ref().map_or(0, |header| header.revision) + 1;
        self.state = match found.kvs.into_iter().next() {
            Some(kv) => {
                let following = self.watch(kv.key.clone(), Bytes::new(), from);
                self.ready.push_back(LeaderResponse { header: found.header, kv: Some(kv) });
                State::Following(following)
            }
            None => State::Vacant(self.watch(self.prefix.clone(), end_of(&self.prefix), from)),
        };
        Ok(())
    }

    /// Takes an event in; whether to go on with those of the same revision.
    fn take(&mut self, kind: EventType, kv: Option<&KeyValue>, revision: i64) -> bool {
        let Some(kv) = kv else { return true };
        let vacant = matches!(self.state, State::Vacant(_));
        match kind {
            EventType::Delete if vacant => return true,
            EventType::Delete => {
                self.state = State::Looking;
                return false;
            }
            EventType::Put => {}
        }
        let header = ResponseHeader { revision, ..self.caller.shared.store.header() };
        self.ready.push_back(LeaderResponse { header: Some(header), kv: Some(kv.clone()) });
        if vacant {
            self.state = State::Following(self.watch(kv.key.clone(), Bytes::new(), revision + 1));
        }
        !vacant
    }

    fn watch(&self, key: Bytes, range_end: Bytes, start_revision: i64) -> Watcher {
        self.caller.shared.store.watch(WatchOptions { key, range_end, start_revision, ..WatchOptions::default() })
    }
}
