//! What a library user sends: string keys to values (the seed's dictData).

use super::value_wire;
use super::{DataPack, PackType};
use alloc::collections::{BTreeMap, btree_map};
use alloc::{string::String, vec::Vec};
use bytes::Bytes;
use core::fmt;

/// One value. These eight kinds are all there will be.
///
/// Floats compare as floats do: a `NaN` survives the wire bit by bit, but equals nothing.
#[derive(Clone, PartialEq, Default)]
pub enum Value {
    /// Nothing.
    #[default]
    Null,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Text.
    Str(String),
    /// Bytes that mean something to their reader.
    Bytes(Vec<u8>),
    /// Values in order.
    List(Vec<Self>),
    /// Values by name.
    Dict(Dict),
}

impl Value {
    /// The truth value, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(value) = self { Some(*value) } else { None }
    }

    /// The whole number, if it is one.
    pub fn as_int(&self) -> Option<i64> {
        if let Self::Int(value) = self { Some(*value) } else { None }
    }

    /// The float, if it is one; whole numbers are not turned into floats.
    pub fn as_float(&self) -> Option<f64> {
        if let Self::Float(value) = self { Some(*value) } else { None }
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::Str(value) = self { Some(value) } else { None }
    }

    /// The bytes, if it is some; text is not turned into bytes.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        if let Self::Bytes(value) = self { Some(value) } else { None }
    }

    /// The values of a list, if it is one.
    pub fn as_list(&self) -> Option<&[Self]> {
        if let Self::List(value) = self { Some(value) } else { None }
    }

    /// The dict, if it is one.
    pub fn as_dict(&self) -> Option<&Dict> {
        if let Self::Dict(value) = self { Some(value) } else { None }
    }

    /// Whether it is nothing.
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => fmt::Debug::fmt(value, f),
            Self::Int(value) => fmt::Debug::fmt(value, f),
            Self::Float(value) => fmt::Debug::fmt(value, f),
            Self::Str(value) => fmt::Debug::fmt(value, f),
            Self::Bytes(value) => write!(f, "b\"{}\"", value.escape_ascii()),
            Self::List(value) => fmt::Debug::fmt(value, f),
            Self::Dict(value) => fmt::Debug::fmt(value, f),
        }
    }
}

macro_rules! value_from {
    ($($type:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$type> for Value {
            fn from($value: $type) -> Self {
                $made
            }
        })*
    };
}

value_from! {
    () => |_nothing| Self::Null;
    bool => |value| Self::Bool(value);
    i8 => |value| Self::Int(value.into());
    i16 => |value| Self::Int(value.into());
    i32 => |value| Self::Int(value.into());
    i64 => |value| Self::Int(value);
    u8 => |value| Self::Int(value.into());
    u16 => |value| Self::Int(value.into());
    u32 => |value| Self::Int(value.into());
    f32 => |value| Self::Float(value.into());
    f64 => |value| Self::Float(value);
    &str => |value| Self::Str(value.into());
    String => |value| Self::Str(value);
    &[u8] => |value| Self::Bytes(value.into());
    Vec<u8> => |value| Self::Bytes(value);
    Bytes => |value| Self::Bytes(value.into());
    Vec<Self> => |value| Self::List(value);
    Dict => |value| Self::Dict(value);
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    /// A list.
    fn from_iter<I: IntoIterator<Item = T>>(values: I) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

/// Values by name, sorted by the names' bytes.
///
/// ```
/// use xxnet_core::Dict;
///
/// let dict = Dict::from([("name", "node-1".into()), ("slots", 4.into())]);
/// let pack = dict.to_pack()?;
/// let again = Dict::from_pack(&pack)?;
/// assert_eq!(again.get("slots").and_then(|slots| slots.as_int()), Some(4));
/// # Ok::<(), xxnet_core::pack::ValueError>(())
/// ```
#[derive(Clone, PartialEq, Default)]
pub struct Dict {
    entries: BTreeMap<String, Value>,
}

impl Dict {
    /// Most lists and dicts within one another, the outermost dict counted.
    pub const MAX_DEPTH: usize = 64;

    /// No entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets an entry; returns the value that it had.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<Value>) -> Option<Value> {
        self.entries.insert(key.into(), value.into())
    }

    /// The value of an entry.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// The value of an entry, to be changed.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.entries.get_mut(key)
    }

    /// Takes an entry out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.entries.remove(key)
    }

    /// Whether there is such an entry.
    pub fn contains_key(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries, sorted by key.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The keys, sorted.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The bytes that travel; [`decode`](Self::decode) has the layout.
    ///
    /// # Errors
    /// [`ValueError::TooDeep`] if more than [`MAX_DEPTH`](Self::MAX_DEPTH) lists and dicts stand within one another.
    pub fn encode(&self) -> Result<Vec<u8>, ValueError> {
        value_wire::encode(self)
    }

    /// The dict that exactly these bytes stand for.
    ///
    /// Everything is little-endian and has a fixed width; the bytes are those that bincode's fixed-width format has for
    /// `enum Value { Null, Bool, Int, Float, Str, Bytes, List, Dict }` and a sorted map.
    ///
    /// | | bytes |
    /// | --- | --- |
    /// | dict | count: u64, then as often: key (as a string), value; keys strictly ascending by their bytes |
    /// | value | tag: u32, then what the tag says |
    /// | 0 null | – |
    /// | 1 bool | one byte, 0 or 1 |
    /// | 2 int | i64, two's complement |
    /// | 3 float | the bits of an IEEE 754 double |
    /// | 4 str | length in bytes: u64, then UTF-8 |
    /// | 5 bytes | length: u64, then the bytes |
    /// | 6 list | count: u64, then as many values |
    /// | 7 dict | a dict |
    ///
    /// At most [`MAX_DEPTH`](Self::MAX_DEPTH) lists and dicts stand within one another. One dict has one encoding, so
    /// equal bytes and equal dicts are the same thing (but for `NaN`).
    ///
    /// What is allocated is bounded by the bytes that are there, not by what they claim: nothing for a length or count
    /// that the rest cannot hold, and room for no more than 16 elements ahead of what was read. The worst bytes, dicts of
    /// one short key each, take no more than 40 bytes of memory a byte.
    ///
    /// # Errors
    /// [`ValueError`] for any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, ValueError> {
        value_wire::decode(bytes)
    }

    /// As a pack of [`PackType::DICT`].
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn to_pack(&self) -> Result<DataPack, ValueError> {
        Ok(DataPack::new(PackType::DICT, self.encode()?))
    }

    /// From a pack of [`PackType::DICT`].
    ///
    /// # Errors
    /// [`ValueError`] if it is another pack, or its data is not one dict.
    pub fn from_pack(pack: &DataPack) -> Result<Self, ValueError> {
        if pack.pack_type != PackType::DICT {
            return Err(ValueError::OtherPack(pack.pack_type));
        }
        if !pack.bulk.is_empty() {
            return Err(ValueError::Trailing);
        }
        Self::decode(&pack.head)
    }
}

impl fmt::Debug for Dict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.entries, f)
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Dict {
    /// Of several values for a key the last one stays.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Self { entries: entries.into_iter().map(|(key, value)| (key.into(), value.into())).collect() }
    }
}

impl<K: Into<String>, V: Into<Value>> Extend<(K, V)> for Dict {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, entries: I) {
        self.entries.extend(entries.into_iter().map(|(key, value)| (key.into(), value.into())));
    }
}

impl<K: Into<String>, const N: usize> From<[(K, Value); N]> for Dict {
    fn from(entries: [(K, Value); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl IntoIterator for Dict {
    type Item = (String, Value);
    type IntoIter = btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Dict {
    type Item = (&'a String, &'a Value);
    type IntoIter = btree_map::Iter<'a, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.iter()
    }
}

/// Why bytes are no dict, or a dict cannot become bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueError {
    /// Lists and dicts stand within one another more than [`Dict::MAX_DEPTH`] deep.
    TooDeep,
    /// The bytes end too early, or a length or count is more than the bytes behind it can hold.
    Truncated,
    /// No kind of value has this tag.
    UnknownTag(u32),
    /// A bool that is neither 0 nor 1.
    BadBool(u8),
    /// A string or key is not UTF-8.
    NotUtf8,
    /// A key is not above the one before it.
    KeyOrder,
    /// Bytes are left over.
    Trailing,
    /// The pack is of another type.
    OtherPack(PackType),
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooDeep => write!(f, "lists and dicts nest more than {} deep", Dict::MAX_DEPTH),
            Self::Truncated => f.write_str("the dict is longer than its bytes"),
            Self::UnknownTag(tag) => write!(f, "no kind of value has the number {tag}"),
            Self::BadBool(byte) => write!(f, "a truth value of {byte}"),
            Self::NotUtf8 => f.write_str("a string is not UTF-8"),
            Self::KeyOrder => f.write_str("the keys are repeated or not sorted"),
            Self::Trailing => f.write_str("bytes left over behind the dict"),
            Self::OtherPack(pack_type) => write!(f, "{pack_type:?} is no dict"),
        }
    }
}

impl core::error::Error for ValueError {}
