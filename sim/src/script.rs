//! What a simulated command does, as its arguments say, and what must come out of it.
//!
//! A task's arguments are `sim` and one word a step (`out:7:1000`, `copy:in.txt:out.txt`, `exit:3`). The world plays the steps in
//! time; the oracle computes the same result at once, from the inputs alone.

use crate::choices::Place;
use crate::clock::Micros;
use std::collections::BTreeMap;
use xxnet_core::process::ExitStatus;

/// One step of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Writes so many bytes, made from a seed, to standard output.
    Out(u64, usize),
    /// The same to standard error.
    Err(u64, usize),
    /// Writes the attempt's number to standard output.
    Who,
    /// Does nothing for so long.
    Sleep(Micros),
    /// Reads one file and writes another one made from it; exits with 66 if it is not there.
    Copy(Vec<u8>, Vec<u8>),
    /// Writes a file made from a seed.
    Make(Vec<u8>, u64, usize),
    /// Writes the attempt's number to a file.
    Sign(Vec<u8>),
    /// Copies standard input to standard output until it ends.
    Cat,
    /// Reads nothing more.
    CloseInput,
    /// Never goes on.
    Hang,
    /// Leaves a child behind that holds the output for so long, unless it is killed.
    Linger(Micros),
    /// Takes so long to die when it is killed.
    Stubborn(Micros),
    /// Ends.
    Exit(i32),
    /// Ends by a signal.
    Signal(i32),
}

/// A command, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script(pub Vec<Step>);

/// What a command leaves when nothing disturbs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Standard output and standard error.
    pub output: [Vec<u8>; 2],
    /// The files that it wrote.
    pub files: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How it ends.
    pub status: ExitStatus,
}

/// Bytes made from a seed.
pub fn content(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut reader = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    reader.fill(&mut bytes);
    bytes
}

/// What a message holds behind its own words: made from a seed, at hardly any cost.
pub(crate) fn fill(message: &mut Vec<u8>, seed: u64, len: usize) {
    let end = message.len() + len;
    filler(seed).take(len.div_ceil(8)).for_each(|word| message.extend(word));
    message.truncate(end);
}

/// Whether this is what [`fill`] has put there.
pub(crate) fn is_filler(seed: u64, bytes: &[u8]) -> bool {
    let (whole, rest) = bytes.as_chunks();
    let mut words = filler(seed);
    whole.iter().zip(&mut words).all(|(chunk, word)| *chunk == word)
        && words.next().is_some_and(|word| *rest == word[..rest.len()])
}

fn filler(seed: u64) -> impl Iterator<Item = [u8; 8]> {
    let mut place = Place::of("").within(seed);
    core::iter::from_fn(move || {
        place = place.within(0);
        Some(place.key().to_le_bytes())
    })
}

/// What `copy` makes of a file.
pub fn transformed(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte ^ 0x5a).collect()
}

/// What the attempt's number looks like.
pub fn signature(attempt: u64) -> Vec<u8> {
    format!("attempt {attempt}\n").into_bytes()
}

impl Script {
    /// As arguments.
    pub fn argv(&self) -> Vec<Vec<u8>> {
        let words = self.0.iter().map(|step| match step {
            Step::Out(seed, len) => format!("out:{seed}:{len}").into_bytes(),
            Step::Err(seed, len) => format!("err:{seed}:{len}").into_bytes(),
            Step::Who => b"who".to_vec(),
            Step::Sleep(time) => format!("sleep:{time}").into_bytes(),
            Step::Copy(from, to) => [b"copy:", &from[..], b":", &to[..]].concat(),
            Step::Make(name, seed, len) => {
                [b"make:", &name[..], format!(":{seed}:{len}").as_bytes()].concat()
            }
            Step::Sign(name) => [b"sign:", &name[..]].concat(),
            Step::Cat => b"cat".to_vec(),
            Step::CloseInput => b"close-input".to_vec(),
            Step::Hang => b"hang".to_vec(),
            Step::Linger(time) => format!("linger:{time}").into_bytes(),
            Step::Stubborn(time) => format!("stubborn:{time}").into_bytes(),
            Step::Exit(code) => format!("exit:{code}").into_bytes(),
            Step::Signal(number) => format!("signal:{number}").into_bytes(),
        });
        core::iter::once(b"sim".to_vec()).chain(words).collect()
    }

    /// From arguments; `None` if they are no script.
    pub fn parse(argv: &[Vec<u8>]) -> Option<Self> {
        let (first, words) = argv.split_first()?;
        if first != b"sim" {
            return None;
        }
        words.iter().map(|word| parse_step(word)).collect::<Option<_>>().map(Self)
    }

    /// What it leaves, if it is not disturbed, given its files, its standard input and the attempt's number.
    pub fn expected(&self, files: &BTreeMap<Vec<u8>, Vec<u8>>, input: &[u8], attempt: u64) -> Expected {
        let mut all = files.clone();
        let mut made = BTreeMap::new();
        let mut output = [Vec::new(), Vec::new()];
        let mut status = ExitStatus::Code(0);
        for step in &self.0 {
            match step {
                Step::Out(seed, len) => output[0].extend(content(*seed, *len)),
                Step::Err(seed, len) => output[1].extend(content(*seed, *len)),
                Step::Who => output[0].extend(signature(attempt)),
                Step::Copy(from, to) => match all.get(from) {
                    Some(bytes) => {
                        let bytes = transformed(bytes);
                        all.insert(to.clone(), bytes.clone());
                        made.insert(to.clone(), bytes);
                    }
                    None => {
                        status = ExitStatus::Code(66);
                        break;
                    }
                },
                Step::Make(name, seed, len) => {
                    let bytes = content(*seed, *len);
                    all.insert(name.clone(), bytes.clone());
                    made.insert(name.clone(), bytes);
                }
                Step::Sign(name) => {
                    made.insert(name.clone(), signature(attempt));
                }
                Step::Cat => output[0].extend_from_slice(input),
                Step::Exit(code) => {
                    status = ExitStatus::Code(*code);
                    break;
                }
                Step::Signal(number) => {
                    status = ExitStatus::Signal(*number);
                    break;
                }
                Step::Sleep(_) | Step::CloseInput | Step::Hang | Step::Linger(_) | Step::Stubborn(_) => {}
            }
        }
        Expected { output, files: made, status }
    }
}

fn parse_step(word: &[u8]) -> Option<Step> {
    let mut parts = word.split(|byte| *byte == b':');
    let name = parts.next()?;
    let mut bytes = || parts.next().map(<[u8]>::to_vec);
    let number = |text: Option<Vec<u8>>| String::from_utf8(text?).ok()?.parse::<u64>().ok();
    Some(match name {
        b"out" => Step::Out(number(bytes())?, number(bytes())? as usize),
        b"err" => Step::Err(number(bytes())?, number(bytes())? as usize),
        b"who" => Step::Who,
        b"sleep" => Step::Sleep(number(bytes())?),
        b"copy" => Step::Copy(bytes()?, bytes()?),
        b"make" => Step::Make(bytes()?, number(bytes())?, number(bytes())? as usize),
        b"sign" => Step::Sign(bytes()?),
        b"cat" => Step::Cat,
        b"close-input" => Step::CloseInput,
        b"hang" => Step::Hang,
        b"linger" => Step::Linger(number(bytes())?),
        b"stubborn" => Step::Stubborn(number(bytes())?),
        b"exit" => Step::Exit(number(bytes())? as i32),
        b"signal" => Step::Signal(number(bytes())? as i32),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_survives_its_arguments() {
        let script = Script(vec![
            Step::Out(7, 100),
            Step::Copy(b"a b".to_vec(), b"-out \xff".to_vec()),
            Step::Make(b"x/y".to_vec(), 3, 0),
            Step::Sleep(12),
            Step::Who,
            Step::Exit(3),
        ]);
        assert_eq!(Script::parse(&script.argv()), Some(script));
        assert_eq!(Script::parse(&[b"true".to_vec()]), None);
    }

    #[test]
    fn what_is_expected_stops_at_the_first_exit() {
        let script = Script(vec![Step::Who, Step::Exit(3), Step::Out(1, 1)]);
        let expected = script.expected(&BTreeMap::new(), b"", 2);
        assert_eq!(expected.output[0], b"attempt 2\n");
        assert_eq!(expected.status, ExitStatus::Code(3));
    }
}
