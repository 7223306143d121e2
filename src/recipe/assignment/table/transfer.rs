//! Imports a table to an assignment and exports an assignment as a table.

use super::format::Table;
use crate::backend::{Backend, Op};
use crate::recipe::assignment::error::{Error, Result};
use crate::recipe::assignment::slots::{Assignment, TABLE_SLOTS};
use crate::recipe::assignment::table_error::TableError;

impl<B: Backend> Assignment<B> {
    /// Assigns to every node of the table the slot it has there, and returns how many nodes were new. Importing again
    /// changes nothing.
    ///
    /// A table may be larger than a commit: nodes are imported in the order of their names, several in each commit, so
    /// other processes may see a part of the table meanwhile, but no node without its slot.
    ///
    /// ```
    /// use slotguard::backend::Model;
    /// use slotguard::recipe::assignment::{Assignment, Table};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> slotguard::recipe::Result<()> {
    /// # let mut table = Table::new("test-cluster");
    /// # table.assign("node-1")?;
    /// # let bytes = table.marshal(); // Read from a device or file.
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
    ///   does not fit this assignment. Nothing was imported.
    /// * [`Error::ImportConflict`] if the assignment has a node or a slot of the table otherwise;
    ///   [`Error::Inconsistent`] and [`Error::Damaged`] if its entries were written by another program. Nothing was
    ///   imported, unless other processes wrote during the call: then a part of the table may have been.
    /// * [`Error::Store`], among them [`TooLarge`](crate::Error::TooLarge) for a name longer than a value and
    ///   [`Full`](crate::Error::Full). Nodes imported before it stay.
    ///
    /// # When a process dies
    /// The nodes imported by its commits stay: importing the table again adds the rest.
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
                // Another process wrote meanwhile: compare again.
                let crate::Outcome::Committed(_) = outcome else { break };
                imported += part.len();
            }
        }
    }

    /// The nodes and slots of the table that the store lacks. Refuses a table that conflicts with the store.
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

    /// Exports the assignment as a table, as of one moment. Its version is the revision of that moment, so it grows
    /// from export to export; its times are the time of the export.
    ///
    /// # Errors
    /// [`Error::SlotBeyondTable`] if a node has a slot above [`TABLE_SLOTS`]; [`Error::Inconsistent`];
    /// [`Error::Damaged`]; [`Error::Store`].
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
