//! P1, in the types of a program: what each of serde's becomes in a dict, and that it comes back. And what does not fit.
#![allow(clippy::unwrap_used)]

mod dicts;

use dicts::any_dict;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::{IpAddr, Ipv4Addr};
use xxnet_core::pack::{ConvertError, ConvertReason, Dict, Value};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Wrapped<T>(T);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair(i64, String);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    name: String,
    size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Strict {
    #[serde(alias = "old")]
    new: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Shape {
    Point,
    Circle(u32),
    Line(i8, i8),
    Box { width: u8 },
}

fn list<const N: usize>(values: [Value; N]) -> Value {
    Value::List(values.into())
}

fn dict<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Dict(entries.into())
}

/// What `value` becomes, and that it is read back.
#[track_caller]
fn maps<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T, expected: impl Into<Value>) {
    let expected = expected.into();
    let got = Value::from_serialize(&value).unwrap();
    assert_eq!(got, expected, "{value:?} serialised");
    assert_eq!(got.deserialize::<T>().as_ref(), Ok(&value), "{value:?} read back");
    let within = Dict::from_serialize(&BTreeMap::from([("k", &value)])).unwrap();
    assert_eq!(within.get("k"), Some(&expected), "{value:?} in a map");
    assert_eq!(within.deserialize::<BTreeMap<String, T>>().unwrap()["k"], value);
}

/// What a value is read as that is not what the type becomes.
#[track_caller]
fn reads<T: DeserializeOwned + PartialEq + Debug>(value: impl Into<Value>, expected: T) {
    let value = value.into();
    assert_eq!(value.deserialize::<T>(), Ok(expected), "{value:?}");
}

#[track_caller]
fn refuses<T: DeserializeOwned + Debug>(value: impl Into<Value>, sentence: &str) {
    let value = value.into();
    let error = value.deserialize::<T>().unwrap_err();
    assert_eq!(error.to_string(), sentence, "{value:?}");
}

#[track_caller]
fn cannot_become<T: Serialize>(value: T, sentence: &str) {
    assert_eq!(Value::from_serialize(&value).unwrap_err().to_string(), sentence);
}

/// To the bytes that travel, and back.
fn through_the_wire(dict: &Dict) -> Dict {
    Dict::from_pack(&dict.to_pack().unwrap()).unwrap()
}

#[test]
fn p1_scalars_survive() {
    maps(true, true);
    maps(i8::MIN, Value::Int(-128));
    maps(i16::MIN, Value::Int(-32_768));
    maps(i32::MIN, Value::Int(-2_147_483_648));
    maps(i64::MIN, Value::Int(i64::MIN));
    maps(u8::MAX, Value::Int(255));
    maps(u16::MAX, Value::Int(65_535));
    maps(u32::MAX, Value::Int(4_294_967_295));
    maps(i64::MAX as u64, Value::Int(i64::MAX));
    maps(i128::from(i64::MIN), Value::Int(i64::MIN));
    maps(i64::MAX as u128, Value::Int(i64::MAX));
    maps(0.1_f32, Value::Float(f64::from(0.1_f32)));
    maps(0.1_f64, Value::Float(0.1));
    maps(f64::NEG_INFINITY, Value::Float(f64::NEG_INFINITY));
    maps('ф', "ф");
    maps(String::from("grüße"), "grüße");
    maps(ByteBuf::from(vec![0, 255]), vec![0, 255]);
    maps(IpAddr::from(Ipv4Addr::LOCALHOST), "127.0.0.1");
    assert!(Value::from_serialize(&f32::NAN).unwrap().as_float().unwrap().is_nan());
    assert!(Value::Float(f64::NAN).deserialize::<f32>().unwrap().is_nan());
    reads(3, 3.0_f64);
    reads(i64::MAX, 9_223_372_036_854_775_807.0_f32);
    // What serde's strings and bytes take besides.
    reads(vec![0x61], String::from("a"));
    refuses::<String>(vec![0xff], "bytes where a string is expected");
    reads("ab", ByteBuf::from(*b"ab"));
    reads(list([1.into(), 2.into()]), ByteBuf::from([1, 2]));
}

#[test]
fn integers_outside_of_64_bits_are_named() {
    cannot_become(1_u64 << 63, "a number of 9.223372036854775808e18 does not fit in 64 bits");
    cannot_become(
        u128::MAX,
        "a number of 3.40282366920938463463374607431768211455e38 does not fit in 64 bits",
    );
    let below = i128::from(i64::MIN) - 1;
    cannot_become(below, "a number of -9.223372036854775809e18 does not fit in 64 bits");
    #[derive(Serialize)]
    struct Jobs {
        jobs: Vec<BTreeMap<&'static str, u64>>,
    }
    let one = |size| BTreeMap::from([("size", size)]);
    let jobs = Jobs { jobs: vec![one(1), one(2), one(3), one(9_300_000_000_000_000_000)] };
    let error = Dict::from_serialize(&jobs).unwrap_err();
    assert_eq!(error.to_string(), "jobs[3].size: a number of 9.3e18 does not fit in 64 bits");
    let magnitude = 9_300_000_000_000_000_000;
    let reason = ConvertReason::DoesNotFit { negative: false, magnitude };
    assert_eq!(error, ConvertError { path: "jobs[3].size".into(), reason });
}

#[test]
fn p1_nothing_and_what_wraps_survive() {
    maps((), Value::Null);
    maps(Unit, Value::Null);
    maps(None::<u8>, Value::Null);
    maps(Some(5_u8), 5);
    maps(Wrapped(5_u8), 5);
    maps(Wrapped(Some(Wrapped(String::from("x")))), "x");
    // The layer that is lost.
    assert_eq!(Value::from_serialize(&Some(())).unwrap(), Value::Null);
    assert_eq!(Value::from_serialize(&Some(None::<u8>)).unwrap(), Value::Null);
    reads(Value::Null, None::<()>);
    reads(Value::Null, None::<Option<u8>>);
}

#[test]
fn p1_sequences_and_tuples_survive() {
    maps(Vec::<u8>::new(), list([]));
    maps(vec![1_u8, 2], list([1.into(), 2.into()]));
    maps((1_u8, String::from("x")), list([1.into(), "x".into()]));
    maps([true, false], list([true.into(), false.into()]));
    maps(Pair(-1, "x".into()), list([(-1).into(), "x".into()]));
    // As many as there are, whatever a type makes room for at first.
    let many: Vec<_> = (0..1000).collect();
    maps(many.clone(), Value::from_iter(many));
    reads(vec![1, 255], vec![1_u8, 255]);
    reads(vec![1, 255], [1_u8, 255]);
    refuses::<(u8, u8)>(list([1.into()]), "a length of 1 where a tuple of size 2 is expected");
    refuses::<(u8, u8)>(Value::from_iter([1, 2, 3]), "a length of 3 where no more than 2 is expected");
    refuses::<[u8; 2]>(vec![1, 2, 3], "a length of 3 where no more than 2 is expected");
    refuses::<Vec<String>>(vec![1], "[0]: the number 1 where a string is expected");
}

#[test]
fn p1_variants_survive() {
    maps(Shape::Point, "Point");
    maps(Shape::Circle(3), dict([("Circle", 3.into())]));
    maps(Shape::Line(1, -1), dict([("Line", list([1.into(), (-1).into()]))]));
    maps(Shape::Box { width: 7 }, dict([("Box", dict([("width", 7.into())]))]));
    maps(Some(Shape::Point), "Point");
    maps(Ok::<u8, String>(1), dict([("Ok", 1.into())]));
    reads(dict([("Point", Value::Null)]), Shape::Point);
    reads(dict([("Box", list([7.into()]))]), Shape::Box { width: 7 });
    let names = r#"there are ["Point", "Circle", "Line", "Box"]"#;
    refuses::<Shape>("Square", &format!(r#"no variant is called "Square"; {names}"#));
    refuses::<Shape>(dict([("", 1.into())]), &format!(r#"no variant is called ""; {names}"#));
    refuses::<Shape>("Circle", "unit variant where newtype variant is expected");
    refuses::<Shape>(5, "the number 5 where enum Shape is expected");
    refuses::<Shape>(dict([]), "a length of 0 where a dict of one variant is expected");
    let two = dict([("Circle", 3.into()), ("Point", Value::Null)]);
    refuses::<Shape>(two, "a length of 2 where a dict of one variant is expected");
    refuses::<Shape>(dict([("Point", 1.into())]), "Point: the number 1 where unit is expected");
    refuses::<Shape>(dict([("Circle", (-1).into())]), "Circle: the number -1 where u32 is expected");
    let line = dict([("Line", list([1.into(), 128.into()]))]);
    refuses::<Shape>(line, "Line[1]: the number 128 where i8 is expected");
    let short = dict([("Line", list([1.into()]))]);
    refuses::<Shape>(
        short,
        "Line: a length of 1 where tuple variant Shape::Line with 2 elements is expected",
    );
    refuses::<Shape>(dict([("Box", dict([]))]), r#"Box: the field "width" is missing"#);
    let not_a_struct = dict([("Box", 1.into())]);
    refuses::<Shape>(not_a_struct, "Box: the number 1 where struct variant Shape::Box is expected");
    // On the way in, too.
    #[derive(Serialize)]
    enum Large {
        New(u64),
        Tuple(u8, u64),
        Struct { size: u64 },
    }
    let does_not_fit = "a number of 1.8446744073709551615e19 does not fit in 64 bits";
    cannot_become(Large::New(u64::MAX), &format!("New: {does_not_fit}"));
    cannot_become(Large::Tuple(1, u64::MAX), &format!("Tuple[1]: {does_not_fit}"));
    cannot_become(Large::Struct { size: u64::MAX }, &format!("Struct.size: {does_not_fit}"));
}

#[test]
fn p1_structs_survive() {
    let job = Job { name: "sort".into(), size: Some(5) };
    maps(job.clone(), dict([("name", "sort".into()), ("size", 5.into())]));
    reads(dict([("name", "x".into())]), Job { name: "x".into(), size: None });
    let more = dict([("name", "sort".into()), ("size", 5.into()), ("zone", list([]))]);
    reads(more, job.clone());
    reads(list(["sort".into(), 5.into()]), job);
    reads(dict([("old", 1.into())]), Strict { new: 1 });
    refuses::<Job>(dict([]), r#"the field "name" is missing"#);
    refuses::<Job>(dict([("name", Value::Null)]), "name: null where a string is expected");
    refuses::<Job>(5, "the number 5 where struct Job is expected");
    refuses::<Strict>(dict([("x", 1.into())]), r#"no field is called "x"; there are ["new", "old"]"#);
    let both = dict([("new", 1.into()), ("old", 1.into())]);
    refuses::<Strict>(both, r#"the field "new" is there twice"#);
}

#[test]
fn p1_flattened_and_differently_tagged_types_survive() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Inside {
        Raw { data: ByteBuf },
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Outer {
        either: Vec<Either>,
        #[serde(flatten)]
        job: Job,
        #[serde(flatten)]
        rest: BTreeMap<String, f64>,
    }
    maps(
        Inside::Raw { data: ByteBuf::from([1, 2]) },
        dict([("kind", "raw".into()), ("data", vec![1, 2].into())]),
    );
    let outer = Outer {
        either: vec![Either::Number(1), Either::Text("x".into())],
        job: Job { name: "sort".into(), size: None },
        rest: BTreeMap::from([("more".into(), 0.5)]),
    };
    let either = list([1.into(), "x".into()]);
    let expected = [("either", either), ("name", "sort".into()), ("size", Value::Null), ("more", 0.5.into())];
    maps(outer, dict(expected.clone()));
    // A name that stands twice is not lost silently.
    let twice = Outer {
        either: vec![],
        job: Job { name: "sort".into(), size: None },
        rest: BTreeMap::from([("name".into(), 0.5)]),
    };
    cannot_become(twice, r#"two keys are both written "name""#);
    // Serde copies what is flattened before it reads it, so the path ends there.
    let mut wrong = Dict::from(expected);
    wrong.insert("more", "x");
    refuses::<Outer>(wrong, r#""x" where f64 is expected"#);
}

/// A map of one key.
fn keyed<K: Ord>(key: K) -> BTreeMap<K, u8> {
    BTreeMap::from([(key, 1)])
}

/// A map whose keys need no order.
struct Keys<K>(Vec<K>);

impl<K: Serialize> Serialize for Keys<K> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|key| (key, 1)))
    }
}

/// A float's bits in a key's order; reads and writes itself as the float.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FloatKey(u64);

impl<'de> Deserialize<'de> for FloatKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        f64::deserialize(deserializer).map(|value| Self(value.to_bits()))
    }
}

#[test]
fn p1_keys_that_print_as_strings_survive() {
    maps(BTreeMap::<String, u8>::new(), dict([]));
    maps(keyed(String::from("a b")), dict([("a b", 1.into())]));
    maps(keyed('ф'), dict([("ф", 1.into())]));
    maps(keyed(true), dict([("true", 1.into())]));
    maps(keyed(i8::MIN), dict([("-128", 1.into())]));
    maps(keyed(i16::MIN), dict([("-32768", 1.into())]));
    maps(keyed(i32::MIN), dict([("-2147483648", 1.into())]));
    maps(keyed(i64::MIN), dict([("-9223372036854775808", 1.into())]));
    maps(keyed(u8::MAX), dict([("255", 1.into())]));
    maps(keyed(u16::MAX), dict([("65535", 1.into())]));
    maps(keyed(u32::MAX), dict([("4294967295", 1.into())]));
    // A key has no 64 bits to fit in.
    maps(keyed(u64::MAX), dict([("18446744073709551615", 1.into())]));
    maps(keyed(u128::MAX), dict([("340282366920938463463374607431768211455", 1.into())]));
    maps(keyed(i128::MIN), dict([("-170141183460469231731687303715884105728", 1.into())]));
    maps(keyed(Shape::Point), dict([("Point", 1.into())]));
    maps(keyed(Wrapped(Wrapped(7_u8))), dict([("7", 1.into())]));
    let floats = Value::from_serialize(&Keys(vec![1.0, 0.1, -1e300])).unwrap();
    assert_eq!(floats, dict([("1.0", 1.into()), ("0.1", 1.into()), ("-1e300", 1.into())]));
    let read: BTreeMap<FloatKey, u8> = floats.deserialize().unwrap();
    assert!([1.0_f64, 0.1, -1e300].iter().all(|value| read.contains_key(&FloatKey(value.to_bits()))));
    assert_eq!(Value::from_serialize(&Keys(vec![0.1_f32])).unwrap(), dict([("0.1", 1.into())]));
}

#[test]
fn other_keys_are_refused() {
    let cannot = |found: &str| format!("{found} cannot be the key of a dict");
    cannot_become(keyed(()), &cannot("null"));
    cannot_become(Keys(vec![Unit]), &cannot("null"));
    cannot_become(keyed(None::<u8>), &cannot("an option"));
    cannot_become(keyed(Some(1)), &cannot("an option"));
    cannot_become(keyed(Bytes::new(b"k")), &cannot("bytes"));
    cannot_become(keyed(vec![1]), &cannot("a list"));
    cannot_become(keyed((1, 2)), &cannot("a list"));
    cannot_become(Keys(vec![Pair(1, String::new())]), &cannot("a list"));
    cannot_become(keyed(keyed(1)), &cannot("a dict"));
    cannot_become(Keys(vec![Strict { new: 1 }]), &cannot("a dict"));
    cannot_become(keyed(Shape::Circle(1)), &cannot("a variant with data"));
    cannot_become(keyed(Shape::Line(1, 1)), &cannot("a variant with data"));
    cannot_become(keyed(Shape::Box { width: 1 }), &cannot("a variant with data"));
    cannot_become(Keys(vec![f64::NAN]), &cannot("a float that is not finite"));
    cannot_become(Keys(vec![f32::INFINITY]), &cannot("a float that is not finite"));
    cannot_become(BTreeMap::from([("at", keyed(()))]), &format!("at: {}", cannot("null")));
    // Nothing is lost silently.
    cannot_become(Keys(vec!["a", "b", "a"]), r#"two keys are both written "a""#);
}

#[test]
fn a_key_is_read_from_its_one_spelling() {
    for key in ["+1", "01", "-0", "1.0", "1e0", " 1", "", "x", "256", "-1", "１"] {
        let sentence = format!("{key:?} where u8 is expected");
        refuses::<BTreeMap<u8, u8>>(dict([(key, 1.into())]), &sentence);
    }
    refuses::<BTreeMap<bool, u8>>(dict([("True", 1.into())]), r#""True" where a boolean is expected"#);
    refuses::<BTreeMap<char, u8>>(dict([("ab", 1.into())]), r#""ab" where a character is expected"#);
    refuses::<BTreeMap<FloatKey, u8>>(dict([("inf", 1.into())]), r#""inf" where f64 is expected"#);
    refuses::<BTreeMap<(), u8>>(dict([("", 1.into())]), r#""" where unit is expected"#);
    reads(dict([("1", 1.into())]), BTreeMap::from([(Some(1), 1)]));
}

#[test]
fn text_and_bytes_are_borrowed() {
    #[derive(Deserialize)]
    struct Borrowed<'a> {
        text: &'a str,
        bytes: &'a [u8],
        by_name: BTreeMap<&'a str, Option<&'a str>>,
    }
    let by_name = dict([("k", "v".into()), ("none", Value::Null)]);
    let dict = Dict::from([("text", "grüße".into()), ("bytes", vec![1, 2].into()), ("by_name", by_name)]);
    let read: Borrowed<'_> = dict.deserialize().unwrap();
    assert!(std::ptr::eq(read.text, dict.get("text").unwrap().as_str().unwrap()));
    assert!(std::ptr::eq(read.bytes, dict.get("bytes").unwrap().as_bytes().unwrap()));
    assert_eq!(read.by_name, BTreeMap::from([("k", Some("v")), ("none", None)]));
}

#[test]
fn what_is_no_dict_is_named() {
    let names = [
        (Value::from_serialize(&()), "null"),
        (Value::from_serialize(&true), "true"),
        (Value::from_serialize(&-5), "the number -5"),
        (Value::from_serialize(&1.0), "the number 1.0"),
        (Value::from_serialize("text"), r#""text""#),
        (Value::from_serialize(Bytes::new(b"x")), "bytes"),
        (Value::from_serialize(&[1]), "a list"),
    ];
    for (value, name) in names {
        let error = Dict::from_serialize(&value.unwrap()).unwrap_err();
        assert_eq!(error.to_string(), format!("{name} where a dict is expected"));
    }
    assert_eq!(Dict::from_serialize(&Wrapped(Some(keyed("k")))), Ok(Dict::from([("k", 1.into())])));
}

#[test]
fn errors_name_the_path_whatever_the_keys() {
    let wrong = |key: &str| dict([(key, dict([("k", list([1.into(), "x".into()]))]))]);
    let path = |key: &str| {
        let error = wrong(key).deserialize::<BTreeMap<String, BTreeMap<String, Vec<u8>>>>().unwrap_err();
        assert_eq!(error.reason.to_string(), r#""x" where u8 is expected"#);
        error.path
    };
    assert_eq!(path("a-b_c"), "a-b_c.k[1]");
    assert_eq!(path("ключ"), "ключ.k[1]");
    assert_eq!(path("a.b"), r#"["a.b"].k[1]"#);
    assert_eq!(path(""), r#"[""].k[1]"#);
    assert_eq!(path("a\"\n\u{1b}[2J"), r#"["a\"\n\u{1b}[2J"].k[1]"#);
}

#[test]
fn p7_errors_stay_short_whatever_a_peer_sent() {
    let long = "ф".repeat(1 << 20);
    let cut = format!("{}…", "ф".repeat(60));
    refuses::<u8>(long.clone(), &format!("{cut:?} where u8 is expected"));
    refuses::<Shape>(
        long.clone(),
        &format!(r#"no variant is called "{cut}"; there are ["Point", "Circle", "Line", "Box"]"#),
    );
    let keyed = dict([(&long, 300.into())]);
    refuses::<BTreeMap<String, u8>>(keyed.clone(), &format!("{cut}: the number 300 where u8 is expected"));
    refuses::<BTreeMap<u8, u8>>(keyed.clone(), &format!("{cut:?} where u8 is expected"));
    refuses::<Strict>(keyed, &format!(r#"no field is called "{cut}"; there are ["new", "old"]"#));
    // Sixty characters are not cut.
    refuses::<u8>("ф".repeat(60), &format!("{:?} where u8 is expected", "ф".repeat(60)));
}

#[test]
fn what_a_type_itself_says_has_its_path() {
    let value = dict([("peers", list(["127.0.0.1".into(), "nowhere".into()]))]);
    let error = value.deserialize::<BTreeMap<String, Vec<IpAddr>>>().unwrap_err();
    assert_eq!(error.path, "peers[1]");
    assert_eq!(error.reason, ConvertReason::Other("invalid IP address syntax".into()));
    struct Stubborn;
    impl Serialize for Stubborn {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    cannot_become(BTreeMap::from([("k", [Stubborn])]), "k[0]: no");
}

#[test]
fn types_that_break_serdes_rules_are_refused() {
    struct ValueFirst;
    impl Serialize for ValueFirst {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_value(&1)?;
            map.end()
        }
    }
    cannot_become(ValueFirst, "a map gave a value before its key");
    /// Takes one key, or asks for a value at once.
    #[derive(Debug)]
    struct First<const KEY: bool>;
    impl<'de, const KEY: bool> Visitor<'de> for First<KEY> {
        type Value = Self;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            if KEY {
                map.next_key::<IgnoredAny>()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            Ok(self)
        }
    }
    impl<'de, const KEY: bool> Deserialize<'de> for First<KEY> {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Self)
        }
    }
    let two = dict([("a", 1.into()), ("b", 2.into())]);
    refuses::<First<true>>(two.clone(), "a length of 2 where no more than 1 is expected");
    refuses::<First<false>>(two, "a map's value was asked for before its key");
}

/// Lists within one another: `Nest(vec![Nest(vec![])])` are two.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Nest(Vec<Self>);

/// `levels` lists within one another.
fn nest(levels: usize) -> Nest {
    (1..levels).fold(Nest(vec![]), |inner, _| Nest(vec![inner]))
}

/// A type of options and newtypes alone.
#[derive(Debug, Serialize, Deserialize)]
struct Onion(Option<Box<Self>>);

#[test]
fn p1_nested_types_survive_as_deep_as_allowed_and_no_deeper() {
    let deepest = Value::from_serialize(&nest(Dict::MAX_DEPTH)).unwrap();
    assert_eq!(deepest.deserialize::<Nest>(), Ok(nest(Dict::MAX_DEPTH)));
    let path = "[0]".repeat(Dict::MAX_DEPTH);
    let too_deep = format!("{path}: lists and dicts nest more than 64 deep");
    cannot_become(nest(Dict::MAX_DEPTH + 1), &too_deep);
    // One that was made by hand.
    let deeper = (0..=Dict::MAX_DEPTH).fold(Value::List(vec![]), |inner, _| list([inner]));
    refuses::<Nest>(deeper.clone(), &too_deep);
    cannot_become(&deeper, &too_deep);
    assert_eq!(deeper.deserialize::<IgnoredAny>().map(drop), Ok(()));
    // In a dict, each kind of variant counts its own dict: one that fits and one that does not.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Tower {
        Top,
        New(Box<Self>),
        Pair(u8, Box<Self>),
        Floor { inner: Box<Self> },
    }
    let floors: [fn(Tower) -> Tower; 3] = [
        |inner| Tower::New(inner.into()),
        |inner| Tower::Pair(1, inner.into()),
        |inner| Tower::Floor { inner: inner.into() },
    ];
    for (levels, floor) in [1, 2, 2].into_iter().zip(floors) {
        let tower = |floors: usize| (0..floors).fold(Tower::Top, |inner, _| floor(inner));
        let highest = || tower(Dict::MAX_DEPTH / levels);
        let dict = Dict::from_serialize(&highest()).unwrap();
        assert_eq!(through_the_wire(&dict).deserialize(), Ok(highest()));
        let error = Dict::from_serialize(&floor(highest())).unwrap_err();
        assert_eq!(error.reason, ConvertReason::TooDeep);
        // One list more: the limit may fall between a variant's dict and what is in it.
        assert_eq!(Value::from_serialize(&[highest()]).unwrap_err().reason, ConvertReason::TooDeep);
        let shifted = list([dict.into()]);
        assert_eq!(shifted.deserialize::<(Tower,)>().unwrap_err().reason, ConvertReason::TooDeep);
    }
}

#[test]
fn p7_what_wraps_without_end_is_refused() {
    let onion = |layers: usize| (0..layers).fold(Onion(None), |inner, _| Onion(Some(Box::new(inner))));
    assert_eq!(Value::from_serialize(&onion(60)), Ok(Value::Null));
    cannot_become(onion(64), "options and newtypes nest more than 128 deep");
    cannot_become(onion(10_000), "options and newtypes nest more than 128 deep");
    // Nothing in the value would ever end this.
    refuses::<Onion>(1, "options and newtypes nest more than 128 deep");
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
    struct Key(Option<Box<Self>>);
    let key = dict([("k", 1.into())]);
    refuses::<BTreeMap<Key, u8>>(key, "options and newtypes nest more than 128 deep");
    // Nor this, with no option in it: there is no such value at all.
    #[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
    struct Endless(Box<Self>);
    refuses::<Endless>(1, "options and newtypes nest more than 128 deep");
    let key = dict([("k", 1.into())]);
    refuses::<BTreeMap<Endless, u8>>(key, "options and newtypes nest more than 128 deep");
    // An option and a newtype at every level leave room.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Level(Vec<Option<Self>>);
    let level = (1..Dict::MAX_DEPTH).fold(Level(vec![]), |inner, _| Level(vec![Some(inner)]));
    let value = Value::from_serialize(&level).unwrap();
    assert_eq!(value.deserialize(), Ok(level));
}

#[test]
fn p1_an_empty_type_survives() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Empty {}
    let dict = Dict::from_serialize(&Empty {}).unwrap();
    assert_eq!(dict, Dict::new());
    assert_eq!(through_the_wire(&dict).deserialize(), Ok(Empty {}));
    assert_eq!(dict.deserialize(), Ok(BTreeMap::<String, u8>::new()));
}

#[test]
fn p1_the_largest_type_survives() {
    let bytes = ByteBuf::from(vec![7; 4 << 20]);
    let many: BTreeMap<u32, String> = (0..50_000).map(|n| (n, format!("ключ {n}"))).collect();
    let whole = BTreeMap::from([("k", (bytes, many))]);
    let dict = through_the_wire(&Dict::from_serialize(&whole).unwrap());
    assert_eq!(dict.deserialize(), Ok(whole));
}

/// Every kind of type, within one another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct All {
    unit: Unit,
    truth: bool,
    ints: (i8, u16, i32, i64),
    wide: Option<i128>,
    // Every bit pattern but NaN, which equals nothing.
    floats: [f64; 2],
    half: f32,
    letter: char,
    text: String,
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    numbers: Vec<u8>,
    shapes: Vec<Shape>,
    by_number: BTreeMap<i64, Wrapped<Option<String>>>,
    by_text: BTreeMap<String, Self>,
    pair: Pair,
}

fn any_shape() -> impl Strategy<Value = Shape> {
    prop_oneof![
        Just(Shape::Point),
        any::<u32>().prop_map(Shape::Circle),
        any::<(i8, i8)>().prop_map(|(a, b)| Shape::Line(a, b)),
        any::<u8>().prop_map(|width| Shape::Box { width }),
    ]
}

fn any_all() -> impl Strategy<Value = All> {
    let floats = prop::num::f64::ANY.prop_filter("NaN", |value| !value.is_nan());
    let half = prop::num::f32::ANY.prop_filter("NaN", |value| !value.is_nan());
    let wide = prop::option::of(any::<i64>().prop_map(i128::from));
    let scalars = (any::<bool>(), any::<(i8, u16, i32, i64)>(), wide, [floats.clone(), floats], half);
    let texts = (any::<char>(), any::<String>(), vec(any::<u8>(), 0..9), vec(any::<u8>(), 0..9));
    let text = || prop::option::of(any::<String>()).prop_map(Wrapped);
    let many = (vec(any_shape(), 0..5), btree_map(any::<i64>(), text(), 0..5), any::<(i64, String)>());
    let leaf = (scalars, texts, many).prop_map(
        |(
            (truth, ints, wide, floats, half),
            (letter, text, bytes, numbers),
            (shapes, by_number, (number, name)),
        )| All {
            unit: Unit,
            truth,
            ints,
            wide,
            floats,
            half,
            letter,
            text,
            bytes,
            numbers,
            shapes,
            by_number,
            by_text: BTreeMap::new(),
            pair: Pair(number, name),
        },
    );
    let leaf = leaf.boxed();
    leaf.clone().prop_recursive(3, 8, 3, move |inner| {
        (leaf.clone(), btree_map(any::<String>(), inner, 0..3))
            .prop_map(|(all, by_text)| All { by_text, ..all })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn p1_any_type_survives_as_a_dict(all in any_all()) {
        let dict = Dict::from_serialize(&all).unwrap();
        prop_assert_eq!(through_the_wire(&dict).deserialize::<All>(), Ok(all));
    }

    #[test]
    fn p1_any_dict_serializes_to_itself(dict in any_dict()) {
        let again = Dict::from_serialize(&dict).unwrap();
        // By bytes, because a NaN equals nothing.
        prop_assert_eq!(again.encode().unwrap(), dict.encode().unwrap());
    }

    #[test]
    fn p7_any_dict_is_read_as_any_type_or_refused(dict in any_dict()) {
        prop_assert!(dict.deserialize::<IgnoredAny>().is_ok());
        let _ = dict.deserialize::<All>();
        let _ = dict.deserialize::<Job>();
        let _ = dict.deserialize::<Shape>();
        let _ = dict.deserialize::<Onion>();
        let _ = dict.deserialize::<BTreeMap<u8, Nest>>();
        for (key, value) in &dict {
            let single = Dict::from([(key.as_str(), value.clone())]);
            // Where a value does not fit, the path says so.
            if let Err(error) = single.deserialize::<BTreeMap<String, Vec<Shape>>>() {
                prop_assert!(!error.path.is_empty(), "{}", error);
            }
            if let Ok(number) = value.deserialize::<u16>() {
                prop_assert_eq!(value, &Value::from_serialize(&number).unwrap());
            }
            if let Ok(text) = value.deserialize::<&str>() {
                prop_assert!(value.as_str() == Some(text) || value.as_bytes() == Some(text.as_bytes()));
            }
        }
    }
}
