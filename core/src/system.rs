//! Errors of the system that have no name of their own here.

use core::fmt;

/// Shows the error of that number: in words where every system numbers it alike and somebody can do something about it.
pub(crate) struct SystemError(pub i32);

impl fmt::Display for SystemError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            5 => "input/output error",
            12 => "no memory is left",
            23 | 24 => "no file descriptors are left",
            number => return write!(f, "system error {number}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::{FileError, FileErrorKind};
    use crate::process::SpawnError;
    use alloc::string::ToString;

    #[test]
    fn x5_a_want_of_descriptors_is_told_in_words() {
        let error = FileError::new(FileErrorKind::System(24), "in/a");
        assert_eq!(error.to_string(), "in/a: no file descriptors are left");
        let spawn = SpawnError::System(23).to_string();
        assert_eq!(spawn, "the system could not start it: no file descriptors are left");
        assert_eq!(FileError::new(FileErrorKind::System(7777), "x").to_string(), "x: system error 7777");
    }
}
