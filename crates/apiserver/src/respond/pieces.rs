//! A list's text, put together piece by piece while it is sent: a list of any length takes the room of one piece beside its objects.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::vec;
use tricorn_registry::Object;

/// A piece ends behind the object that it comes to this many bytes with.
const PIECE: usize = 64 << 10;

const END: &[u8] = b"]}\n";

/// The text of a list, from texts that are there already.
pub(super) struct Pieces {
    /// What comes before the objects, until it has been sent.
    head: Bytes,
    objects: vec::IntoIter<Arc<Object>>,
    /// Bytes still to come.
    left: usize,
}

impl Pieces {
    /// `head` goes as far as the bracket that opens the items.
    pub(super) fn new(head: String, objects: Vec<Arc<Object>>) -> Self {
        let items: usize = objects.iter().map(|object| object.body().len()).sum();
        let left = head.len() + items + objects.len().saturating_sub(1) + END.len();
        Self { head: head.into(), objects: objects.into_iter(), left }
    }

    /// How many bytes are to come.
    pub(super) fn len(&self) -> usize {
        self.left
    }

    /// All that is to come, at once.
    pub(super) fn whole(mut self) -> Bytes {
        self.next(usize::MAX)
    }

    fn next(&mut self, enough: usize) -> Bytes {
        let mut piece = Vec::with_capacity(self.left.min(enough.saturating_add(4 << 10)));
        piece.extend_from_slice(&std::mem::take(&mut self.head));
        while piece.len() < enough {
            let Some(object) = self.objects.next() else { break };
            piece.extend_from_slice(object.body());
            if self.objects.len() > 0 {
                piece.push(b',');
            }
        }
        if self.objects.len() == 0 {
            piece.extend_from_slice(END);
        }
        self.left -= piece.len();
        piece.into()
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready((self.left > 0).then(|| Ok(Frame::data(self.next(PIECE)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;
    use serde_json::{Value, json};

    #[tokio::test]
    async fn pieces_are_the_whole_and_as_long_as_they_say() {
        for (count, size) in [(0, 0), (1, 10), (3, 100_000), (2_000, 100)] {
            let object = |n: usize| Arc::new(Object::unstored(json!({"n": n, "data": "x".repeat(size)})).unwrap());
            let pieces = || Pieces::new("{\"items\":[".to_owned(), (0..count).map(object).collect());
            let whole = pieces().whole();
            let parsed: Value = serde_json::from_slice(&whole).unwrap();
            assert_eq!(parsed["items"].as_array().unwrap().len(), count);
            assert_eq!(pieces().len(), whole.len());
            let mut body = pieces();
            let mut text = Vec::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.unwrap().into_data().unwrap();
                assert!(frame.len() <= 2 * PIECE + size, "{} bytes", frame.len());
                text.extend_from_slice(&frame);
                assert_eq!(body.size_hint().exact(), Some((whole.len() - text.len()) as u64));
            }
            assert_eq!(text, whole);
        }
    }
}
