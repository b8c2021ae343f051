//! A proxy that cuts, stalls, splits and delays what passes through it, at chosen bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What happens to one link.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plan {
    /// The link is cut, both ways, behind so many bytes from the dialler.
    pub cut_there: Option<u64>,
    /// The link is cut, both ways, behind so many bytes to the dialler.
    pub cut_back: Option<u64>,
    /// At most so many bytes in one write; 0: as they come.
    pub piece: usize,
    /// Each write waits so long.
    pub delay: Duration,
    /// Nothing passes at all, and nothing is said: a black hole.
    pub silent: bool,
}

/// Passes links on to one address, each by a plan of its own.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    links: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    frozen: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens on a free port; `plan` says what happens to the first, second, … link.
    ///
    /// # Panics
    /// If there is no port.
    pub fn start(to: SocketAddr, plan: impl Fn(u64) -> Plan + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let (links, ended) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, over) = (Arc::clone(&links), Arc::clone(&ended));
        let frozen = Arc::new(AtomicBool::new(false));
        let ice = Arc::clone(&frozen);
        thread::spawn(move || {
            for near in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(near) = near else { continue };
                let plan = plan(count.fetch_add(1, Ordering::SeqCst));
                let ice = Arc::clone(&ice);
                thread::spawn(move || pass(near, to, plan, &ice));
            }
        });
        Self { address, links, ended, frozen }
    }

    /// Where to dial instead.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes, on any link, and nothing is said of it: both ends are half-open.
    pub fn freeze(&self) {
        self.frozen.store(true, Ordering::SeqCst);
    }

    /// Links that were made through it so far.
    pub fn links(&self) -> u64 {
        self.links.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes whoever accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn pass(near: TcpStream, to: SocketAddr, plan: Plan, frozen: &Arc<AtomicBool>) {
    if plan.silent {
        // Held open until the dialler gives up.
        let mut near = near;
        while near.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
        return;
    }
    let Ok(far) = TcpStream::connect(to) else { return };
    let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) else { return };
    let ice = Arc::clone(frozen);
    let back = thread::spawn(move || copy(far_too, near_too, plan.cut_back, plan, &ice));
    copy(near, far, plan.cut_there, plan, frozen);
    let _ = back.join();
}

fn copy(mut from: TcpStream, mut to: TcpStream, cut: Option<u64>, plan: Plan, frozen: &AtomicBool) {
    let mut left = cut.unwrap_or(u64::MAX);
    let mut buffer = vec![0; if plan.piece == 0 { 64 << 10 } else { plan.piece }];
    let _ = to.set_nodelay(true);
    loop {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = match from.read(&mut buffer[..most]) {
            Ok(0) | Err(_) => break,
            Ok(_) if frozen.load(Ordering::SeqCst) => continue,
            Ok(read) => read,
        };
        if !plan.delay.is_zero() {
            thread::sleep(plan.delay);
        }
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
        left -= read as u64;
        if left == 0 {
            // Cut: neither end hears more of the other.
            let _ = from.shutdown(Shutdown::Both);
            break;
        }
    }
    let _ = to.shutdown(if left == 0 { Shutdown::Both } else { Shutdown::Write });
}
