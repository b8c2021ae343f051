//! What a task asks of an executor, and what an executor says of itself: labels (ledger T12).

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;
use serde::{Deserialize, Serialize};

/// What an executor says of itself: a name and a value, which may be empty. A name may stand there with several values.
pub type Label = (String, String);

/// Labels of one executor at most.
pub const MAX_LABELS: usize = 64;
/// Needs of one task at most.
pub const MAX_NEEDS: usize = 16;
/// Bytes of a name or a value at most.
pub const MAX_BYTES: usize = 256;

/// One label that the executor of a task must have: of this name, and with this value if one is given.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Need {
    /// The label's name.
    pub name: String,
    /// The label's value; `None`: any.
    pub value: Option<String>,
}

impl Need {
    /// Whether one of these labels is it.
    pub fn is_met_by(&self, labels: &[Label]) -> bool {
        let is_it = |(name, value): &Label| {
            *name == self.name && self.value.as_ref().is_none_or(|wanted| wanted == value)
        };
        labels.iter().any(is_it)
    }

    /// Whether it can be said at all: it has a name, and is not too long.
    pub fn is_sound(&self) -> bool {
        let fits = |text: &str| text.len() <= MAX_BYTES;
        !self.name.is_empty() && fits(&self.name) && self.value.as_deref().is_none_or(fits)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => f.write_str(&self.name),
            Some(value) => write!(f, "{}={value}", self.name),
        }
    }
}

/// Why a text is no label or need.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LabelError(String);

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no label; write NAME or NAME=VALUE, of at most {MAX_BYTES} bytes each", self.0)
    }
}

impl core::error::Error for LabelError {}

impl FromStr for Need {
    type Err = LabelError;

    /// `NAME` or `NAME=VALUE`.
    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (text, None),
        };
        let need = Self { name: name.to_string(), value };
        if need.is_sound() { Ok(need) } else { Err(LabelError(text.to_string())) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn need(text: &str) -> Need {
        text.parse().expect("a need")
    }

    #[test]
    fn t12_a_need_is_met_by_its_name_and_by_its_value_if_it_has_one() {
        let labels =
            vec![("gpu".into(), "a100".into()), ("gpu".into(), "t4".into()), ("big".into(), "".into())];
        for met in ["gpu", "gpu=a100", "gpu=t4", "big", "big="] {
            assert!(need(met).is_met_by(&labels), "{met}");
        }
        for unmet in ["gp", "gpu=", "gpu=v100", "big=1", "a100", "GPU"] {
            assert!(!need(unmet).is_met_by(&labels), "{unmet}");
        }
        assert!(!need("gpu").is_met_by(&[]));
    }

    #[test]
    fn a_need_prints_as_it_is_written() {
        for text in ["gpu", "gpu=a100", "x=", "a=b=c"] {
            assert_eq!(need(text).to_string(), text);
        }
        for bad in ["", "=x", &"x".repeat(257), &std::format!("x={}", "y".repeat(257))] {
            assert!(bad.parse::<Need>().is_err(), "{bad}");
        }
    }
}
