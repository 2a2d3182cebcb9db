//! Reads of many keys, in one piece or in several that are put together again. However it was read, it is one read at one revision.

use super::wire;
use crate::kv::{self, KeyValue, Pieces, Ranged};
use tonic::transport::Channel;
use tonic::{Response, Status};
use tricorn_proto::etcdserverpb as pb;
use tricorn_proto::etcdserverpb::kv_client::KvClient;

const MAX_MESSAGE: usize = 64 << 20;
/// The revision of a stream that ends without saying what revision it was read at. Nothing but an empty store has it, so that the
/// checkers find that such a read cannot have happened.
const UNSAID: i64 = 1;

/// Reads.
pub(super) async fn read(channel: Channel, range: &kv::Range) -> Result<Response<kv::Answer>, Status> {
    let client = KvClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
    let answer = match range.pieces {
        Pieces::One => one(client, range).await?,
        Pieces::Streamed => streamed(client, range).await?,
        Pieces::Pages(keys) => pages(client, range, keys).await?,
    };
    Ok(Response::new(answer))
}

async fn one(mut client: KvClient<Channel>, range: &kv::Range) -> Result<kv::Answer, Status> {
    let reply = client.range(wire::range(range)).await?.into_inner();
    Ok(wire::answer(reply.header, kv::Result::Range(wire::ranged(reply))))
}

async fn streamed(mut client: KvClient<Channel>, range: &kv::Range) -> Result<kv::Answer, Status> {
    let mut chunks = client.range_stream(wire::range(range)).await?.into_inner();
    let mut whole = Joined::default();
    while let Some(chunk) = chunks.message().await? {
        whole.take(chunk.range_response.unwrap_or_default());
    }
    Ok(whole.answer())
}

/// The chunks of a stream, put together. Only the last one says revision and count.
#[derive(Default)]
struct Joined {
    kvs: Vec<KeyValue>,
    end: Option<(i64, i64)>,
    /// Something came behind the last chunk.
    more: bool,
}

impl Joined {
    fn take(&mut self, chunk: pb::RangeResponse) {
        self.more |= self.end.is_some();
        self.end = self.end.or_else(|| chunk.header.as_ref().map(|header| (header.revision, chunk.count)));
        self.kvs.extend(wire::ranged(chunk).kvs);
    }

    fn answer(self) -> kv::Answer {
        let (revision, count) = self.end.filter(|_| !self.more).unwrap_or((UNSAID, -1));
        kv::Answer { revision, result: kv::Result::Range(Ranged { kvs: self.kvs, count }) }
    }
}

async fn pages(mut client: KvClient<Channel>, range: &kv::Range, keys: i64) -> Result<kv::Answer, Status> {
    let mut asked = wire::range(range);
    asked.limit = keys;
    let mut first: Option<(i64, i64)> = None;
    let mut kvs = Vec::new();
    loop {
        let reply = client.range(asked.clone()).await?.into_inner();
        let revision = reply.header.as_ref().map_or(0, |header| header.revision);
        let (at, count) = *first.get_or_insert((revision, reply.count));
        let more = reply.more;
        let page = wire::ranged(reply);
        // As Kubernetes' API server does it: the first key behind the last one, at the revision of the first page.
        let Some(last) = page.kvs.last().filter(|_| more) else {
            kvs.extend(page.kvs);
            return Ok(kv::Answer { revision: at, result: kv::Result::Range(Ranged { kvs, count }) });
        };
        asked.key = format!("{}\0", last.key).into();
        asked.revision = at;
        kvs.extend(page.kvs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(keys: &[&str], end: Option<(i64, i64)>) -> pb::RangeResponse {
        let kv = |key: &&str| tricorn_proto::mvccpb::KeyValue { key: key.as_bytes().to_vec().into(), ..Default::default() };
        pb::RangeResponse {
            header: end.map(|(revision, _)| pb::ResponseHeader { revision, ..Default::default() }),
            kvs: keys.iter().map(kv).collect(),
            count: end.map_or(0, |(_, count)| count),
            ..Default::default()
        }
    }

    fn joined(chunks: Vec<pb::RangeResponse>) -> (i64, usize) {
        let mut whole = Joined::default();
        chunks.into_iter().for_each(|chunk| whole.take(chunk));
        let kv::Answer { revision, result: kv::Result::Range(found) } = whole.answer() else { return (0, 0) };
        (revision, found.kvs.len())
    }

    #[test]
    fn a_stream_that_is_cut_short_or_goes_on_is_told_apart() {
        assert_eq!(joined(vec![chunk(&["a"], None), chunk(&["b"], Some((7, 2)))]), (7, 2));
        assert_eq!(joined(vec![chunk(&["a"], None)]), (UNSAID, 1));
        assert_eq!(joined(vec![chunk(&["a"], Some((7, 2))), chunk(&["b"], Some((7, 2)))]), (UNSAID, 2));
        assert_eq!(joined(Vec::new()), (UNSAID, 0));
    }
}
