//! Profiles as Kubernetes has them: objects around a `spec`, and lists of objects.

use crate::{Profile, ReadError};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// The kind of objects that hold a profile; in lists of that kind the items need not say it.
pub(crate) const KIND: &str = "SeccompProfile";

/// An object. What an API server adds, `metadata` and `status`, says nothing of calls.
#[derive(Deserialize)]
pub(crate) struct Resource {
    pub(crate) spec: Profile,
}

/// What tells the objects of a list apart.
#[derive(Deserialize)]
struct Item {
    kind: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    spec: Option<IgnoredAny>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
}

#[derive(Deserialize)]
struct List {
    items: Vec<Item>,
}

/// The profile of that name in a list, or the only one.
///
/// # Errors
/// There is none, or there are several, or it is not a profile.
pub(crate) fn of_list(json: &str, wanted: Option<&str>) -> Result<Profile, ReadError> {
    let List { items } = serde_json::from_str(json)?;
    let is_profile =
        |item: &Item| item.spec.is_some() && item.kind.as_deref().is_none_or(|kind| kind == KIND);
    let profiles: Vec<_> = items.iter().enumerate().filter(|(_, item)| is_profile(item)).collect();
    let full = |item: &Item| match (&item.metadata.namespace, &item.metadata.name) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        (_, name) => name.clone().unwrap_or_default(),
    };
    let is_wanted = |item: &Item| {
        wanted.is_none_or(|wanted| item.metadata.name.as_deref() == Some(wanted) || full(item) == wanted)
    };
    let found: Vec<_> = profiles.iter().filter(|(_, item)| is_wanted(item)).collect();
    let names: Vec<_> = profiles.iter().map(|(_, item)| full(item)).collect();
    match found[..] {
        [&(index, _)] => {
            let mut reader = serde_json::Deserializer::from_str(json);
            let resource = (&mut reader).deserialize_map(Only(index))?;
            resource.map(|resource| resource.spec).ok_or(ReadError::Choice { names })
        }
        _ => Err(ReadError::Choice { names }),
    }
}

/// Reads one item of `items`, with the places of the whole file, and passes over the others.
#[derive(Clone, Copy)]
struct Only(usize);

impl<'de> Visitor<'de> for Only {
    type Value = Option<Resource>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                found = map.next_value_seed(self)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut seq: S) -> Result<Self::Value, S::Error> {
        let mut found = None;
        for index in 0.. {
            if index == self.0 {
                found = seq.next_element()?;
                if found.is_none() {
                    break;
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

impl<'de> DeserializeSeed<'de> for Only {
    type Value = Option<Resource>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_seq(self)
    }
}
