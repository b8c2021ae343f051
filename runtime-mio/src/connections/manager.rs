//! The manager: a machine of connections, driven in turn with its handler.

use super::told::{Mark, Told};
use super::{Handler, Held, IntoPayload, ListenError, ManagerOptions, Message, StartError, handler};
use crate::messages::SendError;
use crate::{Driver, Flow, clock, instance};
use std::fmt;
use std::io;
use std::time::Duration;
use xxnet_core::connection::{
    ConnectionCommand, ConnectionError, ConnectionKind, ConnectionNotice, ConnectionState, Connections,
    KindId, PeerInfo, Statistics,
};
use xxnet_core::pack::DataPack;
use xxnet_core::{Address, ConnectionId, Dict, InstanceId, Token};

/// One question at a time is under way, so they need no names.
const TOKEN: Token = Token(0);

/// All connections of a node, by id; owned and driven by one thread. The [module](super) is its guide.
///
/// Each operation looks at the state first and acts at once: what is not allowed is the `Err` of that very call, and nothing
/// has changed. What happens is told to a [`Handler`], from inside [`update`](Self::update) alone. Dropping it closes
/// everything without a word.
pub struct ConnectionManager {
    driver: Driver<Connections>,
    told: Told,
    instance: InstanceId,
    destroyed: bool,
    /// Handlers are being called.
    updating: bool,
    /// The message that `on_receive` has, unless it is held.
    receiving: Option<Mark>,
}

impl fmt::Debug for ConnectionManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectionManager").field("instance", &self.instance).finish_non_exhaustive()
    }
}

impl ConnectionManager {
    /// No kinds, no connections.
    ///
    /// # Errors
    /// [`StartError`]: limits that contradict each other, a name that is too long, no descriptors or random bytes to be had.
    pub fn new(options: ManagerOptions) -> Result<Self, StartError> {
        options.limits.validate().map_err(StartError::Limits)?;
        let config = instance::fresh(options.name, options.key, options.limits).map_err(StartError::Io)?;
        let driver = Driver::new(Connections::new(&config), options.driver).map_err(StartError::Io)?;
        Ok(Self {
            driver,
            told: Told::default(),
            instance: config.instance,
            destroyed: false,
            updating: false,
            receiving: None,
        })
    }

    /// Who we are: this run of this process.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Registers a kind, before a connection of it is made (seed: 需要提前注册好类型).
    ///
    /// # Errors
    /// `KindTaken`; `BadKind` for one that contradicts itself; `Destroyed`.
    pub fn register(&mut self, kind: ConnectionKind) -> Result<(), ConnectionError> {
        self.ask(ConnectionCommand::Register { token: TOKEN, kind })
    }

    /// What peers are told about where we can be dialled; `None`, and so it begins: nowhere.
    pub fn advertise(&mut self, address: Option<Address>) {
        // It cannot be refused.
        let _ = self.ask(ConnectionCommand::Advertise { address });
    }

    /// The seed's first form: an idle connection of a kind, with no target yet.
    ///
    /// # Errors
    /// `UnknownKind`; `WrongRole` for a kind that is only accepted; `Destroyed`.
    pub fn create(&mut self, kind: KindId) -> Result<ConnectionId, ConnectionError> {
        self.ask_for(ConnectionCommand::Create { token: TOKEN, kind })
    }

    /// The seed's second form: an idle connection with its target, and with data that is sent first each time it is connected.
    ///
    /// # Errors
    /// As [`create`](Self::create); `WrongRole` for a kind that listens; `Data` or `TooLarge` if the data cannot be sent.
    pub fn create_to(
        &mut self,
        kind: KindId,
        target: impl Into<Address>,
        data: impl Into<Option<Dict>>,
    ) -> Result<ConnectionId, ConnectionError> {
        let (target, data) = (target.into(), data.into());
        self.ask_for(ConnectionCommand::CreateTo { token: TOKEN, kind, target, data })
    }

    /// Listens, and answers the address with the port that was chosen (port 0 takes any): when this returns, peers can connect.
    ///
    /// # Errors
    /// [`ListenError::System`] if the system refuses the address; the connection is idle again. [`ListenError::Refused`] with
    /// `UnknownConnection`, `WrongRole` for a kind that does not listen, `NotASocketAddress`, `AlreadyListening`, `WrongState`,
    /// `Destroyed`.
    pub fn listen(&mut self, id: ConnectionId, address: impl Into<Address>) -> Result<Address, ListenError> {
        self.ask(ConnectionCommand::Listen { token: TOKEN, id, address: address.into() })?;
        // The system has answered already. The machine hears of it behind what waits for it; that is all that can take time.
        loop {
            if let Some(answer) = self.told.listened() {
                return match answer {
                    Ok(address) => Ok(address.into()),
                    Err((address, error)) => Err(ListenError::System(address.into(), error)),
                };
            }
            self.work().map_err(ListenError::Io)?;
        }
    }

    /// Dials the connection's target: that of `create_to`, or of the last `connect_to`. `on_connect` or `on_disconnect` follows.
    ///
    /// # Errors
    /// `UnknownConnection`; `WrongRole` for a kind that does not dial; `WrongState` unless it is idle; `NoTarget`; `Destroyed`.
    pub fn connect(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        self.dial(id, None, None)
    }

    /// Dials this target, which is the connection's from now on. A name is looked up at each dial.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_to(
        &mut self,
        id: ConnectionId,
        target: impl Into<Address>,
    ) -> Result<(), ConnectionError> {
        self.dial(id, Some(target.into()), None)
    }

    /// As [`connect`](Self::connect), and whoever answers must be this instance: otherwise `on_disconnect` says
    /// [`OtherInstance`](super::DisconnectReason::OtherInstance).
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn connect_expecting(&mut self, id: ConnectionId, peer: InstanceId) -> Result<(), ConnectionError> {
        self.dial(id, None, Some(peer))
    }

    fn dial(
        &mut self,
        id: ConnectionId,
        target: Option<Address>,
        expect: Option<InstanceId>,
    ) -> Result<(), ConnectionError> {
        self.ask(ConnectionCommand::Connect { token: TOKEN, id, target, expect })
    }

    /// Sends a dict or raw bytes, behind all that was sent on this connection before; they leave at once if the network takes
    /// them. Answers the number that [`on_acknowledged`](Handler::on_acknowledged) will name; 0 on a plain kind, where nothing
    /// is acknowledged.
    ///
    /// # Errors
    /// `UnknownConnection`; `WrongState` unless it is connected; `TooLarge`; `Data` for a dict that cannot be written; `QueueFull`
    /// on a session kind; `Destroyed`. Nothing was queued. `OutboxFull`, on a plain kind: nor was it then, and the connection is
    /// over, because its peer does not read.
    pub fn send(&mut self, id: ConnectionId, payload: impl IntoPayload) -> Result<u64, ConnectionError> {
        let pack = payload.into_pack().map_err(|error| match error {
            SendError::Data(error) => ConnectionError::Data(error),
            SendError::TooLarge { size, limit } => ConnectionError::TooLarge { size, limit },
            SendError::Full(_) => ConnectionError::QueueFull,
            SendError::Closed | SendError::Address(_) => ConnectionError::Destroyed,
        })?;
        self.send_pack(id, pack)
    }

    /// As [`send`](Self::send), with a pack type of one's own: 16 and more.
    ///
    /// # Errors
    /// As [`send`](Self::send); `ReservedPackType`.
    pub fn send_pack(&mut self, id: ConnectionId, pack: DataPack) -> Result<u64, ConnectionError> {
        self.ask(ConnectionCommand::SendPack { token: TOKEN, id, pack })?;
        Ok(self.driver.machine().manager().last_sequence(id))
    }

    /// From inside [`on_receive`](Handler::on_receive): the message does not count as taken when that returns, but when
    /// [`take`](Self::take) says so. Nothing behind it on the same connection is acknowledged before.
    pub fn hold(&mut self, message: Message) -> Held {
        let mark = Mark::of(&message);
        if self.receiving == Some(mark) {
            self.receiving = None;
            self.told.hold(mark);
        }
        Held(message)
    }

    /// A held message is taken. If its session is over there is nobody to be told: its sender has counted it as undelivered.
    pub fn take(&mut self, held: Held) -> Message {
        self.taken(Mark::of(&held.0));
        held.0
    }

    /// Asks the peer for an answer; `on_pong` follows, unless the link breaks first.
    ///
    /// # Errors
    /// `UnknownConnection`; `WrongState` unless it is connected; `NoLink` for a session that has none right now; `Destroyed`.
    pub fn ping(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        self.ask(ConnectionCommand::Ping { token: TOKEN, id })
    }

    /// Stops reading from a plain connection, until [`resume`](Self::resume); its sender is held back soon after. On a session
    /// it does nothing, and nothing is needed: [hold](Self::hold) what you cannot take.
    ///
    /// # Errors
    /// `UnknownConnection`; `WrongState` unless it is connected; `Destroyed`.
    pub fn pause(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        self.connected(id)?;
        self.ask(ConnectionCommand::Pause { id })
    }

    /// Reads again.
    ///
    /// # Errors
    /// As [`pause`](Self::pause).
    pub fn resume(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        self.connected(id)?;
        self.ask(ConnectionCommand::Resume { id })
    }

    /// Closes in order: what is queued is sent first, and a session's is acknowledged, within `Limits::close`. Whatever was
    /// connecting, connected or listening is told its `on_disconnect`, with the reason `Closed`; a created one is idle then.
    /// Closing an idle or closing one is harmless.
    ///
    /// # Errors
    /// `UnknownConnection`, `Destroyed`.
    pub fn close(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        if self.receiving.is_some_and(|mark| mark.on == id) {
            // Its sender is to know that this message was taken, and a goodbye is the last that it hears.
            self.settle();
        }
        self.ask(ConnectionCommand::Close { token: TOKEN, id })
    }

    /// Closes at once and forgets the id. Nothing more is told of it.
    ///
    /// # Errors
    /// `UnknownConnection`, `Destroyed`.
    pub fn discard(&mut self, id: ConnectionId) -> Result<(), ConnectionError> {
        let known = self.state(id).is_some() || self.told.kind(id).is_some();
        if self.destroyed {
            return Err(ConnectionError::Destroyed);
        } else if !known {
            return Err(ConnectionError::UnknownConnection(id));
        }
        self.told.discard(id);
        self.ask(ConnectionCommand::Discard { id })
    }

    /// Ends every connection at once, without waiting for anybody. The next [`update`](Self::update) tells what each was
    /// owed: its last messages, what is undelivered, its `on_disconnect`. Every operation is answered with `Destroyed` from now
    /// on; a second time is harmless.
    pub fn destroy(&mut self) {
        self.destroyed = true;
        // It cannot be refused.
        let _ = self.ask(ConnectionCommand::Destroy);
    }

    /// Input and output, and everything that time brings: waits for something to tell, but no longer than `timeout` (zero: not
    /// at all), tells the handler all that is there, and answers how many of its methods were called; 0 when the time is
    /// up. What calls from inside handlers bring about waits for the next `update`, so that this one ends.
    ///
    /// # Errors
    /// The system's poll fails, or the supervisor of `ManagerOptions::driver` is gone. `Other`, and nothing is done, from inside
    /// a handler.
    pub fn update<H: Handler + ?Sized>(&mut self, timeout: Duration, handler: &mut H) -> io::Result<usize> {
        if self.updating {
            return Err(io::Error::other("update was called from inside a handler"));
        }
        let until = clock::now() + timeout;
        loop {
            let now = clock::now();
            let wait = if self.told.len() > 0 { Duration::ZERO } else { until.since(now) };
            self.driver.wait(Some(wait))?;
            self.work()?;
            if self.told.len() > 0 {
                return Ok(self.tell_all(handler));
            }
            if until <= clock::now() {
                return Ok(0);
            }
        }
    }

    /// Where a connection stands right now, which may be ahead of what its handler has heard; `None` if there is none of that
    /// id (any more).
    pub fn state(&self, id: ConnectionId) -> Option<ConnectionState> {
        self.driver.machine().manager().state(id)
    }

    /// Who is at the other end: from `on_connect` or `on_accept` until `on_disconnect` has returned.
    pub fn peer(&self, id: ConnectionId) -> Option<&PeerInfo> {
        self.told.peer(id)
    }

    /// The kind of a connection, until it is gone and its `on_disconnect` has returned.
    pub fn kind(&self, id: ConnectionId) -> Option<KindId> {
        self.driver.machine().manager().kind(id).or_else(|| self.told.kind(id))
    }

    /// What a connection has carried, what waits on it, how long a round trip takes; `None` if there is none of that id.
    pub fn statistics(&self, id: ConnectionId) -> Option<Statistics> {
        self.driver.machine().manager().statistics(id)
    }

    /// Whether what waits to be sent is below the high-water mark (2 MiB); if not, `on_writable` will come.
    pub fn writable(&self, id: ConnectionId) -> bool {
        self.driver.machine().manager().writable(id)
    }

    /// Tells what is there now.
    fn tell_all<H: Handler + ?Sized>(&mut self, handler: &mut H) -> usize {
        let updating = Updating::new(self);
        let mut told = 0;
        for _ in 0..updating.0.told.len() {
            // A discard takes away what has not been told.
            let Some((epoch, event)) = updating.0.told.next() else { break };
            handler::tell(handler, updating.0, epoch, event);
            told += 1;
        }
        told
    }

    /// `on_receive` is about to have this message.
    pub(super) fn begin(&mut self, message: &Message) {
        self.receiving = Some(Mark::of(message));
    }

    /// The message that `on_receive` has is taken, unless it is held.
    pub(super) fn settle(&mut self) {
        if let Some(mark) = self.receiving.take() {
            self.taken(mark);
        }
    }

    fn taken(&mut self, mark: Mark) {
        if let Some(sequence) = self.told.take(mark) {
            // It cannot be refused.
            let _ = self.ask(ConnectionCommand::Taken { id: mark.on, sequence });
        }
    }

    /// The end of a session or link was told.
    pub(super) fn over(&mut self, id: ConnectionId, epoch: u64) {
        self.told.over(id, epoch);
    }

    fn connected(&self, id: ConnectionId) -> Result<(), ConnectionError> {
        match self.state(id) {
            _ if self.destroyed => Err(ConnectionError::Destroyed),
            None => Err(ConnectionError::UnknownConnection(id)),
            Some(ConnectionState::Connected) => Ok(()),
            Some(other) => Err(ConnectionError::WrongState(other)),
        }
    }

    /// Gives the machine a command; a rejection is the answer.
    fn ask(&mut self, command: ConnectionCommand) -> Result<(), ConnectionError> {
        self.command(command).map(drop)
    }

    /// As [`ask`](Self::ask), for a command that creates.
    fn ask_for(&mut self, command: ConnectionCommand) -> Result<ConnectionId, ConnectionError> {
        // The machine answers a create with an id or a rejection; never with neither.
        self.command(command)?.ok_or(ConnectionError::Destroyed)
    }

    fn command(&mut self, command: ConnectionCommand) -> Result<Option<ConnectionId>, ConnectionError> {
        let (mut created, mut rejected) = (None, None);
        let told = &mut self.told;
        // That the supervisor is gone is the only error, and the next `update` has it too.
        let _ = self.driver.command(command, &mut |notice, _| {
            match notice {
                ConnectionNotice::Created { id, .. } => created = Some(id),
                ConnectionNotice::Rejected { error, .. } => rejected = Some(error),
                ConnectionNotice::Event(event) => told.put(event),
            }
            Flow::Continue
        });
        rejected.map_or(Ok(created), Err)
    }

    /// The machine does what has come.
    fn work(&mut self) -> io::Result<()> {
        let told = &mut self.told;
        self.driver.work(&mut |notice, _| {
            if let ConnectionNotice::Event(event) = notice {
                told.put(event);
            }
            Flow::Continue
        })?;
        Ok(())
    }
}

/// While handlers are called; also if one of them panics.
struct Updating<'a>(&'a mut ConnectionManager);

impl<'a> Updating<'a> {
    fn new(manager: &'a mut ConnectionManager) -> Self {
        manager.updating = true;
        Self(manager)
    }
}

impl Drop for Updating<'_> {
    fn drop(&mut self) {
        self.0.updating = false;
        self.0.receiving = None;
    }
}
