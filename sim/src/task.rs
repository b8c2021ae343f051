//! A task as a plan tells it, in words that people can write; and how one is drawn, with everything that a user can get right
//! and wrong.

use crate::choices::Choices;
use crate::clock::{MILLI, Micros, SECOND};
use crate::disk::{FOLDER, Files, Node, file};
use crate::script::{Script, Step, content};
use crate::workload::{TaskPlan, Unrunnable};
use core::fmt;
use core::time::Duration;
use serde::{Deserialize, Serialize};
use xxnet_core::executor::{InputFile, OutputFile};
use xxnet_core::message::Placement;

/// A name or an argument: text, or bytes where it is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word {
    /// What is UTF-8.
    Text(String),
    /// What is not.
    Bytes(Vec<u8>),
}

impl Word {
    fn of(bytes: &[u8]) -> Self {
        match core::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Bytes(bytes.to_vec()),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Bytes(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
        }
    }
}

/// Bytes made from a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// What they are made from.
    pub seed: u64,
    /// How many.
    pub len: usize,
}

impl Content {
    fn draw(choices: &mut Choices, len: u64) -> Self {
        Self { seed: choices.below(1_000_000), len: len as usize }
    }

    /// Some inputs hold what others hold too, and are worth more than one block where any is.
    fn common_now_and_then(self, largest: u64) -> Self {
        let len = if largest > 2 << 20 { (2 << 20) + 300 } else { 5000 };
        if self.seed.is_multiple_of(5) { Self { seed: 0, len } } else { self }
    }

    fn bytes(self) -> bytes::Bytes {
        content(self.seed, self.len).into()
    }
}

/// An input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// What the task calls it.
    pub name: Word,
    /// What is in it.
    pub content: Content,
    /// It is a folder, and the content that of the file `inner` in it.
    #[serde(default)]
    pub folder: bool,
}

/// What is odd about a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Oddity {
    /// It may run for so many microseconds.
    Timeout(Micros),
    /// Its command is not there.
    NoSuchCommand,
    /// Its command cannot be executed.
    NotExecutable,
    /// It declares an output that it does not make.
    OutputNeverMade,
    /// It names an input that is not there.
    InputMissing,
    /// Its publisher may run it too.
    Anyone,
    /// It may be tried so often.
    Attempts(u32),
    /// It waits for so many microseconds at most.
    Patience(Micros),
}

/// A task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Its number in the run.
    pub number: u64,
    /// Which publisher gets it, from 0.
    #[serde(default)]
    pub publisher: usize,
    /// When, in microseconds.
    #[serde(default)]
    pub at_us: Micros,
    /// What it does, step by step, such as `sleep:1000` or `copy:in:out`; see [`Script`].
    pub steps: Vec<Word>,
    /// What it is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<Input>,
    /// What comes back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<Word>,
    /// What it reads from its standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Content>,
    /// How long after its publication it is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_after_us: Option<Micros>,
    /// Labels that its executor must have, as `NAME` or `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What is odd about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oddity: Option<Oddity>,
}

/// Names that a file system takes and a careless program does not.
const NAMES: [&[u8]; 8] =
    [b"in.txt", b"a b", b"-rf", b"\xff\xfe", "\u{4f60}\u{597d}".as_bytes(), b"x/y/z", b".hidden", b"n'\"$"];

/// How long a drawn task runs for at most, unless it hangs.
const LONGEST: Micros = 20 * SECOND;

impl Task {
    /// Some task; files in it are at most so large.
    pub(crate) fn draw(choices: &mut Choices, number: u64, largest: u64) -> Self {
        let mut steps = Vec::new();
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        if choices.chance(600) {
            draw_files(choices, largest, &mut steps, &mut inputs, &mut outputs);
        }
        if choices.chance(500) {
            steps.push(Step::Out(choices.below(1_000_000), choices.scaled(1, 300_000) as usize));
        }
        if choices.chance(300) {
            steps.push(Step::Err(choices.below(1_000_000), choices.scaled(1, 5_000) as usize));
        }
        if choices.chance(700) {
            let at = choices.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Sleep(choices.scaled(MILLI, LONGEST)));
        }
        steps.push(Step::Who);
        let stdin = choices.chance(150).then(|| {
            let at = choices.below(steps.len() as u64 + 1) as usize;
            steps.insert(at, Step::Cat);
            let len = choices.scaled(1, 400_000);
            Content::draw(choices, len)
        });
        if choices.chance(300) {
            steps.push(Step::Exit(*choices.pick(&[0, 1, 3, 255])));
        } else if choices.chance(50) {
            steps.push(Step::Signal(*choices.pick(&[6, 11])));
        }
        let cancel_after_us = choices.chance(100).then(|| choices.scaled(1, 2 * LONGEST));
        let oddity = choices.chance(300).then(|| Oddity::draw(choices));
        let steps = Script(steps).argv().iter().skip(1).map(|word| Word::of(word)).collect();
        let needs = Vec::new();
        Self { number, publisher: 0, at_us: 0, steps, inputs, outputs, stdin, cancel_after_us, needs, oddity }
    }

    /// As the world gives it to a publisher.
    ///
    /// # Errors
    /// The step that is none.
    pub(crate) fn build(&self) -> Result<TaskPlan, String> {
        let mut steps = Vec::new();
        for word in &self.steps {
            let argv = [b"sim".to_vec(), word.bytes().to_vec()];
            let one =
                Script::parse(&argv).ok_or_else(|| format!("task {}: {word:?} is no step", self.number))?;
            steps.extend(one.0);
        }
        let inputs = self.inputs.iter().map(|input| (input.name.bytes(), input.tree())).collect();
        let outputs: Vec<Vec<u8>> = self.outputs.iter().map(|name| name.bytes().to_vec()).collect();
        let mut plan = TaskPlan::of(self.number, Script(steps), inputs, &outputs);
        plan.spec.stdin = self.stdin.is_some();
        plan.stdin = self.stdin.map(Content::bytes);
        plan.cancel_after = self.cancel_after_us;
        for need in &self.needs {
            let need = need.parse().map_err(|error| format!("task {}: {error}", self.number))?;
            plan.spec.needs.push(need);
        }
        if let Some(oddity) = self.oddity {
            oddity.apply(&mut plan);
        }
        Ok(plan)
    }
}

impl Input {
    fn tree(&self) -> Files {
        let bytes = self.content.bytes();
        if !self.folder {
            return file(bytes);
        }
        Files::from([
            (Vec::new(), FOLDER),
            (b"empty".to_vec(), FOLDER),
            (b"inner".to_vec(), Node::File { bytes, mode: 0o755, mtime: (1_600_000_000, 7) }),
            (b"to".to_vec(), Node::Link(b"inner".to_vec())),
        ])
    }
}

impl Oddity {
    fn draw(choices: &mut Choices) -> Self {
        match choices.below(8) {
            0 => Self::Timeout(choices.scaled(50 * MILLI, LONGEST)),
            1 => Self::NoSuchCommand,
            2 => Self::NotExecutable,
            3 => Self::OutputNeverMade,
            4 => Self::InputMissing,
            5 => Self::Anyone,
            6 => Self::Attempts(choices.between(1, 3) as u32),
            _ => Self::Patience(choices.scaled(SECOND, 60 * SECOND)),
        }
    }

    fn apply(self, plan: &mut TaskPlan) {
        let number = plan.token.0;
        match self {
            Self::Timeout(time) => plan.spec.timeout = Some(Duration::from_micros(time)),
            Self::NoSuchCommand => {
                plan.spec.argv = vec![b"no-such-command".to_vec()];
                plan.runnable = Err(Unrunnable::Missing);
            }
            Self::NotExecutable => {
                plan.spec.argv = vec![b"not-executable".to_vec()];
                plan.runnable = Err(Unrunnable::NotExecutable);
            }
            Self::OutputNeverMade => {
                let path = format!("/home/never-{number}").into_bytes();
                plan.spec.outputs.push(OutputFile::Named { name: b"never".to_vec(), path });
            }
            Self::InputMissing => {
                let path = format!("/home/missing-{number}").into_bytes();
                plan.spec.inputs.push(InputFile { path, name: b"missing".to_vec() });
            }
            Self::Anyone => plan.spec.placement = Placement::Anyone,
            Self::Attempts(most) => plan.spec.attempts = Some(most),
            Self::Patience(time) => plan.spec.patience = Some(Duration::from_micros(time)),
        }
    }
}

fn draw_files(
    choices: &mut Choices,
    largest: u64,
    steps: &mut Vec<Step>,
    inputs: &mut Vec<Input>,
    outputs: &mut Vec<Word>,
) {
    for index in 0..choices.below(4) {
        let name = NAMES[((choices.below(NAMES.len() as u64) + index) % NAMES.len() as u64) as usize];
        if inputs.iter().any(|other| other.name.bytes() == name) {
            continue;
        }
        let len = match choices.below(12) {
            0 => 0,
            1 => 1,
            // Exactly one block with its manifest is the disk's business; around a block is ours.
            2 if largest > 1 << 20 => (1 << 20) + choices.below(3) - 1,
            _ => choices.scaled(1, largest),
        };
        let content = Content::draw(choices, len).common_now_and_then(largest);
        let folder = choices.chance(200);
        let from = if folder { [name, b"/inner"].concat() } else { name.to_vec() };
        let output = format!("out-{index}");
        steps.push(Step::Copy(from, output.clone().into_bytes()));
        inputs.push(Input { name: Word::of(name), content, folder });
        outputs.push(Word::Text(output));
    }
    if choices.chance(500) {
        steps.push(Step::Sign(b"signed".to_vec()));
        outputs.push(Word::Text("signed".to_owned()));
    }
    if choices.chance(300) {
        let len = choices.scaled(1, largest) as usize;
        steps.push(Step::Make(b"made/deep".to_vec(), choices.below(1_000_000), len));
        outputs.push(Word::Text("made".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawn_task_survives_its_plan() {
        let mut choices = Choices::seeded(1, "tasks");
        for number in 0..300 {
            let task = Task::draw(&mut choices, number, 1000);
            let text = serde_json::to_string(&task).expect("a task is JSON");
            assert_eq!(serde_json::from_str::<Task>(&text).expect("it is read back"), task);
            assert!(task.build().is_ok());
        }
    }

    #[test]
    fn a_step_that_is_none_is_named() {
        let task: Task = serde_json::from_str(r#"{"number": 3, "steps": ["leap:7"]}"#).expect("a task");
        let error = task.build().expect_err("no such step");
        assert!(error.contains("task 3") && error.contains("leap:7"), "{error}");
    }
}
