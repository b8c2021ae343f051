//! Parts of this machine that only some processes see: a network, or mounted file systems, of their own. Not every machine
//! permits them; what needs them is skipped there, and says so.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

/// Namespaces of one process that does nothing, for as long as this lives.
pub(crate) struct Namespace {
    holder: Child,
    kind: &'static str,
}

impl Namespace {
    /// A new one of this kind (`--net`, `--mount`), in which `script` has been run. It belongs to the user of `owner`, or to
    /// one of its own. `None`: this machine does not permit it, which was printed.
    pub(crate) fn new(kind: &'static str, owner: Option<&Self>, script: &str) -> Option<Self> {
        let mut unshare = Command::new("unshare");
        if owner.is_none() {
            unshare.args(["--user", "--map-root-user"]);
        }
        unshare.arg(kind).args(["sh", "-c", &format!("{script} && echo ready && exec cat")]);
        let mut command = match owner {
            Some(owner) => owner.enter(&["--user"], &unshare),
            None => unshare,
        };
        let mut holder =
            match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
                Ok(holder) => holder,
                Err(error) => return skip(&error.to_string()),
            };
        let mut line = String::new();
        let _ = BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line);
        if line == "ready\n" {
            return Some(Self { holder, kind });
        }
        let mut why = String::new();
        let _ = holder.stderr.take().unwrap().read_to_string(&mut why);
        let _ = holder.wait();
        skip(why.trim())
    }

    pub(crate) fn process(&self) -> u32 {
        self.holder.id()
    }

    /// The same command, inside.
    pub(crate) fn within(&self, command: &Command) -> Command {
        self.enter(&["--user", self.kind], command)
    }

    fn enter(&self, which: &[&str], command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg("--preserve-credentials").arg(format!("--target={}", self.process())).args(which);
        inside.arg("--").stdin(Stdio::null());
        // Whoever enters other mounts is at their root.
        if let Some(folder) = command.get_current_dir() {
            inside.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(folder);
        }
        inside.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn skip(why: &str) -> Option<Namespace> {
    eprintln!("skipped: this machine gives no namespace: {why}");
    None
}
