//! A client of one member, that knows what became of each request.

use super::{pieces, wire};
use crate::kv;
use parking_lot::Mutex;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::kv_client::KvClient;
use tricorn_proto::etcdserverpb::lease_client::LeaseClient;
use tricorn_proto::etcdserverpb::maintenance_client::MaintenanceClient;
use tricorn_proto::etcdserverpb::watch_client::WatchClient;
use tricorn_testbed::Dialer;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long an answer may take.
pub(super) const ANSWER: Duration = Duration::from_secs(3);
/// How long a slow piece of housekeeping may take.
const HOUSEKEEPING: Duration = Duration::from_secs(20);

/// Why there is no answer.
#[derive(Debug, Clone)]
pub enum Failure {
    /// It certainly did not happen.
    Not(String),
    /// It may have happened, or may yet.
    Unknown(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Not(why) => write!(f, "{why}"),
            Self::Unknown(why) => write!(f, "{why} (it may have happened)"),
        }
    }
}

/// A client of one member. Requests are sent once: whoever asks decides what to do about an unknown outcome.
pub struct Client {
    /// The member.
    pub node: String,
    address: SocketAddr,
    dialer: Dialer,
    channel: Mutex<Option<Channel>>,
}

/// Texts that say that nothing was proposed.
const NOT_TRIED: &[&str] = &["too many requests", "not capable", "unhealthy cluster"];

pub(super) fn failure(status: &Status) -> Failure {
    let why = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        _ if NOT_TRIED.iter().any(|text| status.message().contains(text)) => Failure::Not(why),
        Code::ResourceExhausted | Code::Unimplemented | Code::Unauthenticated => Failure::Not(why),
        _ => Failure::Unknown(why),
    }
}

/// Whether a status is an answer: the store looked at the request, and refused it.
fn refusal(status: &Status) -> Option<String> {
    let looked_at = matches!(
        status.code(),
        Code::InvalidArgument | Code::OutOfRange | Code::NotFound | Code::FailedPrecondition | Code::PermissionDenied | Code::AlreadyExists
    );
    looked_at.then(|| status.message().to_owned())
}

impl Client {
    pub(super) fn new(node: &str, address: SocketAddr, dialer: Dialer) -> Self {
        Self { node: node.to_owned(), address, dialer, channel: Mutex::default() }
    }

    /// A connection; one that was lost is made again.
    pub async fn channel(&self) -> Result<Channel, Failure> {
        if let Some(channel) = self.channel.lock().clone() {
            return Ok(channel);
        }
        let unsent = |why: String| Failure::Not(format!("connect to {}: {why}", self.node));
        let (dialer, address) = (self.dialer.clone(), self.address);
        let connect = tower::service_fn(move |_: Uri| {
            let dialer = dialer.clone();
            async move { dialer.connect(address, CONNECT).await.map(hyper_util::rt::TokioIo::new) }
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|error| unsent(error.to_string()))?;
        let endpoint = endpoint.http2_keep_alive_interval(CONNECT).keep_alive_timeout(CONNECT).keep_alive_while_idle(true);
        let connected = tokio::time::timeout(CONNECT * 2, endpoint.connect_with_connector(connect)).await;
        let channel = connected.map_err(|_| unsent("no answer in time".into()))?.map_err(|error| unsent(format!("{error:?}")))?;
        *self.channel.lock() = Some(channel.clone());
        Ok(channel)
    }

    /// Waits for an answer, and gives up the connection when there is none.
    pub(super) async fn within<T>(
        &self,
        limit: Duration,
        asked: impl Future<Output = Result<tonic::Response<T>, Status>>,
    ) -> Result<T, Status> {
        let answered = match tokio::time::timeout(limit, asked).await {
            Ok(answered) => answered.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {limit:?}"))),
        };
        if let Err(status) = &answered
            && refusal(status).is_none()
        {
            self.channel.lock().take();
        }
        answered
    }

    /// Asks the member for something, and notes nothing.
    pub async fn ask(&self, request: &kv::Request) -> Result<kv::Answer, Failure> {
        let channel = self.channel().await?;
        let answered = self.send(channel, request).await;
        let reads = match request {
            kv::Request::Range(_) | kv::Request::Defragment => true,
            kv::Request::Txn(txn) => wire::only_reads(txn),
            _ => false,
        };
        match answered {
            Ok(answer) => Ok(answer),
            Err(status) => match refusal(&status) {
                Some(text) => Ok(kv::Answer { revision: 0, result: kv::Result::Refused(text) }),
                None => match failure(&status) {
                    Failure::Unknown(why) if reads => Err(Failure::Not(why)),
                    failure => Err(failure),
                },
            },
        }
    }

    /// Asks for something of a service that [`kv::Request`] does not cover. What was refused did not happen.
    pub async fn call<T>(&self, limit: Duration, asked: impl Future<Output = Result<tonic::Response<T>, Status>>) -> Result<T, Failure> {
        self.within(limit, asked).await.map_err(|status| match refusal(&status) {
            Some(text) => Failure::Not(text),
            None => failure(&status),
        })
    }

    async fn send(&self, channel: Channel, request: &kv::Request) -> Result<kv::Answer, Status> {
        match request {
            kv::Request::Range(range) => self.within(ANSWER, pieces::read(channel, range)).await,
            kv::Request::Txn(txn) => {
                let reply = self.within(ANSWER, KvClient::new(channel).txn(wire::txn(txn))).await?;
                wire::txn_answer(reply)
            }
            kv::Request::Grant { id, ttl } => {
                let asked = pb::LeaseGrantRequest { id: *id, ttl: *ttl };
                let reply = self.within(ANSWER, LeaseClient::new(channel).lease_grant(asked)).await?;
                Ok(wire::answer(reply.header, kv::Result::Lease { ttl: reply.ttl }))
            }
            kv::Request::Revoke { id } => {
                let reply = self.within(ANSWER, LeaseClient::new(channel).lease_revoke(pb::LeaseRevokeRequest { id: *id })).await?;
                Ok(wire::answer(reply.header, kv::Result::Done))
            }
            kv::Request::KeepAlive { id } => {
                let asked = tokio_stream::once(pb::LeaseKeepAliveRequest { id: *id });
                let mut client = LeaseClient::new(channel);
                let first = async {
                    let mut replies = client.lease_keep_alive(asked).await?.into_inner();
                    let reply = replies.message().await?.ok_or_else(|| Status::unavailable("the stream ended without an answer"))?;
                    Ok(tonic::Response::new(reply))
                };
                let reply = self.within(ANSWER, first).await?;
                Ok(wire::answer(reply.header, kv::Result::Lease { ttl: reply.ttl }))
            }
            kv::Request::Compact { revision } => {
                let asked = pb::CompactionRequest { revision: *revision, physical: false };
                let reply = self.within(HOUSEKEEPING, KvClient::new(channel).compact(asked)).await?;
                Ok(wire::answer(reply.header, kv::Result::Done))
            }
            kv::Request::Defragment => {
                let reply = self.within(HOUSEKEEPING, MaintenanceClient::new(channel).defragment(pb::DefragmentRequest {})).await?;
                Ok(wire::answer(reply.header, kv::Result::Done))
            }
        }
    }

    /// What is left of a lease, and its keys.
    pub async fn time_to_live(&self, id: i64) -> Result<pb::LeaseTimeToLiveResponse, Failure> {
        let channel = self.channel().await?;
        let asked = self.within(ANSWER, LeaseClient::new(channel).lease_time_to_live(pb::LeaseTimeToLiveRequest { id, keys: true })).await;
        asked.map_err(|status| Failure::Not(status.message().to_owned()))
    }

    /// Opens a stream of watches.
    pub async fn watch(
        &self,
        requests: tokio_stream::wrappers::ReceiverStream<pb::WatchRequest>,
    ) -> Result<tonic::Streaming<pb::WatchResponse>, Failure> {
        let channel = self.channel().await?;
        let opened = self.within(ANSWER, WatchClient::new(channel).watch(requests)).await;
        opened.map_err(|status| Failure::Not(status.message().to_owned()))
    }

    /// What the member says of itself.
    pub async fn status(&self) -> Result<pb::StatusResponse, Failure> {
        let channel = self.channel().await?;
        let asked = self.within(CONNECT, MaintenanceClient::new(channel).status(pb::StatusRequest {})).await;
        asked.map_err(|status| failure(&status))
    }

    /// The hash of the member's keys and values at a revision; 0 is the newest.
    pub async fn hash(&self, revision: i64) -> Result<pb::HashKvResponse, Failure> {
        let channel = self.channel().await?;
        let asked = pb::HashKvRequest { revision };
        let asked = self.within(HOUSEKEEPING, MaintenanceClient::new(channel).hash_kv(asked)).await;
        asked.map_err(|status| failure(&status))
    }

    /// Has the member, if it leads, hand over to another.
    pub async fn move_leader(&self, to: u64) -> Result<(), Failure> {
        let channel = self.channel().await?;
        let asked = self.within(ANSWER, MaintenanceClient::new(channel).move_leader(pb::MoveLeaderRequest { target_id: to })).await;
        asked.map(drop).map_err(|status| failure(&status))
    }

    /// Reads a whole snapshot, and says how long it is.
    pub async fn snapshot_bytes(&self) -> Result<u64, Failure> {
        let channel = self.channel().await?;
        let mut client = MaintenanceClient::new(channel);
        let whole = async {
            let mut chunks = client.snapshot(pb::SnapshotRequest {}).await?.into_inner();
            let mut bytes = 0;
            while let Some(chunk) = chunks.message().await? {
                bytes += chunk.blob.len() as u64;
            }
            Ok(tonic::Response::new(bytes))
        };
        self.within(HOUSEKEEPING, whole).await.map_err(|status| failure(&status))
    }

    /// Whether the member answers a linearizable read.
    pub async fn healthy(&self) -> Result<(), Failure> {
        let read = kv::Request::Range(kv::Range { key: "health".into(), ..Default::default() });
        self.ask(&read).await.map(drop)
    }
}
