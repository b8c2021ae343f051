//! Any serde type to a value; [`Dict::from_serialize`] has the table. And values to any serde format, for printing.

use super::value::{Dict, Value};
use super::value_convert::{ConvertError, ConvertReason, Depth};
use super::value_de::unexpected;
use super::value_keys::KeySerializer;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::de::Error as _;
use serde::ser::{Serialize, Serializer};

/// Elements that a list gets room for on a type's word.
const AHEAD: usize = 16;

impl Dict {
    /// The dict that a struct, a map or a variant with data becomes.
    ///
    /// ```
    /// use xxnet_core::pack::{Dict, Value};
    ///
    /// #[derive(serde::Serialize)]
    /// struct Job {
    ///     name: String,
    ///     sizes: Vec<u32>,
    ///     owner: Option<String>,
    /// }
    ///
    /// let dict = Dict::from_serialize(&Job { name: "sort".into(), sizes: vec![1, 2], owner: None })?;
    /// let same = Dict::from([
    ///     ("name", "sort".into()),
    ///     ("sizes", Value::from_iter([1, 2])),
    ///     ("owner", ().into()),
    /// ]);
    /// assert_eq!(dict, same);
    /// # Ok::<(), xxnet_core::pack::ConvertError>(())
    /// ```
    ///
    /// What serde's types become, and what [`deserialize`](Self::deserialize) reads as them:
    ///
    /// | type | value | read from |
    /// | --- | --- | --- |
    /// | `bool` | `Bool` | `Bool` |
    /// | integers | `Int`; outside of `i64`: [`DoesNotFit`](ConvertReason::DoesNotFit) | `Int` within the type's range |
    /// | `f32`, `f64` | `Float`, exactly; `NaN` and infinities too | `Float`; `Int`, rounded to the type |
    /// | `char` | `Str` of one character | the same |
    /// | strings | `Str` | `Str`, which `&str` borrows; `Bytes` that are UTF-8 |
    /// | bytes (`serde_bytes`) | `Bytes` | `Bytes`, which `&[u8]` borrows; `Str`; `List` of numbers, if they are owned |
    /// | `None`, `()`, unit struct | `Null` | `Null` |
    /// | `Some(x)`, newtype struct | what `x` becomes | what `x` is read from |
    /// | unit variant `V` | `Str` `"V"` | the same, or `{"V": null}` |
    /// | newtype variant `V(x)` | `Dict` `{"V": x}` | the same |
    /// | tuple variant `V(x, y)` | `Dict` `{"V": [x, y]}` | the same |
    /// | struct variant `V { f: x }` | `Dict` `{"V": {"f": x}}` | the same |
    /// | sequence (`Vec<u8>` too) | `List` | `List`; `Bytes`, as numbers |
    /// | tuple, array, tuple struct | `List` | `List` or `Bytes` of that length |
    /// | map | `Dict`, keys as below | `Dict` |
    /// | struct | `Dict` | `Dict`; a missing field is `None` or an error, others are ignored if the type lets them; `List` of the fields in order |
    ///
    /// A key is a string. Integers of any size, finite floats, `bool`, `char`, unit variants and newtype structs of
    /// these are keys by what they print as, and are read back; two keys of one map that print the same are
    /// [`RepeatedKey`](ConvertReason::RepeatedKey), any other kind of key is [`BadKey`](ConvertReason::BadKey). An integer
    /// is read only from its one spelling: neither `"+1"` nor `"01"` is 1.
    ///
    /// An option of what becomes `Null` loses a layer: `Some(())` and `Some(None)` are read back as `None`.
    ///
    /// Types that look different to people and to machines (addresses, times) choose the people's side, as they do in
    /// JSON.
    ///
    /// As in [`decode`](Self::decode), at most [`MAX_DEPTH`](Self::MAX_DEPTH) lists and dicts stand within one another, a
    /// variant's `{"V": …}` counted; and at most twice as many options and newtype structs. Nothing else bounds a dict's
    /// size but the pack it travels in.
    ///
    /// # Errors
    /// [`ConvertError`], with the path, for what has no place in the table, and for what becomes another value than a dict.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConvertError> {
        match Value::from_serialize(value)? {
            Value::Dict(dict) => Ok(dict),
            other => Err(ConvertError::invalid_type(unexpected(&other), &"a dict")),
        }
    }
}

impl Value {
    /// The value that anything becomes, by the table of [`Dict::from_serialize`].
    ///
    /// # Errors
    /// [`ConvertError`], with the path, for what has no place in the table.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self, ConvertError> {
        value.serialize(ValueSerializer { depth: Depth::MAX })
    }
}

/// To print a value, as JSON say: bytes go to `serialize_bytes`, which JSON has as a list of numbers.
///
/// A value cannot be deserialised from a format, so no message can hold one: messages are both, and a dict has one encoding,
/// [`Dict::encode`].
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Str(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::List(values) => serializer.collect_seq(values),
            Self::Dict(dict) => dict.serialize(serializer),
        }
    }
}

/// To print a dict, as [`Value`] is.
impl Serialize for Dict {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self)
    }
}

struct ValueSerializer {
    depth: Depth,
}

/// Methods for what is a value as it stands.
macro_rules! become_value {
    ($($method:ident($type:ty) |$value:ident| $made:expr;)*) => {
        $(fn $method(self, $value: $type) -> Result<Value, ConvertError> {
            Ok($made)
        })*
    };
}

impl Serializer for ValueSerializer {
    type Ok = Value;
    type Error = ConvertError;
    type SerializeSeq = ListSerializer;
    type SerializeTuple = ListSerializer;
    type SerializeTupleStruct = ListSerializer;
    type SerializeTupleVariant = ListSerializer;
    type SerializeMap = DictSerializer;
    type SerializeStruct = DictSerializer;
    type SerializeStructVariant = DictSerializer;

    become_value! {
        serialize_bool(bool) |value| value.into();
        serialize_i8(i8) |value| value.into();
        serialize_i16(i16) |value| value.into();
        serialize_i32(i32) |value| value.into();
        serialize_i64(i64) |value| value.into();
        serialize_u8(u8) |value| value.into();
        serialize_u16(u16) |value| value.into();
        serialize_u32(u32) |value| value.into();
        serialize_u64(u64) |value| integer(value.into())?;
        serialize_u128(u128) |value| integer(value)?;
        serialize_f32(f32) |value| value.into();
        serialize_f64(f64) |value| value.into();
        serialize_char(char) |value| value.to_string().into();
        serialize_str(&str) |value| value.into();
        serialize_bytes(&[u8]) |value| value.into();
        serialize_unit_struct(&'static str) |_name| Value::Null;
    }

    fn serialize_i128(self, value: i128) -> Result<Value, ConvertError> {
        let does_not_fit =
            ConvertReason::DoesNotFit { negative: value.is_negative(), magnitude: value.unsigned_abs() };
        Ok(i64::try_from(value).map_err(|_| does_not_fit)?.into())
    }

    fn serialize_unit(self) -> Result<Value, ConvertError> {
        Ok(Value::Null)
    }

    fn serialize_none(self) -> Result<Value, ConvertError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Value, ConvertError> {
        value.serialize(Self { depth: self.depth.wrapped()? })
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<Value, ConvertError> {
        self.serialize_some(value)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ConvertError> {
        Ok(variant.into())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<Value, ConvertError> {
        let depth = self.depth.deeper()?;
        let value = value.serialize(Self { depth }).map_err(|error| error.under_key(variant))?;
        Ok(under_variant(Some(variant), value))
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<ListSerializer, ConvertError> {
        let values = Vec::with_capacity(len.unwrap_or(0).min(AHEAD));
        Ok(ListSerializer { variant: None, values, depth: self.depth.deeper()? })
    }

    fn serialize_tuple(self, len: usize) -> Result<ListSerializer, ConvertError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<ListSerializer, ConvertError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<ListSerializer, ConvertError> {
        let depth = self.depth.deeper()?;
        let list = Self { depth }.serialize_seq(Some(len)).map_err(|error| error.under_key(variant))?;
        Ok(ListSerializer { variant: Some(variant), ..list })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<DictSerializer, ConvertError> {
        Ok(DictSerializer { variant: None, dict: Dict::new(), key: None, depth: self.depth.deeper()? })
    }

    fn serialize_struct(self, _name: &'static str, len: usize) -> Result<DictSerializer, ConvertError> {
        self.serialize_map(Some(len))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<DictSerializer, ConvertError> {
        let depth = self.depth.deeper()?;
        let dict = Self { depth }.serialize_map(Some(len)).map_err(|error| error.under_key(variant))?;
        Ok(DictSerializer { variant: Some(variant), ..dict })
    }
}

fn integer(value: u128) -> Result<Value, ConvertReason> {
    let does_not_fit = ConvertReason::DoesNotFit { negative: false, magnitude: value };
    Ok(i64::try_from(value).map_err(|_| does_not_fit)?.into())
}

/// A variant's data under its name, if it is a variant's.
fn under_variant(variant: Option<&'static str>, value: Value) -> Value {
    match variant {
        Some(variant) => Dict::from([(variant, value)]).into(),
        None => value,
    }
}

/// As it happened in a variant's data, if it is a variant's.
fn in_variant(variant: Option<&'static str>, error: ConvertError) -> ConvertError {
    match variant {
        Some(variant) => error.under_key(variant),
        None => error,
    }
}

struct ListSerializer {
    /// The variant whose data this is.
    variant: Option<&'static str>,
    values: Vec<Value>,
    /// What is left within the list.
    depth: Depth,
}

impl ListSerializer {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let value = value
            .serialize(ValueSerializer { depth: self.depth })
            .map_err(|error| in_variant(self.variant, error.under_index(self.values.len())))?;
        self.values.push(value);
        Ok(())
    }

    fn finish(self) -> Value {
        under_variant(self.variant, self.values.into())
    }
}

struct DictSerializer {
    /// The variant whose data this is.
    variant: Option<&'static str>,
    dict: Dict,
    /// The key whose value comes next.
    key: Option<String>,
    /// What is left within the dict.
    depth: Depth,
}

impl DictSerializer {
    fn insert<T: Serialize + ?Sized>(&mut self, key: String, value: &T) -> Result<(), ConvertError> {
        let value = value
            .serialize(ValueSerializer { depth: self.depth })
            .map_err(|error| in_variant(self.variant, error.under_key(&key)))?;
        if self.dict.contains_key(&key) {
            return Err(in_variant(self.variant, ConvertReason::RepeatedKey(key).into()));
        }
        self.dict.insert(key, value);
        Ok(())
    }

    fn finish(self) -> Value {
        under_variant(self.variant, self.dict.into())
    }
}

/// serde's traits for what has parts, by the one method that does it.
macro_rules! serialize_parts {
    ($($type:ty: $trait:ident, $method:ident($($key:ident)?) $push:ident;)*) => {
        $(impl serde::ser::$trait for $type {
            type Ok = Value;
            type Error = ConvertError;

            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), ConvertError> {
                self.$push($($key.into(),)? value)
            }

            fn end(self) -> Result<Value, ConvertError> {
                Ok(self.finish())
            }
        })*
    };
}

serialize_parts! {
    ListSerializer: SerializeSeq, serialize_element() push;
    ListSerializer: SerializeTuple, serialize_element() push;
    ListSerializer: SerializeTupleStruct, serialize_field() push;
    ListSerializer: SerializeTupleVariant, serialize_field() push;
    DictSerializer: SerializeStruct, serialize_field(key) insert;
    DictSerializer: SerializeStructVariant, serialize_field(key) insert;
}

impl serde::ser::SerializeMap for DictSerializer {
    type Ok = Value;
    type Error = ConvertError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ConvertError> {
        self.key = Some(key.serialize(KeySerializer { depth: self.depth })?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ConvertError> {
        let no_key = || ConvertReason::Other("a map gave a value before its key".into());
        let key = self.key.take().ok_or_else(no_key)?;
        self.insert(key, value)
    }

    fn end(self) -> Result<Value, ConvertError> {
        Ok(self.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Both implementations fit a type that a format can be read into, so naming one of them is ambiguous then.
    trait NoFormatReadsIt<Which> {
        const CERTAIN: bool = true;
    }

    impl<T> NoFormatReadsIt<()> for T {}
    impl<T: Deserialize<'static>> NoFormatReadsIt<u8> for T {}

    #[test]
    fn p9_no_message_can_hold_a_dict() {
        // Messages are written and read by serde. Were a dict readable so, it could get a second encoding there.
        // That this compiles is the proof.
        assert_eq!(
            [<Value as NoFormatReadsIt<_>>::CERTAIN, <Dict as NoFormatReadsIt<_>>::CERTAIN],
            [true; 2]
        );
    }
}
