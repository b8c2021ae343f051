//! A task as the world gives it to a publisher, and what it must find in its work folder.

use crate::clock::Micros;
use crate::disk::{Files, Node};
use crate::script::{Script, Step};
use bytes::Bytes;
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
