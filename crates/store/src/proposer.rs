//! What is proposed at the same time travels together: one entry of the log, one message to the leader.
//!
//! One group is under way at a time, and what comes meanwhile becomes the next one. So a lone command waits for nobody, and under load
//! the cost of an entry, of a message and of waking up is shared by many commands: with two groups under way, each would be half as large,
//! and no command would be answered sooner.

use crate::error::{Error, Result};
use crate::node::{Attempt, Node, queued};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use prost::Message;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tricorn_proto::peer;
use tricorn_proto::peer::answer::Reply;
use tricorn_proto::peer::command::Op;

/// Asks that may wait to be taken into a group.
pub(crate) const QUEUE: usize = 16_384;
/// Groups under way at once, with one leader.
const AT_ONCE: usize = 1;
/// Asks taken into one group.
const GROUP: usize = 1024;
/// Bytes of commands after which no more are taken into a group.
const GROUP_BYTES: usize = 1 << 20;

/// Encoded commands of one asker.
pub(crate) enum Load {
    One(Bytes),
    /// Forwarded together by another member, and answered together.
    Many(Vec<Bytes>),
}

impl Load {
    /// Takes apart what another member has forwarded.
    pub fn forwarded(bytes: Bytes) -> Result<Self> {
        let command = peer::Command::decode(bytes.clone()).map_err(|error| Error::Raft(format!("a forwarded command: {error}")))?;
        Ok(match command.op {
            Some(Op::Group(group)) => Self::Many(group.commands),
            // The message it came in is larger than it is, and the log will keep it for a while.
            _ => Self::One(Bytes::copy_from_slice(&bytes)),
        })
    }

    pub fn len(&self) -> usize {
        match self {
            Self::One(_) => 1,
            Self::Many(commands) => commands.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::One(command) => command.len(),
            Self::Many(commands) => commands.iter().map(Bytes::len).sum(),
        }
    }
}

/// Commands, and who waits for their answer.
pub(crate) struct Ask {
    pub load: Load,
    /// Another member took this one for the leader: it is told when it was wrong.
    pub forwarded: bool,
    pub done: oneshot::Sender<Result<Attempt<Reply>>>,
}

impl Ask {
    fn settle(self, result: Result<Attempt<Reply>>) {
        // Whoever asked may have gone.
        let _gone = self.done.send(result);
    }
}

/// Groups that are under way.
#[derive(Default)]
struct Flight {
    groups: FuturesUnordered<BoxFuture<'static, u64>>,
    /// Whom the counted ones were sent to. Those to a leader that has been replaced hold nobody up.
    leader: u64,
    count: usize,
}

impl Flight {
    fn landed(&mut self, leader: u64) {
        if leader == self.leader {
            self.count = self.count.saturating_sub(1);
        }
    }

    fn towards(&mut self, leader: u64) {
        if leader != self.leader {
            self.leader = leader;
            self.count = 0;
        }
    }
}

/// Makes groups of what is asked, until the member stops.
pub(crate) async fn serve(node: Arc<Node>, mut queue: mpsc::Receiver<Ask>) {
    let mut leadership = node.leadership.subscribe();
    let mut flight = Flight::default();
    let mut asks = Vec::new();
    let stopped = node.stop.cancelled();
    tokio::pin!(stopped);
    loop {
        let full = flight.count >= AT_ONCE;
        tokio::select! {
            biased;
            () = &mut stopped => return,
            Some(leader) = flight.groups.next() => {
                flight.landed(leader);
                continue;
            }
            changed = leadership.changed(), if full => {
                if changed.is_err() {
                    return;
                }
                let leader = leadership.borrow_and_update().leader;
                leader.into_iter().for_each(|leader| flight.towards(leader));
                continue;
            }
            taken = queue.recv_many(&mut asks, GROUP), if !full => if taken == 0 { return },
        }
        let leader = leadership.borrow_and_update().leader;
        for group in groups(&mut asks) {
            match leader {
                Some(leader) => {
                    flight.towards(leader);
                    flight.count += 1;
                    flight.groups.push(Box::pin(propose(node.clone(), leader, group)));
                }
                None => group.into_iter().for_each(|ask| ask.settle(Ok(Attempt::Again))),
            }
        }
    }
}

/// Cuts what has come into groups of a bounded size; leaves out those who do not wait any more.
fn groups(asks: &mut Vec<Ask>) -> Vec<Vec<Ask>> {
    let (mut groups, mut group, mut bytes) = (Vec::new(), Vec::new(), 0);
    for ask in asks.drain(..).filter(|ask| !ask.done.is_closed()) {
        let more = ask.load.bytes();
        if !group.is_empty() && bytes + more > GROUP_BYTES {
            groups.push(std::mem::take(&mut group));
            bytes = 0;
        }
        bytes += more;
        group.push(ask);
    }
    if !group.is_empty() {
        groups.push(group);
    }
    groups
}

/// Has one group applied, and tells everybody in it. Returns the leader it went to.
async fn propose(node: Arc<Node>, leader: u64, mut group: Vec<Ask>) -> u64 {
    let deadline = node.deadline();
    let result = if leader == node.id {
        node.propose_here(encode(&group), deadline).await
    } else {
        for ask in group.extract_if(.., |ask| ask.forwarded) {
            ask.settle(Ok(Attempt::Again));
        }
        if group.is_empty() {
            return leader;
        }
        node.forward(leader, encode(&group), deadline).await
    };
    share(group, result);
    leader
}

fn encode(group: &[Ask]) -> Bytes {
    if let [Ask { load: Load::One(command), .. }] = group {
        return command.clone();
    }
    let mut commands = Vec::with_capacity(group.iter().map(|ask| ask.load.len()).sum());
    for ask in group {
        match &ask.load {
            Load::One(command) => commands.push(command.clone()),
            Load::Many(many) => commands.extend_from_slice(many),
        }
    }
    let command = peer::Command { op: Some(Op::Group(peer::Commands { commands })), ..peer::Command::default() };
    command.encode_to_vec().into()
}

/// Gives everybody the answers to what he asked.
fn share(group: Vec<Ask>, result: Result<Attempt<Reply>>) {
    let mut answers = match result {
        Ok(Attempt::Done(Reply::Group(answers))) => answers.answers.into_iter(),
        // A lone command has a lone answer.
        Ok(Attempt::Done(reply)) => vec![peer::Answer { reply: Some(reply) }].into_iter(),
        Ok(Attempt::Again) => return group.into_iter().for_each(|ask| ask.settle(Ok(Attempt::Again))),
        Err(error) => return group.into_iter().for_each(|ask| ask.settle(Err(error.clone()))),
    };
    for ask in group {
        let reply = match &ask.load {
            Load::One(_) => answers.next().and_then(|answer| answer.reply),
            Load::Many(commands) => {
                let answers: Vec<_> = answers.by_ref().take(commands.len()).collect();
                (answers.len() == commands.len()).then_some(Reply::Group(peer::Answers { answers }))
            }
        };
        let missing = || Error::Raft("a command was applied without an answer".into());
        ask.settle(reply.map(Attempt::Done).ok_or_else(missing));
    }
}

impl Node {
    /// Has commands applied together with what else is being proposed, and waits for their answer.
    pub async fn ask(&self, load: Load, forwarded: bool, deadline: tokio::time::Instant) -> Result<Attempt<Reply>> {
        queued(&self.proposals, deadline, |done| Ask { load, forwarded, done }).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    type Waiter = oneshot::Receiver<Result<Attempt<Reply>>>;

    fn ask(load: Load) -> (Ask, Waiter) {
        let (done, waiter) = oneshot::channel();
        (Ask { load, forwarded: false, done }, waiter)
    }

    fn command(name: &str) -> Bytes {
        Bytes::copy_from_slice(name.as_bytes())
    }

    fn answer(kind: u32) -> peer::Answer {
        peer::Answer { reply: Some(Reply::Failure(peer::Failure { kind, ..peer::Failure::default() })) }
    }

    #[test]
    fn everybody_gets_the_answers_to_what_he_asked() {
        let (one, mut first) = ask(Load::One(command("a")));
        let (many, mut second) = ask(Load::Many(vec![command("b"), command("c")]));
        let (last, mut third) = ask(Load::One(command("d")));
        let group = vec![one, many, last];
        let Some(Op::Group(encoded)) = peer::Command::decode(encode(&group)).unwrap().op else { panic!("a group was expected") };
        assert_eq!(encoded.commands, [command("a"), command("b"), command("c"), command("d")]);
        let answers = peer::Answers { answers: (1..=4).map(answer).collect() };
        share(group, Ok(Attempt::Done(Reply::Group(answers))));
        let got = |waiter: &mut Waiter| match waiter.try_recv().unwrap() {
            Ok(Attempt::Done(reply)) => peer::Answer { reply: Some(reply) },
            _ => panic!("an answer was expected"),
        };
        assert_eq!(got(&mut first), answer(1));
        let both = peer::Answers { answers: vec![answer(2), answer(3)] };
        assert_eq!(got(&mut second), peer::Answer { reply: Some(Reply::Group(both)) });
        assert_eq!(got(&mut third), answer(4));
    }

    #[test]
    fn groups_are_bounded_and_leave_out_who_has_gone() {
        let big = Bytes::from(vec![0; GROUP_BYTES]);
        let (first, _first) = ask(Load::One(command("a")));
        let (gone, waiter) = ask(Load::One(command("b")));
        drop(waiter);
        let (large, _large) = ask(Load::One(big));
        let (last, _last) = ask(Load::One(command("c")));
        let sizes: Vec<_> = groups(&mut vec![first, gone, large, last]).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 1, 1]);
    }
}
