//! What both ways between values and serde's types share: the error with its path, and what bounds the recursion.

use super::value::Dict;
use alloc::string::{String, ToString};
use core::fmt;
use serde::de::{Expected, Unexpected};

/// Why something is no [`Value`](super::Value), or a value is not what a type wants.
///
/// ```
/// use std::collections::BTreeMap;
/// use xxnet_core::Dict;
///
/// let error = Dict::from_serialize(&BTreeMap::from([("sizes", [1, u64::MAX])])).unwrap_err();
/// assert_eq!(error.to_string(), "sizes[1]: a number of 1.8446744073709551615e19 does not fit in 64 bits");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvertError {
    /// Where, as `jobs[3].size`; empty for the outermost value. A key that is not made of letters, digits, `-` and `_`
    /// stands as `["a key"]`, and one of more than 60 characters is cut there: a peer may have chosen it.
    pub path: String,
    /// What does not fit.
    pub reason: ConvertReason,
}

/// What does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConvertReason {
    /// Lists and dicts stand within one another more than [`Dict::MAX_DEPTH`] deep.
    TooDeep,
    /// Options and newtypes stand within one another more than twice [`Dict::MAX_DEPTH`] deep. They leave no trace in a
    /// value, so a type of nothing else would never end.
    TooWrapped,
    /// An integer that is no `i64`.
    DoesNotFit {
        /// Whether it is below zero.
        negative: bool,
        /// Without its sign.
        magnitude: u128,
    },
    /// Nothing of this kind can be the key of a dict.
    BadKey(&'static str),
    /// Two keys of one map are both written so.
    RepeatedKey(String),
    /// A value is not of the type, or not in the range, that is wanted.
    Unfit {
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A list or dict has more or fewer elements than are wanted.
    BadLength {
        /// How many there are.
        found: usize,
        /// What should be.
        expected: String,
    },
    /// An enum has no such variant.
    UnknownVariant {
        /// The name that is there.
        found: String,
        /// The names there are.
        expected: &'static [&'static str],
    },
    /// A struct that takes no other fields has no such field.
    UnknownField {
        /// The name that is there.
        found: String,
        /// The names there are.
        expected: &'static [&'static str],
    },
    /// A struct's field is not there.
    MissingField(&'static str),
    /// A struct's field is there twice, under two of its names.
    RepeatedField(&'static str),
    /// What the type itself had to say.
    Other(String),
}

impl ConvertError {
    /// As it happened somewhere below the entry of this key.
    #[must_use]
    pub(super) fn under_key(self, key: &str) -> Self {
        let plain = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_');
        let segment = if !key.is_empty() && key.chars().all(plain) {
            shortened(key)
        } else {
            alloc::format!("[{:?}]", shortened(key))
        };
        self.under(segment)
    }

    /// As it happened somewhere below the element of this index.
    #[must_use]
    pub(super) fn under_index(self, index: usize) -> Self {
        self.under(alloc::format!("[{index}]"))
    }

    fn under(self, mut path: String) -> Self {
        if !self.path.is_empty() && !self.path.starts_with('[') {
            path.push('.');
        }
        path.push_str(&self.path);
        Self { path, ..self }
    }
}

impl From<ConvertReason> for ConvertError {
    fn from(reason: ConvertReason) -> Self {
        Self { path: String::new(), reason }
    }
}

impl fmt::Display for ConvertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        fmt::Display::fmt(&self.reason, f)
    }
}

impl fmt::Display for ConvertReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "lists and dicts nest more than {} deep", Dict::MAX_DEPTH),
            Self::TooWrapped => write!(f, "options and newtypes nest more than {} deep", Depth::MAX_WRAPPERS),
            Self::DoesNotFit { negative, magnitude } => {
                let sign = if *negative { "-" } else { "" };
                write!(f, "a number of {sign}{magnitude:e} does not fit in 64 bits")
            }
            Self::BadKey(found) => write!(f, "{found} cannot be the key of a dict"),
            Self::RepeatedKey(key) => write!(f, "two keys are both written {key:?}"),
            Self::Unfit { found, expected } => write!(f, "{found} where {expected} is expected"),
            Self::BadLength { found, expected } => {
                write!(f, "a length of {found} where {expected} is expected")
            }
            Self::UnknownVariant { found, expected } => {
                write!(f, "no variant is called {found:?}; there are {expected:?}")
            }
            Self::UnknownField { found, expected } => {
                write!(f, "no field is called {found:?}; there are {expected:?}")
            }
            Self::MissingField(field) => write!(f, "the field {field:?} is missing"),
            Self::RepeatedField(field) => write!(f, "the field {field:?} is there twice"),
            Self::Other(sentence) => f.write_str(sentence),
        }
    }
}

impl core::error::Error for ConvertError {}

impl serde::ser::Error for ConvertError {
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        ConvertReason::Other(sentence.to_string()).into()
    }
}

impl serde::de::Error for ConvertError {
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        ConvertReason::Other(sentence.to_string()).into()
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        ConvertReason::Unfit { found: found(unexpected), expected: expected.to_string() }.into()
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }

    fn invalid_length(found: usize, expected: &dyn Expected) -> Self {
        ConvertReason::BadLength { found, expected: expected.to_string() }.into()
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        ConvertReason::UnknownVariant { found: shortened(variant), expected }.into()
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        ConvertReason::UnknownField { found: shortened(field), expected }.into()
    }

    fn missing_field(field: &'static str) -> Self {
        ConvertReason::MissingField(field).into()
    }

    fn duplicate_field(field: &'static str) -> Self {
        ConvertReason::RepeatedField(field).into()
    }
}

/// In the words that people use of values; text no longer than a sentence bears.
fn found(unexpected: Unexpected<'_>) -> String {
    match unexpected {
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Unsigned(number) => alloc::format!("the number {number}"),
        Unexpected::Signed(number) => alloc::format!("the number {number}"),
        Unexpected::Float(number) => alloc::format!("the number {number:?}"),
        Unexpected::Str(text) => alloc::format!("{:?}", shortened(text)),
        Unexpected::Bytes(_) => "bytes".into(),
        Unexpected::Unit => "null".into(),
        Unexpected::Seq => "a list".into(),
        Unexpected::Map => "a dict".into(),
        other => other.to_string(),
    }
}

/// A peer may have sent megabytes of it.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => alloc::format!("{}…", &text[..end]),
        None => text.into(),
    }
}

/// How much deeper a conversion may go: what bounds the stack both ways.
#[derive(Clone, Copy)]
pub(super) struct Depth {
    containers: usize,
    wrappers: usize,
}

impl Depth {
    /// Options and newtypes on the way to one value: one of each at every level.
    const MAX_WRAPPERS: usize = 2 * Dict::MAX_DEPTH;

    pub(super) const MAX: Self = Self { containers: Dict::MAX_DEPTH, wrappers: Self::MAX_WRAPPERS };

    /// Within one more list or dict.
    pub(super) fn deeper(self) -> Result<Self, ConvertError> {
        let containers = self.containers.checked_sub(1).ok_or(ConvertReason::TooDeep)?;
        Ok(Self { containers, ..self })
    }

    /// Within one more option or newtype.
    pub(super) fn wrapped(self) -> Result<Self, ConvertError> {
        let wrappers = self.wrappers.checked_sub(1).ok_or(ConvertReason::TooWrapped)?;
        Ok(Self { wrappers, ..self })
    }
}
