//! Whether operations may be submitted: all of a batch, or none.

use std::collections::{HashMap, HashSet};

use super::check_id;
use super::operation::Task;
use super::table::Table;
use crate::recipe::{Error, Result};

impl Table {
    /// Refuses what must not get in.
    pub fn check(&self, tasks: &[Task]) -> Result<()> {
        if self.closed {
            return Err(Error::ShutDown);
        }
        let mut batch = HashMap::new();
        for task in tasks {
            check_id(&task.id)?;
            if let Some(known) = self.stage(&task.id) {
                return Err(Error::IdTwice { id: task.id.clone(), state: known.word() });
            }
            if batch.insert(task.id.as_str(), task).is_some() {
                return Err(Error::IdTwice { id: task.id.clone(), state: "in the batch" });
            }
        }
        for task in tasks {
            let unknown = |id: &&String| !batch.contains_key(id.as_str()) && !self.operations.contains_key(*id);
            if let Some(dependency) = task.after.iter().find(unknown) {
                return Err(Error::UnknownDependency { id: task.id.clone(), dependency: dependency.clone() });
            }
        }
        if let Some(path) = circle(tasks, &batch) {
            return Err(Error::DependencyCycle { path });
        }
        if self.status.waiting + tasks.len() > self.limit {
            return Err(Error::QueueFull { limit: self.limit });
        }
        Ok(())
    }
}

/// A way from an operation to itself, if there is one. What is not in the batch cannot depend on it.
fn circle(tasks: &[Task], batch: &HashMap<&str, &Task>) -> Option<Vec<String>> {
    let mut sound = HashSet::new();
    for task in tasks {
        // The way so far, each with how many of its dependencies have been followed.
        let mut way: Vec<(&Task, usize)> = vec![(task, 0)];
        while let Some((task, followed)) = way.last_mut() {
            let Some(next) = task.after.get(*followed) else {
                sound.insert(task.id.as_str());
                way.pop();
                continue;
            };
            *followed += 1;
            if let Some(begin) = way.iter().position(|(task, _)| task.id == *next) {
                let mut path: Vec<String> = way[begin..].iter().map(|(task, _)| task.id.clone()).collect();
                path.push(next.clone());
                return Some(path);
            }
            if let Some(task) = batch.get(next.as_str()).filter(|task| !sound.contains(task.id.as_str())) {
                way.push((task, 0));
            }
        }
    }
    None
}
