//! How a watch stream's answers become bytes: events were encoded once for all who watch them, and are only copied here.

use bytes::BufMut;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, EncodeBuf, Encoder};
use tonic_prost::ProstDecoder;
use tricorn_proto::etcdserverpb::{WatchRequest, WatchResponse};
use tricorn_store::Events;

/// One answer: what is the watch's own, and events that others get too.
pub(crate) struct Answer {
    pub own: WatchResponse,
    pub events: Vec<Events>,
}

impl From<WatchResponse> for Answer {
    fn from(own: WatchResponse) -> Self {
        Self { own, events: Vec::new() }
    }
}

impl Answer {
    /// Its bytes on the wire.
    pub fn encoded_len(&self) -> usize {
        self.own.encoded_len() + self.events.iter().map(|events| events.encoded().len()).sum::<usize>()
    }

    /// The answer as one message.
    pub fn into_whole(mut self) -> WatchResponse {
        for events in self.events {
            self.own.events.extend_from_slice(&events);
        }
        self.own
    }
}

/// Reads requests as any service does, and writes answers.
#[derive(Default)]
pub(crate) struct WatchCodec;

impl Codec for WatchCodec {
    type Encode = Answer;
    type Decode = WatchRequest;
    type Encoder = Self;
    type Decoder = ProstDecoder<WatchRequest>;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::default()
    }
}

impl Encoder for WatchCodec {
    type Item = Answer;
    type Error = Status;

    fn encode(&mut self, answer: Answer, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(answer.encoded_len());
        answer.own.encode(out).map_err(|error| Status::internal(error.to_string()))?;
        for events in &answer.events {
            out.put_slice(events.encoded());
        }
        Ok(())
    }
}
