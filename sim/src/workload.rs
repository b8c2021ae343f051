//! What a run asks of the cluster: tasks with everything that a user can get right and wrong.

use crate::choices::Choices;
use crate::clock::{MILLI, Micros, SECOND};
use crate::disk::{FOLDER, Files, Node, file};
use crate::script::{Script, Step, content};
use bytes::Bytes;
use core::time::Duration;
use std::collections::BTreeMap;
use xxnet_core::Token;
use xxnet_core::executor::{InputFile, OutputFile, TaskSpec};
use xxnet_core::message::Placement;

/// A task that will be published.
#[derive(Clone, Debug)]
pub(crate) struct TaskPlan {
    pub(crate) token: Token,
    pub(crate) spec: TaskSpec,
    pub(crate) script: Script,
    /// The command's file is there and can be executed.
    pub(crate) runnable: Result<(), Unrunnable>,
    /// The user's inputs by path; one that is missing is not in here.
    pub(crate) inputs: Vec<(Vec<u8>, Files)>,
    pub(crate) stdin: Option<Bytes>,
    /// How long after the publication it is cancelled.
    pub(crate) cancel_after: Option<Micros>,
}

/// Why a command cannot run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unrunnable {
    Missing,
    NotExecutable,
}

/// What kinds of task a scenario asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taste {
    /// Tasks in a thousand with files.
    pub(crate) files: u64,
    /// Tasks in a thousand that are odd in some way.
    pub(crate) odd: u64,
    /// Tasks in a thousand that are cancelled.
    pub(crate) cancels: u64,
    /// Longest plain run.
    pub(crate) longest: Micros,
    /// Largest file.
    pub(crate) largest: u64,
}

impl Default for Taste {
    fn default() -> Self {
        Self { files: 600, odd: 300, cancels: 100, longest: 20 * SECOND, largest: 60_000 }
    }
}

/// Names that a file system takes and a careless program does not.
const NAMES: [&[u8]; 8] =
    [b"in.txt", b"a b", b"-rf", b"\xff\xfe", "\u{4f60}\u{597d}".as_bytes(), b"x/y/z", b".hidden", b"n'\"$"];

impl TaskPlan {
    /// The plainest task there is.
    pub(crate) fn plain(number: u64) -> Self {
        let script = Script(vec![Step::Who, Step::Exit(0)]);
        Self::of(number, script, Vec::new(), &[])
    }

    /// A script with inputs, given as name and content, and the names of outputs.
    pub(crate) fn of(number: u64, script: Script, inputs: Vec<(&[u8], Files)>, outputs: &[Vec<u8>]) -> Self {
        let path = |what: &[u8], index: usize| {
            [format!("/home/{what}-{number}-{index}", what = String::from_utf8_lossy(what)).as_bytes()]
                .concat()
        };
        let spec = TaskSpec {
            argv: script.argv(),
            env: Vec::new(),
            inputs: inputs
                .iter()
                .enumerate()
                .map(|(index, (name, _))| InputFile { path: path(b"in", index), name: name.to_vec() })
                .collect(),
            outputs: outputs
                .iter()
                .enumerate()
                .map(|(index, name)| OutputFile::Named { name: name.clone(), path: path(b"out", index) })
                .collect(),
            stdin: false,
            timeout: None,
            patience: None,
            attempts: None,
            placement: Placement::Others,
            needs: Vec::new(),
        };
        let inputs = inputs.into_iter().enumerate().map(|(index, (_, files))| (path(b"in", index), files));
        Self {
            token: Token(number),
            inputs: inputs.collect(),
            spec,
            script,
            runnable: Ok(()),
            stdin: None,
            cancel_after: None,
        }
    }

    /// Some task.
    pub(crate) fn draw(choices: &mut Choices, number: u64, taste: Taste) -> Self {
        let mut steps = Vec::new();
        let mut inputs: Vec<(&[u8], Files)> = Vec::new();
        let mut outputs = Vec::new();
        if choices.chance(taste.files) {
            draw_files(choices, taste, &mut steps, &mut inputs, &mut outputs);
        }
        if choices.chance(500) {
            steps.push(Step::Out(choices.word(), choices.scaled(1, 300_000) as usize));
        }
        if choices.chance(300) {
            steps.push(Step::Err(choices.word(), choices.scaled(1, 5_000) as usize));
        }
        if choices.chance(700) {
            let at = choices.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Sleep(choices.scaled(MILLI, taste.longest)));
        }
        steps.push(Step::Who);
        let stdin = choices.chance(150).then(|| {
            let at = choices.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Cat);
            let len = choices.scaled(1, 400_000) as usize;
            Bytes::from(content(choices.word(), len))
        });
        if choices.chance(300) {
            steps.push(Step::Exit(*choices.pick(&[0, 1, 3, 255])));
        } else if choices.chance(50) {
            steps.push(Step::Signal(*choices.pick(&[6, 11])));
        }
        let mut plan = Self::of(number, Script(steps), inputs, &outputs);
        plan.spec.stdin = stdin.is_some();
        plan.stdin = stdin;
        if choices.chance(taste.cancels) {
            plan.cancel_after = Some(choices.scaled(1, 2 * taste.longest));
        }
        if choices.chance(taste.odd) {
            plan.draw_oddity(choices, taste);
        }
        plan
    }

    fn draw_oddity(&mut self, choices: &mut Choices, taste: Taste) {
        match choices.below(8) {
            0 => self.spec.timeout = Some(Duration::from_micros(choices.scaled(50 * MILLI, taste.longest))),
            1 => {
                self.spec.argv = vec![b"no-such-command".to_vec()];
                self.runnable = Err(Unrunnable::Missing);
            }
            2 => {
                self.spec.argv = vec![b"not-executable".to_vec()];
                self.runnable = Err(Unrunnable::NotExecutable);
            }
            3 => {
                // Declared, and not made.
                let path = format!("/home/never-{}", self.token.0).into_bytes();
                self.spec.outputs.push(OutputFile::Named { name: b"never".to_vec(), path });
            }
            4 => {
                // Named, and not there.
                let path = format!("/home/missing-{}", self.token.0).into_bytes();
                self.spec.inputs.push(InputFile { path, name: b"missing".to_vec() });
            }
            5 => self.spec.placement = Placement::Anyone,
            6 => self.spec.attempts = Some(choices.between(1, 3) as u32),
            _ => self.spec.patience = Some(Duration::from_micros(choices.scaled(SECOND, 60 * SECOND))),
        }
    }

    /// Whether it must be refused: it names an input that is not there, or a name that leads out of its folder.
    pub(crate) fn is_refused(&self) -> bool {
        let inputs = self.spec.inputs.iter().map(|input| &input.name);
        let outputs = self.spec.outputs.iter().filter_map(|output| match output {
            OutputFile::Named { name, .. } => Some(name),
            OutputFile::Changes => None,
        });
        let mut names = inputs.chain(outputs);
        let escapes =
            names.any(|name| name.starts_with(b"/") || name.split(|b| *b == b'/').any(|part| part == b".."));
        escapes || self.spec.inputs.len() > self.inputs.len()
    }

    /// What stands in the work folder before it starts: only the files' bytes.
    pub(crate) fn work_folder(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let mut all = BTreeMap::new();
        for (input, (_, files)) in self.spec.inputs.iter().zip(&self.inputs) {
            for (path, node) in files {
                let name = match (input.name.as_slice(), path.is_empty()) {
                    (b".", _) => path.clone(),
                    (name, true) => name.to_vec(),
                    (name, false) => [name, b"/", path].concat(),
                };
                if let Node::File { bytes, .. } = node {
                    all.insert(name, bytes.to_vec());
                }
            }
        }
        all
    }
}

fn draw_files(
    choices: &mut Choices,
    taste: Taste,
    steps: &mut Vec<Step>,
    inputs: &mut Vec<(&'static [u8], Files)>,
    outputs: &mut Vec<Vec<u8>>,
) {
    let count = choices.below(4);
    for index in 0..count {
        let name = NAMES[((choices.below(NAMES.len() as u64) + index) % NAMES.len() as u64) as usize];
        if inputs.iter().any(|(other, _)| *other == name) {
            continue;
        }
        let len = match choices.below(12) {
            0 => 0,
            1 => 1,
            // Exactly one block with its manifest is the disk's business; around a block is ours.
            2 if taste.largest > 1 << 20 => (1 << 20) + choices.below(3) - 1,
            _ => choices.scaled(1, taste.largest),
        };
        let bytes = content(choices.word(), len as usize);
        let output = format!("out-{index}").into_bytes();
        if choices.chance(200) {
            let deep = [name, b"/inner"].concat();
            steps.push(Step::Copy(deep, output.clone()));
            inputs.push((name, folder_with(b"inner", bytes)));
        } else {
            steps.push(Step::Copy(name.to_vec(), output.clone()));
            inputs.push((name, file(bytes.into())));
        }
        outputs.push(output);
    }
    if choices.chance(500) {
        steps.push(Step::Sign(b"signed".to_vec()));
        outputs.push(b"signed".to_vec());
    }
    if choices.chance(300) {
        let len = choices.scaled(1, taste.largest) as usize;
        steps.push(Step::Make(b"made/deep".to_vec(), choices.word(), len));
        outputs.push(b"made".to_vec());
    }
}

fn folder_with(name: &[u8], bytes: Vec<u8>) -> Files {
    Files::from([
        (Vec::new(), FOLDER),
        (b"empty".to_vec(), FOLDER),
        (name.to_vec(), Node::File { bytes: bytes.into(), mode: 0o755, mtime: (1_600_000_000, 7) }),
        (b"to".to_vec(), Node::Link(name.to_vec())),
    ])
}
