//! What the directory of names is like before something is done to it, such that it has to be rebuilt.

use std::path::Path;
use std::sync::OnceLock;

use super::store::{Store, name};
use harness::isolated::inner_folder;

/// What the directory is like beforehand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// A few entries in one leaf.
    Small,
    /// The creation of the next name gives the root children.
    AboutToGrow,
    /// The root has children already, and the creation of the next name splits one.
    AboutToSplit,
    /// There are three leaves, and deleting the last name leaves two.
    AboutToMerge,
    /// There are two, and deleting the last name leaves the root alone.
    AboutToShrink,
}

/// Names in use where there are few; some of them are there beforehand.
const FEW: u32 = 6;
const THERE: [u32; 3] = [1, 3, 5];

impl Shape {
    /// How many names are there, the first ones, if it is not small.
    ///
    /// Found out once by creating or deleting one after another and counting nodes.
    pub fn there(self) -> u32 {
        static THERE: [OnceLock<u32>; 5] = [const { OnceLock::new() }; 5];
        *THERE[self as usize].get_or_init(|| {
            let scratch = tempfile::tempdir_in(inner_folder().expect("an isolated test")).expect("a folder");
            let store = Store::new(scratch.path(), 64);
            let begin = match self {
                Self::Small => return THERE.len() as u32,
                Self::AboutToGrow => 0,
                Self::AboutToSplit => Self::AboutToGrow.there() + 1,
                Self::AboutToMerge => Self::AboutToSplit.there() + 1,
                Self::AboutToShrink => Self::AboutToGrow.there() + 1,
            };
            (0..begin).for_each(|number| store.put(&name(number)));
            let (before, wanted) = (store.nodes(), self.nodes_afterwards());
            let is_growing = wanted > before;
            let mut there = begin;
            loop {
                let last = there;
                if is_growing {
                    store.put(&name(there));
                    there += 1;
                } else {
                    there -= 1;
                    store.delete(&name(there));
                }
                match store.nodes() {
                    nodes if nodes == wanted => return last,
                    nodes => assert_eq!(nodes, before, "{self:?}: with {there} names"),
                }
            }
        })
    }

    /// All names in use; the last may be yet to be created.
    pub fn names(self) -> Vec<String> {
        let numbers = match self {
            Self::Small => FEW,
            Self::AboutToGrow | Self::AboutToSplit => self.there() + 1,
            Self::AboutToMerge | Self::AboutToShrink => self.there(),
        };
        (0..numbers).map(name).collect()
    }

    /// A store like that.
    pub fn store(self, folder: &Path) -> Store {
        let most = match self {
            Self::AboutToMerge => Self::AboutToSplit.there() + 1,
            Self::AboutToShrink => Self::AboutToGrow.there() + 1,
            _ => self.names().len() as u32,
        };
        // Some room for leases and for others' names.
        let store = Store::new(folder, most + 4);
        match self {
            Self::Small => THERE.iter().for_each(|number| store.put(&name(*number))),
            // The names that made the directory grow are created, too, and deleted again.
            Self::AboutToMerge | Self::AboutToShrink => {
                (0..most).for_each(|number| store.put(&name(number)));
                (self.there()..most).rev().for_each(|number| store.delete(&name(number)));
            }
            Self::AboutToGrow | Self::AboutToSplit => (0..self.there()).for_each(|number| store.put(&name(number))),
        }
        store
    }

    /// How many nodes besides the root there are once the next name is created, or the last one deleted.
    pub fn nodes_afterwards(self) -> u64 {
        match self {
            Self::Small | Self::AboutToShrink => 0,
            Self::AboutToGrow | Self::AboutToMerge => 2,
            Self::AboutToSplit => 3,
        }
    }
}
