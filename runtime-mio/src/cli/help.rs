//! What `--help` teaches below the options: examples and exit codes, in lines of 80 columns.

/// Where the options stand that every subcommand has.
pub(super) const EVERYWHERE: &str = "Everywhere";

/// `xxnet --help`.
pub(super) const XXNET: &str = "\
Examples:
  xxnet demo              see a whole cluster work, once, on this machine
  xxnet up                start a cluster on this machine; Ctrl-C ends it
  xxnet run -- hostname   run a command on it, from another shell
  xxnet run -i data.csv -o sum.txt -- sh -c 'sort data.csv > sum.txt'
  xxnet run -C . -- make  ship this folder, run there, bring back what changed

Messages between programs, from the command line:
  xxnet listen 127.0.0.1:7801
  xxnet send 127.0.0.1:7801 '{\"answer\": 42}'

Three machines, once ~/.config/xxnet/key is the same on all:
  one$   xxnet reg --listen 0.0.0.0:7700
  two$   xxnet exe --reg one
  three$ XXNET_REG=one xxnet run -- hostname

Exit codes:
  0 done   1 it failed   2 the command line is wrong
  `xxnet run` exits as the command does; see `xxnet run --help`";

/// `xxnet demo --help`.
pub(super) const DEMO: &str = "\
A registry and three executors start as separate processes on free ports. A task
with real files goes from one node to another and comes back, and each step is
printed as the daemons report it. Nothing is left behind.

Exit codes:
  0 every step happened and the result is right
  1 a step did not happen (it says which)   130 Ctrl-C";

/// `xxnet up --help`.
pub(super) const UP: &str = "\
Each is a process of its own; nothing is left behind, even if this one is killed.

Examples:
  xxnet up                        then, in another shell: xxnet run -- hostname
  xxnet up --executors 4 --slots 1 -v
  xxnet up --listen 127.0.0.1:0   on any free port, which is printed
  xxnet up --record r.rec         then, afterwards: xxnet replay r-node-1.rec

Exit codes:
  0 ended by Ctrl-C or SIGTERM   1 it could not start, or the registry died
  2 the command line is wrong";

/// `xxnet run --help`.
pub(super) const RUN: &str = "\
The command runs on another executor, in an empty folder of its own that has
only the inputs you name. Only the outputs you name come back, verified, when it
has ended, also when it has failed. Both may be folders. NAME is relative to the
command's folder. Its environment is PATH, HOME, LANG, what -e sets, XXNET_TASK
and XXNET_ATTEMPT. Its output is shown as it is written. Standard input is
forwarded when it is a pipe or a file.

With -C, what the command changed comes back into DIR. What you changed there
meanwhile is left alone; the command's version lands beside it, as
NAME.xxnet-new, and each is named on standard error.

Examples:
  xxnet run -- hostname
  xxnet run -i data.csv -o sum.txt -- sh -c 'sort data.csv > sum.txt'
  xxnet run -i ~/photos:in -o out:small/ -- sh -c 'mkdir out; resize in/* out'
  xxnet run -C . -- make
  tar c src | xxnet run -- wc -c
  xxnet run --timeout 5m -e SEED=7 -- ./simulate
  xxnet run --need gpu --need os=linux -- ./train

Exit codes:
  the command's own, or 128+N if signal N ended it
  124  it ran longer than --timeout
  125  xxnet failed, or a declared output was not made
  126  the command is there but cannot be executed
  127  there is no such command
  130  Ctrl-C: the task is cancelled (a second Ctrl-C leaves at once)
  141  whoever read the output, such as `head`, has gone";

/// `xxnet reg --help`.
pub(super) const REG: &str = "\
The registry keeps nothing on disk: killed and started again, it learns all of
it anew from executors and publishers, and no task notices.

Examples:
  xxnet reg                         for this machine only
  xxnet reg --listen 0.0.0.0:7700   for the network; the other machines need a
                                    copy of this one's ~/.config/xxnet/key
  xxnet reg --listen [::1]:7701 --log-format json
  xxnet reg --record reg.rec        then, afterwards: xxnet replay reg.rec

Exit codes:
  0 ended by Ctrl-C or SIGTERM   1 it cannot listen   2 the command line is wrong";

/// `xxnet exe --help`.
pub(super) const EXE: &str = "\
Each attempt at a task runs in a folder of its own, which is removed behind it.
Every process of it is killed when the task is cancelled, when its publisher is
lost, and when this executor ends, however it ends. What had come of a large
input when that happened is kept in the work folder, in `kept`, for an hour: the
next attempt at the same task goes on from there.

Examples:
  xxnet exe --reg one               registers with the host `one`
  xxnet exe --reg one,two --slots 4 --work-dir /scratch/xxnet
  xxnet exe --reg one --label gpu --label site=lab2
  xxnet exe --reg one --listen 0.0.0.0:7701 --advertise gateway.example:7701

Exit codes:
  0 ended by Ctrl-C or SIGTERM   1 it cannot listen, or has no work folder
  2 the command line is wrong";

/// `xxnet trace --help`.
pub(super) const TRACE: &str = "\
Each daemon writes a trace with --trace FILE; this makes one page of them, which
needs nothing but a browser: a lane a node, an arrow a message, what was lost or
cut off, and what each node told. The clocks of several hosts are put right as
far as the messages show that they are wrong; the page says by how much.
A daemon that has written more than 64 MB has its older part in FILE.1, which is
read too.

Examples:
  xxnet up --trace t.jsonl       writes t-registry.jsonl, t-node-1.jsonl, ...
  xxnet run --trace t-run.jsonl -- hostname
  xxnet trace t-*.jsonl -o page.html
  xxnet trace t-*.jsonl --from 90s --to 2m

Exit codes:
  0 the page is written
  1 a file cannot be read or is no trace, or the page cannot be written
  2 the command line is wrong";

/// `xxnet nodes --help`.
pub(super) const NODES: &str = "\
ROLE is executor (runs tasks) or client (an `xxnet run`). RUNNING of its SLOTS
are taken. A node that is silent for 9 s gets no new work until it is heard.

Examples:
  xxnet nodes
  xxnet nodes --json | jq -r '.nodes[] | select(.role == \"executor\") | .name'

Exit codes:
  0 listed   1 no registry answers   2 the command line is wrong";

/// `xxnet tasks --help`.
pub(super) const TASKS: &str = "\
The newest come first; a task that has ended is listed for ten more minutes.

Examples:
  xxnet tasks
  xxnet tasks --json | jq -r '.tasks[] | select(.state == \"running\") | .task'
  xxnet why 1a2b3c4d-7   what one of them waits for

Exit codes:
  0 listed   1 no registry answers   2 the command line is wrong";

/// `xxnet cancel --help`.
pub(super) const CANCEL: &str = "\
Every process of theirs is killed, and their folders are removed. Cancelling a
task that has ended already is harmless, and says so.

Examples:
  xxnet cancel 1a2b3c4d-7
  xxnet cancel 1a-7        any first digits will do that fit no other task

Exit codes:
  0 every one has ended   1 some could not be cancelled
  2 the command line is wrong";

/// `xxnet why --help`.
pub(super) const WHY: &str = "\
The task's publisher answers, for it alone decides.

Example:
  xxnet why 1a2b3c4d-7

Exit codes:
  0 answered   1 no such task, or nobody answers   2 the command line is wrong";

/// `xxnet ping --help`.
pub(super) const PING: &str = "\
Whatever listens with the cluster's key answers: a registry, an executor, a
`xxnet listen`, a program with the library. It connects, then measures round
trips on that connection, from asking for one to hearing the answer.

Examples:
  xxnet ping one                 the registry on host `one`, until Ctrl-C
  xxnet ping -c 5 -i 100ms 192.0.2.7:7801
  xxnet ping -c 1 --json one:7700 | jq -r .name

With --json each round trip is a line, {\"number\": 1, \"round_trip_seconds\": S},
and the summary is the last one, with address, name, instance, connect_seconds,
round_trips, and min_, avg_, p50_ and max_seconds. With -q there is only that.

Exit codes:
  0 measured, or ended by Ctrl-C without -c
  1 nobody answers there, or not any more (it says why)
  2 the command line is wrong   130 Ctrl-C before -c was reached
  141 whoever read the output, such as `head`, has gone";

/// `xxnet listen --help`.
pub(super) const LISTEN: &str = "\
Each message is one line on standard output, a JSON object: \"from\", where its
sender can be sent to; \"name\", the sender's; and one of
  \"data\"  the object that was sent (bytes in it are {\"base64\": \"...\"})
  \"text\"  raw bytes that are UTF-8
  \"raw\"   other raw bytes, as base64
A message is acknowledged to its sender once its line is written. What listens
where, and who connects, is on standard error (-q: not).

Examples:
  xxnet listen 127.0.0.1:7801
  xxnet listen 0.0.0.0:7801 | jq .data
  xxnet listen 127.0.0.1:0 --count 10 --reply
  xxnet listen unix:/tmp/x.sock      for programs of this user on this host

Exit codes:
  0 --count messages have come, or ended by Ctrl-C or SIGTERM without it
  1 it cannot listen, or write   2 the command line is wrong
  130 Ctrl-C before --count was reached
  141 whoever read the output, such as `head`, has gone: what it did not get is
      not acknowledged";

/// `xxnet send --help`.
pub(super) const SEND: &str = "\
Messages arrive once each, in order, across broken connections. It ends when the
peer has taken the last one. What was not acknowledged goes to standard output,
one message a line as it was given, and may or may not have arrived: the peer
can have been killed between the two.

Examples:
  xxnet send 127.0.0.1:7801 '{\"answer\": 42}' '{\"answer\": 43}'
  jq -c . events.json | xxnet send one:7801 > rest.json
  xxnet send --timeout 5s one:7801 < rest.json
  tail -f log | xxnet send --raw one:7801
  xxnet send unix:/tmp/x.sock '{\"answer\": 42}'

Exit codes:
  0 all are acknowledged   1 some are not (it says why)
  2 the command line is wrong, or a message is none; what stands before it on
    standard input was sent
  130 Ctrl-C   141 whoever read the output has gone";

/// `xxnet replay --help`.
pub(super) const REPLAY: &str = "\
Every event of the recording goes through the same code again, at its recorded
time, without network, files or commands; each action and the state are compared
with what was recorded. It needs the cluster key of the recorded daemon.

A recording is a ring of two files: what FILE.before holds goes first, from the
state that it begins with. FILE.old is the run before.

Examples:
  xxnet exe --reg one --record exe.rec   then, whatever happened to it:
  xxnet replay exe.rec
  xxnet replay --json exe.rec | jq .divergence

Exit codes:
  0 it does the same, as far as the recording goes (a killed daemon's has no end)
  1 the file cannot be read, or the key is another one
  2 it does something else, which is printed
  64 the command line is wrong   65 the file is damaged or no recording";

/// `xxnet bench --help`.
pub(super) const BENCH: &str = "\
Both start a cluster of their own and leave nothing behind.

Exit codes:
  0 measured   1 something failed   2 the command line is wrong   130 Ctrl-C";

#[cfg(test)]
mod tests {
    #[test]
    fn every_line_fits_a_terminal() {
        let texts = [
            super::XXNET,
            super::DEMO,
            super::UP,
            super::RUN,
            super::REG,
            super::EXE,
            super::NODES,
            super::TASKS,
            super::CANCEL,
            super::WHY,
            super::PING,
            super::LISTEN,
            super::SEND,
            super::TRACE,
            super::REPLAY,
            super::BENCH,
        ];
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= 81, "{line}");
        }
    }
}
