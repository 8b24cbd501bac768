//! Values that are written as a name, `kill`, or as a mapping of one key, `{latency: 2s}`.
//!
//! Serde's enums are both already; this tells a name that lacks its mapping from what comes after it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Unexpected, Visitor};

use crate::config::unknown;

/// One such value.
pub(super) fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Named::deserialize(deserializer)?.0)
}

/// A list of them.
pub(crate) fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Named<T>>::deserialize(deserializer)?.into_iter().map(|named| named.0).collect())
}

struct Named<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrMapping<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for NameOrMapping<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or a mapping of one name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<T, E> {
                T::deserialize(StrDeserializer::<NameAlone>::new(name)).map_err(|wrong| match wrong {
                    NameAlone::Unknown(message) => E::custom(message),
                    // Only a variant with content refuses a name that it knows.
                    NameAlone::Incomplete => {
                        E::custom(format!("`{name}` is a key here, not a value; write `{name}: …`"))
                    }
                })
            }
            fn visit_map<A: MapAccess<'de>>(self, entries: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(entries))
            }
        }
        deserializer.deserialize_any(NameOrMapping(PhantomData)).map(Named)
    }
}

/// Why a name alone is no value.
#[derive(Debug)]
enum NameAlone {
    Unknown(String),
    Incomplete,
}

impl Error for NameAlone {
    fn custom<T: fmt::Display>(message: T) -> Self {
        NameAlone::Unknown(message.to_string())
    }
    fn unknown_variant(name: &str, known: &'static [&'static str]) -> Self {
        NameAlone::Unknown(format!("`{name}` is not known here; {}", unknown(name, known.iter().copied())))
    }
    fn invalid_type(_: Unexpected<'_>, _: &dyn serde::de::Expected) -> Self {
        NameAlone::Incomplete
    }
}

impl fmt::Display for NameAlone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameAlone::Unknown(message) => f.write_str(message),
            NameAlone::Incomplete => f.write_str("a name alone says too little"),
        }
    }
}

impl std::error::Error for NameAlone {}
