//! What authors write into a profile for its readers: keys that runtimes pass over. They say nothing of calls.

use serde::de::value::StringDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;
use std::fmt;

/// Whether a key is a remark: `comment`, or one that begins as no key of a profile does, such as `_comment`, `$comment`
/// and `//`.
fn is_remark(key: &str) -> bool {
    key == "comment" || key.starts_with(['_', '$', '/', '#'])
}

/// Reads an object without the remarks in it. Nothing but an object is taken.
pub(crate) struct Plain<D>(pub(crate) D);

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Plain<D> {
    type Error = D::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_any(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        keep: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(Object { visitor, keep })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// Of the remarks, `keep` is what the reader has a place for.
struct Object<V> {
    visitor: V,
    keep: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Object<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<V::Value, M::Error> {
        self.visitor.visit_map(Object { visitor: map, keep: self.keep })
    }
}

impl<'de, M: MapAccess<'de>> MapAccess<'de> for Object<M> {
    type Error = M::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, M::Error> {
        while let Some(key) = self.visitor.next_key::<String>()? {
            if is_remark(&key) && !self.keep.contains(&key.as_str()) {
                self.visitor.next_value::<IgnoredAny>()?;
                continue;
            }
            let key: StringDeserializer<M::Error> = key.into_deserializer();
            return seed.deserialize(key).map(Some);
        }
        Ok(None)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, M::Error> {
        self.visitor.next_value_seed(seed)
    }
}
