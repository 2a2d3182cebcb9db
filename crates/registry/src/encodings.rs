//! Encodings of an object beside its JSON, made when somebody first asks for one and shared from then on.

use bytes::Bytes;
use std::sync::OnceLock;

/// An encoding that is kept with an object. What its bytes are, only those who make and read them know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Kubernetes' protobuf.
    Protobuf,
    /// The same, of nothing but the metadata.
    ProtobufMetadata,
    /// CBOR.
    Cbor,
    /// The same, of nothing but the metadata.
    CborMetadata,
}

/// How many there are.
const ENCODINGS: usize = 4;

/// The encodings of one object. Most objects are only ever read as JSON, so there is room for others only once one is asked for.
#[derive(Debug, Default)]
pub(crate) struct Encodings(OnceLock<Box<[OnceLock<Option<Bytes>>; ENCODINGS]>>);

impl Encodings {
    /// How many bytes all that have been made have together.
    pub(crate) fn bytes(&self) -> usize {
        let places = self.0.get().into_iter().flat_map(|places| places.iter());
        places.filter_map(|place| place.get()?.as_ref()).map(Bytes::len).sum()
    }

    /// The bytes; whoever comes first makes them while others wait. `make` is called again each time after it failed.
    pub(crate) fn get_or_make<E>(&self, encoding: Encoding, make: impl Fn() -> Result<Bytes, E>) -> Result<Bytes, E> {
        let places = self.0.get_or_init(Box::default);
        let [protobuf, protobuf_metadata, cbor, cbor_metadata] = places.as_ref();
        let place = match encoding {
            Encoding::Protobuf => protobuf,
            Encoding::ProtobufMetadata => protobuf_metadata,
            Encoding::Cbor => cbor,
            Encoding::CborMetadata => cbor_metadata,
        };
        let mut failed = None;
        let made = place.get_or_init(|| make().map_err(|error| failed = Some(error)).ok());
        match (made, failed) {
            (Some(bytes), _) => Ok(bytes.clone()),
            (None, Some(error)) => Err(error),
            (None, None) => make(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn an_encoding_is_made_once_and_shared() {
        let (encodings, made) = (Encodings::default(), Cell::new(0));
        let make = || {
            made.set(made.get() + 1);
            Ok::<_, ()>(Bytes::from(vec![1, 2, 3]))
        };
        let first = encodings.get_or_make(Encoding::Protobuf, make);
        let second = encodings.get_or_make(Encoding::Protobuf, make);
        assert_eq!((&first, made.get()), (&second, 1));
        assert_eq!(first.map(|bytes| bytes.as_ptr()), second.map(|bytes| bytes.as_ptr()));
        assert_eq!(encodings.get_or_make(Encoding::Cbor, || Ok::<_, ()>(Bytes::from_static(b"c"))), Ok(Bytes::from_static(b"c")));
        assert_eq!(encodings.bytes(), 4);
    }

    #[test]
    fn what_cannot_be_made_is_refused_each_time() {
        let encodings = Encodings::default();
        for _ in 0..2 {
            assert_eq!(encodings.get_or_make(Encoding::CborMetadata, || Err("no")), Err("no"));
        }
    }
}
