//! The cluster's API on the machine: a listener on loopback that carries each connection to a server that answers.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::access::ApiAccess;
use crate::dial::Dialer;
use crate::error::{Error, Result};

const PORT: u16 = 6443;
const DIAL: Duration = Duration::from_millis(300);
const CHECK_EVERY: Duration = Duration::from_millis(250);
const CHECK_TIMEOUT: Duration = Duration::from_millis(750);
/// So many failed checks in a row take a server out and end its connections, so that clients move on: to another that answers. Where none
/// does, the machine is busy, or all are waiting for a leader, and nobody would gain by it.
const FAILURES: u32 = 2;
const MAX_CONNECTIONS: usize = 4096;

#[derive(Debug)]
struct Backend {
    address: Ipv4Addr,
    failures: u32,
    /// Cancelled when the server is found dead; then replaced.
    alive: CancellationToken,
}

#[derive(Debug)]
struct Shared {
    dialer: Dialer,
    access: Mutex<Option<ApiAccess>>,
    backends: Mutex<Vec<Backend>>,
    turn: std::sync::atomic::AtomicUsize,
}

/// Forwards a loopback port to the servers. Ends when dropped.
#[derive(Debug)]
pub struct Forwarder {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Forwarder {
    /// Listens on 127.0.0.1:`port` (0: any) and forwards to port 6443 of `servers`, dialled through `dialer`.
    pub async fn start(port: u16, servers: Vec<Ipv4Addr>, dialer: Dialer) -> Result<Self> {
        let wanted = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let listener =
            TcpListener::bind(wanted).await.map_err(|_| Error::PortTaken { address: wanted.to_string(), flag: "--api-port".to_owned() })?;
        let address = listener.local_addr().map_err(|e| Error::io("listen for the API", e))?;
        let backends = servers.into_iter().map(|address| Backend { address, failures: 0, alive: CancellationToken::new() }).collect();
        let shared = Arc::new(Shared {
            dialer,
            access: Mutex::new(None),
            backends: Mutex::new(backends),
            turn: std::sync::atomic::AtomicUsize::new(0),
        });
        let tasks = vec![tokio::spawn(accept(listener, shared.clone())), tokio::spawn(check(shared.clone()))];
        Ok(Self { address, shared, tasks })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on servers are asked /readyz; before, an open port had to do.
    pub fn check_with(&self, access: ApiAccess) {
        if let Ok(mut slot) = self.shared.access.lock() {
            *slot = Some(access);
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) if connections.len() < MAX_CONNECTIONS => {
                connections.spawn(carry(client, shared.clone()));
            }
            Ok(_) => tracing::warn!(limit = MAX_CONNECTIONS, "too many connections to the API: one refused"),
            Err(e) => {
                tracing::warn!(error = %e, "accept a connection to the API");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

impl Shared {
    /// The servers in the order to try them: the healthy ones by turns, then the rest.
    fn order(&self) -> Vec<(Ipv4Addr, CancellationToken)> {
        let Ok(backends) = self.backends.lock() else { return Vec::new() };
        let turn = self.turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let count = backends.len().max(1);
        let mut order: Vec<&Backend> = backends.iter().cycle().skip(turn % count).take(backends.len()).collect();
        order.sort_by_key(|b| b.failures > 0);
        order.into_iter().map(|b| (b.address, b.alive.clone())).collect()
    }

    fn record(&self, address: Ipv4Addr, healthy: bool) {
        let Ok(mut backends) = self.backends.lock() else { return };
        if let Some(backend) = backends.iter_mut().find(|b| b.address == address) {
            backend.failures = if healthy { 0 } else { backend.failures.saturating_add(1) };
        }
    }
}

/// Ends the connections of servers that are found dead, if there is one that is not.
fn cut(backends: &mut [Backend]) {
    if backends.iter().all(|b| b.failures > 0) {
        return;
    }
    for backend in backends.iter_mut().filter(|b| b.failures >= FAILURES) {
        backend.alive.cancel();
        backend.alive = CancellationToken::new();
    }
}

async fn carry(mut client: TcpStream, shared: Arc<Shared>) {
    for (address, alive) in shared.order() {
        match shared.dialer.connect(SocketAddr::from((address, PORT)), DIAL).await {
            Ok(mut server) => {
                let _ = client.set_nodelay(true);
                let _ = server.set_nodelay(true);
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                    () = alive.cancelled() => {}
                }
                return;
            }
            Err(_) => shared.record(address, false),
        }
    }
}

async fn check(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(CHECK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut ready: HashMap<Ipv4Addr, bool> = HashMap::new();
    loop {
        ticks.tick().await;
        let addresses: Vec<Ipv4Addr> = shared.backends.lock().map(|b| b.iter().map(|b| b.address).collect()).unwrap_or_default();
        let access = shared.access.lock().ok().and_then(|a| a.clone());
        let checks = addresses.into_iter().map(|address| {
            let (shared, access) = (shared.clone(), access.clone());
            async move { (address, probe(&shared, access.as_ref(), address).await) }
        });
        for (address, healthy) in futures::future::join_all(checks).await {
            shared.record(address, healthy);
            if ready.insert(address, healthy) != Some(healthy) {
                tracing::info!(server = %address, healthy, "API server checked");
            }
        }
        if let Ok(mut backends) = shared.backends.lock() {
            cut(&mut backends);
        }
    }
}

async fn probe(shared: &Shared, access: Option<&ApiAccess>, address: Ipv4Addr) -> bool {
    match access {
        Some(access) => matches!(access.get(address.into(), "/readyz", CHECK_TIMEOUT).await, Ok((200, _))),
        None => shared.dialer.connect(SocketAddr::from((address, PORT)), DIAL).await.is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_cut_where_another_server_answers() {
        let cases = [([0, 0, 2], [false, false, true]), ([0, 1, 1], [false; 3]), ([2, 3, 2], [false; 3]), ([2, 0, 5], [true, false, true])];
        for (failures, expected) in cases {
            let mut backends = failures.map(|failures| Backend { address: Ipv4Addr::LOCALHOST, failures, alive: CancellationToken::new() });
            let alive = backends.each_ref().map(|backend| backend.alive.clone());
            cut(&mut backends);
            assert_eq!(alive.map(|alive| alive.is_cancelled()), expected, "{failures:?}");
            assert!(backends.iter().all(|backend| !backend.alive.is_cancelled()), "a new connection is not cut");
        }
    }
}
