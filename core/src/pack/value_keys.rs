//! The keys of dicts: what prints as a string becomes one, and is read from it. [`Dict::from_serialize`] states the rules.
//!
//! [`Dict::from_serialize`]: super::Dict::from_serialize

use super::value_convert::{ConvertError, ConvertReason, Depth};
use alloc::string::{String, ToString};
use core::str::FromStr;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{Deserializer, Error as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde::ser::{Impossible, Serialize, Serializer};

/// The key of a map, as the string that it prints as.
pub(super) struct KeySerializer {
    pub(super) depth: Depth,
}

/// Methods for what prints as itself.
macro_rules! print_key {
    ($($method:ident($type:ty))*) => {
        $(fn $method(self, value: $type) -> Result<String, ConvertError> {
            Ok(value.to_string())
        })*
    };
}

/// Methods for what has no place in a key.
macro_rules! refuse_key {
    ($found:literal: $($method:ident($($type:ty),*) -> $ok:ty;)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<$ok, ConvertError> {
            Err(ConvertReason::BadKey($found).into())
        })*
    };
}

type NoKey = Impossible<String, ConvertError>;

impl Serializer for KeySerializer {
    type Ok = String;
    type Error = ConvertError;
    type SerializeSeq = NoKey;
    type SerializeTuple = NoKey;
    type SerializeTupleStruct = NoKey;
    type SerializeTupleVariant = NoKey;
    type SerializeMap = NoKey;
    type SerializeStruct = NoKey;
    type SerializeStructVariant = NoKey;

    print_key! {
        serialize_bool(bool) serialize_char(char) serialize_str(&str)
        serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
    }

    fn serialize_f32(self, value: f32) -> Result<String, ConvertError> {
        finite(value.is_finite(), &value)
    }

    fn serialize_f64(self, value: f64) -> Result<String, ConvertError> {
        finite(value.is_finite(), &value)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<String, ConvertError> {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<String, ConvertError> {
        value.serialize(Self { depth: self.depth.wrapped()? })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<String, ConvertError> {
        Err(ConvertReason::BadKey("an option").into())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<String, ConvertError> {
        Err(ConvertReason::BadKey("a variant with data").into())
    }

    refuse_key! { "an option": serialize_none() -> String; }
    refuse_key! { "bytes": serialize_bytes(&[u8]) -> String; }
    refuse_key! { "null": serialize_unit() -> String; serialize_unit_struct(&'static str) -> String; }
    refuse_key! { "a list":
        serialize_seq(Option<usize>) -> NoKey;
        serialize_tuple(usize) -> NoKey;
        serialize_tuple_struct(&'static str, usize) -> NoKey;
    }
    refuse_key! { "a variant with data":
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> NoKey;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> NoKey;
    }
    refuse_key! { "a dict":
        serialize_map(Option<usize>) -> NoKey;
        serialize_struct(&'static str, usize) -> NoKey;
    }
}

/// With its point or exponent, as JSON has floats: 1.0 and 1 are different keys.
fn finite(finite: bool, value: &dyn core::fmt::Debug) -> Result<String, ConvertError> {
    let not_finite = ConvertReason::BadKey("a float that is not finite");
    if finite { Ok(alloc::format!("{value:?}")) } else { Err(not_finite.into()) }
}

/// A key, read as whatever prints as it.
pub(super) struct KeyDeserializer<'de> {
    pub(super) key: &'de str,
    pub(super) depth: Depth,
}

impl<'de> KeyDeserializer<'de> {
    fn wrapped(self) -> Result<Self, ConvertError> {
        Ok(Self { depth: self.depth.wrapped()?, ..self })
    }

    fn parsed<T: FromStr, V: Visitor<'de>>(
        &self,
        fits: impl FnOnce(&T) -> bool,
        visitor: &V,
    ) -> Result<T, ConvertError> {
        let unfit = || ConvertError::invalid_type(Unexpected::Str(self.key), visitor);
        self.key.parse().ok().filter(fits).ok_or_else(unfit)
    }
}

/// Methods for what is parsed, and must print as the key again.
macro_rules! parse_key {
    ($($deserialize:ident $visit:ident)*) => {
        $(fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
            let value = self.parsed(|value| same(value, self.key), &visitor)?;
            visitor.$visit(value)
        })*
    };
}

fn same(value: &impl ToString, key: &str) -> bool {
    value.to_string() == key
}

impl<'de> Deserializer<'de> for KeyDeserializer<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_borrowed_str(self.key)
    }

    parse_key! {
        deserialize_bool visit_bool
        deserialize_i8 visit_i8
        deserialize_i16 visit_i16
        deserialize_i32 visit_i32
        deserialize_i64 visit_i64
        deserialize_i128 visit_i128
        deserialize_u8 visit_u8
        deserialize_u16 visit_u16
        deserialize_u32 visit_u32
        deserialize_u64 visit_u64
        deserialize_u128 visit_u128
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        let value = self.parsed(|value: &f32| value.is_finite(), &visitor)?;
        visitor.visit_f32(value)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        let value = self.parsed(|value: &f64| value.is_finite(), &visitor)?;
        visitor.visit_f64(value)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_some(self.wrapped()?)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self.wrapped()?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_enum(BorrowedStrDeserializer::new(self.key))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
