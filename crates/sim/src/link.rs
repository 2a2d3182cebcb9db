//! One member's connection to another, over the simulated network.

use crate::network::{Door, Net};
use async_trait::async_trait;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_stream::wrappers::UnboundedReceiverStream;
use tricorn_proto::peer;
use tricorn_store::{Handler, Host, Link, LinkError, LinkResult};

/// A connection that does not answer for this long is given up.
const SILENCE: Duration = Duration::from_secs(3);
/// How late a message comes that a connection has to send again.
const RESEND: Duration = Duration::from_millis(250);
/// Between two looks whether a connection still stands.
const LOOK: Duration = Duration::from_millis(50);

/// A link from one member to another.
#[derive(Clone)]
pub struct SimLink {
    /// All of the network.
    pub net: Arc<Net>,
    /// Whose link it is.
    pub from: String,
    /// Where it leads.
    pub to: String,
}

fn error(unsent: bool, late: bool, reason: &str) -> LinkError {
    LinkError { unsent, late, reason: format!("simulated: {reason}") }
}

type Ask<T> = Arc<dyn Fn(Arc<Handler>) -> BoxFuture<'static, T> + Send + Sync>;

/// One direction of a connection.
struct Wire {
    net: Arc<Net>,
    from: String,
    to: String,
    age: u64,
}

impl Wire {
    fn broken(&self) -> bool {
        self.net.age(&self.from, &self.to) != self.age
    }

    /// Waits until a message that was sent arrives; false when the connection breaks first.
    async fn carry(&self, at: Instant) -> bool {
        sleep_until(at).await;
        let patience = Instant::now() + SILENCE;
        while !self.broken() {
            if !self.net.is_cut(&self.from, &self.to) {
                return true;
            }
            if Instant::now() >= patience {
                return false;
            }
            sleep(LOOK).await;
        }
        false
    }

    /// When a message arrives that is sent now, behind the one before.
    fn arrival(&self, before: Instant) -> Instant {
        let resent = if self.net.loses() { RESEND } else { Duration::ZERO };
        before.max(Instant::now() + self.net.trip() + resent)
    }
}

impl SimLink {
    fn there(&self) -> Wire {
        let (net, from, to) = (self.net.clone(), self.from.clone(), self.to.clone());
        Wire { age: net.age(&from, &to), net, from, to }
    }

    fn back(&self) -> Wire {
        let (net, from, to) = (self.net.clone(), self.to.clone(), self.from.clone());
        Wire { age: net.age(&from, &to), net, from, to }
    }

    fn door(&self) -> LinkResult<Door> {
        self.net.door(&self.to).ok_or_else(|| error(true, false, "connection refused"))
    }

    fn is_cut(&self) -> bool {
        self.net.is_cut(&self.from, &self.to) || self.net.is_cut(&self.to, &self.from)
    }

    /// Opens a connection for a stream.
    async fn connect(&self) -> LinkResult<Door> {
        self.door()?;
        sleep(self.net.trip()).await;
        if self.is_cut() {
            sleep(RESEND).await;
            return Err(error(true, false, "no connection"));
        }
        self.door()
    }

    /// One request and its answer.
    async fn call<T: Send + 'static>(&self, within: Duration, twice: bool, ask: Ask<T>) -> LinkResult<T> {
        let deadline = Instant::now() + within;
        let (answer, answered) = oneshot::channel();
        if let Err(refused) = self.door() {
            sleep(self.net.trip()).await;
            return Err(refused);
        }
        if twice && self.net.doubles() {
            let (nobody, _) = oneshot::channel();
            tokio::spawn(self.clone().deliver(self.net.trip() * 3, ask.clone(), nobody));
        }
        tokio::spawn(self.clone().deliver(self.net.trip(), ask, answer));
        match tokio::time::timeout_at(deadline, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => {
                sleep_until(deadline).await;
                Err(error(false, true, "no answer"))
            }
            Err(_) => Err(error(false, true, "no answer in time")),
        }
    }

    /// Brings a request to the other and its answer back, whether or not somebody still waits.
    async fn deliver<T: Send + 'static>(self, trip: Duration, ask: Ask<T>, answer: oneshot::Sender<LinkResult<T>>) {
        sleep(trip).await;
        if self.net.is_cut(&self.from, &self.to) || self.net.loses() {
            return;
        }
        let door = match self.door() {
            Ok(door) => door,
            Err(refused) => {
                // Whoever has gone away meanwhile does not mind.
                let _gone = answer.send(Err(refused));
                return;
            }
        };
        let asked = door.host.spawn(ask(door.handler)).await;
        sleep(self.net.trip()).await;
        if self.net.is_cut(&self.to, &self.from) || self.net.loses() {
            return;
        }
        let _gone = answer.send(asked.map_err(|_| error(false, false, "connection reset")));
    }

    /// Sends what comes out of `requests` to the other, in order; ends both when the connection breaks.
    fn send<T: Send + 'static>(&self, mut requests: BoxStream<'static, T>, mut gone: oneshot::Receiver<()>) -> mpsc::UnboundedReceiver<T> {
        let (sent, mut on_the_way) = mpsc::unbounded_channel::<(Instant, T)>();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let (wire, link) = (self.there(), self.there());
        let pump = async move {
            let mut last = Instant::now();
            loop {
                let request = tokio::select! {
                    biased;
                    _ = &mut gone => return,
                    () = sent.closed() => return,
                    request = requests.next() => request,
                };
                let Some(request) = request else { return };
                last = link.arrival(last);
                if sent.send((last, request)).is_err() {
                    return;
                }
            }
        };
        // Whoever sends is the member itself; the way is nobody's.
        drop(match Host::current() {
            Some(host) => host.spawn(pump),
            None => tokio::spawn(pump),
        });
        tokio::spawn(async move {
            while let Some((at, request)) = on_the_way.recv().await {
                if !wire.carry(at).await || arrived.send(request).is_err() {
                    return;
                }
            }
        });
        arrivals
    }
}

/// Tells when the connection has broken.
async fn breaks(wire: Wire) {
    while !wire.broken() {
        sleep(LOOK).await;
    }
}

#[async_trait]
impl Link for SimLink {
    async fn append(
        &self,
        requests: BoxStream<'static, peer::AppendRequest>,
    ) -> LinkResult<BoxStream<'static, LinkResult<peer::AppendReply>>> {
        let door = self.connect().await?;
        let (open, gone) = oneshot::channel::<()>();
        let arrivals = UnboundedReceiverStream::new(self.send(requests, gone));
        let (sent, mut on_the_way) = mpsc::unbounded_channel::<(Instant, LinkResult<peer::AppendReply>)>();
        let (wire, link) = (self.back(), self.back());
        drop(door.host.spawn(async move {
            let mut replies = door.handler.append(arrivals.boxed());
            let mut last = Instant::now();
            while let Some(reply) = replies.next().await {
                last = link.arrival(last);
                let reply = reply.map_err(|failed| error(false, false, &failed.to_string()));
                if sent.send((last, reply)).is_err() {
                    return;
                }
            }
        }));
        let (arrived, replies) = mpsc::unbounded_channel();
        let watch = self.back();
        tokio::spawn(async move {
            tokio::pin! { let broken = breaks(watch); }
            loop {
                let next = tokio::select! {
                    biased;
                    () = &mut broken => None,
                    () = arrived.closed() => return,
                    next = on_the_way.recv() => next,
                };
                let Some((at, reply)) = next else { break };
                if !wire.carry(at).await {
                    break;
                }
                if arrived.send(reply).is_err() {
                    return;
                }
            }
            let _gone = arrived.send(Err(error(false, false, "connection reset")));
        });
        let replies = UnboundedReceiverStream::new(replies).map(move |reply| {
            let _open = &open;
            reply
        });
        Ok(replies.boxed())
    }

    async fn vote(&self, request: peer::VoteRequest, within: Duration) -> LinkResult<peer::VoteReply> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| Box::pin(async move { handler.vote(request).await }));
        self.call(within, true, ask).await?.map_err(|failed| error(false, false, &failed.to_string()))
    }

    async fn transfer(&self, request: peer::TransferRequest, within: Duration) -> LinkResult<peer::TransferReply> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| Box::pin(async move { handler.transfer(request).await }));
        self.call(within, false, ask).await?.map_err(|failed| error(false, false, &failed.to_string()))
    }

    async fn install(&self, chunks: BoxStream<'static, peer::SnapshotChunk>) -> LinkResult<peer::SnapshotReply> {
        let door = self.connect().await?;
        let (_open, gone) = oneshot::channel::<()>();
        let arrivals = UnboundedReceiverStream::new(self.send(chunks, gone));
        let installed = door.host.spawn(async move { door.handler.install(arrivals.boxed()).await });
        let back = self.back();
        let reply = tokio::select! {
            biased;
            () = breaks(self.back()) => return Err(error(false, false, "connection reset")),
            reply = installed => reply.map_err(|_| error(false, false, "connection reset"))?,
        };
        let at = back.arrival(Instant::now());
        if !back.carry(at).await {
            return Err(error(false, false, "connection reset"));
        }
        reply.map_err(|failed| error(false, false, &failed.to_string()))
    }

    async fn forward(&self, request: peer::ForwardRequest, within: Duration) -> LinkResult<peer::Answer> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| {
            let request = request.clone();
            Box::pin(async move { handler.forward(request).await })
        });
        self.call(within, false, ask).await
    }

    async fn read_index(&self, within: Duration) -> LinkResult<peer::ReadIndexReply> {
        let ask: Ask<_> = Arc::new(|handler: Arc<Handler>| Box::pin(async move { handler.read_index().await }));
        self.call(within, true, ask).await
    }

    async fn keep_alive(&self, lease: i64, within: Duration) -> LinkResult<peer::LeaseReply> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| Box::pin(async move { handler.keep_alive(lease).await }));
        self.call(within, true, ask).await
    }

    async fn time_left(&self, lease: i64, within: Duration) -> LinkResult<peer::LeaseReply> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| Box::pin(async move { handler.time_left(lease) }));
        self.call(within, true, ask).await
    }

    async fn change(&self, request: peer::ChangeRequest, within: Duration) -> LinkResult<peer::ChangeReply> {
        let ask: Ask<_> = Arc::new(move |handler: Arc<Handler>| {
            let request = request.clone();
            Box::pin(async move { handler.change(request).await })
        });
        self.call(within, false, ask).await
    }

    async fn group(&self, within: Duration) -> LinkResult<peer::GroupReply> {
        let ask: Ask<_> = Arc::new(|handler: Arc<Handler>| Box::pin(async move { handler.group() }));
        self.call(within, true, ask).await
    }
}
