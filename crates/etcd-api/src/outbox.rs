//! A connection whose output is sent when its task has nothing more to do: many answers and events in one system call.
//!
//! HTTP/2 flushes after every frame that is not small. Here a flush does nothing; what has gathered is sent behind the poll of the
//! connection's future, after the other tasks that are ready have had their turn and may have added to it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Output that is kept before more has to wait.
const MOST_BYTES: usize = 64 << 10;
/// What is at least as large goes out by itself, without being copied.
const LARGE_BYTES: usize = 16 << 10;

struct Pipe<S> {
    stream: S,
    out: BytesMut,
    /// The other tasks have had their turn.
    yielded: bool,
    broken: Option<io::ErrorKind>,
}

impl<S: AsyncWrite + Unpin> Pipe<S> {
    fn drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(kind) = self.broken {
            return Poll::Ready(Err(kind.into()));
        }
        while !self.out.is_empty() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, &self.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(written);
        }
        if self.out.capacity() > MOST_BYTES {
            self.out = BytesMut::new();
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }
}

/// The half of the connection that is given to HTTP.
pub(crate) struct Outbox<S>(Arc<Mutex<Pipe<S>>>);

/// The half that sends.
pub(crate) struct Postman<S>(Arc<Mutex<Pipe<S>>>);

/// Both halves of a connection.
pub(crate) fn outbox<S>(stream: S) -> (Outbox<S>, Postman<S>) {
    let pipe = Arc::new(Mutex::new(Pipe { stream, out: BytesMut::new(), yielded: false, broken: None }));
    (Outbox(pipe.clone()), Postman(pipe))
}

fn lock<S>(pipe: &Mutex<Pipe<S>>) -> MutexGuard<'_, Pipe<S>> {
    // One task has both halves: there is nobody to wait for, and nobody who could have left it half changed.
    pipe.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: AsyncWrite + Unpin> Postman<S> {
    /// Runs what uses the other half, and sends what that leaves there.
    pub async fn serve<T>(self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        poll_fn(|context| {
            let done = work.as_mut().poll(context);
            self.send(context, done.is_pending());
            done
        })
        .await
    }

    fn send(&self, context: &mut Context<'_>, more: bool) {
        let mut pipe = lock(&self.0);
        if pipe.out.is_empty() {
            return;
        }
        if more && !std::mem::replace(&mut pipe.yielded, true) {
            context.waker().wake_by_ref();
            return;
        }
        pipe.yielded = false;
        if let Poll::Ready(Err(error)) = pipe.drain(context) {
            // HTTP hears of it when it flushes next, which it is woken for.
            pipe.broken = Some(error.kind());
            pipe.out.clear();
            context.waker().wake_by_ref();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Outbox<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Outbox<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let mut pipe = lock(&self.0);
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        if total >= LARGE_BYTES || pipe.out.len() >= MOST_BYTES || pipe.broken.is_some() {
            ready!(pipe.drain(context))?;
        }
        if total >= LARGE_BYTES {
            return Pin::new(&mut pipe.stream).poll_write_vectored(context, slices);
        }
        slices.iter().for_each(|slice| pipe.out.extend_from_slice(slice));
        Poll::Ready(Ok(total))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match lock(&self.0).broken {
            None => Poll::Ready(Ok(())),
            Some(kind) => Poll::Ready(Err(kind.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut pipe = lock(&self.0);
        ready!(pipe.drain(context))?;
        Pin::new(&mut pipe.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn what_is_written_arrives_in_order_whatever_its_size() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (mut outbox, postman) = outbox(near);
        let wanted: Vec<u8> = (0..300_000u32).map(|n| n.to_be_bytes()[3]).collect();
        let sent = wanted.clone();
        let writing = tokio::spawn(postman.serve(async move {
            for (n, part) in sent.chunks(20_000).enumerate() {
                let (small, large) = part.split_at(if n % 2 == 0 { 700 } else { 0 });
                outbox.write_all(small).await.unwrap();
                outbox.flush().await.unwrap();
                outbox.write_all(large).await.unwrap();
            }
            outbox.shutdown().await.unwrap();
        }));
        let mut got = Vec::new();
        far.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == wanted);
    }

    #[tokio::test]
    async fn what_waits_is_sent_without_a_flush_and_a_broken_stream_is_told() {
        let (near, mut far) = tokio::io::duplex(1000);
        let (mut outbox, postman) = outbox(near);
        let serving = tokio::spawn(postman.serve(async move {
            outbox.write_all(b"ping").await.unwrap();
            let mut answer = [0; 4];
            outbox.read_exact(&mut answer).await.unwrap();
            // The other side has gone.
            outbox.read_exact(&mut answer).await.unwrap_err();
            outbox.write_all(b"late").await.unwrap();
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
            outbox.flush().await.unwrap_err()
        }));
        let mut got = [0; 4];
        far.read_exact(&mut got).await.unwrap();
        far.write_all(b"pong").await.unwrap();
        drop(far);
        serving.await.unwrap();
        assert_eq!(&got, b"ping");
    }
}
