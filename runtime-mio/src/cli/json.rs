//! Messages as JSON, one object a line: what `listen` prints, and `send` reads.

use serde::Serialize;
use serde_json::Value as Json;
use std::fmt;
use xxnet_core::Dict;
use xxnet_core::pack::Value;
use xxnet_runtime_mio::messages::{Message, Payload};

/// A message that has come, as `listen` prints it; one of the last three is there.
#[derive(Debug, Serialize)]
struct Line<'a> {
    from: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Json>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<String>,
}

/// The line of a message, with its end.
pub(crate) fn line_of(message: &Message) -> Vec<u8> {
    let (from, bytes) = (message.from().to_string(), message.bytes());
    let mut line = Line { from: &from, name: message.name(), data: None, text: None, raw: None };
    match message.is_dict().then(|| message.dict()) {
        Some(Ok(dict)) => line.data = Some(json_of_dict(&dict)),
        // A dict that is none is shown as the bytes that it is.
        Some(Err(_)) => line.raw = Some(base64(&bytes)),
        None => match std::str::from_utf8(&bytes) {
            Ok(text) => line.text = Some(text),
            Err(_) => line.raw = Some(base64(&bytes)),
        },
    }
    // Strings and JSON values alone: nothing of it can fail.
    let mut text = serde_json::to_vec(&line).unwrap_or_default();
    text.push(b'\n');
    text
}

/// What was to be sent, as the line that `send` had read, with its end.
pub(crate) fn sent_line(payload: &Payload) -> Vec<u8> {
    match payload {
        Payload::Dict(dict) => format!("{}\n", json_of_dict(dict)).into_bytes(),
        Payload::Raw(bytes) => [bytes, &b"\n"[..]].concat(),
    }
}

fn json_of_dict(dict: &Dict) -> Json {
    dict.iter().map(|(key, value)| (key.to_owned(), json_of(value))).collect()
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => (*value).into(),
        Value::Int(value) => (*value).into(),
        // JSON has no NaN and no infinity: they are null.
        Value::Float(value) => (*value).into(),
        Value::Str(text) => text.as_str().into(),
        Value::Bytes(bytes) => serde_json::json!({ "base64": base64(bytes) }),
        Value::List(values) => values.iter().map(json_of).collect(),
        Value::Dict(dict) => json_of_dict(dict),
    }
}

/// Why a text is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoMessage {
    /// Within the text, from 1; 0 if it is about the whole.
    line: usize,
    column: usize,
    what: String,
}

impl NoMessage {
    fn whole(what: impl Into<String>) -> Self {
        Self { line: 0, column: 0, what: what.into() }
    }

    /// Says where it is: `place` names the text, which is line `first` of what it stands in.
    pub(crate) fn at(&self, place: &str, first: usize) -> String {
        match self.line {
            0 => format!("{place} {first}: {self}"),
            1 => format!("{place} {first}, column {}: {self}", self.column),
            line => format!("{place} {first}, line {line}, column {}: {self}", self.column),
        }
    }
}

impl fmt::Display for NoMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// The dict that a JSON object stands for.
///
/// # Errors
/// It is no JSON, no object, or has a number that a dict has not.
pub(crate) fn dict_of(text: &[u8]) -> Result<Dict, NoMessage> {
    let value: Json = serde_json::from_slice(text).map_err(|error| {
        let what = error.to_string();
        let what = what.split(" at line ").next().unwrap_or(&what).to_owned();
        NoMessage { line: error.line(), column: error.column(), what: format!("no JSON: {what}") }
    })?;
    if !value.is_object() {
        return Err(NoMessage::whole("a message is a JSON object, like {\"answer\": 42}"));
    }
    Dict::from_serialize(&value).map_err(|error| NoMessage::whole(error.to_string()))
}

/// As RFC 4648 has it, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let at = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= three.len() { char::from(DIGITS[at]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_as_a_dict() {
        let text = r#"{"a":null,"b":[true,-1,1.5,"ü"],"c":{"d":{}},"e":9223372036854775807,"f":1.0}"#;
        let dict = dict_of(text.as_bytes()).unwrap();
        assert_eq!(dict.get("e"), Some(&i64::MAX.into()));
        assert_eq!(dict.get("f"), Some(&Value::Float(1.0)));
        assert_eq!(json_of_dict(&dict).to_string(), text);
    }

    #[test]
    fn what_json_has_not_is_shown() {
        let dict = Dict::from([("bytes", vec![0xff_u8, 0].into()), ("nan", f64::NAN.into())]);
        assert_eq!(json_of_dict(&dict).to_string(), r#"{"bytes":{"base64":"/wA="},"nan":null}"#);
    }

    #[test]
    fn what_is_no_message_says_where() {
        let told = |text: &str| dict_of(text.as_bytes()).unwrap_err().at("line", 7);
        assert_eq!(told(r#"{"a": }"#), "line 7, column 7: no JSON: expected value");
        assert_eq!(told("{\"a\":\n 1,}"), "line 7, line 2, column 4: no JSON: trailing comma");
        assert_eq!(told("{} {}"), "line 7, column 4: no JSON: trailing characters");
        assert_eq!(told("[1]"), "line 7: a message is a JSON object, like {\"answer\": 42}");
        let large = r#"{"a": [18446744073709551615]}"#;
        assert_eq!(told(large), "line 7: a[0]: a number of 1.8446744073709551615e19 does not fit in 64 bits");
    }

    #[test]
    fn base64_as_the_rfc_has_it() {
        let texts = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (length, text) in texts.iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..length]), *text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
