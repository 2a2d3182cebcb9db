//! Connections into the cluster's network: sockets belong to the namespace of the thread that makes them, so one
//! thread lives in the hub's namespace and dials for everyone.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result};

struct Request {
    address: SocketAddr,
    timeout: Duration,
    answer: oneshot::Sender<std::io::Result<std::net::TcpStream>>,
}

/// Opens TCP connections from inside a network namespace. Cheap to clone; its thread ends with the last clone.
#[derive(Clone, Debug)]
pub struct Dialer {
    requests: mpsc::Sender<Request>,
}

impl Dialer {
    /// A dialer in the namespace mounted at `netns`, or, with none, in this process' own.
    pub fn start(netns: Option<PathBuf>) -> Result<Self> {
        let (requests, inbox) = mpsc::channel(64);
        let (ready, entered) = std::sync::mpsc::sync_channel(1);
        let body = move || {
            let runtime = enter(netns).and_then(|()| tokio::runtime::Builder::new_current_thread().enable_all().build());
            match runtime {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(serve(inbox));
                }
                Err(e) => {
                    let _ = ready.send(Err(e));
                }
            }
        };
        let what = "enter the cluster's network";
        std::thread::Builder::new().name("dialer".to_owned()).spawn(body).map_err(|e| Error::io(what, e))?;
        match entered.recv() {
            Ok(Ok(())) => Ok(Self { requests }),
            Ok(Err(e)) => Err(Error::io(what, e)),
            Err(_) => Err(Error::io(what, std::io::ErrorKind::BrokenPipe.into())),
        }
    }

    /// Connects to `address` within `timeout`.
    pub async fn connect(&self, address: SocketAddr, timeout: Duration) -> std::io::Result<TcpStream> {
        let (answer, stream) = oneshot::channel();
        let gone = || std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        self.requests.send(Request { address, timeout, answer }).await.map_err(|_| gone())?;
        let stream = stream.await.map_err(|_| gone())??;
        TcpStream::from_std(stream)
    }
}

/// Takes the calling thread into the network namespace that is mounted there.
pub(crate) fn enter(netns: Option<PathBuf>) -> std::io::Result<()> {
    if let Some(path) = netns {
        let file = std::fs::File::open(path)?;
        nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET)?;
    }
    Ok(())
}

async fn serve(mut inbox: mpsc::Receiver<Request>) {
    let mut dialing = tokio::task::JoinSet::new();
    while let Some(Request { address, timeout, answer }) = inbox.recv().await {
        while dialing.try_join_next().is_some() {}
        dialing.spawn(async move {
            let connect = tokio::time::timeout(timeout, TcpStream::connect(address));
            let stream = match connect.await {
                Ok(stream) => stream.and_then(TcpStream::into_std),
                Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
            };
            let _ = answer.send(stream);
        });
    }
}
