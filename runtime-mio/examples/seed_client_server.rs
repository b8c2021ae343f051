//! A client and a server over connections by id: the client connects, sends, receives and closes at once; the server accepts,
//! receives, replies and waits for the other end to close.
//!
//! ```sh
//! cargo run -p xxnet-runtime-mio --example seed_client_server                      # both, in one process
//! cargo run -p xxnet-runtime-mio --example seed_client_server -- server 127.0.0.1:7800
//! cargo run -p xxnet-runtime-mio --example seed_client_server -- client 127.0.0.1:7800
//! ```

use std::error::Error;
use std::time::Duration;
use xxnet_runtime_mio::connections::*;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Kinds are registered before a connection of theirs is made: one for talking, and one for listening.
const TALK: KindId = KindId::FIRST_FREE;
const LISTEN: KindId = KindId(KindId::FIRST_FREE.0 + 1);

/// Both ends need the same key. This one is no secret: it stands here.
const KEY: ClusterKey = ClusterKey(*b"the key of an example, no secret");

/// An update also returns when something happens; it only must come back in time to answer pings.
const A_SECOND: Duration = Duration::from_secs(1);

fn manager() -> Result<ConnectionManager> {
    let mut manager = ConnectionManager::new(ManagerOptions::new(KEY))?;
    manager.register(ConnectionKind::plain(TALK, LinkRule::Many, Role::Both))?;
    manager.register(ConnectionKind::plain(LISTEN, LinkRule::Many, Role::Listen))?;
    Ok(manager)
}

/// Answers what it is asked.
#[derive(Default)]
struct Server {
    asked: Option<Dict>,
    over: bool,
}

impl Handler for Server {
    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        let asked = message.dict().unwrap_or_default();
        // Refused if the client has left meanwhile; then there is nobody to be told.
        let _ = connections.send(id, Dict::from([("you said", asked.clone().into())]));
        self.asked = Some(asked);
    }

    fn on_disconnect(&mut self, _: &mut ConnectionManager, _: ConnectionId, _: DisconnectReason) {
        self.over = true;
    }
}

/// Serves one client, and answers what it said.
pub(crate) fn server(at: Address, listening: impl FnOnce(Address)) -> Result<Dict> {
    let mut manager = manager()?;
    let listener = manager.create(LISTEN)?;
    listening(manager.listen(listener, at)?);
    let mut server = Server::default();
    while !server.over {
        manager.update(A_SECOND, &mut server)?;
    }
    Ok(server.asked.ok_or("the client left without a word")?)
}

/// Asks once.
struct Client<'a> {
    question: &'a Dict,
    answer: Option<Dict>,
    over: Option<DisconnectReason>,
}

impl Handler for Client<'_> {
    fn on_connect(&mut self, connections: &mut ConnectionManager, id: ConnectionId, _: &PeerInfo) {
        let _ = connections.send(id, self.question);
    }

    fn on_receive(&mut self, connections: &mut ConnectionManager, id: ConnectionId, message: Message) {
        self.answer = message.dict().ok();
        let _ = connections.close(id);
    }

    /// Because we closed, or because it never came to be.
    fn on_disconnect(&mut self, _: &mut ConnectionManager, _: ConnectionId, reason: DisconnectReason) {
        self.over = Some(reason);
    }
}

/// Asks once, and answers what came back.
pub(crate) fn client(to: Address, question: &Dict) -> Result<Dict> {
    let mut manager = manager()?;
    let id = manager.create(TALK)?;
    manager.connect_to(id, to)?;
    let mut client = Client { question, answer: None, over: None };
    loop {
        manager.update(A_SECOND, &mut client)?;
        if let Some(reason) = &client.over {
            return Ok(client.answer.ok_or_else(|| reason.to_string())?);
        }
    }
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
                server("127.0.0.1:0".parse().expect("an address"), listening)
                    .map_err(|error| error.to_string())
            });
            println!("client: received {:?}", client(listening.recv()?, &question)?);
            println!("server: received {:?}", serving.join().map_err(|_| "the server panicked")??);
        }
        _ => return Err("say nothing, `server ADDR`, or `client ADDR`".into()),
    }
    Ok(())
}
