//! Members in one process, on loopback sockets, with mutual TLS.
#![allow(dead_code)]

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tricorn_proto::etcdserverpb::{PutRequest, RangeRequest};
use tricorn_store::{Bootstrap, Disk, Error, InitialMember, MemoryDisk, PeerListen, PeerTls, Storage, Store, StoreConfig, Timing};

pub fn put(key: &str, value: &str) -> PutRequest {
    PutRequest { key: Bytes::copy_from_slice(key.as_bytes()), value: Bytes::copy_from_slice(value.as_bytes()), ..PutRequest::default() }
}

pub fn get(key: &str) -> RangeRequest {
    RangeRequest { key: Bytes::copy_from_slice(key.as_bytes()), ..RangeRequest::default() }
}

pub async fn value(store: &Store, key: &str) -> Option<Bytes> {
    within(store.range(get(key))).await.unwrap().kvs.first().map(|kv| kv.value.clone())
}

pub async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("in time")
}

/// Asks again until the answer is yes.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !holds().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub fn tls() -> PeerTls {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::<String>::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let cert = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca_cert.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let chain: Vec<CertificateDer<'static>> = vec![cert.der().clone()];
    let key = || PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build().unwrap();
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), key())
        .unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key())
        .unwrap();
    PeerTls { server: Arc::new(server), client: Arc::new(client) }
}

pub struct Seat {
    pub name: String,
    pub port: u16,
    pub storage: Storage,
    pub memory: Option<MemoryDisk>,
    pub store: Option<Store>,
}

pub struct Group {
    pub seats: Vec<Seat>,
    pub tls: PeerTls,
    pub timing: Timing,
    _dir: Option<tempfile::TempDir>,
}

impl Group {
    /// Three members; on RocksDB with `real`, otherwise on memory disks.
    pub async fn of_three(real: bool, timing: Timing) -> Self {
        let dir = real.then(|| tempfile::tempdir().unwrap());
        let mut seats = Vec::new();
        for n in 0..3 {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = listener.local_addr().unwrap().port();
            let name = format!("s{}", n + 1);
            let memory = (!real).then(MemoryDisk::default);
            let storage = match (&dir, &memory) {
                (Some(dir), _) => Storage::Dir { path: dir.path().join(&name), options: tricorn_store::RocksOptions::default() },
                (None, Some(memory)) => Storage::Disk(Arc::new(memory.clone()) as Arc<dyn Disk>),
                (None, None) => unreachable!(),
            };
            seats.push((Seat { name, port, storage, memory, store: None }, listener));
        }
        let (seats, listeners): (Vec<_>, Vec<_>) = seats.into_iter().unzip();
        let mut group = Self { seats, tls: tls(), timing, _dir: dir };
        for (n, listener) in listeners.into_iter().enumerate() {
            let config = group.config(n, PeerListen::Listener(listener));
            group.seats[n].store = Some(Store::start(config).await.unwrap());
        }
        group
    }

    pub fn url(&self, n: usize) -> String {
        format!("https://127.0.0.1:{}", self.seats[n].port)
    }

    pub fn config(&self, n: usize, listen: PeerListen) -> StoreConfig {
        let all = (0..3).map(|n| InitialMember { name: self.seats[n].name.clone(), peer_urls: vec![self.url(n)] });
        let mut config = StoreConfig::new(self.seats[n].name.clone(), "");
        config.storage = self.seats[n].storage.clone();
        config.peer_urls = vec![self.url(n)];
        config.client_urls = vec![format!("https://127.0.0.1:1{n}")];
        config.bootstrap = Bootstrap::Group { members: all.collect(), token: "test".into() };
        config.peer_listen = listen;
        config.peer_tls = Some(self.tls.clone());
        config.timing = self.timing;
        config
    }

    pub fn store(&self, n: usize) -> &Store {
        self.seats[n].store.as_ref().unwrap()
    }

    /// The seat of the leader that has taken over fully.
    pub async fn leader(&self) -> usize {
        let mut found = None;
        until("somebody leads", async || {
            found =
                (0..self.seats.len()).find(|n| self.seats[*n].store.as_ref().is_some_and(|store| store.leadership().borrow().is_leader));
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Takes a member away at once: nothing of what it had not synced is kept, when its disk can tell.
    pub fn kill(&mut self, n: usize) {
        let seat = &mut self.seats[n];
        if let Some(memory) = &mut seat.memory {
            *memory = memory.crash();
            seat.storage = Storage::Disk(Arc::new(memory.clone()));
        }
        seat.store = None;
    }

    /// Gives a member that is off another disk.
    pub fn set_disk(&mut self, n: usize, disk: &MemoryDisk) {
        let seat = &mut self.seats[n];
        (seat.memory, seat.storage) = (Some(disk.clone()), Storage::Disk(Arc::new(disk.clone())));
    }

    pub async fn stop(&mut self, n: usize) {
        let store = self.seats[n].store.take().unwrap();
        within(store.shutdown()).await.unwrap();
    }

    /// Brings a member back on what it has, at the address it had.
    pub async fn revive(&mut self, n: usize) {
        let mut fresh = None;
        until("the member comes back", async || {
            let Ok(listener) = TcpListener::bind(("127.0.0.1", self.seats[n].port)) else { return false };
            match Store::start(self.config(n, PeerListen::Listener(listener))).await {
                Ok(store) => fresh = Some(store),
                // The old one may not have let go of its files yet.
                Err(Error::Disk { .. }) => return false,
                Err(error) => panic!("{error}"),
            }
            true
        })
        .await;
        self.seats[n].store = fresh;
    }

    pub async fn shutdown(mut self) {
        for seat in &mut self.seats {
            if let Some(store) = seat.store.take() {
                within(store.shutdown()).await.unwrap();
            }
        }
    }
}
