//! Reads trace files, as they are left by daemons that were killed, disks that filled, and people who name the wrong file.

use super::record::{Header, Record, VERSION, WORLD, What};
use core::fmt;

/// What one node wrote in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Whose it is; a default one for what happened to the world.
    pub header: Header,
    /// Its records, in order.
    pub records: Vec<(u64, What)>,
}

/// A whole file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct File {
    /// What each node wrote.
    pub parts: Vec<Part>,
    /// What happened to no node in particular.
    pub world: Vec<(u64, What)>,
    /// The last line was cut off; it is left out.
    pub torn: bool,
    /// Lines in the middle that cannot be read; they are left out.
    pub unreadable: usize,
}

/// Why a file is no trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTrace {
    /// There is nothing in it.
    Empty,
    /// Its first line is no header of a trace.
    NoHeader,
    /// It is of a newer version.
    Version(u32),
}

impl fmt::Display for NoTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("is empty: nothing was traced, or the disk was full"),
            Self::NoHeader => {
                f.write_str("is no trace; --trace FILE of `xxnet reg`, `exe` or `up` writes one")
            }
            Self::Version(version) => {
                write!(
                    f,
                    "is a trace of version {version}, this program reads up to {VERSION}; use a newer one"
                )
            }
        }
    }
}

impl core::error::Error for NoTrace {}

impl File {
    /// Reads a trace.
    ///
    /// # Errors
    /// It is empty, no trace, or of a newer version.
    pub fn read(text: &[u8]) -> Result<Self, NoTrace> {
        let mut file = Self::default();
        let whole = text.ends_with(b"\n");
        let mut lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
        let first = lines.peek().ok_or(NoTrace::Empty)?;
        if header(first).is_none() {
            // What was written of a header before the disk was full says nothing.
            let begun = first.starts_with(br#"{"xxnet-trace""#) && !whole && text.len() == first.len();
            return Err(if begun { NoTrace::Empty } else { NoTrace::NoHeader });
        }
        while let Some(line) = lines.next() {
            if let Some(header) = header(line) {
                if header.version > VERSION {
                    return Err(NoTrace::Version(header.version));
                }
                file.parts.push(Part { header, records: Vec::new() });
                continue;
            }
            match serde_json::from_slice::<Record>(line) {
                Ok(Record { t, n: WORLD, what }) => file.world.push((t, what)),
                Ok(Record { t, n, what }) => match file.parts.get_mut(n as usize) {
                    Some(part) => part.records.push((t, what)),
                    None => file.unreadable += 1,
                },
                Err(_) if lines.peek().is_none() && !whole => file.torn = true,
                Err(_) => file.unreadable += 1,
            }
        }
        Ok(file)
    }
}

fn header(line: &[u8]) -> Option<Header> {
    line.starts_with(br#"{"xxnet-trace""#).then(|| serde_json::from_slice(line).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"xxnet-trace":1,"node":"a","role":"executor","clock":"c","at":5}"#;

    fn read(text: &str) -> Result<File, NoTrace> {
        File::read(text.as_bytes())
    }

    #[test]
    fn a_last_line_that_was_cut_off_is_left_out() {
        let file = read(&format!("{HEADER}\n{{\"t\":7,\"e\":\"timer\"}}\n{{\"t\":8,\"e\":\"tim")).unwrap();
        assert_eq!(file.parts[0].records, [(7, What::Timer)]);
        assert!(file.torn && file.unreadable == 0);
    }

    #[test]
    fn lines_of_another_making_are_counted_and_left_out() {
        let text = format!(
            "{HEADER}\nwhat\n{{\"t\":1,\"e\":\"new-thing\"}}\n{{\"t\":1,\"n\":9,\"e\":\"timer\"}}\n\n{{\"t\":2,\"e\":\"timer\",\"x\":1}}\n"
        );
        let file = read(&text).unwrap();
        assert_eq!((file.parts[0].records.len(), file.unreadable, file.torn), (1, 3, false));
    }

    #[test]
    fn what_is_no_trace_says_so() {
        assert_eq!(read(""), Err(NoTrace::Empty));
        assert_eq!(read("\n\n"), Err(NoTrace::Empty));
        assert_eq!(read("{\"xxnet-trace\":1,\"no"), Err(NoTrace::Empty));
        assert_eq!(read("PK\u{3}\u{4}"), Err(NoTrace::NoHeader));
        assert_eq!(read("{\"t\":1}\n"), Err(NoTrace::NoHeader));
        assert_eq!(read(&HEADER.replace(":1,", ":2,")), Err(NoTrace::Version(2)));
    }

    #[test]
    fn records_go_to_the_header_that_they_name() {
        let text = format!(
            "{HEADER}\n{HEADER}\n{{\"t\":1,\"n\":1,\"e\":\"timer\"}}\n{{\"t\":2,\"n\":4294967295,\"e\":\"fault\",\"name\":\"x\"}}\n"
        );
        let file = read(&text).unwrap();
        assert_eq!([file.parts[0].records.len(), file.parts[1].records.len(), file.world.len()], [0, 1, 1]);
    }
}
