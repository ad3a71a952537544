//! A network that fails on purpose: passes bytes on to a server until it is told to cut, hold or refuse; for HTTP, answers some requests itself.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

/// What becomes of connections; shared by all of one proxy.
#[derive(Default)]
struct Rules {
    /// Bytes from the server after which a connection is cut; 0 is never.
    cut_after: AtomicU64,
    /// Connections that are still to be cut.
    cuts_left: AtomicUsize,
    /// Bytes from the server, over all connections, after which nothing passes any more until it is released.
    hold: Mutex<Option<u64>>,
    released: Condvar,
    held: Condvar,
    passed: AtomicU64,
}

/// A TCP proxy on a free port of loopback; its threads end with the process.
pub struct Proxy {
    pub address: SocketAddr,
    rules: Arc<Rules>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, rules) = (listener.local_addr().unwrap(), Arc::new(Rules::default()));
        let shared = Arc::clone(&rules);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(upstream) = TcpStream::connect(server) else { continue };
                let (from_client, to_server) = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
                std::thread::spawn(move || {
                    drop(io::copy(&mut &from_client, &mut &to_server).map(|_| to_server.shutdown(Shutdown::Write)))
                });
                let rules = Arc::clone(&shared);
                std::thread::spawn(move || rules.pass(&upstream, &client));
            }
        });
        Self { address, rules }
    }

    /// The same URL with this proxy in place of its host and port.
    pub fn before(url: &str) -> (Self, String) {
        let mut url = url::Url::parse(url).unwrap();
        let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap()).parse().unwrap();
        let proxy = Self::to(server);
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(proxy.address.port())).unwrap();
        (proxy, url.to_string())
    }

    /// Cuts the next `connections` that get more than `bytes` from the server.
    pub fn cut_after(&self, bytes: u64, connections: usize) {
        self.rules.cuts_left.store(connections, Ordering::SeqCst);
        self.rules.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// From `bytes` more on nothing passes until [`Self::release`].
    pub fn hold_after(&self, bytes: u64) {
        *self.rules.hold.lock().unwrap() = Some(self.rules.passed.load(Ordering::SeqCst) + bytes);
    }

    /// Returns once the proxy holds bytes back.
    pub fn wait_until_held(&self) {
        let hold = self.rules.hold.lock().unwrap();
        let passed = |hold: &mut Option<u64>| hold.is_some_and(|limit| self.rules.passed.load(Ordering::SeqCst) < limit);
        drop(self.rules.held.wait_while(hold, passed).unwrap());
    }

    pub fn release(&self) {
        *self.rules.hold.lock().unwrap() = None;
        self.rules.released.notify_all();
    }
}

impl Rules {
    fn pass(&self, mut server: &TcpStream, mut client: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        let mut bytes = 0;
        while let Ok(read) = server.read(&mut buffer) {
            if read == 0 {
                break;
            }
            bytes += read as u64;
            let limit = self.cut_after.load(Ordering::SeqCst);
            if limit > 0
                && bytes > limit
                && self.cuts_left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
            {
                break;
            }
            self.passed.fetch_add(read as u64, Ordering::SeqCst);
            let hold = self.hold.lock().unwrap();
            self.held.notify_all();
            let waits = |hold: &mut Option<u64>| hold.is_some_and(|limit| self.passed.load(Ordering::SeqCst) >= limit);
            drop(self.released.wait_while(hold, waits).unwrap());
            if client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _closed = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
    }
}

/// What an HTTP proxy does with a request, given its number (from 1) and its first line.
pub enum Answer {
    Pass,
    /// Answers with this status line and an empty body, instead of the server.
    Status(&'static str),
    /// Passes half of the request's body on, then cuts the connection.
    HalfThenCut,
}

/// An HTTP proxy on a free port of loopback that asks `rule` about every request.
pub fn http(server: SocketAddr, rule: impl Fn(usize, &str) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (rule, count) = (Arc::new(rule), Arc::new(AtomicUsize::new(0)));
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let (rule, count) = (Arc::clone(&rule), Arc::clone(&count));
            std::thread::spawn(move || {
                let mut client_in = BufReader::new(client.try_clone().unwrap());
                while let Ok(true) = exchange(&mut client_in, &client, server, &*rule, &count) {}
                let _closed = client.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

/// One request and its answer; `false` if the connection is to end.
fn exchange(
    client_in: &mut BufReader<TcpStream>,
    mut client: &TcpStream,
    server: SocketAddr,
    rule: &(dyn Fn(usize, &str) -> Answer + Send + Sync),
    count: &AtomicUsize,
) -> io::Result<bool> {
    let head = head(client_in)?;
    let Some(first) = head.lines().next().filter(|line| !line.is_empty()) else { return Ok(false) };
    let len: usize = header(&head, "content-length").and_then(|len| len.parse().ok()).unwrap_or(0);
    let mut body = vec![0; len];
    client_in.read_exact(&mut body)?;
    let answer = rule(count.fetch_add(1, Ordering::SeqCst) + 1, first);
    if let Answer::Status(status) = answer {
        write!(client, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n")?;
        return Ok(true);
    }
    // A connection of its own for each request: the answer ends when the server closes it.
    let mut upstream = TcpStream::connect(server)?;
    let kept = head.lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head: String = kept.filter(|line| !line.is_empty()).map(|line| format!("{line}\r\n")).collect();
    write!(upstream, "{head}connection: close\r\n\r\n")?;
    if matches!(answer, Answer::HalfThenCut) {
        upstream.write_all(&body[..len / 2])?;
        let _closed = upstream.shutdown(Shutdown::Both);
        return Ok(false);
    }
    upstream.write_all(&body)?;
    io::copy(&mut upstream, &mut client)?;
    Ok(false)
}

fn head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if from.read_line(&mut head)? == 0 || head[before..].trim().is_empty() {
            return Ok(head);
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()))
}
