//! Which of the ten task steps and the four file steps have happened, who says so, and when.

use super::super::children::{Children, Heard, number, text};
use super::super::errors::{Failure, Outcome};
use super::super::notices::{FILE_STEP, TASK_STEP};
use super::super::style::{Style, Tone};
use super::super::table::bytes;
use super::{FILES, PUBLISHER, RESULT, say};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

/// What the daemons have told.
pub(super) struct Story {
    /// Instance ids, as logs show them, to names.
    names: BTreeMap<String, String>,
    began: SystemTime,
    ended: Option<SystemTime>,
    /// Told by a daemon, not yet printed; several pipes bring them, their times order them.
    waiting: Vec<Line>,
    seen: BTreeSet<Seen>,
    moments: BTreeMap<Moment, SystemTime>,
}

/// Something to print.
struct Line {
    at: SystemTime,
    /// Which step, if it is one.
    step: Option<Seen>,
    tone: Tone,
    text: String,
}

/// A step that must happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Seen {
    Task(u64),
    File(String, u64),
}

impl Seen {
    /// Whether it can only happen after `earlier`.
    fn follows(&self, earlier: &Self) -> bool {
        match (earlier, self) {
            (Self::Task(earlier), Self::Task(later)) => earlier < later,
            (Self::File(file, earlier), Self::File(same, later)) => file == same && earlier < later,
            (Self::Task(_), Self::File(..)) | (Self::File(..), Self::Task(_)) => false,
        }
    }
}

/// Between these lies where the time went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    Published,
    Assigned,
    Linked,
    InputsHere,
    Started,
    Finished,
    ResultHere,
}

impl Story {
    /// Before the first daemon speaks.
    pub(super) fn new() -> Self {
        Self {
            names: BTreeMap::new(),
            began: SystemTime::now(),
            ended: None,
            waiting: Vec::new(),
            seen: BTreeSet::new(),
            moments: BTreeMap::new(),
        }
    }

    /// The publisher has been started.
    pub(super) fn begin(&mut self) {
        self.began = SystemTime::now();
    }

    /// The publisher has ended.
    pub(super) fn ended(&mut self) {
        self.ended = Some(SystemTime::now());
    }

    /// Takes what a child says.
    pub(super) fn hear(&mut self, children: &Children, heard: &Heard) {
        match heard {
            Heard::Line(child, line) => self.line(children.name(*child), line),
            Heard::Output(output) => self.waiting.push(Line {
                at: SystemTime::now(),
                step: None,
                tone: Tone::Plain,
                text: format!("            output    {output}"),
            }),
            Heard::Ready(..) | Heard::Text(..) | Heard::Gone(..) | Heard::Signal(..) => {}
        }
    }

    fn line(&mut self, who: &str, line: &Map<String, Value>) {
        let at = humantime::parse_rfc3339(text(line, "time")).unwrap_or_else(|_| SystemTime::now());
        match text(line, "event") {
            "starting" => {
                self.names.insert(text(line, "instance").to_owned(), who.to_owned());
            }
            TASK_STEP => self.task_step(at, who, line),
            FILE_STEP => self.file_step(at, who, line),
            // The registry hears of it before the publisher hears that it has.
            "task-published" => {
                self.moments.entry(Moment::Published).or_insert(at);
            }
            "attempt-started" => self.mark(Moment::Started, at, who, "runs the command"),
            "attempt-finished" => self.mark(
                Moment::Finished,
                at,
                who,
                &format!("the command has ended ({}), every process of it is reaped", text(line, "exit")),
            ),
            // What went wrong belongs to the story, most of all when it does not end well.
            _ if matches!(text(line, "level"), "warn" | "error") => {
                let text = format!("{:<9} {who:<10} {} {}", "", text(line, "event"), text(line, "why"));
                self.waiting.push(Line { at, step: None, tone: Tone::Warn, text });
            }
            _ => {}
        }
    }

    fn task_step(&mut self, at: SystemTime, who: &str, line: &Map<String, Value>) {
        let Some(step) = number(line, "step") else { return };
        // Told by the wrong end, it is not the step that was meant.
        if belongs(step, who == PUBLISHER) {
            self.seen.insert(Seen::Task(step));
        }
        let moment = match step {
            1 => Some(Moment::Published),
            2 => Some(Moment::Assigned),
            6 => Some(Moment::Linked),
            _ => None,
        };
        if let Some(moment) = moment {
            self.moments.entry(moment).or_insert(at);
        }
        let with = match self.names.get(text(line, "peer")) {
            Some(peer) if peer != who => format!("  ({peer})"),
            _ => String::new(),
        };
        let text = format!("step {step:<3}  {who:<10} {}{with}", text(line, "what"));
        self.waiting.push(Line { at, step: Some(Seen::Task(step)), tone: Tone::Good, text });
    }

    fn file_step(&mut self, at: SystemTime, who: &str, line: &Map<String, Value>) {
        let Some(step) = number(line, "step") else { return };
        let file = file_name(text(line, "file")).to_owned();
        let seen = Seen::File(file.clone(), step);
        self.seen.insert(seen.clone());
        if step == 4 {
            let moment = if file == RESULT { Moment::ResultHere } else { Moment::InputsHere };
            self.moments.insert(moment, at);
        }
        let size = number(line, "bytes")
            .filter(|size| *size > 0)
            .map_or_else(String::new, |size| format!(", {}", bytes(size)));
        let text = format!("file {step:<3}  {who:<10} {}  ({file}{size})", text(line, "what"));
        self.waiting.push(Line { at, step: Some(seen), tone: Tone::Plain, text });
    }

    fn mark(&mut self, moment: Moment, at: SystemTime, who: &str, what: &str) {
        self.moments.insert(moment, at);
        self.waiting.push(Line {
            at,
            step: None,
            tone: Tone::Dim,
            text: format!("{:<9} {who:<10} {what}", ""),
        });
    }

    /// Prints what is older than `settled`, in the order of its time.
    pub(super) fn tell(&mut self, settled: Duration, style: Style) -> Outcome {
        let until = SystemTime::now().checked_sub(settled).unwrap_or(SystemTime::UNIX_EPOCH);
        self.order();
        let count = self.waiting.partition_point(|line| line.at <= until);
        for line in self.waiting.drain(..count) {
            let since = line.at.duration_since(self.began).unwrap_or_default().as_secs_f64();
            say(&format!(
                "  {}  {}\n",
                style.paint(Tone::Dim, format_args!("{since:7.4}")),
                style.paint(line.tone, line.text)
            ))?;
        }
        Ok(())
    }

    /// Sorts what waits. A daemon logs a step after it has happened, so a step that must come before another one happened
    /// no later than that one was logged.
    fn order(&mut self) {
        let steps: Vec<(Seen, SystemTime)> =
            self.waiting.iter().filter_map(|line| Some((line.step.clone()?, line.at))).collect();
        for line in &mut self.waiting {
            let Some(step) = &line.step else { continue };
            let later = steps.iter().filter(|(other, _)| other.follows(step)).map(|(_, at)| *at);
            line.at = later.fold(line.at, SystemTime::min);
        }
        self.waiting.sort_by(|a, b| (a.at, &a.step).cmp(&(b.at, &b.step)));
    }

    /// All children have ended: prints what is left.
    pub(super) fn settle(&mut self, children: &mut Children, style: Style) -> Outcome {
        while let Some(heard) = children.next(Duration::ZERO) {
            self.hear(children, &heard);
        }
        self.tell(Duration::ZERO, style)
    }

    /// The first steps that were not told.
    pub(super) fn missing(&self) -> Option<String> {
        let files = FILES.iter().map(|(name, _)| *name).chain([RESULT]);
        let wanted = (1..=10)
            .map(Seen::Task)
            .chain(files.flat_map(|name| (1..=4).map(move |step| Seen::File(name.to_owned(), step))));
        let missing: Vec<String> = wanted
            .filter(|step| !self.seen.contains(step))
            .map(|step| match step {
                Seen::Task(step) => format!("step {step} of the task"),
                Seen::File(file, step) => format!("step {step} of the file {file}"),
            })
            .collect();
        (!missing.is_empty()).then(|| format!("no daemon told of {}", missing.join(", ")))
    }

    /// Every step must have happened.
    pub(super) fn check(&self) -> Outcome {
        self.missing().map_or(Ok(()), |missing| Err(Failure::new(missing)))
    }

    /// Where the time went.
    pub(super) fn tell_times(&self, style: Style) -> Outcome {
        let at = |moment: Moment| self.moments.get(&moment).copied();
        let parts = [
            ("the publisher starts and registers", Some(self.began), at(Moment::Published)),
            ("the registry assigns the task", at(Moment::Published), at(Moment::Assigned)),
            ("the executor connects", at(Moment::Assigned), at(Moment::Linked)),
            ("the inputs arrive, verified", at(Moment::Linked), at(Moment::InputsHere)),
            ("the command starts", at(Moment::InputsHere), at(Moment::Started)),
            ("the command runs", at(Moment::Started), at(Moment::Finished)),
            ("the result comes back, verified", at(Moment::Finished), at(Moment::ResultHere)),
            ("the publisher takes its leave", at(Moment::ResultHere), self.ended),
            ("in all", Some(self.began), self.ended),
        ];
        let mut lines = format!("\n{}\n", style.paint(Tone::Bold, "Where the time went:"));
        for (what, from, to) in parts {
            if let (Some(from), Some(to)) = (from, to) {
                let took = to.duration_since(from).unwrap_or_default().as_secs_f64() * 1000.0;
                lines.push_str(&format!("  {took:8.2} ms  {what}\n"));
            }
        }
        say(&lines)
    }
}

/// Whose step it is: the publisher's, the assignee's, or both ends'.
fn belongs(step: u64, publisher: bool) -> bool {
    match step {
        1 | 5 | 9 => publisher,
        2 | 3 | 4 | 7 | 8 => !publisher,
        _ => true,
    }
}

/// The last part of a path; an executor names a result by its place among all results, and there is one.
fn file_name(label: &str) -> &str {
    if label == "output 1" { RESULT } else { label.rsplit('/').next().unwrap_or(label) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(event: &str, fields: Value) -> Map<String, Value> {
        let mut line = fields.as_object().cloned().unwrap();
        line.insert("event".into(), event.into());
        line.insert("time".into(), "2026-01-02T03:04:05.000006Z".into());
        line
    }

    #[test]
    fn t1_a_step_that_did_not_happen_is_named() {
        let mut story = Story::new();
        assert!(story.missing().unwrap().contains("step 1 of the task"));
        for step in 1..=10 {
            story.line("node-1", &told(TASK_STEP, json!({ "step": step })));
        }
        assert!(
            story
                .missing()
                .unwrap()
                .starts_with("no daemon told of step 1 of the task, step 5 of the task, step 9")
        );
        for step in [1, 5, 9] {
            story.line(PUBLISHER, &told(TASK_STEP, json!({ "step": step })));
        }
        for file in ["spring.txt", "summer.txt", "/tmp/x/autumn.txt", "result.txt"] {
            for step in (1..=4).filter(|step| (*step, file) != (3, "summer.txt")) {
                story.line("node-1", &told(FILE_STEP, json!({ "step": step, "file": file, "bytes": 5 })));
            }
        }
        assert_eq!(story.missing().unwrap(), "no daemon told of step 3 of the file summer.txt");
        story.line("node-1", &told(FILE_STEP, json!({ "step": 3, "file": "summer.txt" })));
        assert_eq!(story.missing(), None);
    }

    #[test]
    fn a_step_is_never_told_after_one_that_follows_it() {
        let mut story = Story::new();
        for (step, micros) in [(2, 5), (1, 7), (3, 6)] {
            let mut line = told(TASK_STEP, json!({ "step": step }));
            line.insert("time".into(), format!("2026-01-02T03:04:05.00000{micros}Z").into());
            story.line(PUBLISHER, &line);
        }
        story.order();
        let order: Vec<_> = story.waiting.iter().map(|line| line.step.clone().unwrap()).collect();
        assert_eq!(order, [Seen::Task(1), Seen::Task(2), Seen::Task(3)]);
        assert_eq!(story.waiting[0].at, story.waiting[1].at);
        assert!(story.waiting[1].at < story.waiting[2].at);
    }
}
