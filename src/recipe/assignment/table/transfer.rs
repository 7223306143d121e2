//! Moving a table of source system 1 into a store, and back.

use super::format::Table;
use crate::backend::{Backend, Op};
use crate::recipe::assignment::error::{Error, Result};
use crate::recipe::assignment::slots::{Assignment, TABLE_SLOTS};
use crate::recipe::assignment::table_error::TableError;

impl<B: Backend> Assignment<B> {
    /// Gives every node of the table the slot it has there, and answers how many were new. Importing again changes
    /// nothing.
    ///
    /// A table may be larger than a commit: it is imported in the order of names, several nodes a commit, so others may
    /// see a part of it meanwhile. Whatever they see is a whole number of nodes, each with its slot.
    ///
    /// ```
    /// use slotguard::backend::Model;
    /// use slotguard::recipe::assignment::{Assignment, Table};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> slotguard::recipe::Result<()> {
    /// # let mut table = Table::new("test-cluster");
    /// # table.assign("node-1")?;
    /// # let bytes = table.marshal(); // From the file.
    /// let table = Table::unmarshal(&bytes, "test-cluster")?;
    /// let slots = Assignment::open_with(&Arc::new(Model::new()), "nodes", "test-cluster", 255)?;
    /// assert_eq!(slots.import(&table)?, 1);
    /// assert_eq!(slots.lookup("node-1")?.unwrap().slot, 28);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// * [`TableError::Cluster`], [`Error::Inconsistent`], [`Error::EmptyNode`] and [`Error::NoSuchSlot`] if the table
    ///   cannot be this assignment's. Nothing has changed.
    /// * [`Error::ImportConflict`] if a node or a slot of it is taken otherwise; [`Error::Inconsistent`] and
    ///   [`Error::Damaged`] if entries of the assignment make no sense. Nothing has changed, unless somebody else wrote
    ///   during the call: then a part of the table may have been imported.
    /// * The store's, among them [`TooLarge`](crate::Error::TooLarge) for a name that fits into no value and
    ///   [`Full`](crate::Error::Full): what was imported before it stays.
    ///
    /// # When a process dies
    /// What its commits have imported stays, and is no conflict: importing the same table again adds the rest.
    pub fn import(&self, table: &Table) -> Result<usize> {
        if table.cluster != self.cluster {
            return Err(TableError::Cluster { expected: self.cluster.clone(), found: table.cluster.clone() }.into());
        }
        table.check()?;
        for (node, entry) in &table.entries {
            if node.is_empty() {
                return Err(Error::EmptyNode);
            }
            if !(1..=self.slots).contains(&entry.slot) {
                return Err(Error::NoSuchSlot { slot: entry.slot, slots: self.slots });
            }
        }
        let mut imported = 0;
        loop {
            let missing = self.missing(table)?;
            if missing.is_empty() {
                return Ok(imported);
            }
            for part in missing.chunks(B::LIMITS.ops / 2) {
                let outcome = self.put_all(part)?;
                // Somebody joined since we looked: look again.
                let crate::Outcome::Committed(_) = outcome else { break };
                imported += part.len();
            }
        }
    }

    /// What the table has and the store has not, unless they contradict each other.
    fn missing<'t>(&self, table: &'t Table) -> Result<Vec<(&'t str, u16)>> {
        let occupancy = self.occupancy()?;
        let taken: std::collections::BTreeMap<_, _> =
            occupancy.placements().map(|(placement, ..)| (placement.slot, placement.node)).collect();
        let mut missing = Vec::new();
        for (node, entry) in &table.entries {
            let conflict = |why| Error::ImportConflict { node: node.clone(), slot: entry.slot, why };
            match (occupancy.placement_of(node, &self.names)?, taken.get(&entry.slot)) {
                (Some(placement), _) if placement.slot == entry.slot => {}
                (Some(placement), _) => return Err(conflict(format!("it has slot {} here", placement.slot))),
                (None, Some(other)) => return Err(conflict(format!("that is the slot of {other:?} here"))),
                (None, None) => missing.push((node.as_str(), entry.slot)),
            }
        }
        Ok(missing)
    }

    fn put_all(&self, part: &[(&str, u16)]) -> Result<crate::Outcome> {
        let mut rows = Vec::new();
        for &(node, slot) in part {
            let keys = (self.store.key(&self.names.node(node))?, self.store.key(&self.names.slot(slot))?);
            rows.push((keys, slot.to_string(), node));
        }
        let ops: Vec<_> = rows
            .iter()
            .flat_map(|((node_key, slot_key), slot, node)| {
                let is_theirs = Op::put(slot_key, node.as_bytes()).if_absent();
                [Op::put(node_key, slot.as_bytes()).if_absent(), is_theirs]
            })
            .collect();
        Ok(self.store.commit(&ops)?)
    }

    /// The assignment as a table, as of one moment. Its version is that moment's revision, so a later table has a
    /// larger one; its times are those of the export.
    ///
    /// # Errors
    /// [`Error::SlotBeyondTable`] if a node has a slot that no table has: the source knows none above [`TABLE_SLOTS`];
    /// [`Error::Inconsistent`]; [`Error::Damaged`]; the store's.
    pub fn export(&self) -> Result<Table> {
        let occupancy = self.occupancy()?;
        let findings = occupancy.findings();
        if !findings.is_empty() {
            return Err(Error::Inconsistent { findings });
        }
        let mut table = Table::new(&self.cluster);
        table.version = occupancy.at.0.max(1);
        for (placement, ..) in occupancy.placements() {
            if placement.slot > TABLE_SLOTS {
                return Err(Error::SlotBeyondTable { node: placement.node, slot: placement.slot, most: TABLE_SLOTS });
            }
            table.put(&placement.node, placement.slot);
        }
        Ok(table)
    }
}
