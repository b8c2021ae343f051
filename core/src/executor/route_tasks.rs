//! Routing of our own tasks: publish, claims, leases, output, results, the one end.

use super::ops::Op;
use super::peers::{Lane, Side};
use super::publisher::{Attempt, ClaimAnswer, TaskTimer};
use super::service::SourceInfo;
use super::{Ending, Executor, ExecutorNotice, Out, OutputFile, PublishError, Stage, TaskSpec, TaskStep};
use crate::disk::{DiskDone, DiskRequest, FileError, FileErrorKind, Source};
use crate::manifest;
use crate::message::{
    Assign, Claim, Granted, GrantedFiles, Open, OutputTaken, Placement, Publish, PublishNeeding, Refused,
    Renew, Renewed, Stop, StopReason, Stopped, Taken, WaitReason,
};
use crate::needs::{MAX_NEEDS, Need};
use crate::process::Stream;
use crate::{Address, ConnectionId, InstanceId, Instant, TaskId, Token, TreeId};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// Inputs, outputs, arguments or variables of a task at most.
const MAX_PARTS: usize = 1024;
/// Arguments and variables of a task at most, in bytes: as much as fits in one message beside the rest.
const MAX_WORDS: usize = 1 << 20;

impl Executor {
    // ---- publishing ----

    pub(super) fn publish(&mut self, now: Instant, token: Token, spec: TaskSpec, out: &mut Out) {
        if let Err(error) = self.check(&spec) {
            out.notify(ExecutorNotice::PublishFailed { token, error });
            return;
        }
        let paths: Vec<_> = spec.inputs.iter().map(|input| input.path.clone()).collect();
        let id = self.publisher.add(now, self.config.instance, token, spec);
        for path in paths {
            let tree = self.ops.new_tree();
            if let Some(task) = self.publisher.task(id) {
                task.opening += 1;
                task.sources.push(tree);
            }
            let source = Source::Path { path };
            self.ops.ask(Op::ScanInput { task: id, tree }, DiskRequest::OpenSource { tree, source }, out);
        }
        self.publish_if_open(now, id, out);
    }

    fn check(&self, spec: &TaskSpec) -> Result<(), PublishError> {
        let words = spec.argv.iter().map(Vec::len).sum::<usize>()
            + spec.env.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        let invalid = [
            (spec.argv.first().is_none_or(Vec::is_empty), "no command was given"),
            (spec.inputs.len() > MAX_PARTS, "more than 1,024 inputs: give a folder"),
            (spec.outputs.len() > MAX_PARTS, "more than 1,024 outputs: give a folder"),
            (words > MAX_WORDS, "the command and its environment are longer than 1 MiB"),
            (spec.argv.iter().any(|word| word.contains(&0)), "an argument has a NUL byte"),
            (
                spec.env.iter().any(|(key, _)| key.is_empty() || key.contains(&b'=')),
                "a variable has no proper name",
            ),
            (
                spec.env.iter().any(|(key, value)| key.contains(&0) || value.contains(&0)),
                "a variable has a NUL byte",
            ),
            (spec.attempts == Some(0), "at least one attempt is needed"),
            (spec.needs.len() > MAX_NEEDS, "more than 16 needs"),
            (!spec.needs.iter().all(Need::is_sound), "a need without a name, or of more than 256 bytes"),
            (
                changes(spec) > usize::from(whole_folder(spec).is_some()),
                "changes need one input that arrives as '.'",
            ),
        ];
        if let Some((_, what)) = invalid.iter().find(|(wrong, _)| *wrong) {
            return Err(PublishError::Invalid(what));
        }
        let outputs = spec.outputs.iter().filter_map(|output| match output {
            OutputFile::Named { name, .. } => Some(name),
            OutputFile::Changes => None,
        });
        let mut names = spec.inputs.iter().map(|input| &input.name).chain(outputs);
        if let Some(bad) = names.find(|name| manifest::check_name(name).is_err()) {
            return Err(PublishError::BadName(String::from_utf8_lossy(bad).into_owned()));
        }
        let unmet = || spec.needs.iter().find(|need| !need.is_met_by(&self.settings.labels));
        if let Some(need) = unmet().filter(|_| spec.placement == Placement::Publisher) {
            return Err(PublishError::Unmet(need.clone()));
        }
        match self.stage {
            Stage::New | Stage::Running if self.publisher.len() < self.config.limits.max_tasks => Ok(()),
            Stage::New | Stage::Running => Err(PublishError::TooMany),
            Stage::Ending | Stage::Closing | Stage::Stopped => Err(PublishError::ShuttingDown),
        }
    }

    pub(super) fn input_scanned(
        &mut self,
        now: Instant,
        id: TaskId,
        tree: TreeId,
        result: Result<DiskDone, FileError>,
        out: &mut Out,
    ) {
        let opened = match result {
            Ok(DiskDone::Opened { stream_len, manifest_len, stamp }) => {
                self.service.add_source(tree, SourceInfo { stream_len, manifest_len, stamp });
                Ok(())
            }
            Ok(_) => Err(FileError::new(FileErrorKind::System(0), "")),
            Err(error) => Err(error),
        };
        let Some(task) = self.publisher.task(id) else {
            // Cancelled meanwhile.
            if opened.is_ok() {
                self.close_source(now, tree, out);
            }
            return;
        };
        task.opening -= 1;
        if let Err(error) = opened {
            task.sources.retain(|source| *source != tree);
            task.open_error.get_or_insert(error);
        }
        self.publish_if_open(now, id, out);
    }

    /// Once every input is scanned, the task is published, or not.
    fn publish_if_open(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let Some(task) = self.publisher.task(id).filter(|task| task.opening == 0) else { return };
        let token = task.token;
        if let Some(error) = task.open_error.take() {
            let task = self.publisher.withdraw(id);
            for tree in task.into_iter().flat_map(|task| task.sources) {
                self.close_source(now, tree, out);
            }
            out.notify(ExecutorNotice::PublishFailed { token, error: PublishError::Input(error) });
            return;
        }
        task.since = now;
        if let Some(patience) = task.spec.patience {
            self.publisher.timers.set((id, TaskTimer::Patience), now + patience);
        }
        out.notify(ExecutorNotice::Published { token, task: id });
        self.registrations.publish(id);
        self.offer(now, id, out);
        self.ask_input(id, out);
    }

    /// Tells whoever may find an executor for the task: the registries, or this very executor.
    fn offer(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let placement = self.publisher.peek(id).map(|task| task.spec.placement);
        if placement == Some(Placement::Publisher) {
            self.registrations.forget(id);
            let Some(publisher) = self.own_address() else { return };
            self.assigned(now, None, Assign { task: id, publisher }, out);
        } else {
            for registry in self.registrations.registered() {
                self.publish_on(now, registry, out);
            }
        }
    }

    /// Nobody but this executor may run the task, and it has just let go of it: if the task is still open, once more.
    pub(super) fn offer_again(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let Some(task) = self.publisher.peek(id).filter(|task| task.opening == 0) else { return };
        let open = task.current.as_ref().is_none_or(|held| held.lapsed);
        if self.stage == Stage::Running && open && task.spec.placement == Placement::Publisher {
            self.offer(now, id, out);
        }
    }

    /// Where this process can dial itself.
    fn own_address(&self) -> Option<Address> {
        let address = Address::Socket(self.address?);
        let loopback = if self.address?.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            core::net::Ipv6Addr::LOCALHOST.into()
        };
        if address.is_wildcard() { address.completed(loopback) } else { Some(address) }
    }

    /// Publishes on one registration, as far as its window allows (seed 3.1.2 step 1).
    pub(super) fn publish_on(&mut self, now: Instant, registry: ConnectionId, out: &mut Out) {
        while let Some(id) = self.registrations.next_to_publish(registry) {
            let address = self.settings.advertise.clone().or(self.address.map(Address::Socket));
            let Some(task) = self.publisher.peek(id) else {
                self.registrations.forget(id);
                continue;
            };
            if task.spec.placement == Placement::Publisher {
                self.registrations.forget(id);
                continue;
            }
            let publish = Publish {
                task: id,
                title: task.title.clone(),
                placement: task.spec.placement,
                publisher: address.unwrap_or(Address::Socket(self.settings.listen)),
                taken: task
                    .current
                    .as_ref()
                    .filter(|held| !held.lapsed)
                    .map(|held| (held.holder, held.number)),
                avoid: task.avoid.iter().copied().collect(),
            };
            let needs = task.spec.needs.clone();
            if needs.is_empty() {
                self.send(now, registry, publish, out);
            } else {
                self.send(now, registry, PublishNeeding { publish, needs }, out);
            }
        }
    }

    pub(super) fn task_accepted(
        &mut self,
        now: Instant,
        registry: ConnectionId,
        task: TaskId,
        out: &mut Out,
    ) {
        if self.registrations.accepted(registry, task) {
            let step = TaskStep::Published;
            let peer = self.manager.peer(registry).map(|peer| peer.instance);
            out.notify(ExecutorNotice::Step { step, task: Some(task), peer, connection: Some(registry) });
        }
        self.publish_on(now, registry, out);
    }

    /// What a registry says that a task waits for (ledger T4).
    pub(super) fn waits(&mut self, now: Instant, id: TaskId, reason: WaitReason, out: &mut Out) {
        let Some(task) =
            self.publisher.task(id).filter(|task| task.current.as_ref().is_none_or(|held| held.lapsed))
        else {
            return;
        };
        if task.waiting.replace(reason) != Some(reason) {
            out.notify(ExecutorNotice::Waiting { task: id, reason });
        }
        // Better one that failed before than none: attempts are counted in any case.
        if reason == WaitReason::AllAvoided && task.avoid != task.deaths {
            task.avoid = task.deaths.clone();
            self.tell_open(now, id, out);
        }
    }

    // ---- claims and leases ----

    pub(super) fn claimed(&mut self, now: Instant, link: ConnectionId, message: &Claim, out: &mut Out) {
        let Claim { task: id, claim, stamp } = *message;
        let Some(peer) = self.manager.peer(link).cloned() else { return };
        let by = peer.instance;
        loop {
            match self.publisher.claim(now, id, by, claim, &self.config.limits) {
                ClaimAnswer::Refused(why) => {
                    self.send(now, link, Refused { task: id, claim, why }, out);
                    return;
                }
                // What was current is over by this claim; whether the task is claimed again is judged anew.
                ClaimAnswer::Supersedes(why) => {
                    let holder = self
                        .publisher
                        .peek(id)
                        .and_then(|task| task.current.as_ref())
                        .map(|held| held.holder);
                    self.lose(now, id, why, holder.filter(|holder| *holder != by), out);
                }
                ClaimAnswer::New(number) => {
                    let attempt = Attempt {
                        number,
                        claim,
                        holder: by,
                        name: peer.name.clone(),
                        address: peer.address.clone(),
                        lapsed: false,
                        running: false,
                        received: [0; 2],
                        taken: [0; 2],
                        result: None,
                    };
                    self.publisher.grant(now, id, attempt, &self.config.limits);
                    out.notify(ExecutorNotice::Granted {
                        task: id,
                        attempt: number,
                        executor: by,
                        name: peer.name,
                    });
                    self.tell_registries(now, &Taken { task: id, by, attempt: number }.into(), out);
                    break;
                }
                ClaimAnswer::Same(number) => {
                    self.tell_registries(now, &Taken { task: id, by, attempt: number }.into(), out);
                    break;
                }
            }
        }
        let Some(task) = self.publisher.task(id) else { return };
        task.stdin.resend();
        let Some(held) = &task.current else { return };
        let (attempt, spec, received, taken) = (held.number, task.wire.clone(), held.received, held.taken);
        let contents: Option<Vec<_>> =
            task.sources.iter().map(|tree| self.service.source(*tree).map(SourceInfo::content)).collect();
        let granted = Granted { task: id, claim, attempt, stamp, spec, received };
        match contents.filter(|contents| !contents.is_empty()) {
            Some(contents) => self.send(now, link, GrantedFiles { granted, contents }, out),
            None => self.send(now, link, granted, out),
        }
        // Credit that was lost with the last link: without it the command would wait for ever.
        for stream in Stream::BOTH {
            let upto = taken[stream.index()];
            if upto > 0 {
                self.send(now, link, OutputTaken { task: id, attempt, stream, upto }, out);
            }
        }
        self.send_input(now, id, out);
        self.request_files(now, by, Side::Accepted, out);
    }

    pub(super) fn renew(&mut self, now: Instant, link: ConnectionId, message: Renew, out: &mut Out) {
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return };
        let (mut current, mut not) = (Vec::new(), Vec::new());
        for (id, attempt) in message.attempts {
            match self.publisher.renew(now, id, attempt, by, &self.config.limits) {
                None => not.push((id, attempt)),
                Some(lapsed) => {
                    current.push((id, attempt));
                    if lapsed {
                        self.tell_registries(now, &Taken { task: id, by, attempt }.into(), out);
                    }
                }
            }
        }
        self.send(now, link, Renewed { stamp: message.stamp, current, not }, out);
    }

    pub(super) fn stopped(&mut self, now: Instant, link: ConnectionId, message: Stopped, out: &mut Out) {
        let Stopped { task: id, attempt, why } = message;
        let Some(by) = self.manager.peer(link).map(|peer| peer.instance) else { return };
        if self.publisher.current(id, attempt, by).is_none() {
            return;
        }
        let own_fault = matches!(why, StopReason::Input(_) | StopReason::Spawn(_) | StopReason::Disk(_));
        if let Some(task) = self.publisher.task(id).filter(|_| own_fault) {
            task.avoid.insert(by);
        }
        self.lose(now, id, &reason_text(&why), None, out);
    }

    pub(super) fn task_due(&mut self, now: Instant, id: TaskId, timer: TaskTimer, out: &mut Out) {
        match timer {
            TaskTimer::Patience => self.end(now, id, Ending::Expired, out),
            TaskTimer::Lease => {
                if !self.publisher.lapse(now, id) {
                    return;
                }
                let last = self.publisher.peek(id).filter(|task| self.attempts_left(task) == 0);
                if let Some(last) = last {
                    let holder = last.current.as_ref().map(|held| held.holder);
                    self.lose(now, id, "no word from it until its lease was over", holder, out);
                } else {
                    self.tell_open(now, id, out);
                }
            }
        }
    }

    fn attempts_left(&self, task: &super::publisher::Task) -> u64 {
        let most = u64::from(task.spec.attempts.unwrap_or(self.config.limits.max_attempts));
        most.saturating_sub(task.last_attempt.0)
    }

    /// The current attempt is over without a result: the task is free again, or this was its last attempt.
    /// `dead`: the executor that died under it.
    pub(super) fn lose(
        &mut self,
        now: Instant,
        id: TaskId,
        why: &str,
        dead: Option<InstanceId>,
        out: &mut Out,
    ) {
        let Some(attempt) = self.publisher.release(now, id) else { return };
        let number = attempt.number;
        if let Some(link) = self.peers.up(attempt.holder, Lane::Task, Side::Accepted) {
            self.send(now, link, Stop { task: id, attempt: number }, out);
        }
        self.cancel_fetches(now, id, number, out);
        let most_deaths = self.config.limits.max_deaths as usize;
        let Some(task) = self.publisher.task(id) else { return };
        task.lost.push(format!("{}: {why}", attempt.name));
        if let Some(died) = dead {
            task.deaths.insert(died);
            task.avoid.insert(died);
        }
        let set_aside = task.deaths.len() >= most_deaths;
        let replayable = task.stdin.rewind();
        if !replayable {
            task.lost.push("its standard input was consumed and is too large to be given again".to_string());
        }
        let output_shown = attempt.received != [0; 2];
        let why = why.to_string();
        out.notify(ExecutorNotice::AttemptLost {
            task: id,
            attempt: number,
            executor: attempt.name,
            why,
            output_shown,
        });
        let over = self.publisher.peek(id).is_none_or(|task| self.attempts_left(task) == 0);
        if over || set_aside || !replayable {
            let attempts = self.publisher.peek(id).map(|task| task.lost.clone()).unwrap_or_default();
            self.end(now, id, Ending::Failed { attempts, set_aside }, out);
        } else {
            self.tell_open(now, id, out);
            self.ask_input(id, out);
        }
    }

    fn tell_open(&mut self, now: Instant, id: TaskId, out: &mut Out) {
        let Some(task) = self.publisher.peek(id) else { return };
        let avoid = task.avoid.iter().copied().collect();
        if task.spec.placement == Placement::Publisher {
            self.offer(now, id, out);
        } else {
            self.tell_registries(now, &Open { task: id, avoid }.into(), out);
        }
    }
}

/// The input that arrives as the work folder itself.
pub(super) fn whole_folder(spec: &TaskSpec) -> Option<usize> {
    spec.inputs.iter().position(|input| input.name == b".")
}

fn changes(spec: &TaskSpec) -> usize {
    spec.outputs.iter().filter(|output| matches!(output, OutputFile::Changes)).count()
}

/// Why an attempt stopped, for people.
fn reason_text(why: &StopReason) -> String {
    match why {
        StopReason::Told => "it was told to stop".to_string(),
        StopReason::LeaseOver => "it had no word from the publisher until its lease was over".to_string(),
        StopReason::Shutdown => "it was shut down".to_string(),
        StopReason::LateGrant => "the grant reached it too late".to_string(),
        StopReason::Input(error) => format!("an input did not arrive: {error}"),
        StopReason::Spawn(error) => format!("{error}"),
        StopReason::Disk(error) => format!("its disk: {error}"),
    }
}
