//! A client and a server over connections by id: the client connects, sends, receives and closes at once; the server accepts,
//! receives, replies and waits for the other end to close.
//!
//! ```sh
//! cargo run -p xxnet-runtime-mio --example seed_client_server                      # both, in one process
//! cargo run -p xxnet-runtime-mio --example seed_client_server -- server 127.0.0.1:7800
//! cargo run -p xxnet-runtime-mio --example seed_client_server -- client 127.0.0.1:7800
//! ```

use std::error::Error;
use std::net::SocketAddr;
use xxnet_core::connection::{
    ConnectionCommand, ConnectionEvent, ConnectionKind, ConnectionNotice, Connections, KindId, LinkRule, Role,
};
use xxnet_core::{ClusterKey, Config, Dict, InstanceId, Token};
use xxnet_runtime_mio::{Driver, Flow, Options};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Kinds are registered before a connection of theirs is made: one for talking, and one for listening.
const TALK: KindId = KindId::FIRST_FREE;
const LISTEN: KindId = KindId(KindId::FIRST_FREE.0 + 1);

/// Both ends need the same key. This one is no secret: it stands here.
const KEY: ClusterKey = ClusterKey(*b"the key of an example, no secret");

/// A command names itself, in case it is rejected.
const TOKEN: Token = Token(1);

fn driver(name: &str) -> Result<Driver<Connections>> {
    // Every run of every process is an instance of its own.
    let mut random = [0; 24];
    getrandom::fill(&mut random)?;
    let (instance, seed) = random.split_at(16);
    let (instance, seed) = (InstanceId(instance.try_into()?), u64::from_le_bytes(seed.try_into()?));
    let driver = Driver::new(Connections::new(&Config::new(instance, name, KEY, seed)), Options::default())?;
    for kind in [
        ConnectionKind::plain(TALK, LinkRule::Many, Role::Both),
        ConnectionKind::plain(LISTEN, LinkRule::Many, Role::Listen),
    ] {
        driver.handle().send(ConnectionCommand::Register { token: TOKEN, kind })?;
    }
    Ok(driver)
}

/// Serves one client, and answers what it said.
pub(crate) fn server(at: SocketAddr, listening: impl FnOnce(SocketAddr)) -> Result<Dict> {
    let mut driver = driver("server")?;
    driver.handle().send(ConnectionCommand::Create { token: TOKEN, kind: LISTEN })?;
    let (mut listening, mut received, mut ended) = (Some(listening), None, Ok(()));
    driver.run(|notice, commands| {
        match notice {
            ConnectionNotice::Created { token, id } => {
                commands.push(ConnectionCommand::Listen { token, id, address: at.into() });
            }
            ConnectionNotice::Event(ConnectionEvent::Listening { address, .. }) => {
                if let Some((listening, at)) = listening.take().zip(address.socket()) {
                    listening(at);
                }
            }
            ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                let asked = Dict::from_pack(&pack).unwrap_or_default();
                let data = Dict::from([("you said", asked.clone().into())]);
                commands.push(ConnectionCommand::Send { token: TOKEN, id, data });
                received = Some(asked);
            }
            // The client has closed: that is what we waited for.
            ConnectionNotice::Event(ConnectionEvent::Disconnected { .. }) => return Flow::Stop,
            ConnectionNotice::Event(ConnectionEvent::ListenFailed { address, error, .. }) => {
                ended = Err(format!("cannot listen on {address}: {error}"));
                return Flow::Stop;
            }
            ConnectionNotice::Rejected { error, .. } => {
                ended = Err(error.to_string());
                return Flow::Stop;
            }
            // Accepted, among others: an accepted connection has its id, and nothing needs to be done.
            ConnectionNotice::Event(_) => {}
        }
        Flow::Continue
    })?;
    ended?;
    Ok(received.ok_or("the client left without a word")?)
}

/// Asks once, and answers what came back.
pub(crate) fn client(to: SocketAddr, question: &Dict) -> Result<Dict> {
    let mut driver = driver("client")?;
    driver.handle().send(ConnectionCommand::Create { token: TOKEN, kind: TALK })?;
    let (mut answer, mut ended) = (None, Ok(()));
    driver.run(|notice, commands| {
        match notice {
            ConnectionNotice::Created { token, id } => {
                commands.push(ConnectionCommand::Connect {
                    token,
                    id,
                    target: Some(to.into()),
                    expect: None,
                });
            }
            // The seed's OnConnect.
            ConnectionNotice::Event(ConnectionEvent::Connected { id, .. }) => {
                commands.push(ConnectionCommand::Send { token: TOKEN, id, data: question.clone() });
            }
            ConnectionNotice::Event(ConnectionEvent::Received { id, pack }) => {
                answer = Dict::from_pack(&pack).ok();
                commands.push(ConnectionCommand::Close { token: TOKEN, id });
            }
            // The seed's OnDisconnect: because we closed, or because it never came to be.
            ConnectionNotice::Event(ConnectionEvent::Disconnected { reason, .. }) => {
                if answer.is_none() {
                    ended = Err(reason.to_string());
                }
                return Flow::Stop;
            }
            ConnectionNotice::Rejected { error, .. } => {
                ended = Err(error.to_string());
                return Flow::Stop;
            }
            ConnectionNotice::Event(_) => {}
        }
        Flow::Continue
    })?;
    ended?;
    Ok(answer.ok_or("the answer was no dict")?)
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let question = Dict::from([("question", "are you there?".into())]);
    match &words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", at] => {
            let told = server(at.parse()?, |at| println!("server: listening on {at}"))?;
            println!("server: received {told:?}");
        }
        ["client", to] => println!("client: received {:?}", client(to.parse()?, &question)?),
        [] => {
            let (told, listening) = std::sync::mpsc::channel();
            let serving = std::thread::spawn(move || {
                let listening = |at| _ = told.send(at);
                server(([127, 0, 0, 1], 0).into(), listening).map_err(|error| error.to_string())
            });
            println!("client: received {:?}", client(listening.recv()?, &question)?);
            println!("server: received {:?}", serving.join().map_err(|_| "the server panicked")??);
        }
        _ => return Err("say nothing, `server ADDR`, or `client ADDR`".into()),
    }
    Ok(())
}
