//! A thousand connections at once, each with one message under way; and what an idle one costs.

use super::{fail, resident};
use crate::cli::errors::{Failure, Outcome};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Instant;
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, Connections, KindId, LinkRule, Role,
};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ClusterKey, Config, ConnectionId, InstanceId, Token};
use xxnet_runtime_mio::{Driver, Flow, Options};

const SESSIONS: KindId = KindId(2000);
const LISTENER: KindId = KindId(2001);
const TOKEN: Token = Token(1);

/// What the thousand have shown.
pub(super) struct Many {
    /// Round trips a second, of all together.
    pub(super) per_second: f64,
    /// Bytes of memory that one end of an idle connection takes.
    pub(super) idle: f64,
}

fn node(number: u8) -> Outcome<Driver<Connections>> {
    let config = Config::new(InstanceId([number; 16]), "bench", ClusterKey([0; 32]), number.into());
    let driver = Driver::new(Connections::new(&config), Options::default()).map_err(fail)?;
    for kind in [
        ConnectionKind::session(SESSIONS, LinkRule::Many, Role::Both),
        ConnectionKind::plain(LISTENER, LinkRule::Many, Role::Listen),
    ] {
        driver.handle().send(ConnectionCommand::Register { token: TOKEN, kind }).map_err(fail)?;
    }
    Ok(driver)
}

fn taken_and_sent(id: ConnectionId, pack: DataPack, said: &mut Vec<ConnectionCommand>) {
    said.push(ConnectionCommand::Taken { id, sequence: pack.sequence });
    said.push(ConnectionCommand::SendPack {
        token: TOKEN,
        id,
        pack: DataPack::new(PackType::RAW, pack.head),
    });
}

/// Echoes until `stop` says so.
fn serve(told: &Sender<SocketAddr>, stop: &Receiver<()>) -> Outcome {
    let mut driver = node(1)?;
    driver.handle().send(ConnectionCommand::Create { token: TOKEN, kind: LISTENER }).map_err(fail)?;
    driver
        .run(|notice, said| {
            match notice {
                ConnectionNotice::Created { id, .. } => {
                    let address = Address::Socket(SocketAddr::from(([127, 0, 0, 1], 0)));
                    said.push(ConnectionCommand::Listen { token: TOKEN, id, address });
                }
                ConnectionNotice::Event(ConnectionEvent::Listening { address, .. }) => {
                    let _ = address.socket().map(|at| told.send(at));
                }
                ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                    taken_and_sent(id, pack, said);
                }
                // The client has gone.
                ConnectionNotice::Event(ConnectionEvent::Interrupted { .. }) if stop.try_recv().is_ok() => {
                    return Flow::Stop;
                }
                _ => {}
            }
            Flow::Continue
        })
        .map_err(fail)
}

/// So many connections, and so many round trips over all of them.
pub(super) fn many(
    connections: u64,
    trips: u64,
    pin: impl Fn(usize) + Copy + Send + 'static,
) -> Outcome<Many> {
    let ((tell, told), (stop, stopped)) = (channel(), channel());
    let server = std::thread::spawn(move || {
        pin(1);
        serve(&tell, &stopped)
    });
    let at = told.recv().map_err(|_| Failure::new("the measurement's server did not start"))?;
    pin(0);
    let before = resident();
    let mut driver = node(2)?;
    // From another thread: the mailbox lets more in as the loop takes them.
    let door = driver.handle();
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (target, data) = (Address::Socket(at), None);
            let _ = door.send(ConnectionCommand::CreateTo { token: TOKEN, kind: SESSIONS, target, data });
        }
    });
    let (mut up, mut ids, mut done) = (0, Vec::new(), 0);
    let (mut began, mut idle) = (Instant::now(), 0.0);
    driver
        .run(|notice, said| {
            match notice {
                ConnectionNotice::Created { id, .. } => {
                    ids.push(id);
                    said.push(ConnectionCommand::Connect { token: TOKEN, id, target: None, expect: None });
                }
                ConnectionNotice::Event(ConnectionEvent::Connected { .. }) => {
                    up += 1;
                    if up == connections {
                        idle = (resident() - before) / (2.0 * connections as f64);
                        began = Instant::now();
                        said.extend(ids.iter().map(|id| ConnectionCommand::SendPack {
                            token: TOKEN,
                            id: *id,
                            pack: DataPack::new(PackType::RAW, vec![7; 64]),
                        }));
                    }
                }
                ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                    done += 1;
                    if done == trips {
                        return Flow::Stop;
                    }
                    taken_and_sent(id, pack, said);
                }
                _ => {}
            }
            Flow::Continue
        })
        .map_err(fail)?;
    let took = began.elapsed();
    let _ = stop.send(());
    drop(driver);
    server.join().map_err(|_| Failure::new("the measurement's server ended"))??;
    Ok(Many { per_second: trips as f64 / took.as_secs_f64(), idle })
}
