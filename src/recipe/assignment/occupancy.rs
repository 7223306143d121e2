//! Reads all entries of an assignment as of one moment.

use std::collections::BTreeMap;

use super::error::{Error, Result};
use super::integrity::{Finding, examine};
use super::names::EntryNames;
use super::placement::Placement;
use crate::backend::{Backend, Meta};
use crate::clock::{Revision, Token};
use crate::recipe::Damaged;

/// The entries of an assignment at one revision, read by one `range`.
pub(super) struct Occupancy {
    /// Slots by [`EntryNames::short`] of the node.
    nodes: BTreeMap<String, (u16, Meta)>,
    /// Nodes by slot.
    slots: BTreeMap<u16, (String, Meta)>,
    /// `alive` entries by slot.
    alive: BTreeMap<u16, Meta>,
    /// The revision at which all of this was true.
    pub at: Revision,
    /// How many slots there are.
    count: u16,
}

impl Occupancy {
    pub fn read<B: Backend>(store: &B, names: &EntryNames, count: u16) -> Result<Self> {
        let (nodes, slots, alive) = Default::default();
        let mut occupancy = Self { nodes, slots, alive, at: Revision(0), count };
        let mut damage = None;
        let prefix = names.prefix();
        occupancy.at = store.range(&prefix, &mut |key, value, meta| {
            if let Err(what) = occupancy.add(&key.as_ref()[prefix.len()..], value, meta) {
                damage.get_or_insert(Damaged::new(&key, what));
            }
        })?;
        match damage {
            Some(damage) => Err(damage.into()),
            None => Ok(occupancy),
        }
    }

    fn add(&mut self, name: &str, value: &[u8], meta: Meta) -> Result<(), String> {
        let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is not a slot"));
        match name.split_once('/') {
            Some(("node", node)) => {
                self.nodes.insert(node.to_owned(), (number(&text(value)?)?, meta));
            }
            Some(("slot", slot)) => {
                self.slots.insert(number(slot)?, (text(value)?, meta));
            }
            Some(("alive", slot)) => {
                self.alive.insert(number(slot)?, meta);
            }
            // Settings.
            _ => {}
        }
        Ok(())
    }

    pub fn is_taken(&self, slot: u16) -> bool {
        self.slots.contains_key(&slot)
    }

    /// The placement of `node`, if it has one.
    pub fn placement_of(&self, node: &str, names: &EntryNames) -> Result<Option<Placement>> {
        let Some(&(slot, meta)) = self.nodes.get(&EntryNames::short(node)) else { return Ok(None) };
        let is_slot = (1..=self.count).contains(&slot);
        match self.slots.get(&slot).filter(|_| is_slot) {
            Some((name, other)) if name == node && other.created == meta.created => {
                Ok(Some(Placement { node: node.to_owned(), slot, generation: Token(meta.created.0) }))
            }
            Some((name, _)) if name == node => {
                let what = "it was not created together with its slot's entry".to_owned();
                Err(Damaged::new(&names.node(node), what).into())
            }
            _ => Err(Error::Inconsistent { findings: self.findings() }),
        }
    }

    /// Every node with a slot, the revision of its last announcement, and whether it is alive; in the order of slots.
    pub fn placements(&self) -> impl Iterator<Item = (Placement, Revision, bool)> + '_ {
        self.slots.iter().map(|(&slot, (node, meta))| {
            let placement = Placement { node: node.clone(), slot, generation: Token(meta.created.0) };
            let announced = self.nodes.get(&EntryNames::short(node)).map_or(meta.modified, |(_, meta)| meta.modified);
            (placement, announced, self.alive.contains_key(&slot))
        })
    }

    /// All contradictions. A long name appears as its digest if no slot's entry has the full name.
    pub fn findings(&self) -> Vec<Finding> {
        let whole: BTreeMap<_, _> = self.slots.values().map(|(node, _)| (EntryNames::short(node), node)).collect();
        let name = |short: &String| whole.get(short).map_or_else(|| short.clone(), |node| (*node).clone());
        let entries = self.nodes.iter().map(|(short, (slot, _))| (name(short), *slot)).collect();
        let usage = self.slots.iter().map(|(&slot, (node, _))| (slot, node.clone())).collect();
        examine(&entries, &usage, self.count)
    }
}

fn text(value: &[u8]) -> Result<String, String> {
    String::from_utf8(value.to_vec()).map_err(|_| "its value is not UTF-8".to_owned())
}
