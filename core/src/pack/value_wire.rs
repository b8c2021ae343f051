//! The bytes of a dict; [`Dict::decode`] states the layout and the bounds.

use super::value::{Dict, Value, ValueError};
use alloc::{string::String, vec::Vec};

const NULL: u32 = 0;
const BOOL: u32 = 1;
const INT: u32 = 2;
const FLOAT: u32 = 3;
const STR: u32 = 4;
const BYTES: u32 = 5;
const LIST: u32 = 6;
const DICT: u32 = 7;

/// The shortest value: a tag.
const LEAST_VALUE: usize = 4;
/// The shortest entry: the length of an empty key and a tag.
const LEAST_ENTRY: usize = 12;
/// What an entry mostly needs, and how much room is taken ahead at most.
const USUAL_ENTRY: usize = 40;
const MOST_AHEAD: usize = 4 << 10;
/// Elements that a list gets room for before they were read.
const AHEAD: usize = 16;

pub(super) fn encode(dict: &Dict) -> Result<Vec<u8>, ValueError> {
    // Room for what most messages are, taken once and not by doubling.
    let mut out = Vec::with_capacity(dict.len().saturating_mul(USUAL_ENTRY).min(MOST_AHEAD));
    put_dict(&mut out, dict, Dict::MAX_DEPTH)?;
    Ok(out)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Dict, ValueError> {
    let mut reader = Reader { rest: bytes };
    let dict = reader.dict(Dict::MAX_DEPTH)?;
    if reader.rest.is_empty() { Ok(dict) } else { Err(ValueError::Trailing) }
}

/// One level of nesting less, if there is one: what bounds the stack both ways.
fn deeper(depth: usize) -> Result<usize, ValueError> {
    depth.checked_sub(1).ok_or(ValueError::TooDeep)
}

fn put_dict(out: &mut Vec<u8>, dict: &Dict, depth: usize) -> Result<(), ValueError> {
    let depth = deeper(depth)?;
    put_len(out, dict.len());
    dict.iter().try_for_each(|(key, value)| {
        put_bytes(out, key.as_bytes());
        put_value(out, value, depth)
    })
}

fn put_value(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), ValueError> {
    match value {
        Value::Null => put_tag(out, NULL),
        Value::Bool(value) => {
            put_tag(out, BOOL);
            out.push(u8::from(*value));
        }
        Value::Int(value) => {
            put_tag(out, INT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Float(value) => {
            put_tag(out, FLOAT);
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Str(value) => {
            put_tag(out, STR);
            put_bytes(out, value.as_bytes());
        }
        Value::Bytes(value) => {
            put_tag(out, BYTES);
            put_bytes(out, value);
        }
        Value::List(values) => {
            let depth = deeper(depth)?;
            put_tag(out, LIST);
            put_len(out, values.len());
            values.iter().try_for_each(|value| put_value(out, value, depth))?;
        }
        Value::Dict(dict) => {
            put_tag(out, DICT);
            put_dict(out, dict, depth)?;
        }
    }
    Ok(())
}

fn put_tag(out: &mut Vec<u8>, tag: u32) {
    out.extend_from_slice(&tag.to_le_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    // Lossless: a usize has at most 64 bits on every platform there is.
    out.extend_from_slice(&(len as u64).to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_len(out, bytes.len());
    out.extend_from_slice(bytes);
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn dict(&mut self, depth: usize) -> Result<Dict, ValueError> {
        let depth = deeper(depth)?;
        let count = self.count(LEAST_ENTRY)?;
        let mut dict = Dict::new();
        let mut last: Option<&str> = None;
        for _ in 0..count {
            let key = self.text()?;
            // Strings are ordered by their bytes.
            if last.is_some_and(|last| last >= key) {
                return Err(ValueError::KeyOrder);
            }
            last = Some(key);
            let value = self.value(depth)?;
            dict.insert(key, value);
        }
        Ok(dict)
    }

    fn value(&mut self, depth: usize) -> Result<Value, ValueError> {
        Ok(match u32::from_le_bytes(self.array()?) {
            NULL => Value::Null,
            BOOL => match self.array()? {
                [0] => Value::Bool(false),
                [1] => Value::Bool(true),
                [other] => return Err(ValueError::BadBool(other)),
            },
            INT => Value::Int(i64::from_le_bytes(self.array()?)),
            FLOAT => Value::Float(f64::from_bits(u64::from_le_bytes(self.array()?))),
            STR => Value::Str(String::from(self.text()?)),
            BYTES => Value::Bytes(self.bytes()?.to_vec()),
            LIST => Value::List(self.list(depth)?),
            DICT => Value::Dict(self.dict(depth)?),
            other => return Err(ValueError::UnknownTag(other)),
        })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Value>, ValueError> {
        let depth = deeper(depth)?;
        let count = self.count(LEAST_VALUE)?;
        let mut values = Vec::with_capacity(count.min(AHEAD));
        for _ in 0..count {
            values.push(self.value(depth)?);
        }
        Ok(values)
    }

    /// A count of things that take at least `least` bytes each: never more than the rest can hold.
    fn count(&mut self, least: usize) -> Result<usize, ValueError> {
        let count = u64::from_le_bytes(self.array()?);
        usize::try_from(count)
            .ok()
            .filter(|&count| count <= self.rest.len() / least)
            .ok_or(ValueError::Truncated)
    }

    fn text(&mut self) -> Result<&'a str, ValueError> {
        core::str::from_utf8(self.bytes()?).map_err(|_| ValueError::NotUtf8)
    }

    fn bytes(&mut self) -> Result<&'a [u8], ValueError> {
        let len = self.count(1)?;
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ValueError::Truncated)?;
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ValueError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(ValueError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn every_kind() -> Dict {
        Dict::from([
            ("", Value::Null),
            ("bool", true.into()),
            ("bytes", vec![0_u8, 255].into()),
            ("dict", Dict::from([("k", Value::from(false))]).into()),
            ("float", (-0.5).into()),
            ("int", i64::MIN.into()),
            ("list", Value::from_iter([1, 2, 3])),
            ("str", "grüße".into()),
            ("ключ", Value::Null),
        ])
    }

    #[test]
    fn every_kind_survives() {
        let bytes = encode(&every_kind()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), every_kind());
    }

    #[test]
    fn p7_every_prefix_is_truncated_and_every_addition_is_trailing() {
        let bytes = encode(&every_kind()).unwrap();
        for end in 0..bytes.len() {
            assert_eq!(decode(&bytes[..end]), Err(ValueError::Truncated), "prefix of {end}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(decode(&longer), Err(ValueError::Trailing));
    }

    #[test]
    fn people_can_read_it() {
        let text = alloc::format!("{:?}", every_kind());
        assert!(text.contains(r#""bytes": b"\x00\xff""#), "{text}");
        assert!(text.contains(r#""list": [1, 2, 3]"#), "{text}");
    }

    #[test]
    fn depth_is_bounded_both_ways() {
        let nested = |lists: usize| {
            let mut value = Value::Null;
            for _ in 0..lists {
                value = Value::List(vec![value]);
            }
            Dict::from([("", value)])
        };
        let deepest = nested(Dict::MAX_DEPTH - 1);
        let bytes = encode(&deepest).unwrap();
        assert_eq!(decode(&bytes).unwrap(), deepest);
        assert_eq!(encode(&nested(Dict::MAX_DEPTH)), Err(ValueError::TooDeep));
        // One list more, by hand: behind the count, the empty key's length, there stands one more list of one.
        let more = [&bytes[..16], &6_u32.to_le_bytes(), &1_u64.to_le_bytes(), &bytes[16..]].concat();
        assert_eq!(decode(&more), Err(ValueError::TooDeep));
    }
}
