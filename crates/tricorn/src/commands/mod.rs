//! The subcommands, one file each.

pub mod agent;
pub mod bench;
pub mod certs;
pub mod completion;
pub mod down;
pub mod etcd;
pub mod etcd_flags;
pub mod history;
pub mod host;
pub mod image;
pub mod kubeconfig;
pub mod member;
pub mod quota;
pub mod restore;
pub mod server;
pub mod snapshot;
pub mod status;
pub mod table;
pub mod token;
pub mod up;
pub mod version;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

/// The address that this machine would be reached at: the one that packets to elsewhere leave from. None are sent.
fn own_address() -> IpAddr {
    let route = || -> std::io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        // An address for documentation: nobody is there, and nothing is sent.
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    route().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// The machine's name, as nodes and servers are called by default.
fn own_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_lowercase()
}
