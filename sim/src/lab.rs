//! A cluster under a test's own hands: tasks are given, nodes killed and ways cut at the moment that a case needs, and every
//! oracle watches as in any seed.

mod doors;

pub use crate::tap::Door;
pub use doors::Passed;

use crate::choices::Choices;
use crate::clock::{MILLI, Micros};
use crate::cluster::Cluster;
pub use crate::cluster::Report;
use crate::context::HostId;
use crate::disk::{self, FOLDER, Files, Node};
use crate::failure::Failure;
use crate::fault::{Fault, Swarm};
use crate::faults::Injection;
use crate::machine::{Command, Notice};
use crate::script::{Script, Step};
pub use crate::setup::Setup;
use crate::tap::Tap;
use crate::workload::{TaskPlan, Unrunnable};
use bytes::Bytes;
use core::time::Duration;
use xxnet_core::disk::FileErrorKind;
use xxnet_core::executor::{Ending, ExecutorCommand, ExecutorNotice, InputFile, OutputFile, TaskStep};
use xxnet_core::message::{Exit, Placement};
use xxnet_core::process::{ExitStatus, Stream};
use xxnet_core::registry::{RegistryCommand, RegistryNotice};
use xxnet_core::{InstanceId, TaskId};

/// A task in a test's words.
#[derive(Clone, Debug)]
pub struct Task(TaskPlan);

impl Task {
    /// A command.
    pub fn new(steps: Vec<Step>) -> Self {
        Self(TaskPlan::of(0, Script(steps), Vec::new(), &[]))
    }

    /// A command that runs for so long and then exits with 0.
    pub fn sleeping(time: Duration) -> Self {
        Self::new(vec![Step::Sleep(micros(time)), Step::Who])
    }

    /// An input file.
    #[must_use]
    pub fn input(self, name: &[u8], bytes: impl Into<Bytes>) -> Self {
        self.input_tree(name, disk::file(bytes.into()))
    }

    /// An input folder with these files, an empty folder and a link to the first file.
    #[must_use]
    pub fn input_folder(self, name: &[u8], files: &[(&[u8], Vec<u8>)]) -> Self {
        let mut tree = Files::from([(Vec::new(), FOLDER), (b"empty".to_vec(), FOLDER)]);
        for (path, bytes) in files {
            let node = Node::File { bytes: bytes.clone().into(), mode: 0o755, mtime: (1_600_000_000, 7) };
            tree.insert(path.to_vec(), node);
        }
        if let Some((path, _)) = files.first() {
            tree.insert(b"link".to_vec(), Node::Link(path.to_vec()));
        }
        self.input_tree(name, tree)
    }

    fn input_tree(mut self, name: &[u8], tree: Files) -> Self {
        // Paths are completed with the task's number when it is given.
        let path = format!("in-{}", self.0.inputs.len()).into_bytes();
        self.0.spec.inputs.push(InputFile { path: path.clone(), name: name.to_vec() });
        self.0.inputs.push((path, tree));
        self
    }

    /// An input that is not there.
    #[must_use]
    pub fn missing_input(mut self, name: &[u8]) -> Self {
        let path = b"never".to_vec();
        self.0.spec.inputs.push(InputFile { path, name: name.to_vec() });
        self
    }

    /// A declared output.
    #[must_use]
    pub fn output(mut self, name: &[u8]) -> Self {
        let path = format!("out-{}", self.0.spec.outputs.len()).into_bytes();
        self.0.spec.outputs.push(OutputFile::Named { name: name.to_vec(), path });
        self
    }

    /// A folder of the user's that is shipped as the work folder; what the command changes of it comes back.
    #[must_use]
    pub fn ship(mut self, files: &[(&[u8], Vec<u8>)]) -> Self {
        self = self.input_folder(b".", files);
        self.0.spec.outputs.push(OutputFile::Changes);
        self
    }

    /// Standard input.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Bytes>) -> Self {
        self.0.spec.stdin = true;
        self.0.stdin = Some(bytes.into());
        self
    }

    /// Longest run.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.0.spec.timeout = Some(time);
        self
    }

    /// Longest wait for an executor.
    #[must_use]
    pub fn patience(mut self, time: Duration) -> Self {
        self.0.spec.patience = Some(time);
        self
    }

    /// Attempts at most.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.0.spec.attempts = Some(most);
        self
    }

    /// Who may run it.
    #[must_use]
    pub fn placement(mut self, placement: Placement) -> Self {
        self.0.spec.placement = placement;
        self
    }

    /// A command that is not there.
    #[must_use]
    pub fn no_such_command(mut self) -> Self {
        self.0.spec.argv = vec![b"no-such-command".to_vec()];
        self.0.runnable = Err(Unrunnable::Missing);
        self
    }

    /// A command that cannot be executed.
    #[must_use]
    pub fn not_executable(mut self) -> Self {
        self.0.spec.argv = vec![b"not-executable".to_vec()];
        self.0.runnable = Err(Unrunnable::NotExecutable);
        self
    }

    /// The test will cancel it.
    #[must_use]
    pub fn will_be_cancelled(mut self) -> Self {
        self.0.cancel_after = Some(Micros::MAX / 4);
        self
    }

    fn numbered(mut self, number: u64) -> TaskPlan {
        let home = |path: &mut Vec<u8>| *path = [format!("/home/{number}/").as_bytes(), path].concat();
        self.0.token = xxnet_core::Token(number);
        self.0.spec.inputs.iter_mut().for_each(|input| home(&mut input.path));
        self.0.inputs.iter_mut().for_each(|(path, _)| home(path));
        for output in &mut self.0.spec.outputs {
            if let OutputFile::Named { path, .. } = output {
                home(path);
            }
        }
        self.0
    }
}

/// A task that was given to a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given(usize);

/// Something that an application was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// When.
    pub at: Micros,
    /// On which node.
    pub node: String,
    /// What.
    pub notice: Notice,
}

/// A command that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alive {
    /// On which node.
    pub node: String,
    /// Of which task.
    pub task: TaskId,
    /// Of which attempt.
    pub attempt: u64,
}

/// A cluster under a test's hands.
#[derive(Debug)]
pub struct Lab {
    cluster: Cluster,
}

#[allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
impl Lab {
    /// A cluster of this setup; `seed` draws all that the test does not say. Its nodes are called `registry-1`,
    /// `publisher-1`, `executor-1` and so on; all of them start within the first second.
    pub fn new(seed: u64, setup: Setup) -> Self {
        let (choices, injection) = (Choices::seeded(seed, "lab"), Injection::Drawn(setup.swarm.clone()));
        let keep_trace = std::env::var_os("XXNET_SIM_TRACE").is_some();
        let mut cluster = Cluster::new(choices, setup, injection, keep_trace);
        cluster.log = Some(Vec::new());
        cluster.world.ctx.calm = false;
        cluster.world.tap = Some(Tap::default());
        Self { cluster }
    }

    /// The same, two seconds later: every node is registered.
    pub fn settled(seed: u64, setup: Setup) -> Self {
        let mut lab = Self::new(seed, setup);
        lab.run_for(Duration::from_secs(2));
        lab
    }

    /// The cluster's own time.
    pub fn now(&self) -> Micros {
        self.cluster.world.ctx.now
    }

    /// Gives a task to a publisher.
    pub fn publish(&mut self, publisher: &str, task: Task) -> Given {
        let number = self.cluster.plans.len() as u64 + 1;
        let at = self.node(publisher);
        Given(self.cluster.task(at, 0, task.numbered(number)))
    }

    fn node(&self, name: &str) -> usize {
        let found = self.cluster.nodes.iter().position(|node| node.name == name);
        found.unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn check(&mut self, result: Result<bool, Failure>) -> bool {
        match result {
            Ok(held) => held,
            Err(failure) => self.fail(&failure.to_string()),
        }
    }

    /// Ends the test, with the last lines of the trace if `XXNET_SIM_TRACE` is set.
    fn fail(&mut self, why: &str) -> ! {
        let lines = self.cluster.world.ctx.trace.take_lines();
        let tail = lines.len().saturating_sub(400);
        panic!("{why}\n{}", lines[tail..].join("\n"));
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let limit = self.now() + micros(time);
        let result = self.cluster.run(limit, |_| false);
        self.check(result);
    }

    /// Lets time pass until something holds. Looked at whenever an application was told something, and every 10 ms.
    pub fn run_until(&mut self, what: &str, most: Duration, mut holds: impl FnMut(&Self) -> bool) {
        let limit = self.now() + micros(most);
        while !holds(self) {
            if self.now() >= limit {
                self.fail(&format!("after {most:?}: {what} still does not hold"));
            }
            let next = (self.now() + 10 * MILLI).min(limit);
            let told = self.log().len();
            let result = self.cluster.run(next, |cluster| cluster.told() > told);
            self.check(result);
        }
    }

    /// Everything that applications were told, in order.
    pub fn log(&self) -> &[Told] {
        self.cluster.log.as_deref().unwrap_or_default()
    }

    /// How often an executor's application on a node was told something.
    pub fn count(&self, node: &str, mut like: impl FnMut(&ExecutorNotice) -> bool) -> usize {
        let told = self.log().iter().filter(|told| told.node == node);
        told.filter(|told| matches!(&told.notice, Notice::Executor(notice) if like(notice))).count()
    }

    /// How often any registry's application was told something.
    pub fn count_registry(&self, mut like: impl FnMut(&RegistryNotice) -> bool) -> usize {
        let told = self.log().iter();
        told.filter(|told| matches!(&told.notice, Notice::Registry(notice) if like(notice))).count()
    }

    /// When a task's step was told for the first time, on whatever node.
    pub fn step(&self, wanted: TaskStep) -> Option<Micros> {
        let is = |told: &&Told| matches!(&told.notice, Notice::Executor(ExecutorNotice::Step { step, .. }) if *step == wanted);
        self.log().iter().find(is).map(|told| told.at)
    }

    /// The task's id, once it is published.
    pub fn id(&self, given: Given) -> Option<TaskId> {
        self.cluster.oracles.tasks.iter().find(|(_, task)| task.plan == given.0).map(|(id, _)| *id)
    }

    /// How it ended, once it has.
    pub fn ending(&self, given: Given) -> Option<&Ending> {
        self.cluster.oracles.tasks.get(&self.id(given)?)?.ended.as_ref()
    }

    /// Runs until a task has ended, and says how.
    pub fn end_of(&mut self, given: Given, most: Duration) -> Ending {
        self.run_until("the task has ended", most, |lab| lab.ending(given).is_some());
        self.ending(given).cloned().unwrap_or(Ending::Expired)
    }

    /// Runs until a task is done, and says with what.
    pub fn exit_of(&mut self, given: Given, most: Duration) -> Exit {
        match self.end_of(given, most) {
            Ending::Done { exit, .. } => exit,
            other => self.fail(&format!("the task is not done: {other:?}")),
        }
    }

    /// Asserts that a task is done with exit code 0.
    pub fn done(&mut self, given: Given, most: Duration) {
        assert_eq!(self.exit_of(given, most), Exit::Status(ExitStatus::Code(0)));
    }

    /// Commands that were started for a task, ever.
    pub fn runs(&self, given: Given) -> u32 {
        self.id(given).and_then(|id| self.cluster.oracles.runs.get(&id)).copied().unwrap_or(0)
    }

    /// The newest attempt at a task and who has it.
    pub fn holder(&self, given: Given) -> Option<(u64, String)> {
        let granted = self.cluster.oracles.tasks.get(&self.id(given)?)?.granted.clone()?;
        Some((granted.0.0, granted.1))
    }

    /// What came of a task's output.
    pub fn output(&self, given: Given, stream: Stream) -> Vec<u8> {
        let task = self.id(given).and_then(|id| self.cluster.oracles.tasks.get(&id));
        task.map_or_else(Vec::new, |task| task.output[stream.index()].to_vec())
    }

    /// Commands that live now.
    pub fn alive(&self) -> Vec<Alive> {
        let world = &self.cluster.world;
        let alive = |live: crate::process::Live| Alive {
            node: world.name(live.key.0).to_owned(),
            task: live.folder.task,
            attempt: live.folder.attempt.0,
        };
        world.processes.live().map(alive).collect()
    }

    /// Work folders and open trees on a node.
    pub fn held_on_disk(&self, node: &str) -> (usize, usize) {
        let proc = self.cluster.nodes[self.node(node)].proc;
        proc.map_or((0, 0), |proc| self.cluster.world.disk.held_by(proc))
    }

    /// Blocks that are kept on a node's host, of contents that did not come whole.
    pub fn kept_blocks(&self, node: &str) -> usize {
        self.cluster.world.disk.kept_on(self.cluster.nodes[self.node(node)].host)
    }

    /// The last block of each content that is kept on a node's host is other bytes by now.
    pub fn tear_kept_blocks(&mut self, node: &str) {
        let host = self.cluster.nodes[self.node(node)].host;
        self.cluster.world.disk.tear(host);
    }

    /// What a node's machine has not finished, by name: rows of tables, queues, buffers, timers that are not empty.
    pub fn unfinished(&self, node: &str) -> Vec<(&'static str, usize)> {
        let proc = self.cluster.nodes[self.node(node)].proc;
        proc.map_or_else(Vec::new, |proc| self.cluster.world.unfinished(proc))
    }

    /// Links, listeners, look-ups and connections that a node's machine holds.
    pub fn sockets(&self, node: &str) -> [usize; 4] {
        let proc = self.cluster.nodes[self.node(node)].proc;
        proc.map_or([0; 4], |proc| self.cluster.world.census(proc))
    }

    /// Whether anything stands where a task's output number `index` goes.
    pub fn output_file(&self, given: Given, index: usize) -> bool {
        let plan = &self.cluster.plans[given.0];
        let host = self.cluster.nodes[self.cluster.publisher_of(given.0)].host;
        match plan.spec.outputs.get(index) {
            Some(OutputFile::Named { path, .. }) => self.cluster.world.disk.at(host, path).is_some(),
            Some(OutputFile::Changes) | None => false,
        }
    }

    /// Where a task's input number `index` comes from.
    fn input_path(&self, given: Given, index: usize) -> (HostId, Vec<u8>) {
        let host = self.cluster.nodes[self.cluster.publisher_of(given.0)].host;
        (host, self.cluster.plans[given.0].spec.inputs[index].path.clone())
    }

    /// The user writes a file in a folder that is a task's input.
    pub fn user_writes(&mut self, given: Given, index: usize, name: &[u8], bytes: impl Into<Bytes>) {
        let (host, path) = self.input_path(given, index);
        let mut files = self.cluster.world.disk.at(host, &path).cloned().unwrap_or_default();
        files.insert(
            name.to_vec(),
            Node::File { bytes: bytes.into(), mode: 0o644, mtime: (1_700_000_000, 0) },
        );
        self.cluster.world.disk.put(host, &path, files);
    }

    /// What stands in a folder that is a task's input.
    pub fn user_file(&self, given: Given, index: usize, name: &[u8]) -> Option<Vec<u8>> {
        let (host, path) = self.input_path(given, index);
        match self.cluster.world.disk.at(host, &path)?.get(name)? {
            Node::File { bytes, .. } => Some(bytes.to_vec()),
            Node::Folder { .. } | Node::Link(_) | Node::Deleted => None,
        }
    }

    /// Why an output did not come, if the task is done and it did not.
    pub fn output_error(&self, given: Given, index: usize) -> Option<FileErrorKind> {
        match self.ending(given)? {
            Ending::Done { outputs, .. } => outputs.get(index)?.as_ref().err().map(|error| error.kind),
            Ending::Failed { .. } | Ending::Cancelled | Ending::Expired => None,
        }
    }

    /// Which run of its process a node is.
    pub fn instance(&self, node: &str) -> InstanceId {
        self.cluster.nodes[self.node(node)].instance
    }

    /// A node's process is killed (`kill -9`).
    pub fn kill(&mut self, node: &str) {
        let at = self.node(node);
        self.cluster.kill(at);
    }

    /// A node's host loses its power.
    pub fn power_off(&mut self, node: &str) {
        let at = self.node(node);
        self.cluster.power_off(at);
    }

    /// A node that is down starts again, as another instance.
    pub fn start(&mut self, node: &str) {
        let at = self.node(node);
        self.cluster.restart_after(at, 0);
    }

    /// A node's process is stopped; its supervisor, its commands and its kernel go on.
    pub fn freeze(&mut self, node: &str) {
        if let Some(proc) = self.cluster.nodes[self.node(node)].proc {
            self.cluster.world.freeze(proc);
        }
    }

    /// It goes on.
    pub fn thaw(&mut self, node: &str) {
        if let Some(proc) = self.cluster.nodes[self.node(node)].proc {
            self.cluster.world.thaw(proc);
        }
    }

    /// A node's host falls asleep; its clock goes on.
    pub fn sleep(&mut self, node: &str) {
        let host = self.cluster.nodes[self.node(node)].host;
        self.cluster.world.sleep(host);
    }

    /// It wakes up.
    pub fn wake(&mut self, node: &str) {
        let host = self.cluster.nodes[self.node(node)].host;
        self.cluster.world.wake(host);
    }

    /// Nothing reaches one node from the other any more.
    pub fn cut(&mut self, from: &str, to: &str) {
        let (from, to) = (self.cluster.nodes[self.node(from)].host, self.cluster.nodes[self.node(to)].host);
        self.cluster.world.ctx.cut(from, to);
    }

    /// Nothing passes between two nodes any more.
    pub fn part(&mut self, one: &str, other: &str) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Every way is open again.
    pub fn mend(&mut self) {
        self.cluster.world.ctx.mend_all();
    }

    /// A fault is injected wherever it can be, from now on.
    pub fn only(&mut self, kinds: &[Fault], eagerness: u32) {
        self.cluster.world.ctx.faults.draw(Swarm::only(kinds).eager(eagerness));
    }

    /// No more faults are injected from now on; those that were still count.
    pub fn no_faults(&mut self) {
        self.cluster.world.ctx.faulty = false;
    }

    /// How often a fault was injected.
    pub fn injected(&self, kind: Fault) -> u64 {
        self.cluster.world.ctx.counts.of(kind)
    }

    /// The publisher cancels a task.
    pub fn cancel(&mut self, given: Given) {
        if let Some(id) = self.id(given) {
            self.cluster.cancel(id);
        }
    }

    /// A node is told to shut down.
    pub fn shut_down(&mut self, node: &str) {
        let at = self.node(node);
        let Some(proc) = self.cluster.nodes[at].proc else { return };
        let command = match self.cluster.nodes[at].role {
            crate::cluster::Role::Registry => Command::Registry(RegistryCommand::Shutdown),
            crate::cluster::Role::Publisher | crate::cluster::Role::Executor(_) => {
                Command::Executor(Box::new(ExecutorCommand::Shutdown))
            }
        };
        self.cluster.world.command(proc, 0, command);
    }

    /// Whether it has said that all is closed.
    pub fn has_stopped(&self, node: &str) -> bool {
        self.cluster.nodes[self.node(node)].stopped
    }

    /// Peace: everything mends, wakes and comes back; every task ends, new tasks work, what they left is gone, everybody
    /// stops, and nothing is held (ledger X2, X3).
    pub fn finish(mut self) -> Report {
        let result = self.cluster.end_well().map(|()| true);
        self.check(result);
        self.cluster.report()
    }
}

fn micros(time: Duration) -> Micros {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
