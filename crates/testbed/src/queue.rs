//! A queue of the kernel (NFQUEUE) in a host's network: packets wait in it, and are known here by number, until they are let go on.
//!
//! Only numbers cross the socket, no packets, and the kernel bounds how many wait. When the socket is closed the queue is gone, and a rule
//! with `--queue-bypass` lets everything pass again.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;

use nix::sys::socket::{self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::dial::enter;

/// Its number, for the rule that fills it; one that nobody else on a host would take.
pub(crate) const NUMBER: u16 = 7301;
/// So many packets may wait; the kernel drops what comes beyond.
const MOST_WAITING: u32 = 10_000;
/// Room for what the kernel has told and nobody has read yet, in bytes.
const RECEIVE_BUFFER: usize = 4 << 20;
const HEADER: usize = 16;
/// Family, version and the queue's number.
const FAMILY_HEADER: usize = 4;
/// Packets that one piece would not hold, as between two interfaces of one machine, are queued whole.
const WHOLE_PACKETS: u32 = libc::NFQA_CFG_F_GSO as u32;

/// The queue of one host.
pub(crate) struct Queue {
    socket: AsyncFd<OwnedFd>,
}

/// What the kernel says.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// A packet has come.
    Packet(u32),
    /// What was asked for is done (0), or why not.
    Answer(i32),
}

impl Queue {
    /// Makes the queue of the network namespace that is mounted at `netns`.
    pub(crate) fn open(netns: PathBuf) -> io::Result<Self> {
        // A socket belongs to the namespace of the thread that makes it, so a thread goes there for it, and ends there.
        let made = std::thread::Builder::new().name("queue".to_owned()).spawn(move || enter(Some(netns)).and_then(|()| bind()))?;
        let socket = made.join().map_err(|_| io::Error::other("the thread that makes the queue has ended"))??;
        // SAFETY: an `OwnedFd` is open until it is dropped and always the same descriptor, and it is owned by what is made here, which
        // hands out no more than references.
        let socket = unsafe { AsyncFd::register(socket) }?;
        Ok(Self { socket })
    }

    /// Waits for packets; their numbers.
    pub(crate) async fn next(&self) -> io::Result<Vec<u32>> {
        let received = self.socket.async_io(Interest::READABLE, receive).await;
        match received {
            Ok(told) => Ok(told.into_iter().filter_map(|told| if let Told::Packet(id) = told { Some(id) } else { None }).collect()),
            // More came than could be told, and the kernel has dropped what was not.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Lets one packet go on.
    pub(crate) fn accept(&self, id: u32) -> io::Result<()> {
        self.verdict(libc::NFQNL_MSG_VERDICT, id)
    }

    /// Lets every packet up to this one go on.
    pub(crate) fn accept_up_to(&self, id: u32) -> io::Result<()> {
        self.verdict(libc::NFQNL_MSG_VERDICT_BATCH, id)
    }

    fn verdict(&self, kind: i32, id: u32) -> io::Result<()> {
        let accept = [(libc::NF_ACCEPT as u32).to_be_bytes(), id.to_be_bytes()].concat();
        send(self.socket.get_ref(), &message(kind, libc::NLM_F_REQUEST, &[(libc::NFQA_VERDICT_HDR, &accept)]))
    }
}

fn bind() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket::socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkNetFilter)?;
    socket::setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER)?;
    socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    let whole = WHOLE_PACKETS.to_be_bytes();
    let settings: [(i32, &[u8]); 5] = [
        // The family that follows is not looked at any more.
        (libc::NFQA_CFG_CMD, &[libc::NFQNL_CFG_CMD_BIND as u8, 0, 0, 0]),
        // Nothing of a packet is copied.
        (libc::NFQA_CFG_PARAMS, &[0, 0, 0, 0, libc::NFQNL_COPY_META as u8]),
        (libc::NFQA_CFG_QUEUE_MAXLEN, &MOST_WAITING.to_be_bytes()),
        (libc::NFQA_CFG_MASK, &whole),
        (libc::NFQA_CFG_FLAGS, &whole),
    ];
    send(&socket, &message(libc::NFQNL_MSG_CONFIG, libc::NLM_F_REQUEST | libc::NLM_F_ACK, &settings))?;
    // The kernel has done it, and answered, before the sending returns; packets may have come first.
    loop {
        for told in receive(&socket)? {
            match told {
                Told::Answer(0) => return Ok(socket),
                Told::Answer(error) => return Err(io::Error::from_raw_os_error(-error)),
                Told::Packet(_) => {}
            }
        }
    }
}

fn send(socket: &OwnedFd, message: &[u8]) -> io::Result<()> {
    socket::send(socket.as_raw_fd(), message, MsgFlags::empty())?;
    Ok(())
}

fn receive(socket: &OwnedFd) -> io::Result<Vec<Told>> {
    let mut datagram = [0; 8192];
    let length = socket::recv(socket.as_raw_fd(), &mut datagram, MsgFlags::empty())?;
    Ok(read(datagram.get(..length).unwrap_or_default()))
}

/// A message to the queue: netlink's header, netfilter's, and attributes, each filled up to four bytes.
fn message(kind: i32, flags: i32, attributes: &[(i32, &[u8])]) -> Vec<u8> {
    let mut message = vec![0; HEADER];
    message.extend([libc::AF_UNSPEC as u8, libc::NFNETLINK_V0 as u8]);
    message.extend(NUMBER.to_be_bytes());
    for (kind, value) in attributes {
        message.extend((FAMILY_HEADER as u16 + value.len() as u16).to_ne_bytes());
        message.extend((*kind as u16).to_ne_bytes());
        message.extend(*value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let length = message.len() as u32;
    message[..4].copy_from_slice(&length.to_ne_bytes());
    message[4..6].copy_from_slice(&(((libc::NFNL_SUBSYS_QUEUE << 8) | kind) as u16).to_ne_bytes());
    message[6..8].copy_from_slice(&(flags as u16).to_ne_bytes());
    message
}

/// The bytes at `at`, if they are there.
fn bytes<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk().copied()
}

/// What a datagram of the kernel's says.
fn read(mut data: &[u8]) -> Vec<Told> {
    let mut all = Vec::new();
    while let (Some(length), Some(kind)) = (bytes(data, 0).map(u32::from_ne_bytes), bytes(data, 4).map(u16::from_ne_bytes)) {
        let length = length as usize;
        let Some(content) = data.get(HEADER..length) else { break };
        if i32::from(kind) == libc::NLMSG_ERROR {
            all.extend(bytes(content, 0).map(i32::from_ne_bytes).map(Told::Answer));
        } else if i32::from(kind) == (libc::NFNL_SUBSYS_QUEUE << 8) | libc::NFQNL_MSG_PACKET {
            all.extend(content.get(FAMILY_HEADER..).and_then(packet).map(Told::Packet));
        }
        data = data.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// The number of the packet that these attributes tell of.
fn packet(mut attributes: &[u8]) -> Option<u32> {
    loop {
        let length = usize::from(bytes(attributes, 0).map(u16::from_ne_bytes)?);
        if i32::from(bytes(attributes, 2).map(u16::from_ne_bytes)?) == libc::NFQA_PACKET_HDR {
            return bytes(attributes, 4).map(u32::from_be_bytes);
        }
        // An attribute is never shorter than its own header; one that says so would be read for ever.
        attributes = attributes.get(length.max(4).next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_verdict_is_what_the_kernel_reads() {
        let accept = [(libc::NF_ACCEPT as u32).to_be_bytes(), 258u32.to_be_bytes()].concat();
        let sent = message(libc::NFQNL_MSG_VERDICT, libc::NLM_F_REQUEST, &[(libc::NFQA_VERDICT_HDR, &accept)]);
        assert_eq!(sent.len(), 32);
        assert_eq!(u32::from_ne_bytes(bytes(&sent, 0).unwrap()), 32);
        assert_eq!(u16::from_ne_bytes(bytes(&sent, 4).unwrap()), 0x301);
        assert_eq!(sent[18..20], NUMBER.to_be_bytes());
        assert_eq!(sent[24..], [0, 0, 0, 1, 0, 0, 1, 2]);
    }

    #[test]
    fn packets_and_answers_are_read_and_what_is_cut_off_is_not() {
        // The kernel's messages are laid out as ours are; its answers have a number where ours have the family.
        let other = (libc::NFQA_IFINDEX_INDEV, &[0u8, 0, 0, 2][..]);
        let packet = message(libc::NFQNL_MSG_PACKET, 0, &[other, (libc::NFQA_PACKET_HDR, &[0, 0, 1, 2, 8, 0, 1])]);
        let mut answer = message(0, 0, &[]);
        answer[4..6].copy_from_slice(&(libc::NLMSG_ERROR as u16).to_ne_bytes());
        answer[16..20].copy_from_slice(&(-libc::ENOENT).to_ne_bytes());
        let both = [packet.clone(), answer].concat();
        assert_eq!(read(&both), [Told::Packet(258), Told::Answer(-libc::ENOENT)]);
        assert_eq!(read(&both[..both.len() - 1]), [Told::Packet(258)]);
        assert_eq!(read(&packet[..30]), []);
        assert_eq!(read(&[0; 64]), []);
    }
}
