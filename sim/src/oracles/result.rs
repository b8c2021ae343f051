//! Whether a task has ended as its command says.

use super::Published;
use crate::disk::{Files, Node};
use crate::workload::{TaskPlan, Unrunnable};
use crate::world::World;
use std::collections::BTreeMap;
use xxnet_core::disk::{FileError, FileErrorKind};
use xxnet_core::executor::{Ending, OutputFile};
use xxnet_core::message::Exit;

type Verdict = Result<(), (&'static str, String)>;

/// Checks an ending; the error names the oracle.
pub(super) fn check(world: &World, plan: &TaskPlan, task: &Published, ending: &Ending) -> Verdict {
    let calm = world.ctx.calm;
    match ending {
        Ending::Done { exit, executor, outputs, .. } => {
            let Some((attempt, newest)) = &task.granted else {
                return Err(("late-result", "it is done, and was never granted".to_owned()));
            };
            if executor != newest {
                let what = format!("the result is {executor}'s, but {attempt} was granted to {newest}");
                return Err(("late-result", what));
            }
            done(world, plan, task, *exit, outputs, attempt.0)
        }
        Ending::Failed { attempts, .. } if calm && !plan.is_refused() => {
            Err(("calm", format!("it fails: {attempts:?}")))
        }
        Ending::Expired if plan.spec.patience.is_none() => {
            Err(("result", "it expires although it would wait for ever".to_owned()))
        }
        Ending::Cancelled if plan.cancel_after.is_none() && calm => {
            Err(("calm", "it is cancelled, and nobody asked for that".to_owned()))
        }
        Ending::Failed { .. } | Ending::Expired | Ending::Cancelled => Ok(()),
    }
}

fn done(
    world: &World,
    plan: &TaskPlan,
    task: &Published,
    exit: Exit,
    outputs: &[Result<(), FileError>],
    attempt: u64,
) -> Verdict {
    let stdin = plan.stdin.as_deref().unwrap_or_default();
    let expected = plan.script.expected(&plan.work_folder(), stdin, attempt);
    let due = match (plan.runnable, exit) {
        (Err(Unrunnable::Missing), exit) => (exit == Exit::NotFound).then_some(false),
        (Err(Unrunnable::NotExecutable), exit) => (exit == Exit::NotExecutable).then_some(false),
        (Ok(()), Exit::TimedOut) => plan.spec.timeout.is_some().then_some(false),
        (Ok(()), exit) => (exit == Exit::Status(expected.status)).then_some(true),
    };
    let Some(whole) = due else {
        return Err(("result", format!("it ends with {exit:?} instead of {:?}", expected.status)));
    };
    for (stream, (have, want)) in task.output.iter().zip(&expected.output).enumerate() {
        let right = if whole { have[..] == want[..] } else { want.starts_with(have) };
        if !right {
            let what = format!("stream {stream} brings {} bytes, of {} expected", have.len(), want.len());
            return Err(("result", what));
        }
    }
    for (declared, came) in plan.spec.outputs.iter().zip(outputs) {
        let OutputFile::Named { name, path } = declared else { continue };
        let want = made(&expected.files, name).filter(|_| whole);
        output(world, task, name, path, want, came, whole)?;
    }
    if plan.spec.outputs.len() != outputs.len() {
        return Err(("result", format!("{} outputs of {}", outputs.len(), plan.spec.outputs.len())));
    }
    Ok(())
}

/// One declared output: `want` is what the command made of it, if it was undisturbed.
fn output(
    world: &World,
    task: &Published,
    name: &[u8],
    path: &[u8],
    want: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    came: &Result<(), FileError>,
    whole: bool,
) -> Verdict {
    let shown = String::from_utf8_lossy(name);
    let host = world.host_of(task.proc).unwrap_or(crate::context::HostId(0));
    let here = world.disk.at(host, path).map(contents);
    match (came, want) {
        (Ok(()), Some(want)) if here.as_ref() == Some(&want) => Ok(()),
        (Ok(()), Some(_)) => Err(("result", format!("the output {shown} has other bytes than were made"))),
        (Ok(()), None) if whole => Err(("result", format!("the output {shown} came, and was never made"))),
        (Ok(()), None) => Ok(()),
        (Err(error), Some(_)) if world.ctx.calm => {
            Err(("calm", format!("the output {shown} does not come: {error}")))
        }
        (Err(error), Some(_)) if error.kind == FileErrorKind::NotFound => {
            Err(("result", format!("the output {shown} was made, and is said to be missing")))
        }
        (Err(_), _) => Ok(()),
    }
}

/// The files at or below a name, by their path below it.
fn made(files: &BTreeMap<Vec<u8>, Vec<u8>>, name: &[u8]) -> Option<BTreeMap<Vec<u8>, Vec<u8>>> {
    let prefix = [name, b"/"].concat();
    let found: BTreeMap<_, _> = files
        .iter()
        .filter_map(|(path, bytes)| {
            let rest = if path == name { Some(&b""[..]) } else { path.strip_prefix(&prefix[..]) };
            rest.map(|rest| (rest.to_vec(), bytes.clone()))
        })
        .collect();
    (!found.is_empty()).then_some(found)
}

fn contents(files: &Files) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let bytes = |(path, node): (&Vec<u8>, &Node)| match node {
        Node::File { bytes, .. } => Some((path.clone(), bytes.to_vec())),
        Node::Folder { .. } | Node::Link(_) | Node::Deleted => None,
    };
    files.iter().filter_map(bytes).collect()
}
