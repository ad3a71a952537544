//! The protocol's reading side, spoken directly: rows are decoded where they lie in the receive buffer, since an object for each value costs more
//! than everything else that the hub does with it. Blocking; one statement at a time.
//!
//! It logs in where the driver has logged in before with the same user, so that the server knows the password of `caching_sha2_password` already.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use mysql_async::consts::CapabilityFlags;
use mysql_async::{DriverError, Error, IoError, ServerError, Value};
use mysql_common::io::ParseBuf;
use mysql_common::packets::{AuthPlugin, ComStmtExecuteRequestBuilder, HandshakePacket, HandshakeResponse, SslRequest};
use mysql_common::proto::MySerialize;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::field::{Form, number_of, unexpected};

/// Bytes received at once, unless a row needs more.
const BUFFER_BYTES: usize = 256 << 10;
/// The longest packet; one of this length is continued in the next.
const PACKET_BYTES: usize = 0xff_ffff;
const PAYLOAD_BYTES_MAX: usize = 1 << 30;
const UTF8MB4_GENERAL_CI: u8 = 45;

/// Where and as whom to log in.
pub(super) struct Login {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<String>,
    pub(super) database: String,
    /// Encrypts if given.
    pub(super) tls: Option<Arc<ClientConfig>>,
    /// How long the server may be silent.
    pub(super) silence: Duration,
}

/// A connection.
pub(super) struct Wire {
    stream: Stream,
    buffer: Vec<u8>,
    /// What was received and not taken yet.
    unread: Range<usize>,
    /// A payload that came in several packets.
    joined: Vec<u8>,
    sequence: u8,
    /// The prepared statement: its text, the server's number, and how its columns arrive.
    prepared: Option<(String, u32)>,
    forms: Vec<Form>,
    /// Rows of the last statement are still to come.
    is_busy: bool,
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    pub(super) fn connect(login: &Login) -> Result<Self, Error> {
        let addresses = (login.host.trim_matches(['[', ']']), login.port).to_socket_addrs()?;
        let mut stream = Err(io::Error::from(io::ErrorKind::AddrNotAvailable));
        for address in addresses {
            stream = TcpStream::connect_timeout(&address, super::session::CONNECT_TIMEOUT);
            if stream.is_ok() {
                break;
            }
        }
        let stream = stream?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(login.silence))?;
        stream.set_write_timeout(Some(login.silence))?;
        let mut wire = Self {
            stream: Stream::Plain(stream),
            buffer: vec![0; BUFFER_BYTES],
            unread: 0..0,
            joined: Vec::new(),
            sequence: 0,
            prepared: None,
            forms: Vec::new(),
            is_busy: false,
        };
        wire.log_in(login)?;
        Ok(wire)
    }

    fn log_in(&mut self, login: &Login) -> Result<(), Error> {
        let greeting = self.answer()?.to_vec();
        let greeting: HandshakePacket<'_> = ParseBuf(&greeting).parse(())?;
        let mut capabilities = CapabilityFlags::CLIENT_PROTOCOL_41
            | CapabilityFlags::CLIENT_LONG_PASSWORD
            | CapabilityFlags::CLIENT_LONG_FLAG
            | CapabilityFlags::CLIENT_TRANSACTIONS
            | CapabilityFlags::CLIENT_SECURE_CONNECTION
            | CapabilityFlags::CLIENT_PLUGIN_AUTH
            | CapabilityFlags::CLIENT_CONNECT_WITH_DB;
        if let Some(tls) = &login.tls {
            capabilities |= CapabilityFlags::CLIENT_SSL;
            self.send(&serialized(&SslRequest::new(capabilities, PAYLOAD_BYTES_MAX as u32, UTF8MB4_GENERAL_CI)))?;
            self.encrypt(login, tls)?;
        }
        let mut plugin = match greeting.auth_plugin() {
            Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
            _ => AuthPlugin::MysqlNativePassword,
        };
        let nonce = greeting.nonce();
        let proof = plugin.gen_data(login.password.as_deref(), nonce.get(..20).unwrap_or(&nonce));
        let response = HandshakeResponse::new(
            proof.as_deref(),
            (5, 7, 0), // any that knows utf8mb4
            Some(login.user.as_bytes()),
            Some(login.database.as_bytes()),
            Some(plugin.borrow()),
            capabilities,
            None,
            PAYLOAD_BYTES_MAX as u32,
        );
        self.send(&serialized(&response))?;
        loop {
            let answer = self.answer()?.to_vec();
            match answer.as_slice() {
                [0x00, ..] => return Ok(()),
                [0xfe, rest @ ..] if !rest.is_empty() => {
                    let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                    let nonce = rest.get(name.len() + 1..).unwrap_or_default();
                    plugin = AuthPlugin::from_bytes(name).into_owned();
                    if !matches!(plugin, AuthPlugin::CachingSha2Password | AuthPlugin::MysqlNativePassword) {
                        let name = String::from_utf8_lossy(name).into_owned();
                        return Err(Error::Driver(DriverError::UnknownAuthPlugin { name }));
                    }
                    let proof = plugin.gen_data(login.password.as_deref(), nonce.get(..20).unwrap_or(nonce));
                    self.send(proof.as_deref().unwrap_or_default())?;
                }
                // The server knows the password; its verdict follows.
                [0x01, 0x03] => {}
                // It wants the password itself.
                [0x01, 0x04] if login.tls.is_some() => {
                    self.send(&[login.password.as_deref().unwrap_or_default().as_bytes(), &[0]].concat())?;
                }
                _ => return Err(unexpected(&answer)),
            }
        }
    }

    fn encrypt(&mut self, login: &Login, tls: &Arc<ClientConfig>) -> Result<(), Error> {
        let Stream::Plain(stream) = &self.stream else { return Ok(()) };
        let broken = |error| Error::Io(IoError::Io(io::Error::other(error)));
        let name = ServerName::try_from(login.host.trim_matches(['[', ']']).to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(tls), name).map_err(broken)?;
        self.stream = Stream::Tls(Box::new(StreamOwned::new(connection, stream.try_clone()?)));
        Ok(())
    }

    /// Runs a statement that yields no rows.
    pub(super) fn run(&mut self, sql: &str) -> Result<(), Error> {
        self.command(&[&[0x03], sql.as_bytes()].concat())?;
        self.answer().map(|_| ())
    }

    /// Begins a query; its rows are taken by [`Self::row`]. A statement with the same text as the last is prepared once.
    pub(super) fn query(&mut self, sql: &str, values: &[Value]) -> Result<(), Error> {
        self.finish()?;
        let number = match &self.prepared {
            Some((text, number)) if text == sql => *number,
            _ => self.prepare(sql)?,
        };
        let (execute, is_long) = ComStmtExecuteRequestBuilder::new(number).build(values);
        if is_long {
            return Err(Error::Driver(DriverError::PacketTooLarge));
        }
        self.command(&serialized(&execute))?;
        let mut columns = self.answer()?;
        let columns = number_of(&mut columns).filter(|columns| *columns > 0).ok_or_else(|| unexpected(columns))?;
        self.forms.clear();
        for _ in 0..columns {
            let form = Form::of(self.answer()?)?;
            self.forms.push(form);
        }
        self.answer()?; // end of the columns
        self.is_busy = true;
        Ok(())
    }

    fn prepare(&mut self, sql: &str) -> Result<u32, Error> {
        if let Some((_, number)) = self.prepared.take() {
            self.command(&[&[0x19][..], &number.to_le_bytes()].concat())?; // closes it; there is no answer
        }
        self.command(&[&[0x16], sql.as_bytes()].concat())?;
        let answer = self.answer()?;
        let &[0x00, a, b, c, d, columns, columns_high, parameters, parameters_high, ..] = answer else {
            return Err(unexpected(answer));
        };
        let (number, columns) = (u32::from_le_bytes([a, b, c, d]), u16::from_le_bytes([columns, columns_high]));
        for described in [u16::from_le_bytes([parameters, parameters_high]), columns] {
            // Each list ends with a packet of its own, and there is none for an empty one.
            for _ in 0..(u32::from(described) + u32::from(described > 0)) {
                self.answer()?;
            }
        }
        self.prepared = Some((sql.into(), number));
        Ok(number)
    }

    /// The next row of the query and how its columns arrive; `None` at the end.
    pub(super) fn row(&mut self) -> Result<Option<(&[u8], &[Form])>, Error> {
        let payload = self.payload()?;
        let bytes = self.bytes_of(&payload);
        match bytes.first() {
            Some(0x00) => Ok(Some((self.bytes_of(&payload), &self.forms))),
            Some(0xff) => {
                let error = refusal(bytes);
                self.is_busy = false;
                Err(error)
            }
            Some(0xfe) if bytes.len() < 9 => {
                self.is_busy = false;
                Ok(None)
            }
            _ => Err(unexpected(bytes)),
        }
    }

    /// Takes and forgets what is left of the last query, so that the next statement can be sent.
    fn finish(&mut self) -> Result<(), Error> {
        while self.is_busy {
            self.row()?;
        }
        Ok(())
    }

    fn command(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.finish()?;
        self.sequence = 0;
        self.send(payload)
    }

    fn send(&mut self, payload: &[u8]) -> Result<(), Error> {
        if payload.len() >= PACKET_BYTES {
            return Err(Error::Driver(DriverError::PacketTooLarge));
        }
        let length = (payload.len() as u32).to_le_bytes();
        let packet = [&[length[0], length[1], length[2], self.sequence], payload].concat();
        self.sequence = self.sequence.wrapping_add(1);
        let written = self.stream.write_all(&packet).and_then(|()| self.stream.flush());
        written.map_err(Into::into)
    }

    /// The next payload, unless it is an error.
    fn answer(&mut self) -> Result<&[u8], Error> {
        let payload = self.payload()?;
        match self.bytes_of(&payload) {
            bytes @ [0xff, ..] => Err(refusal(bytes)),
            [] => Err(unexpected(&[])),
            _ => Ok(self.bytes_of(&payload)),
        }
    }

    fn bytes_of(&self, payload: &Payload) -> &[u8] {
        match payload {
            Payload::Buffered(range) => &self.buffer[range.clone()],
            Payload::Joined => &self.joined,
        }
    }

    fn payload(&mut self) -> Result<Payload, Error> {
        let first = self.packet()?;
        if first.len() < PACKET_BYTES {
            return Ok(Payload::Buffered(first));
        }
        self.joined.clear();
        self.joined.extend_from_slice(&self.buffer[first]);
        loop {
            let next = self.packet()?;
            if self.joined.len() + next.len() > PAYLOAD_BYTES_MAX {
                return Err(Error::Driver(DriverError::PacketTooLarge));
            }
            self.joined.extend_from_slice(&self.buffer[next.clone()]);
            if next.len() < PACKET_BYTES {
                return Ok(Payload::Joined);
            }
        }
    }

    /// Where the next packet's payload lies in the buffer.
    fn packet(&mut self) -> Result<Range<usize>, Error> {
        self.receive(4)?;
        let at = self.unread.start;
        let head = &self.buffer[at..at + 4];
        let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
        self.sequence = head[3].wrapping_add(1);
        self.receive(4 + length)?;
        let start = self.unread.start + 4;
        self.unread.start = start + length;
        Ok(start..start + length)
    }

    /// Receives until `count` bytes are there to be taken.
    fn receive(&mut self, count: usize) -> Result<(), Error> {
        while self.unread.len() < count {
            if self.unread.start + count > self.buffer.len() {
                self.buffer.copy_within(self.unread.clone(), 0);
                self.unread = 0..self.unread.len();
                let wanted = count.max(BUFFER_BYTES);
                if self.buffer.len() != wanted && self.unread.end <= wanted {
                    self.buffer.resize(wanted, 0);
                    self.buffer.shrink_to_fit(); // after a row that needed more
                }
            }
            match self.stream.read(&mut self.buffer[self.unread.end..]) {
                Ok(0) => return Err(Error::Driver(DriverError::ConnectionClosed)),
                Ok(received) => self.unread.end += received,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Drop for Wire {
    /// Says goodbye, so that the server does not note a lost connection; one that is gone already hears nothing.
    fn drop(&mut self) {
        self.sequence = 0;
        let _gone = self.send(&[0x01]);
    }
}

enum Payload {
    Buffered(Range<usize>),
    Joined,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

fn serialized(packet: &impl MySerialize) -> Vec<u8> {
    let mut bytes = Vec::new();
    packet.serialize(&mut bytes);
    bytes
}

/// The server's error: a number, after the handshake `#` and five characters of its state, and a message.
fn refusal(payload: &[u8]) -> Error {
    let &[_, low, high, ref rest @ ..] = payload else { return unexpected(payload) };
    let (state, message) = match rest {
        [b'#', rest @ ..] => rest.split_at_checked(5).unwrap_or((rest, &[])),
        rest => (&[][..], rest),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Error::Server(ServerError { code: u16::from_le_bytes([low, high]), message: text(message), state: text(state) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_say_what_the_server_said() {
        let said = |payload: &[u8]| refusal(payload).to_string();
        assert_eq!(said(b"\xff\x15\x04#28000Access denied"), "Server error: `ERROR 1045 (28000): Access denied'");
        assert_eq!(said(b"\xff\x10\x04Too many connections"), "Server error: `ERROR 1040 (): Too many connections'");
        for cut in [&b"\xff"[..], b"\xff\x10", b"\xff\x10\x04#28"] {
            let _ = refusal(cut);
        }
    }
}
