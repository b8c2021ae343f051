//! A few threads for what would block the loop: names and the disk.

use crate::alarm::lock;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

type Job = Box<dyn FnOnce() + Send>;

/// Threads that are started when there is work and none is free, and then wait without ever waking by themselves.
///
/// The queue is bounded by whoever fills it: the machines have a bounded number of requests under way.
#[derive(Debug)]
pub(crate) struct Workers {
    name: &'static str,
    most: usize,
    shared: Arc<Shared>,
    started: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    ended: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} jobs, {} threads, {} idle", self.jobs.len(), self.threads, self.idle)
    }
}

impl Workers {
    /// At most `most` threads called `name`; none is started yet.
    pub(crate) fn new(name: &'static str, most: usize) -> Self {
        Self { name, most, shared: Arc::default(), started: Mutex::default() }
    }

    /// Runs `job` on a thread; if the system gives none at all, here and now, so that its completion always comes.
    pub(crate) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let mut state = lock(&self.shared.state);
        state.jobs.push_back(Box::new(job));
        if state.idle >= state.jobs.len() || state.threads >= self.most {
            drop(state);
            self.shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new().name(self.name.into()).spawn(move || shared.work());
        if let Ok(thread) = started {
            lock(&self.started).push(thread);
        } else {
            let mut state = lock(&self.shared.state);
            state.threads -= 1;
            let stranded = if state.threads == 0 { std::mem::take(&mut state.jobs) } else { VecDeque::new() };
            drop(state);
            stranded.into_iter().for_each(|job| job());
        }
    }
}

impl Drop for Workers {
    /// Threads that are in the middle of a job are not waited for.
    fn drop(&mut self) {
        self.end();
    }
}

impl Workers {
    /// Ends the threads and waits for what they are in the middle of.
    pub(crate) fn finish(&mut self) {
        self.end();
        for thread in lock(&self.started).drain(..) {
            let _ = thread.join();
        }
    }

    /// Jobs that were not begun are dropped, and their completions with them: the loop that would take them is gone.
    fn end(&self) {
        let mut state = lock(&self.shared.state);
        state.ended = true;
        let unbegun = std::mem::take(&mut state.jobs);
        drop(state);
        self.shared.work.notify_all();
        drop(unbegun);
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if state.ended {
                return;
            }
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = lock(&self.state);
                continue;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Workers;
    use std::sync::mpsc;

    #[test]
    fn runs_every_job_on_no_more_threads_than_allowed() {
        let workers = Workers::new("test", 3);
        let (send, receive) = mpsc::channel();
        for number in 0..100 {
            let send = send.clone();
            workers.run(move || send.send((number, std::thread::current().id())).expect("the test listens"));
        }
        drop(send);
        let mut seen: Vec<_> = receive.iter().take(100).collect();
        let mut threads: Vec<_> = seen.iter().map(|(_, thread)| format!("{thread:?}")).collect();
        threads.sort_unstable();
        threads.dedup();
        assert!(threads.len() <= 3, "{threads:?}");
        seen.sort_unstable_by_key(|(number, _)| *number);
        assert!(seen.iter().map(|(number, _)| *number).eq(0..100));
    }

    #[test]
    fn a_thread_waits_for_all_others_to_be_busy_before_another_starts() {
        let workers = Workers::new("test", 2);
        let (send, receive) = mpsc::channel();
        let (hold, held) = mpsc::channel::<()>();
        workers.run(move || held.recv().expect("released below"));
        // The second thread serves while the first is held.
        workers.run(move || send.send(()).expect("the test listens"));
        receive.recv().expect("the second thread ran it");
        hold.send(()).expect("the first waits");
    }
}
