//! A value to any serde type; [`Dict::from_serialize`] has the table.

use super::value::{Dict, Value};
use super::value_convert::{ConvertError, Depth};
use super::value_keys::KeyDeserializer;
use alloc::collections::btree_map;
use alloc::string::String;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, Error as _, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

impl Dict {
    /// The struct, map or variant that this dict is, by the table of [`from_serialize`](Self::from_serialize). Types that
    /// hold `&str` or `&[u8]` borrow them from the dict.
    ///
    /// ```
    /// use xxnet_core::pack::{Dict, Value};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Job<'a> {
    ///     name: &'a str,
    ///     sizes: Vec<u32>,
    ///     owner: Option<String>,
    /// }
    ///
    /// let mut dict = Dict::from([("name", "sort".into()), ("sizes", Value::from_iter([1, 2]))]);
    /// let job: Job = dict.deserialize()?;
    /// assert_eq!((job.name, job.sizes, job.owner), ("sort", vec![1, 2], None));
    ///
    /// dict.insert("sizes", Value::List(vec![1.into(), "big".into()]));
    /// let error = dict.deserialize::<Job>().err().unwrap();
    /// assert_eq!(error.to_string(), r#"sizes[1]: "big" where u32 is expected"#);
    /// # Ok::<(), xxnet_core::pack::ConvertError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConvertError`], with the path, if the dict is not of that type, or nests deeper than a dict may. Serde copies what
    /// is `flatten`ed or belongs to an enum that is not externally tagged before it reads it, so there the path ends.
    pub fn deserialize<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ConvertError> {
        T::deserialize(ValueDeserializer { source: Source::Dict(self), depth: Depth::MAX })
    }
}

impl Value {
    /// What this value is as another type, by the table of [`Dict::from_serialize`].
    ///
    /// # Errors
    /// As [`Dict::deserialize`].
    pub fn deserialize<'de, T: Deserialize<'de>>(&'de self) -> Result<T, ConvertError> {
        T::deserialize(ValueDeserializer { source: self.into(), depth: Depth::MAX })
    }
}

/// What errors call a value.
pub(super) fn unexpected(value: &Value) -> Unexpected<'_> {
    Source::from(value).unexpected()
}

/// A value that is looked at; a [`Dict`] needs no value around it.
#[derive(Clone, Copy)]
enum Source<'de> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(&'de str),
    Bytes(&'de [u8]),
    List(&'de [Value]),
    Dict(&'de Dict),
}

impl<'de> From<&'de Value> for Source<'de> {
    fn from(value: &'de Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Int(*value),
            Value::Float(value) => Self::Float(*value),
            Value::Str(value) => Self::Str(value),
            Value::Bytes(value) => Self::Bytes(value),
            Value::List(values) => Self::List(values),
            Value::Dict(dict) => Self::Dict(dict),
        }
    }
}

impl<'de> Source<'de> {
    fn unexpected(self) -> Unexpected<'de> {
        match self {
            Self::Null => Unexpected::Unit,
            Self::Bool(value) => Unexpected::Bool(value),
            Self::Int(value) => Unexpected::Signed(value),
            Self::Float(value) => Unexpected::Float(value),
            Self::Str(value) => Unexpected::Str(value),
            Self::Bytes(value) => Unexpected::Bytes(value),
            Self::List(_) => Unexpected::Seq,
            Self::Dict(_) => Unexpected::Map,
        }
    }
}

struct ValueDeserializer<'de> {
    source: Source<'de>,
    depth: Depth,
}

impl<'de> ValueDeserializer<'de> {
    fn wrapped(self) -> Result<Self, ConvertError> {
        Ok(Self { depth: self.depth.wrapped()?, ..self })
    }

    /// Gives the visitor every element, and minds if it does not take them all.
    fn elements<V: Visitor<'de>>(
        self,
        elements: impl ExactSizeIterator<Item = Source<'de>>,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        let len = elements.len();
        let mut access = ListAccess { elements, index: 0, depth: self.depth.deeper()? };
        let result = visitor.visit_seq(&mut access)?;
        if access.index == len { Ok(result) } else { Err(no_more_than(access.index, len)) }
    }
}

/// A visitor took `taken` of `len` elements.
fn no_more_than(taken: usize, len: usize) -> ConvertError {
    ConvertError::invalid_length(len, &alloc::format!("no more than {taken}").as_str())
}

impl<'de> Deserializer<'de> for ValueDeserializer<'de> {
    type Error = ConvertError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        match self.source {
            Source::Null => visitor.visit_unit(),
            Source::Bool(value) => visitor.visit_bool(value),
            Source::Int(value) => visitor.visit_i64(value),
            Source::Float(value) => visitor.visit_f64(value),
            Source::Str(value) => visitor.visit_borrowed_str(value),
            Source::Bytes(value) => visitor.visit_borrowed_bytes(value),
            Source::List(values) => self.elements(values.iter().map(Source::from), visitor),
            Source::Dict(dict) => {
                let mut access =
                    DictAccess { entries: dict.into_iter(), entry: None, depth: self.depth.deeper()? };
                let result = visitor.visit_map(&mut access)?;
                match access.entries.len() {
                    0 => Ok(result),
                    left => Err(no_more_than(dict.len() - left, dict.len())),
                }
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if matches!(self.source, Source::Null) {
            visitor.visit_none()
        } else {
            visitor.visit_some(self.wrapped()?)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        visitor.visit_newtype_struct(self.wrapped()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        if let Source::Bytes(bytes) = self.source {
            self.elements(bytes.iter().map(|&byte| Source::Int(byte.into())), visitor)
        } else {
            self.deserialize_any(visitor)
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _len: usize,
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        match self.source {
            Source::Str(variant) => visitor.visit_enum(BorrowedStrDeserializer::new(variant)),
            Source::Dict(dict) => {
                let mut entries = dict.iter();
                let (Some((variant, content)), None) = (entries.next(), entries.next()) else {
                    return Err(ConvertError::invalid_length(dict.len(), &"a dict of one variant"));
                };
                let content = Self { source: content.into(), depth: self.depth.deeper()? };
                visitor.visit_enum(Variant { name: variant, content })
            }
            other => Err(ConvertError::invalid_type(other.unexpected(), &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConvertError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct map struct identifier
    }
}

struct ListAccess<I> {
    elements: I,
    /// Of the next element.
    index: usize,
    /// What is left within the list.
    depth: Depth,
}

impl<'de, I: ExactSizeIterator<Item = Source<'de>>> de::SeqAccess<'de> for ListAccess<I> {
    type Error = ConvertError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ConvertError> {
        let Some(source) = self.elements.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let element = seed.deserialize(ValueDeserializer { source, depth: self.depth });
        element.map(Some).map_err(|error| error.under_index(index))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

struct DictAccess<'de> {
    entries: btree_map::Iter<'de, String, Value>,
    /// The entry whose key was given out.
    entry: Option<(&'de str, &'de Value)>,
    /// What is left within the dict.
    depth: Depth,
}

impl<'de> de::MapAccess<'de> for DictAccess<'de> {
    type Error = ConvertError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConvertError> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.entry = Some((key, value));
        seed.deserialize(KeyDeserializer { key, depth: self.depth }).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, ConvertError> {
        let no_key = || ConvertError::custom("a map's value was asked for before its key");
        let (key, value) = self.entry.take().ok_or_else(no_key)?;
        seed.deserialize(ValueDeserializer { source: value.into(), depth: self.depth })
            .map_err(|error| error.under_key(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// A variant with data: the one entry of a dict.
struct Variant<'de> {
    name: &'de str,
    content: ValueDeserializer<'de>,
}

impl<'de> de::EnumAccess<'de> for Variant<'de> {
    type Error = ConvertError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ConvertError> {
        Ok((seed.deserialize(BorrowedStrDeserializer::<ConvertError>::new(self.name))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Variant<'de> {
    type Error = ConvertError;

    fn unit_variant(self) -> Result<(), ConvertError> {
        <()>::deserialize(self.content).map_err(|error| error.under_key(self.name))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ConvertError> {
        seed.deserialize(self.content).map_err(|error| error.under_key(self.name))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ConvertError> {
        self.content.deserialize_tuple(len, visitor).map_err(|error| error.under_key(self.name))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConvertError> {
        self.content.deserialize_struct("", fields, visitor).map_err(|error| error.under_key(self.name))
    }
}
