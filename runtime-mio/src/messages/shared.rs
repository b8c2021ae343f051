//! What the application's threads and the one that does input and output share.

use super::account::Account;
use super::events::EventQueue;
use super::inbox::Inbox;
use super::{FlushError, ListenError, SendError};
use crate::alarm::{Alarm, lock};
use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use xxnet_core::messenger::MessengerCommand;
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
    /// Whether the thread has ended; and who waits for that, or for messages to be settled.
    down: Mutex<bool>,
    news: Condvar,
    flushing: AtomicBool,
}

#[derive(Debug, Default)]
struct Outgoing {
    commands: VecDeque<MessengerCommand>,
    /// The thread sleeps: whoever adds a command wakes it.
    asleep: bool,
    answers: HashMap<Token, (Address, Answer)>,
}

#[derive(Debug, Default)]
struct Accounts {
    by_address: HashMap<Address, Arc<Account>>,
    by_token: HashMap<Token, Arc<Account>>,
    last: u64,
}

impl Shared {
    pub(super) fn new(alarm: Arc<Alarm>, queue: usize, limits: &Limits) -> Self {
        Self {
            alarm,
            queue,
            max_data: limits.max_data,
            ack_delay: limits.ack_delay,
            outgoing: Mutex::default(),
            accounts: RwLock::default(),
            inbox: Inbox::default(),
            events: EventQueue::default(),
            undelivered: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            down: Mutex::new(false),
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
        let (token, to) = (Token::next(&mut accounts.last), to.into_owned());
        let account = Arc::new(Account::new(token, to.clone()));
        accounts.by_address.insert(to.clone(), Arc::clone(&account));
        accounts.by_token.insert(token, Arc::clone(&account));
        // Before the lock is let go, so that nobody sends to it before it is open.
        self.command(MessengerCommand::Open { token, to });
        account
    }

    pub(super) fn account_of(&self, token: Token) -> Option<Arc<Account>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        accounts.by_token.get(&token).cloned()
    }

    /// Queues a message for which there is room.
    pub(super) fn send(&self, account: &Account, pack: DataPack) -> Result<(), SendError> {
        let mut outgoing = lock(&self.outgoing);
        if self.is_closed() {
            account.count();
            account.settle(1, xxnet_core::pack::DataHeader::WIRE_LEN + pack.data_len());
            return Err(SendError::Closed);
        }
        account.count();
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
                drop(lock(&self.down));
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
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        let sent: Vec<_> =
            accounts.by_token.values().map(|account| (Arc::clone(account), account.sent())).collect();
        drop(accounts);
        let mut down = lock(&self.down);
        loop {
            self.flushing.store(true, Ordering::SeqCst);
            let outstanding = sent.iter().map(|(account, sent)| sent.saturating_sub(account.settled())).sum();
            if outstanding == 0 {
                return Ok(());
            }
            let left = until.map_or(Duration::MAX, |until| until.saturating_duration_since(Instant::now()));
            if left.is_zero() || *down {
                return Err(FlushError { outstanding });
            }
            down = self.news.wait_timeout(down, left).unwrap_or_else(PoisonError::into_inner).0;
        }
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
        let mut down = lock(&self.down);
        while !*down {
            down = self.news.wait(down).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The thread has ended.
    pub(super) fn end(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.inbox.close();
        self.events.close();
        lock(&self.outgoing).answers.clear();
        self.wake_all();
        *lock(&self.down) = true;
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
