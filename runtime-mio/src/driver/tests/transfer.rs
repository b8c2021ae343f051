//! A file from disk to disk through a socket: as little between the two as there can be, for correctness and for figures.

use super::*;
use bytes::{Bytes, BytesMut};
use std::path::Path;
use xxnet_core::disk::{BLOCK, Hash, Target};
use xxnet_core::net::Endpoint;

const TREE: TreeId = TreeId(1);
const LINK: LinkId = LinkId(1);
const AHEAD: u64 = 4;

/// The source's and the target's end in one machine; which one it is, its first event says.
#[derive(Default)]
struct End {
    reads: bool,
    path: Vec<u8>,
    stream_len: u64,
    manifest_len: u64,
    /// Next block to ask the disk for; next to be sent or written.
    asked: u64,
    moved: u64,
    ready: std::collections::BTreeMap<u64, (Bytes, Hash)>,
    sending: bool,
    root: Option<Hash>,
    /// Received and not yet a whole block with its hash.
    pieces: VecDeque<Bytes>,
    have: usize,
    writing: u64,
    reading: bool,
}

#[derive(Debug)]
enum Go {
    Read(Vec<u8>, SocketAddr),
    Write(Vec<u8>),
}

#[derive(Debug)]
enum Say {
    Listening(SocketAddr),
    Done,
}

impl End {
    fn blocks(&self) -> u64 {
        self.stream_len.div_ceil(BLOCK)
    }

    fn disk(&self, op: u64, request: DiskRequest, actions: &mut Actions<Say>) {
        actions.disk(DiskAction { op: OpId(op), request });
    }

    fn read_on(&mut self, actions: &mut Actions<Say>) {
        while self.asked < self.blocks() && self.asked < self.moved + AHEAD {
            self.disk(100 + self.asked, DiskRequest::ReadBlock { tree: TREE, index: self.asked }, actions);
            self.asked += 1;
        }
        if !self.sending
            && let Some((data, hash)) = self.ready.remove(&self.moved)
        {
            self.moved += 1;
            self.sending = true;
            actions.net(NetAction::Send { link: LINK, buffers: vec![Bytes::copy_from_slice(&hash.0), data] });
        }
        if self.moved == self.blocks() && !self.sending && self.root.is_none() {
            self.root = Some(Hash([0; 32]));
            self.disk(2, DiskRequest::ReadRoot { tree: TREE }, actions);
        }
    }

    fn take(&mut self, mut len: usize) -> Vec<Bytes> {
        self.have -= len;
        let mut taken = Vec::new();
        while len > 0 {
            let mut piece = self.pieces.pop_front().unwrap();
            if piece.len() > len {
                self.pieces.push_front(piece.split_off(len));
            }
            len -= piece.len();
            taken.push(piece);
        }
        taken
    }

    fn write_on(&mut self, actions: &mut Actions<Say>) {
        if self.stream_len == 0 && self.have >= 16 {
            let head = self.take(16).concat();
            let number = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap());
            (self.stream_len, self.manifest_len) = (number(0), number(8));
            let target = Target::Path { path: self.path.clone() };
            let (stream_len, manifest_len) = (self.stream_len, self.manifest_len);
            self.disk(
                1,
                DiskRequest::OpenTarget { tree: TREE, target, stream_len, manifest_len, origin: None },
                actions,
            );
            return;
        }
        while self.asked < self.blocks() && self.writing < if self.asked == 1 { 1 } else { AHEAD } {
            let len = BLOCK.min(self.stream_len - self.asked * BLOCK) as usize;
            if self.have < 32 + len {
                break;
            }
            let hash = Hash(self.take(32).concat().try_into().unwrap());
            let data = self.take(len);
            let request = DiskRequest::WriteBlock { tree: TREE, index: self.asked, data, hash };
            self.disk(100 + self.asked, request, actions);
            self.asked += 1;
            self.writing += 1;
        }
        if self.asked > 0 && self.asked == self.blocks() && self.writing == 0 && self.have >= 32 {
            let root = Hash(self.take(32).concat().try_into().unwrap());
            self.disk(2, DiskRequest::Commit { tree: TREE, root }, actions);
        }
        if !self.reading && self.have < (AHEAD * BLOCK) as usize {
            self.reading = true;
            actions.net(NetAction::Recv { link: LINK, max: 1 << 20 });
        }
    }
}

impl Machine for End {
    type Command = Go;
    type Notice = Say;

    fn handle(&mut self, _now: Instant, event: Event<Go>, actions: &mut Actions<Say>) {
        match event {
            Event::Command(Go::Read(path, address)) => {
                self.reads = true;
                self.path = path;
                actions.net(NetAction::Dial { link: LINK, address: address.into() });
            }
            Event::Command(Go::Write(path)) => {
                self.path = path;
                let address = Endpoint::Ip((Ipv4Addr::LOCALHOST, 0).into());
                actions.net(NetAction::Listen { listener: LISTENER, address });
            }
            Event::Net(NetEvent::Listening { address, .. }) => {
                actions.notify(Say::Listening(address.socket().unwrap()));
                actions.net(NetAction::Accept { listener: LISTENER, link: LINK });
            }
            Event::Net(NetEvent::Dialed { .. }) => {
                let source = Source::Path { path: self.path.clone() };
                self.disk(1, DiskRequest::OpenSource { tree: TREE, source }, actions);
            }
            Event::Net(NetEvent::Accepted { .. }) => self.write_on(actions),
            Event::Net(NetEvent::Sent { .. }) if self.root.is_some() => actions.notify(Say::Done),
            Event::Net(NetEvent::Sent { .. }) => {
                self.sending = false;
                self.read_on(actions);
            }
            Event::Net(NetEvent::Received { data, .. }) => {
                self.reading = false;
                self.have += data.len();
                self.pieces.push_back(data);
                self.write_on(actions);
            }
            Event::Disk(DiskEvent { op: OpId(op), result }) => match (op, result.unwrap()) {
                (_, DiskDone::Opened { stream_len, manifest_len, .. }) => {
                    (self.stream_len, self.manifest_len) = (stream_len, manifest_len);
                    let mut head = BytesMut::new();
                    head.extend_from_slice(&stream_len.to_le_bytes());
                    head.extend_from_slice(&manifest_len.to_le_bytes());
                    self.sending = true;
                    actions.net(NetAction::Send { link: LINK, buffers: vec![head.freeze()] });
                }
                (op, DiskDone::Block { data, hash }) => {
                    self.ready.insert(op - 100, (data, hash));
                    self.read_on(actions);
                }
                (_, DiskDone::Root { root }) => {
                    let buffers = vec![Bytes::copy_from_slice(&root.0)];
                    actions.net(NetAction::Send { link: LINK, buffers });
                }
                (1, DiskDone::Nothing) => self.write_on(actions),
                (_, DiskDone::Committed { .. }) => actions.notify(Say::Done),
                (_, done @ DiskDone::Resumed { .. }) => panic!("{done:?}"),
                (_, DiskDone::Nothing) => {
                    self.writing -= 1;
                    self.write_on(actions);
                }
            },
            // The other end has all it needs; what has arrived is still being written.
            Event::Net(NetEvent::PeerClosed { .. } | NetEvent::Broken { .. }) => {}
            other => panic!("{other:?}"),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn check_invariants(&self) {}
}

fn transfer(from: &Path, to: &Path) {
    let bytes = |path: &Path| path.to_path_buf().into_os_string().into_encoded_bytes();
    let run = |go: Go, mut listening: Box<dyn FnMut(SocketAddr) + Send>| {
        thread::spawn(move || {
            let options = Options { disk: Some(DiskOptions::default()), ..Options::default() };
            let mut driver = Driver::new(End::default(), options).unwrap();
            driver.handle().send(go).unwrap();
            let run = driver.run(|notice, _| match notice {
                Say::Listening(address) => {
                    listening(address);
                    Flow::Continue
                }
                Say::Done => Flow::Stop,
            });
            run.unwrap();
        })
    };
    let (tell, told) = std::sync::mpsc::channel();
    let write = run(Go::Write(bytes(to)), Box::new(move |address| tell.send(address).unwrap()));
    let read = run(Go::Read(bytes(from), told.recv().unwrap()), Box::new(|_| {}));
    read.join().unwrap();
    write.join().unwrap();
}

#[test]
fn f7_a_file_arrives_through_two_loops_as_it_was() {
    let base = tempfile::tempdir().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    let mut content = vec![0; (20 << 20) + 4321];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    std::fs::write(&from, &content).unwrap();
    transfer(&from, &to);
    assert!(std::fs::read(&to).unwrap() == content);
    assert_eq!(std::fs::read_dir(base.path()).unwrap().count(), 2);
}

/// Figures for people; see `bench_disk`.
#[test]
#[ignore = "takes its time and 4 GiB of disk"]
fn bench_transfer() {
    let base = tempfile::tempdir().unwrap();
    let (from, to) = (base.path().join("from"), base.path().join("to"));
    let mut content = vec![0; 1 << 30];
    blake3::Hasher::new().finalize_xof().fill(&mut content);
    std::fs::write(&from, &content).unwrap();
    drop(content);
    for _ in 0..3 {
        for what in ["cp", "transfer"] {
            let (start, busy) = (std::time::Instant::now(), crate::disk::cpu_seconds());
            if what == "cp" {
                let mut cp = std::process::Command::new("cp");
                assert!(cp.arg("--reflink=never").arg(&from).arg(&to).status().unwrap().success());
            } else {
                transfer(&from, &to);
            }
            let (seconds, busy) = (start.elapsed().as_secs_f64(), crate::disk::cpu_seconds() - busy);
            println!("{what}: {seconds:.3} s a GiB, {busy:.3} s of processor");
            std::fs::remove_file(&to).unwrap();
        }
    }
}
