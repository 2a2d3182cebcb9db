//! Changes as watchers get them: shared by all who see the same, and brought into their wire form once for all of them.

use bytes::Bytes;
use prost::Message;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use tricorn_proto::etcdserverpb::WatchResponse;
use tricorn_proto::mvccpb::Event;

/// Events of one revision, in order. Clones share them.
#[derive(Debug, Clone)]
pub struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    events: Box<[Event]>,
    encoded: OnceLock<Bytes>,
    bare: OnceLock<Events>,
}

impl Events {
    /// The field `events` of an encoded [`WatchResponse`] that holds these: fields of a message may follow each other as they are.
    #[must_use]
    pub fn encoded(&self) -> &Bytes {
        let encode = || WatchResponse { events: self.to_vec(), ..WatchResponse::default() }.encode_to_vec().into();
        self.0.encoded.get_or_init(encode)
    }

    /// The same without what the keys were before.
    pub(crate) fn without_previous(&self) -> Self {
        if self.iter().all(|event| event.prev_kv.is_none()) {
            return self.clone();
        }
        let bare = || self.iter().map(|event| Event { prev_kv: None, ..event.clone() }).collect();
        self.0.bare.get_or_init(bare).clone()
    }
}

impl Deref for Events {
    type Target = [Event];

    fn deref(&self) -> &[Event] {
        &self.0.events
    }
}

impl PartialEq for Events {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl From<Vec<Event>> for Events {
    fn from(events: Vec<Event>) -> Self {
        Self(Arc::new(Shared { events: events.into(), encoded: OnceLock::new(), bare: OnceLock::new() }))
    }
}

impl FromIterator<Event> for Events {
    fn from_iter<T: IntoIterator<Item = Event>>(events: T) -> Self {
        events.into_iter().collect::<Vec<_>>().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tricorn_proto::mvccpb::KeyValue;

    #[test]
    fn pieces_of_the_wire_form_make_a_whole_answer() {
        let event = |key: &'static str, previous: bool| Event {
            kv: Some(KeyValue { key: key.into(), value: "v".into(), ..KeyValue::default() }),
            prev_kv: previous.then(KeyValue::default),
            ..Event::default()
        };
        let (first, second) = (Events::from(vec![event("a", true), event("b", false)]), Events::from(vec![event("c", false)]));
        let mut bytes = WatchResponse { watch_id: 7, ..WatchResponse::default() }.encode_to_vec();
        bytes.extend_from_slice(first.encoded());
        bytes.extend_from_slice(second.encoded());
        let whole = WatchResponse::decode(&bytes[..]).unwrap();
        assert_eq!((whole.watch_id, whole.events), (7, vec![event("a", true), event("b", false), event("c", false)]));
        assert_eq!(*first.without_previous(), [event("a", false), event("b", false)]);
        assert!(Arc::ptr_eq(&second.without_previous().0, &second.0), "nothing to leave out, nothing to copy");
    }
}
