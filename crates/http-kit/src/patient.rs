//! A connection that is not waited for without an end: neither for its first bytes nor for a peer that takes nothing.
//!
//! Hyper bounds the time for a request's headers once it knows which version of HTTP is spoken. Until then, and while an
//! answer waits to be taken, nobody looks at the clock; a few thousand such connections would occupy a listener for good.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What a client says first that speaks HTTP/2; as long as it may be this, the version is open.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Wraps a connection.
pub(crate) struct Patient<S> {
    inner: S,
    /// While the version is open: how much of the preface has come, and when that must have ended.
    opening: Option<(usize, Pin<Box<Sleep>>)>,
    stall: Duration,
    /// While the peer takes nothing: when it must have taken something.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    /// The peer has `opening` to say which version it speaks, and takes something of an answer at least every `stall`.
    pub(crate) fn new(inner: S, opening: Duration, stall: Duration) -> Self {
        Self { inner, opening: Some((0, Box::pin(sleep(opening)))), stall, stalled: None }
    }

    fn opened(&mut self, bytes: &[u8]) {
        if let Some((matched, _)) = &mut self.opening {
            let rest = &PREFACE[*matched..];
            let same = bytes.iter().zip(rest).take_while(|(a, b)| a == b).count();
            *matched += same;
            if same < bytes.len() || *matched == PREFACE.len() {
                self.opening = None;
            }
        }
    }

    /// What came of an attempt to write; an error once nothing has been taken for too long.
    fn judge<T>(&mut self, cx: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stalled = None;
            return outcome;
        }
        let stall = self.stall;
        let timer = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buf) {
            Poll::Ready(outcome) => {
                self.opened(&buf.filled()[before..]);
                Poll::Ready(outcome)
            }
            Poll::Pending => match &mut self.opening {
                None => Poll::Pending,
                Some((_, timer)) => {
                    ready!(timer.as_mut().poll(cx));
                    Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer sent no request")))
                }
            },
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.judge(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_flush(cx);
        self.judge(cx, outcome)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.judge(cx, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.judge(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    const LONG: Duration = Duration::from_secs(3600);
    const SHORT: Duration = Duration::from_millis(10);

    #[tokio::test]
    async fn what_may_be_the_preface_is_not_waited_for_without_an_end() {
        for start in ["", "P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
            let (mut client, server) = duplex(1024);
            client.write_all(start.as_bytes()).await.unwrap();
            let mut server = Patient::new(server, SHORT, LONG);
            let error = server.read_to_end(&mut Vec::new()).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{start}");
        }
    }

    #[tokio::test]
    async fn once_the_version_is_clear_others_keep_the_time() {
        for start in ["G", "PO", std::str::from_utf8(PREFACE).unwrap(), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore"] {
            let (mut client, server) = duplex(1024);
            client.write_all(start.as_bytes()).await.unwrap();
            let mut server = Patient::new(server, SHORT, LONG);
            let mut got = vec![0; start.len()];
            server.read_exact(&mut got).await.unwrap();
            assert!(server.opening.is_none(), "{start}");
        }
    }

    #[tokio::test]
    async fn a_peer_that_takes_nothing_has_gone_and_one_that_is_slow_has_not() {
        let (mut client, server) = duplex(16);
        let mut server = Patient::new(server, LONG, SHORT);
        let error = server.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        client.read_exact(&mut [0; 16]).await.unwrap();
        let (written, read) = tokio::join!(server.write_all(&[0; 64]), async { client.read_exact(&mut [0; 64]).await });
        written.unwrap();
        read.unwrap();
        assert!(server.stalled.is_none());
    }
}
