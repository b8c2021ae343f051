//! What the application's threads and the one that does input and output share.

use super::account::Account;
use super::events::EventQueue;
use super::inbox::Inbox;
use super::{FlushError, ListenError, SendError};
use crate::alarm::{Alarm, lock};
use bytes::BytesMut;
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use xxnet_core::messenger::{MessengerCommand, PeerReport};
use xxnet_core::net::Endpoint;
use xxnet_core::pack::DataPack;
use xxnet_core::{Address, Limits, Token};

/// Where an answer to `listen` goes.
pub(super) type Answer = SyncSender<Result<Address, ListenError>>;

/// The three queues of the seed, and what is counted beside them.
#[derive(Debug)]
pub(super) struct Shared {
    alarm: Arc<Alarm>,
    /// Bytes that wait for one peer, at most.
    pub(super) queue: usize,
    pub(super) max_data: u32,
    /// How long an acknowledgement may wait for more.
    pub(super) ack_delay: Duration,
    /// Commands on their way to the machine: bounded by the accounts' queues, but for those that are few.
    outgoing: Mutex<Outgoing>,
    accounts: RwLock<Accounts>,
    pub(super) inbox: Inbox,
    pub(super) events: EventQueue,
    undelivered: AtomicU64,
    closed: AtomicBool,
    /// Who waits for the thread to end, or for messages to be settled.
    waiting: Mutex<Waiting>,
    news: Condvar,
    flushing: AtomicBool,
}

/// What those who wait are told.
#[derive(Debug, Default)]
struct Waiting {
    /// The thread has ended.
    down: bool,
    flushes: HashMap<Token, Flush>,
}

/// Somebody waits for what was sent before.
#[derive(Debug)]
struct Flush {
    /// How many of each account's messages are to be settled, in order.
    accounts: Vec<(Arc<Account>, u64)>,
    /// All of them were looked at: those that were refused are not waited for.
    marked: bool,
}

/// Payloads of so many bytes and less are small.
const SMALL: usize = 256;

impl Outgoing {
    /// Moves a small payload beside the last one.
    fn gather(&mut self, pack: &mut DataPack) {
        if !pack.head.is_empty() && pack.head.len() <= SMALL && pack.bulk.is_empty() {
            if self.small.capacity() < SMALL {
                self.small = BytesMut::with_capacity(64 * SMALL);
            }
            self.small.extend_from_slice(&pack.head);
            pack.head = self.small.split().freeze();
        }
    }
}

impl Flush {
    fn outstanding(&self) -> u64 {
        let left =
            |(account, wanted): &(Arc<Account>, u64)| wanted.saturating_sub(account.settled_in_order());
        self.accounts.iter().map(left).sum()
    }

    fn is_done(&self) -> bool {
        self.marked && self.outstanding() == 0
    }
}

#[derive(Debug, Default)]
struct Outgoing {
    commands: VecDeque<MessengerCommand>,
    /// Small payloads lie side by side: they are freed by another thread than the one that made them, which one by one costs
    /// more than the copy.
    small: BytesMut,
    /// The thread sleeps: whoever adds a command wakes it.
    asleep: bool,
    answers: HashMap<Token, (Address, Answer)>,
    looks: HashMap<Token, SyncSender<Vec<PeerReport>>>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_address: HashMap<Address, Arc<Account>>,
    by_token: HashMap<Token, Arc<Account>>,
    last: u64,
    /// With so many of them, those that nothing is owed to and nobody has a door to are forgotten.
    sweep_at: usize,
}

/// Accounts that are kept without a look at who still needs them.
const FEW: usize = 64;

impl Shared {
    pub(super) fn new(alarm: Arc<Alarm>, queue: usize, inbox: usize, limits: &Limits) -> Self {
        Self {
            alarm,
            queue,
            max_data: limits.max_data,
            ack_delay: limits.ack_delay,
            outgoing: Mutex::default(),
            accounts: RwLock::default(),
            inbox: Inbox::new(inbox),
            events: EventQueue::new(queue),
            undelivered: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            waiting: Mutex::default(),
            news: Condvar::new(),
            flushing: AtomicBool::new(false),
        }
    }

    pub(super) fn ring(&self) {
        self.alarm.ring();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    fn command(&self, command: MessengerCommand) {
        let mut outgoing = lock(&self.outgoing);
        outgoing.commands.push_back(command);
        self.wake(outgoing);
    }

    /// Something was added.
    fn wake(&self, mut outgoing: MutexGuard<'_, Outgoing>) {
        let asleep = std::mem::take(&mut outgoing.asleep);
        drop(outgoing);
        if asleep {
            self.ring();
        }
    }

    /// Where the answer will come; `None` if it is shut down.
    pub(super) fn listen(&self, address: Endpoint) -> Option<Receiver<Result<Address, ListenError>>> {
        let (answer, answered) = sync_channel(1);
        let token = self.next_token();
        {
            let mut outgoing = lock(&self.outgoing);
            if self.is_closed() {
                return None;
            }
            outgoing.answers.insert(token, (address.clone().into(), answer));
            outgoing.commands.push_back(MessengerCommand::Listen { token, address });
            self.wake(outgoing);
        }
        Some(answered)
    }

    /// Whoever asked for this is told.
    pub(super) fn answer(&self, token: Token, answer: impl FnOnce(Address) -> Result<Address, ListenError>) {
        if let Some((address, asker)) = lock(&self.outgoing).answers.remove(&token) {
            let _ = asker.send(answer(address));
        }
    }

    /// How peers fare; nobody does once it is shut down.
    pub(super) fn look(&self, at: Option<Address>) -> Vec<PeerReport> {
        let (answer, answered) = sync_channel(1);
        let token = self.next_token();
        {
            let mut outgoing = lock(&self.outgoing);
            if self.is_closed() {
                return Vec::new();
            }
            outgoing.looks.insert(token, answer);
            outgoing.commands.push_back(MessengerCommand::Look { token, at });
            self.wake(outgoing);
        }
        answered.recv().unwrap_or_default()
    }

    /// Whoever looks is answered.
    pub(super) fn looked(&self, token: Token, peers: Vec<PeerReport>) {
        if let Some(asker) = lock(&self.outgoing).looks.remove(&token) {
            let _ = asker.send(peers);
        }
    }

    pub(super) fn unlisten(&self, address: Endpoint) {
        self.command(MessengerCommand::Unlisten { address });
    }

    fn next_token(&self) -> Token {
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        Token::next(&mut accounts.last)
    }

    /// The account of an address, opened if this is the first time.
    pub(super) fn account(&self, to: Cow<'_, Address>) -> Arc<Account> {
        let known = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.by_address.get(to.as_ref()) {
            return Arc::clone(account);
        }
        drop(known);
        let mut accounts = self.accounts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.by_address.get(to.as_ref()) {
            return Arc::clone(account);
        }
        self.sweep(&mut accounts);
        let (token, to) = (Token::next(&mut accounts.last), to.into_owned());
        let account = Arc::new(Account::new(token, to.clone()));
        accounts.by_address.insert(to.clone(), Arc::clone(&account));
        accounts.by_token.insert(token, Arc::clone(&account));
        // Before the lock is let go, so that nobody sends to it before it is open.
        self.command(MessengerCommand::Open { token, to });
        account
    }

    /// Forgets accounts that are of no use: as many as were opened since the last time, so that each costs a look or two.
    fn sweep(&self, accounts: &mut Accounts) {
        if accounts.by_token.len() < accounts.sweep_at.max(FEW) {
            return;
        }
        // In both tables and in nobody's hands, which could only reach for it through the lock that is held.
        let unused = |account: &Arc<Account>| Arc::strong_count(account) == 2 && account.is_settled();
        let forgotten: Vec<_> =
            accounts.by_token.values().filter(|account| unused(account)).cloned().collect();
        for account in forgotten {
            accounts.by_address.remove(&account.to);
            accounts.by_token.remove(&account.token);
            self.command(MessengerCommand::Forget { token: account.token });
        }
        accounts.sweep_at = 2 * accounts.by_token.len();
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        (accounts.by_token.len(), lock(&self.waiting).flushes.len())
    }

    pub(super) fn account_of(&self, token: Token) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.by_token.get(&token).cloned()
    }

    /// Queues a message for which there is room.
    pub(super) fn send(&self, account: &Account, mut pack: DataPack) -> Result<(), SendError> {
        let mut outgoing = lock(&self.outgoing);
        if self.is_closed() {
            account.settle(0, xxnet_core::pack::DataHeader::WIRE_LEN + pack.data_len());
            return Err(SendError::Closed);
        }
        account.count();
        outgoing.gather(&mut pack);
        match outgoing.commands.back_mut() {
            Some(MessengerCommand::Send { token, packs }) if *token == account.token => packs.push(pack),
            _ => {
                let send = MessengerCommand::Send { token: account.token, packs: vec![pack] };
                outgoing.commands.push_back(send);
            }
        }
        self.wake(outgoing);
        Ok(())
    }

    /// The thread is about to sleep, `briefly` or until it is woken; false, and it does not, if there is something to do.
    pub(super) fn sleep(&self, briefly: bool) -> bool {
        let mut outgoing = lock(&self.outgoing);
        outgoing.asleep = outgoing.commands.is_empty() && self.inbox.sleep(briefly);
        outgoing.asleep
    }

    /// The thread, awake, takes all commands. Answers whether something was taken by the application.
    pub(super) fn collect(&self, into: &mut VecDeque<MessengerCommand>) -> bool {
        if let Some(admits) = self.inbox.turned() {
            into.push_back(MessengerCommand::Admit { admits });
        }
        let taken = self.inbox.taken(|on, sequence| into.push_back(MessengerCommand::Taken { on, sequence }));
        let mut outgoing = lock(&self.outgoing);
        outgoing.asleep = false;
        into.append(&mut outgoing.commands);
        taken
    }

    /// So many messages of a token's are settled.
    pub(super) fn settled(&self, token: Token, count: u64, bytes: usize) {
        if let Some(account) = self.account_of(token) {
            account.settle(count, bytes);
            if self.flushing.load(Ordering::SeqCst) {
                drop(lock(&self.waiting));
                self.news.notify_all();
            }
        }
    }

    pub(super) fn count_undelivered(&self, count: usize) {
        self.undelivered.fetch_add(count as u64, Ordering::SeqCst);
    }

    pub(super) fn undelivered(&self) -> u64 {
        self.undelivered.load(Ordering::SeqCst)
    }

    pub(super) fn flush(&self, until: Option<Instant>) -> Result<(), FlushError> {
        let token = self.next_token();
        let mut waiting = self.begin_flush(token);
        loop {
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            let done = waiting.flushes.get(&token).is_none_or(Flush::is_done);
            if done || left.is_zero() || waiting.down {
                let outstanding = waiting.flushes.remove(&token).map_or(0, |flush| flush.outstanding());
                self.flushing.store(!waiting.flushes.is_empty(), Ordering::SeqCst);
                return if outstanding == 0 { Ok(()) } else { Err(FlushError { outstanding }) };
            }
            waiting = self.news.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
    /// Notes how much is to be settled, and asks to be told when all of that was looked at.
    fn begin_flush(&self, token: Token) -> MutexGuard<'_, Waiting> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = lock(&self.waiting);
        let mut outgoing = lock(&self.outgoing);
        let open = accounts.by_token.values().filter(|account| !account.is_settled());
        let accounts = open.map(|account| (Arc::clone(account), account.sent())).collect();
        waiting.flushes.insert(token, Flush { accounts, marked: false });
        // Before the first look at the counts, so that none that changes later goes unnoticed.
        self.flushing.store(true, Ordering::SeqCst);
        outgoing.commands.push_back(MessengerCommand::Mark { token });
        self.wake(outgoing);
        waiting
    }

    /// Everything that was sent before a flush was looked at: what was refused of it is not waited for.
    pub(super) fn marked(&self, token: Token) {
        if let Some(flush) = lock(&self.waiting).flushes.get_mut(&token) {
            flush.marked = true;
            for (account, wanted) in &mut flush.accounts {
                *wanted = wanted.saturating_sub(account.refused());
            }
        }
        self.news.notify_all();
    }

    pub(super) fn shut_down(&self, drain: Duration) {
        let mut outgoing = lock(&self.outgoing);
        if !self.closed.swap(true, Ordering::SeqCst) {
            outgoing.commands.push_back(MessengerCommand::Shutdown { drain });
        }
        self.wake(outgoing);
        self.wake_all();
    }

    pub(super) fn wait_until_down(&self) {
        let mut waiting = lock(&self.waiting);
        while !waiting.down {
            waiting = self.news.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.inbox.close();
        self.events.close();
        {
            let mut outgoing = lock(&self.outgoing);
            outgoing.answers.clear();
            outgoing.looks.clear();
        }
        self.wake_all();
        lock(&self.waiting).down = true;
        self.news.notify_all();
    }

    fn wake_all(&self) {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.by_token.values().for_each(|account| account.wake());
    }
}

/// Ends the thread when the last handle is dropped.
#[derive(Debug)]
pub(super) struct Lifeline {
    shared: Arc<Shared>,
}

impl Lifeline {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.shared.shut_down(Duration::ZERO);
    }
}
