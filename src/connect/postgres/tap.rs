//! What lies between the driver and the line: it takes the rows of a `copy` out of what the server sends.
//!
//! The driver gives every row of a `copy` an object of its own, which costs more than to decode it. Here rows are passed on in large blocks as they
//! were received, and the driver sees the rest: that a copy began, that it ended, or what is wrong.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::channel::mpsc::{Receiver, Sender, channel};
use futures::future::{BoxFuture, FutureExt};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::copy::{COPY_DATA, head};

/// Bytes received ahead of those that are decoded; more only for a row that is larger.
const BLOCK_BYTES: usize = 256 << 10;
/// Room for the next bytes, below which a new block is begun.
const ROOM_BYTES_MIN: usize = 32 << 10;
/// Blocks on their way, besides one that each sender may always send.
const BLOCKS_AHEAD: usize = 1;
const COPY_BEGINS: u8 = b'H';

/// The rows of the last copy that began on a connection: whole messages of the server.
#[derive(Clone, Default)]
pub(super) struct Copies(Arc<Mutex<Option<Receiver<Bytes>>>>);

impl Copies {
    /// The rows of the copy whose beginning the driver has just told; `None` where it gives them out itself.
    pub(super) fn take(&self) -> Option<Receiver<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A line to the server, encrypted or not.
trait Line: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Line for T {}

/// Makes lines with a tap. To the driver all of them are encrypted; those that are not need `sslnegotiation=direct`.
#[derive(Clone)]
pub(super) struct Tapped {
    pub(super) encrypted: bool,
    pub(super) copies: Copies,
}

pub(super) struct TapConnect {
    /// To whom the line is to be encrypted.
    host: Option<String>,
    copies: Copies,
}

impl MakeTlsConnect<Socket> for Tapped {
    type Stream = Tap;
    type TlsConnect = TapConnect;
    type Error = Infallible;

    fn make_tls_connect(&mut self, host: &str) -> Result<TapConnect, Infallible> {
        Ok(TapConnect { host: self.encrypted.then(|| host.to_owned()), copies: self.copies.clone() })
    }
}

impl TlsConnect<Socket> for TapConnect {
    type Stream = Tap;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Tap>>;

    fn connect(self, socket: Socket) -> Self::Future {
        let Self { host, copies } = self;
        async move {
            let (line, binding): (Box<dyn Line>, _) = match host {
                Some(host) => {
                    // Only now: a server without encryption has said so before, and to read the authorities takes longer than to connect.
                    let Ok(tls) = MakeTlsConnect::<Socket>::make_tls_connect(&mut trusted()?, &host);
                    let line = tls.connect(socket).await?;
                    let binding = line.channel_binding();
                    (Box::new(line), binding)
                }
                None => (Box::new(socket), ChannelBinding::none()),
            };
            Ok(Tap { line, binding: Mutex::new(binding), splitter: Splitter::new(copies) })
        }
        .boxed()
    }
}

/// TLS with the certificate authorities that this machine trusts.
fn trusted() -> io::Result<MakeRustlsConnect> {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(added, ignored, "trusted certificate authorities");
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth()))
}

pub(super) struct Tap {
    line: Box<dyn Line>,
    /// Asked for once, at login.
    binding: Mutex<ChannelBinding>,
    splitter: Splitter,
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { line, splitter, .. } = self.get_mut();
        splitter.poll_read(line, context, out)
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.line).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.line).poll_shutdown(context)
    }
}

impl TlsStream for Tap {
    fn channel_binding(&self) -> ChannelBinding {
        std::mem::replace(&mut self.binding.lock().unwrap_or_else(PoisonError::into_inner), ChannelBinding::none())
    }
}

/// Tells rows from the rest, message by message.
struct Splitter {
    copies: Copies,
    /// Where rows go; `None` outside of a copy, and when nobody wants them any more.
    sender: Option<Sender<Bytes>>,
    /// What was received and is not passed on yet: at its start whole messages, either `rows` bytes of rows or `other` bytes of others.
    buffer: BytesMut,
    rows: usize,
    other: usize,
}

impl Splitter {
    fn new(copies: Copies) -> Self {
        Self { copies, sender: None, buffer: BytesMut::new(), rows: 0, other: 0 }
    }

    fn poll_read(
        &mut self,
        line: &mut (impl AsyncRead + Unpin),
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let is_followed = self.other == 0 && self.look();
            if self.other > 0 {
                let count = self.other.min(out.remaining());
                out.put_slice(&self.buffer[..count]);
                self.buffer.advance(count);
                self.other -= count;
                return Poll::Ready(Ok(()));
            }
            // Large blocks cost less: as long as the reader is busy, more may come.
            if is_followed || self.rows >= BLOCK_BYTES - ROOM_BYTES_MIN {
                ready!(self.poll_pass(context));
                continue;
            }
            if self.buffer.capacity() - self.buffer.len() < ROOM_BYTES_MIN {
                self.buffer.reserve(BLOCK_BYTES);
            }
            match pin!(line.read_buf(&mut self.buffer)).poll(context) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Ok(())),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    if self.rows > 0 {
                        // Whichever comes first, room or more bytes, wakes the task.
                        let _is_passed = self.poll_pass(context);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Looks at messages that are there completely, up to the first of another kind. Returns whether there is such a one behind rows.
    fn look(&mut self) -> bool {
        if self.other == 0 {
            // Rows have a loop of their own: they are nearly all that comes.
            let bytes = &self.buffer[..];
            while let Some((COPY_DATA, length)) = bytes.get(self.rows..).and_then(head)
                && length <= bytes.len() - self.rows
            {
                self.rows += length;
            }
        }
        while let Some((kind, length)) = self.buffer.get(self.rows + self.other..).and_then(head) {
            if self.rows + self.other + length > self.buffer.len() {
                break;
            }
            if kind == COPY_DATA || self.rows > 0 {
                return self.rows > 0;
            }
            self.other += length;
            // Ends the rows of the copy before for their reader.
            self.sender = None;
            if kind == COPY_BEGINS {
                let (sender, receiver) = channel(BLOCKS_AHEAD);
                self.sender = Some(sender);
                *self.copies.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
                break;
            }
        }
        false
    }

    /// Passes rows on once there is room for them.
    fn poll_pass(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(sender) = &mut self.sender {
            let is_wanted = ready!(sender.poll_ready(context)).is_ok();
            let rows = self.buffer.split_to(self.rows).freeze();
            if !is_wanted || sender.start_send(rows).is_err() {
                self.sender = None;
            }
        } else {
            self.buffer.advance(self.rows);
        }
        self.rows = 0;
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], (body.len() as u32 + 4).to_be_bytes().as_slice(), body].concat()
    }

    /// The line gives its bytes in pieces of these sizes, and nothing in between.
    struct Pieces(Vec<Vec<u8>>);

    impl AsyncRead for Pieces {
        fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            if self.0.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let mut piece = self.0.remove(0);
            if piece.is_empty() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let rest = piece.split_off(piece.len().min(out.remaining()));
            if !rest.is_empty() {
                self.0.insert(0, rest);
            }
            out.put_slice(&piece);
            Poll::Ready(Ok(()))
        }
    }

    struct Tapping(Pieces, Splitter);

    impl AsyncRead for Tapping {
        fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let Self(line, splitter) = self.get_mut();
            splitter.poll_read(line, context, out)
        }
    }

    proptest! {
        /// However messages are cut and whoever is slow: every copy has its own rows, and the driver everything else.
        #[test]
        fn rows_go_one_way_and_the_rest_another(
            copies in prop::collection::vec((prop::collection::vec(0_usize..400_000, 0..6), any::<bool>()), 0..4),
            cuts in prop::collection::vec(0_usize..300_000, 1..20),
        ) {
            let (mut sent, mut rest, mut rows) = (Vec::new(), Vec::new(), Vec::new());
            for (number, (lengths, is_wanted)) in copies.iter().enumerate() {
                let other = [message(b'2', b""), message(COPY_BEGINS, &[number as u8])].concat();
                let of_copy: Vec<u8> = lengths.iter().flat_map(|length| message(COPY_DATA, &vec![number as u8; *length])).collect();
                let end = [message(b'c', b""), message(b'C', b"COPY"), message(b'Z', b"I")].concat();
                sent.extend([other.clone(), of_copy.clone(), end.clone()].concat());
                rest.extend([other, end].concat());
                rows.push(if *is_wanted { of_copy } else { Vec::new() });
            }
            let (mut pieces, mut left) = (Vec::new(), sent.as_slice());
            for cut in cuts.iter().cycle() {
                if left.is_empty() {
                    break;
                }
                let (piece, after) = left.split_at((*cut).clamp(left.len().div_ceil(500), left.len()));
                pieces.extend([piece.to_vec(), Vec::new()]);
                left = after;
            }
            let taken = Copies::default();
            let mut driver = Tapping(Pieces(pieces), Splitter::new(taken.clone()));
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (seen, got) = runtime.block_on(async {
                let (mut seen, mut readers) = (Vec::new(), Vec::new());
                let mut buffer = [0; 7];
                loop {
                    let count = driver.read(&mut buffer).await.unwrap();
                    if count == 0 {
                        break;
                    }
                    seen.extend_from_slice(&buffer[..count]);
                    if let Some(rows) = taken.take() {
                        let is_wanted = copies[readers.len()].1;
                        readers.push(tokio::spawn(async move { if is_wanted { rows.collect::<Vec<_>>().await.concat() } else { Vec::new() } }));
                    }
                }
                let mut got = Vec::new();
                for reader in readers {
                    got.push(reader.await.unwrap());
                }
                (seen, got)
            });
            prop_assert!(seen == rest);
            prop_assert!(got == rows);
        }
    }
}
