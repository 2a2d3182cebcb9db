//! Locks and elections: the same answers as etcd's, and what happens when somebody or something goes away.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)]

mod support;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use bytes::Bytes;
use support::{Clients, DEADLINE, Ours, Theirs, within};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};
use tricorn_etcd_api::{EtcdApi, EtcdApiConfig, serve};
use tricorn_proto::etcdserverpb::*;
use tricorn_proto::v3electionpb::election_client::ElectionClient;
use tricorn_proto::v3electionpb::*;
use tricorn_proto::v3lockpb::lock_client::LockClient;
use tricorn_proto::v3lockpb::*;
use tricorn_store::{Bootstrap, InitialMember, PeerListen, Store, StoreConfig};

/// One client of everything that is asked here, on a connection of its own.
#[derive(Clone)]
struct Client {
    lock: LockClient<Channel>,
    election: ElectionClient<Channel>,
    all: Clients,
}

impl Client {
    async fn connect(endpoint: &str) -> Self {
        let all = Clients::connect(endpoint).await;
        let channel = Channel::from_shared(endpoint.to_owned()).unwrap().connect().await.unwrap();
        Self { lock: LockClient::new(channel.clone()), election: ElectionClient::new(channel), all }
    }

    async fn of(ours: &Ours) -> Self {
        Self::connect(&format!("http://{}", ours.address)).await
    }

    async fn grant(&mut self, id: i64, ttl: i64) {
        self.all.lease.lease_grant(LeaseGrantRequest { id, ttl }).await.unwrap();
    }

    async fn revoke(&mut self, id: i64) {
        self.all.lease.lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    }

    /// Asks for a lock in the background.
    fn locking(&self, name: &str, lease: i64) -> JoinHandle<Result<Response<LockResponse>, Status>> {
        let mut client = self.lock.clone();
        let request = LockRequest { name: b(name), lease };
        tokio::spawn(async move { client.lock(request).await })
    }

    fn campaigning(&self, name: &str, lease: i64, value: &str) -> JoinHandle<Result<Response<CampaignResponse>, Status>> {
        let mut client = self.election.clone();
        let request = CampaignRequest { name: b(name), lease, value: b(value) };
        tokio::spawn(async move { client.campaign(request).await })
    }

    /// Follows an election in the background. etcd answers with the first leader, not before.
    fn observing(&self, name: &str) -> Observed {
        let (mut client, name) = (self.election.clone(), b(name));
        let (found, seen) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut stream = match client.observe(LeaderRequest { name }).await {
                Ok(stream) => stream.into_inner(),
                Err(status) => return drop(found.send(Err(status)).await),
            };
            while let Some(message) = stream.message().await.transpose() {
                if found.send(message).await.is_err() {
                    return;
                }
            }
        });
        Observed(seen)
    }

    async fn unlock(&mut self, key: &str) {
        within(self.lock.unlock(UnlockRequest { key: b(key) })).await.unwrap();
    }

    async fn keys(&mut self, name: &str) -> Vec<String> {
        let request = RangeRequest { key: b(&format!("{name}/")), range_end: b(&format!("{name}0")), ..RangeRequest::default() };
        let found = within(self.all.kv.range(request)).await.unwrap().into_inner();
        found.kvs.iter().map(|kv| String::from_utf8(kv.key.to_vec()).unwrap()).collect()
    }

    /// Returns when the keys of a queue are these.
    async fn until_keys(&mut self, name: &str, wanted: &[&str]) {
        let begun = Instant::now();
        loop {
            let keys = self.keys(name).await;
            if keys == wanted {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "{keys:?} never became {wanted:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

struct Observed(mpsc::Receiver<Result<LeaderResponse, Status>>);

impl Observed {
    async fn next(&mut self) -> Result<LeaderResponse, Status> {
        within(self.0.recv()).await.expect("the stream ends with an error")
    }
}

fn b(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// What one server said, line by line.
struct Transcript(Vec<String>);

impl Transcript {
    /// Of headers, only the revision.
    fn note<T>(&mut self, what: &str, answer: Result<Response<T>, Status>, tell: impl FnOnce(T) -> (Option<ResponseHeader>, String)) {
        self.0.push(match answer {
            Ok(answer) => {
                let (header, rest) = tell(answer.into_inner());
                format!("{what}: at {} {rest}", header.unwrap().revision)
            }
            Err(status) => format!("{what}: {:?} {}", status.code(), status.message()),
        });
    }

    fn locked(&mut self, what: &str, answer: Result<Response<LockResponse>, Status>) {
        self.note(what, answer, |lock| (lock.header, format!("{:?}", lock.key)));
    }

    fn won(&mut self, what: &str, answer: Result<Response<CampaignResponse>, Status>) {
        self.note(what, answer, |won| (won.header, format!("{:?}", won.leader)));
    }

    fn leader(&mut self, what: &str, answer: Result<Response<LeaderResponse>, Status>) {
        self.note(what, answer, |leader| (leader.header, format!("{:?}", leader.kv)));
    }
}

async fn locks(c: &mut Client, t: &mut Transcript) {
    for lease in [7, 8, 9] {
        c.grant(lease, 100).await;
    }
    for lease in [12345, -5] {
        t.locked("no such lease", within(c.locking("l", lease)).await.unwrap());
    }
    t.locked("free", within(c.locking("l", 7)).await.unwrap());
    t.locked("held by the same lease", within(c.locking("l", 7)).await.unwrap());
    let second = c.locking("l", 8);
    c.until_keys("l", &["l/7", "l/8"]).await;
    let third = c.locking("l", 9);
    c.until_keys("l", &["l/7", "l/8", "l/9"]).await;
    t.note("unlock", c.lock.unlock(UnlockRequest { key: b("l/7") }).await, |done| (done.header, String::new()));
    t.locked("second", within(second).await.unwrap());
    c.revoke(8).await;
    t.locked("third", within(third).await.unwrap());
    t.note("unlock nothing", c.lock.unlock(UnlockRequest { key: b("l/7") }).await, |done| (done.header, String::new()));
    t.note("unlock no key", c.lock.unlock(UnlockRequest::default()).await, |done| (done.header, String::new()));
    // Another name that begins alike is another lock.
    t.locked("another", within(c.locking("l2", 7)).await.unwrap());
    t.locked("no name", within(c.locking("", 7)).await.unwrap());

    // Where a lease ends while its lock is waited for, 3.4 gives the lock all the same; 3.6 and ours do not.
    c.unlock("l/9").await;
    c.revoke(7).await;
    c.grant(7, 100).await;
    t.locked("held", within(c.locking("l", 9)).await.unwrap());
    let waiting = c.locking("l", 7);
    c.until_keys("l", &["l/7", "l/9"]).await;
    waiting.abort();
    c.until_keys("l", &["l/9"]).await;

    let free = within(c.locking("session", 0)).await.unwrap().unwrap().into_inner();
    let id = i64::from_str_radix(std::str::from_utf8(&free.key).unwrap().strip_prefix("session/").unwrap(), 16).unwrap();
    let left = c.all.lease.lease_time_to_live(LeaseTimeToLiveRequest { id, keys: true }).await.unwrap().into_inner();
    assert_eq!(left.keys, [free.key]);
    t.0.push(format!("a lease of {} seconds", left.granted_ttl));
}

async fn elections(c: &mut Client, t: &mut Transcript) {
    let named = |name: &str| LeaderRequest { name: b(name) };
    let proclaim = |leader: Option<LeaderKey>, value: &str| ProclaimRequest { leader, value: b(value) };
    for lease in [17, 18] {
        c.grant(lease, 100).await;
    }
    t.leader("nobody", c.election.leader(named("e")).await);
    t.won("no such lease", within(c.campaigning("e", 99, "x")).await.unwrap());
    let mut seen = c.observing("e");
    t.won("alone", within(c.campaigning("e", 17, "first")).await.unwrap());
    t.leader("seen: first", seen.next().await.map(Response::new));
    t.leader("first", c.election.leader(named("e")).await);
    t.won("again", within(c.campaigning("e", 17, "first")).await.unwrap());
    t.won("again, another value", within(c.campaigning("e", 17, "second")).await.unwrap());
    t.leader("seen: second", seen.next().await.map(Response::new));
    let second = c.campaigning("e", 18, "other");
    c.until_keys("e", &["e/11", "e/12"]).await;
    t.leader("still the first", c.election.leader(named("e")).await);

    let first = c.election.leader(named("e")).await.unwrap().into_inner().kv.unwrap();
    let leader = LeaderKey { name: b("e"), key: first.key, rev: first.create_revision, lease: 17 };
    let told = |done: ProclaimResponse| (done.header, String::new());
    t.note("proclaim", c.election.proclaim(proclaim(Some(leader.clone()), "third")).await, told);
    t.leader("seen: third", seen.next().await.map(Response::new));
    let stale = LeaderKey { rev: leader.rev - 1, ..leader.clone() };
    t.note("proclaim of another", c.election.proclaim(proclaim(Some(stale.clone()), "x")).await, told);
    let unleased = LeaderKey { lease: 99, ..leader.clone() };
    t.note("proclaim without a lease", c.election.proclaim(proclaim(Some(unleased), "x")).await, told);
    t.note("proclaim nothing", c.election.proclaim(proclaim(None, "x")).await, told);
    t.note("proclaim an empty one", c.election.proclaim(proclaim(Some(LeaderKey::default()), "x")).await, told);

    let told = |done: ResignResponse| (done.header, String::new());
    let resign = |leader: Option<LeaderKey>| ResignRequest { leader };
    t.note("resign nothing", c.election.resign(resign(None)).await, told);
    t.note("resign an empty one", c.election.resign(resign(Some(LeaderKey::default()))).await, told);
    t.note("resign another", c.election.resign(resign(Some(stale))).await, told);
    t.note("resign", c.election.resign(resign(Some(leader.clone()))).await, told);
    t.won("second", within(second).await.unwrap());
    t.note("resign again", c.election.resign(resign(Some(leader.clone()))).await, told);
    t.note("proclaim afterwards", c.election.proclaim(proclaim(Some(leader), "x")).await, |done| (done.header, String::new()));

    t.leader("seen: other", seen.next().await.map(Response::new));
    let waiting = c.campaigning("e", 17, "gone");
    c.until_keys("e", &["e/11", "e/12"]).await;
    waiting.abort();
    c.until_keys("e", &["e/12"]).await;
    c.revoke(18).await;
    t.leader("nobody again", c.election.leader(named("e")).await);
}

async fn told_by(endpoint: &str) -> Vec<String> {
    let (mut client, mut transcript) = (Client::connect(endpoint).await, Transcript(Vec::new()));
    locks(&mut client, &mut transcript).await;
    elections(&mut client, &mut transcript).await;
    transcript.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn locks_and_elections_answer_as_etcd_does() {
    let Some(theirs) = Theirs::start().await else {
        println!("skipped: there is no etcd on this machine (package etcd-server)");
        return;
    };
    let ours = Ours::start(|_| {}).await;
    let expected = told_by(&theirs.endpoint).await;
    let told = told_by(&format!("http://{}", ours.address)).await;
    for (told, expected) in told.iter().zip(&expected) {
        assert_eq!(told, expected);
    }
    assert_eq!(told.len(), expected.len());
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_has_one_holder_at_a_time() {
    let ours = Ours::start(|_| {}).await;
    let mut contenders = tokio::task::JoinSet::new();
    for contender in 1..=2 {
        let mut client = Client::of(&ours).await;
        contenders.spawn(async move {
            client.grant(contender, 100).await;
            for _ in 0..20 {
                let key = within(client.locking("counter", contender)).await.unwrap().unwrap().into_inner().key;
                // Lost updates would show that both were inside.
                let read = RangeRequest { key: b("n"), ..RangeRequest::default() };
                let found = client.all.kv.range(read).await.unwrap().into_inner().kvs;
                let n: u32 = found.first().map_or(0, |kv| std::str::from_utf8(&kv.value).unwrap().parse().unwrap());
                let write = PutRequest { key: b("n"), value: (n + 1).to_string().into(), ..PutRequest::default() };
                client.all.kv.put(write).await.unwrap();
                client.lock.unlock(UnlockRequest { key }).await.unwrap();
            }
        });
    }
    while let Some(done) = within(contenders.join_next()).await {
        done.unwrap();
    }
    let found = ours.store.range(RangeRequest { key: b("n"), ..RangeRequest::default() }).await.unwrap();
    assert_eq!(found.kvs[0].value, "40");
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_ends_with_its_lease() {
    let ours = Ours::start(|_| {}).await;
    let mut client = Client::of(&ours).await;
    client.grant(1, 1).await;
    client.grant(2, 100).await;
    within(client.locking("l", 1)).await.unwrap().unwrap();
    within(client.campaigning("e", 1, "v")).await.unwrap().unwrap();
    let (lock, election) = (client.locking("l", 2), client.campaigning("e", 2, "w"));
    assert_eq!(within(lock).await.unwrap().unwrap().into_inner().key, "l/2");
    assert_eq!(within(election).await.unwrap().unwrap().into_inner().leader.unwrap().key, "e/2");
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_the_key_does_not_wait_on() {
    let ours = Ours::start(|_| {}).await;
    let mut client = Client::of(&ours).await;
    for lease in [1, 2] {
        client.grant(lease, 100).await;
    }
    within(client.locking("l", 1)).await.unwrap().unwrap();
    within(client.campaigning("e", 1, "v")).await.unwrap().unwrap();
    let (lock, election) = (client.locking("l", 2), client.campaigning("e", 2, "w"));
    client.until_keys("l", &["l/1", "l/2"]).await;
    client.until_keys("e", &["e/1", "e/2"]).await;
    client.revoke(2).await;
    // The first still holds both.
    assert_eq!(within(lock).await.unwrap().unwrap_err().message(), "mutex: session is expired");
    assert_eq!(within(election).await.unwrap().unwrap_err().message(), "election: not leader");
    assert_eq!(client.keys("l").await, ["l/1"]);
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_leaves_nothing_behind() {
    let ours = Ours::start(|_| {}).await;
    let mut client = Client::of(&ours).await;
    client.grant(1, 100).await;
    within(client.locking("l", 1)).await.unwrap().unwrap();
    let other = Client::of(&ours).await;
    let waiting = other.locking("l", 0);
    while client.keys("l").await.len() < 2 {}
    // The whole connection, not only the call.
    waiting.abort();
    drop(other);
    client.until_keys("l", &["l/1"]).await;
    let begun = Instant::now();
    while client.all.lease.lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases != [LeaseStatus { id: 1 }] {
        assert!(begun.elapsed() < DEADLINE, "the lease made for the one who has gone is still there");
    }
    ours.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_ends_every_wait() {
    let ours = Ours::start(|_| {}).await;
    let mut client = Client::of(&ours).await;
    for lease in [1, 2] {
        client.grant(lease, 100).await;
    }
    within(client.locking("l", 1)).await.unwrap().unwrap();
    let waiting = client.locking("l", 2);
    let mut observed = client.observing("e");
    client.until_keys("l", &["l/1", "l/2"]).await;
    ours.stop.cancel();
    let refused = within(waiting).await.unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: server stopped"));
    assert_eq!(observed.next().await.unwrap_err().code(), Code::Unavailable);
    let left = ours.store.range(RangeRequest { key: b("l/2"), ..RangeRequest::default() }).await.unwrap();
    assert_eq!(left.count, 0, "a lock that has failed is not held later");
    ours.stop().await;
}

/// Three members in this process, each with its door.
struct Three(Vec<(Store, EtcdApi, CancellationToken)>);

impl Three {
    async fn start() -> Self {
        let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let members: Vec<_> = listeners
            .iter()
            .enumerate()
            .map(|(n, listener)| InitialMember {
                name: format!("s{n}"),
                peer_urls: vec![format!("http://{}", listener.local_addr().unwrap())],
            })
            .collect();
        let mut starting = tokio::task::JoinSet::new();
        for (n, listener) in listeners.into_iter().enumerate() {
            let mut config = StoreConfig::new(format!("s{n}"), "");
            config.storage = tricorn_store::Storage::Disk(std::sync::Arc::new(tricorn_store::MemoryDisk::default()));
            config.peer_urls = members[n].peer_urls.clone();
            config.bootstrap = Bootstrap::Group { members: members.clone(), token: "t".into() };
            config.peer_listen = PeerListen::Listener(listener);
            starting.spawn(Store::start(config));
        }
        let mut three = Vec::new();
        while let Some(store) = within(starting.join_next()).await {
            let store = store.unwrap().unwrap();
            let config = EtcdApiConfig {
                no_leader_grace: Duration::from_millis(500),
                listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                ..EtcdApiConfig::default()
            };
            let stop = CancellationToken::new();
            three.push((store.clone(), serve(store, config, stop.clone()).await.unwrap(), stop));
        }
        Self(three)
    }

    /// The leader comes first.
    async fn clients(&mut self) -> Vec<Client> {
        let mut leadership = self.0[0].0.leadership();
        let leader = within(leadership.wait_for(|now| now.leader.is_some())).await.unwrap().leader;
        self.0.sort_by_key(|(store, ..)| Some(store.member_id()) != leader);
        let mut clients = Vec::new();
        for (_, api, _) in &self.0 {
            clients.push(Client::connect(&format!("http://{}", api.addresses[0])).await);
        }
        clients
    }

    async fn stop(member: (Store, EtcdApi, CancellationToken)) {
        member.2.cancel();
        within(member.1.closed()).await;
        within(member.0.shutdown()).await.unwrap();
    }
}

fn with_leader<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", "true".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waits_outlast_their_leader_and_end_without_any() {
    let mut three = Three::start().await;
    let mut clients = three.clients().await;
    for lease in [1, 2, 3] {
        clients[0].grant(lease, 600).await;
    }
    within(clients[1].locking("l", 1)).await.unwrap().unwrap();
    let waiting = clients[2].locking("l", 2);
    clients[1].until_keys("l", &["l/1", "l/2"]).await;
    let next = three.0[1].0.member_id();
    within(three.0[0].0.move_leader(next)).await.unwrap();
    assert!(!waiting.is_finished());
    // A change that was asked for, and then one that was not.
    let mut clients = three.clients().await;
    Three::stop(three.0.remove(0)).await;
    clients.remove(0);
    clients[0].unlock("l/1").await;
    assert_eq!(within(waiting).await.unwrap().unwrap().into_inner().key, "l/2");

    let mut clients = three.clients().await;
    let request = with_leader(LockRequest { name: b("l"), lease: 3 });
    let mut lock = clients[1].lock.clone();
    let waiting = tokio::spawn(async move { lock.lock(request).await });
    clients[1].until_keys("l", &["l/2", "l/3"]).await;
    Three::stop(three.0.remove(0)).await;
    let refused = within(waiting).await.unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.message()), (Code::Unavailable, "etcdserver: no leader"));
}
