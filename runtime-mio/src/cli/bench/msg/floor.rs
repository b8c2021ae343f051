//! The floor: a plain length-prefixed program on mio, with no sessions, no queues, no checksums, and the same socket options.

use super::Rate;
use bytes::{Buf, BytesMut};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Bytes of the length before each message.
const PREFIX: usize = 4;
/// Bytes that one read or write may move.
const PIECE: usize = 256 << 10;

/// A stream that blocks on a poll of its own.
struct Stream {
    poll: Poll,
    events: Events,
    socket: TcpStream,
}

impl Stream {
    fn new(socket: std::net::TcpStream) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&socket).set_tcp_congestion(b"reno");
        let mut socket = TcpStream::from_std(socket);
        let poll = Poll::new()?;
        poll.registry().register(&mut socket, Token(0), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { poll, events: Events::with_capacity(8), socket })
    }

    fn when_ready<T>(&mut self, mut work: impl FnMut(&mut TcpStream) -> io::Result<T>) -> io::Result<T> {
        loop {
            match work(&mut self.socket) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.poll.poll(&mut self.events, None)?;
                }
                done => return done,
            }
        }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let wrote = self.when_ready(|socket| socket.write(bytes))?;
            bytes = &bytes[wrote..];
        }
        Ok(())
    }

    /// Reads until a whole message is there, and takes it.
    fn message(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        loop {
            if let Some(length) = buffer.first_chunk::<PREFIX>() {
                let length = u32::from_le_bytes(*length) as usize;
                if buffer.len() >= PREFIX + length {
                    buffer.advance(PREFIX + length);
                    return Ok(Some(length));
                }
            }
            let at = buffer.len();
            buffer.resize(at + PIECE, 0);
            let got = self.when_ready(|socket| socket.read(&mut buffer[at..]));
            buffer.truncate(at + *got.as_ref().unwrap_or(&0));
            if got? == 0 {
                return Ok(None);
            }
        }
    }
}

fn framed(size: usize) -> Vec<u8> {
    let mut bytes = u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes().to_vec();
    bytes.resize(PREFIX + size, 7);
    bytes
}

fn listener() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Each round trip of a message of so many bytes.
pub(super) fn round_trips(size: usize, count: usize) -> io::Result<Vec<Duration>> {
    let (listener, address) = listener()?;
    let echo = std::thread::spawn(move || -> io::Result<()> {
        let mut stream = Stream::new(listener.accept()?.0)?;
        let (mut buffer, answer) = (BytesMut::new(), framed(size));
        while stream.message(&mut buffer)?.is_some() {
            stream.write_all(&answer)?;
        }
        Ok(())
    });
    let mut stream = Stream::new(std::net::TcpStream::connect(address)?)?;
    let (mut buffer, message) = (BytesMut::new(), framed(size));
    let mut took = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        stream.write_all(&message)?;
        stream.message(&mut buffer)?;
        took.push(began.elapsed());
    }
    drop(stream);
    let _ = echo.join();
    Ok(took)
}

/// One way, many in one write, or one write a message.
pub(super) fn one_way(
    size: usize,
    count: u64,
    batch: usize,
    pin: impl Fn(usize) + Copy + Send + 'static,
) -> io::Result<Rate> {
    let (listener, address) = listener()?;
    let receiver = std::thread::spawn(move || -> io::Result<Instant> {
        pin(1);
        let mut stream = Stream::new(listener.accept()?.0)?;
        let mut buffer = BytesMut::new();
        for _ in 0..count {
            stream.message(&mut buffer)?;
        }
        Ok(Instant::now())
    });
    pin(0);
    let mut stream = Stream::new(std::net::TcpStream::connect(address)?)?;
    let many = framed(size).repeat(batch);
    let began = Instant::now();
    let mut left = count;
    while left > 0 {
        let now = left.min(batch as u64);
        stream.write_all(&many[..now as usize * (PREFIX + size)])?;
        left -= now;
    }
    let ended = receiver.join().map_err(|_| io::Error::other("the receiver ended"))??;
    Ok(Rate { count, size, took: ended.duration_since(began) })
}

/// Round trips a second of so many sockets, each with one message under way, on one poll at each end.
pub(super) fn many(
    connections: usize,
    size: usize,
    trips: u64,
    pin: impl Fn(usize) + Copy + Send + 'static,
) -> io::Result<f64> {
    let (listener, address) = listener()?;
    let echo = std::thread::spawn(move || -> io::Result<()> {
        pin(1);
        let mut crowd = Crowd::new(size)?;
        for _ in 0..connections {
            crowd.add(listener.accept()?.0)?;
        }
        crowd.answer(u64::MAX)
    });
    pin(0);
    let mut crowd = Crowd::new(size)?;
    for _ in 0..connections {
        crowd.add(std::net::TcpStream::connect(address)?)?;
    }
    let began = Instant::now();
    crowd.say_all()?;
    crowd.answer(trips)?;
    let took = began.elapsed();
    drop(crowd);
    let _ = echo.join();
    Ok(trips as f64 / took.as_secs_f64())
}

/// Sockets on one poll, whose messages are all of one size.
struct Crowd {
    poll: Poll,
    sockets: Vec<TcpStream>,
    message: Vec<u8>,
}

impl Crowd {
    fn new(size: usize) -> io::Result<Self> {
        Ok(Self { poll: Poll::new()?, sockets: Vec::new(), message: framed(size) })
    }

    fn add(&mut self, socket: std::net::TcpStream) -> io::Result<()> {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&socket).set_tcp_congestion(b"reno");
        let mut socket = TcpStream::from_std(socket);
        self.poll.registry().register(&mut socket, Token(self.sockets.len()), Interest::READABLE)?;
        self.sockets.push(socket);
        Ok(())
    }

    fn say_all(&mut self) -> io::Result<()> {
        self.sockets.iter_mut().try_for_each(|socket| socket.write_all(&self.message))
    }

    /// Answers so many messages, or until a peer is gone. One message is under way on each socket, so it comes whole.
    fn answer(&mut self, trips: u64) -> io::Result<()> {
        let (mut events, mut buffer, mut done) = (Events::with_capacity(256), vec![0; 4096], 0);
        while done < trips {
            self.poll.poll(&mut events, None)?;
            for event in &events {
                let socket = &mut self.sockets[event.token().0];
                let got = match socket.read(&mut buffer) {
                    Ok(0) => return Ok(()),
                    Ok(got) => got,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
                    Err(error) => return Err(error),
                };
                debug_assert_eq!(got, self.message.len());
                socket.write_all(&self.message)?;
                done += 1;
            }
        }
        Ok(())
    }
}
