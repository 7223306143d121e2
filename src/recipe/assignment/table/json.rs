//! Serializes a [`Table`](super::Table) as JSON, byte by byte as Go's encoding/json does.

use std::collections::btree_map::{BTreeMap, Entry};
use std::fmt;
use std::io;
use std::marker::PhantomData;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};

/// The JSON, its members in the order written.
#[derive(Serialize, Deserialize)]
pub(super) struct JsonTable {
    #[serde(default)]
    pub magic: Vec<u8>,
    #[serde(default)]
    pub version: u64,
    #[serde(default)]
    pub cluster_name: String,
    pub entries: Option<Unique<JsonEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_usage: Option<Unique<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot_usage: Option<Unique<String>>,
    pub last_update: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct JsonEntry {
    pub node_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot_id: Option<u16>,
    pub hash: u32,
    pub timestamp: String,
    pub last_seen: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cluster_name: String,
}

/// Escapes what Go's encoding/json escapes and serde_json does not.
pub(super) struct AsGo(pub CompactFormatter);

impl Formatter for AsGo {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let escaped = |c: char| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}');
        let mut rest = fragment;
        while let Some(at) = rest.find(escaped) {
            let (plain, tail) = rest.split_at(at);
            let mut tail = tail.chars();
            let c = tail.next().map_or(0, u32::from);
            self.0.write_string_fragment(writer, plain)?;
            write!(writer, "\\u{c:04x}")?;
            rest = tail.as_str();
        }
        self.0.write_string_fragment(writer, rest)
    }
}

/// A map that refuses duplicate keys. JSON permits them, and most readers silently keep the last.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Unique<V>(pub BTreeMap<String, V>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Unique<V> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Once<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Once<V> {
            type Value = Unique<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Unique<V>, A::Error> {
                let mut all = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, V>()? {
                    match all.entry(name) {
                        Entry::Vacant(free) => free.insert(value),
                        Entry::Occupied(taken) => {
                            return Err(de::Error::custom(format_args!("{:?} is there twice", taken.key())));
                        }
                    };
                }
                Ok(Unique(all))
            }
        }

        from.deserialize_map(Once(PhantomData))
    }
}
