//! What is stored of jobs, and all of it as of one moment.

use std::collections::BTreeMap;

use super::{Dead, Job, Jobs, Priority};
use crate::backend::Backend;
use crate::clock::Revision;
use crate::recipe::executor::check_id;
use crate::recipe::{Owner, Result};

/// A job that has not ended.
#[derive(Clone, Debug)]
pub(super) struct StoredJob {
    pub priority: Priority,
    pub attempts: u32,
    pub most: u32,
    pub after: Vec<String>,
    pub payload: Vec<u8>,
    pub created: Revision,
    pub modified: Revision,
}

/// A queue as of one moment.
pub(super) struct QueueSnapshot {
    pub jobs: BTreeMap<String, StoredJob>,
    pub claims: BTreeMap<String, Owner>,
    /// What lies where a job would, and is none: its bytes are the payload.
    pub unreadable: BTreeMap<String, StoredJob>,
    /// When each was completed.
    pub done: BTreeMap<String, Revision>,
    /// When each was put aside.
    pub dead: BTreeMap<String, Revision>,
    pub at: Revision,
}

impl StoredJob {
    pub fn of(job: &Job<'_>) -> Self {
        Self {
            priority: job.priority,
            attempts: 0,
            most: job.attempts,
            after: job.after.iter().map(|id| (*id).to_owned()).collect(),
            payload: job.payload.to_vec(),
            created: Revision(0),
            modified: Revision(0),
        }
    }

    /// `priority attempts most after,after` and the payload on the next line. As long as it ever is, whatever the number of
    /// attempts: what the store took once, it takes again.
    pub fn encode(&self) -> Vec<u8> {
        let most = self.most.to_string();
        let (digits, after) = (most.len(), self.after.join(","));
        let line = format!("{} {:0digits$} {most} {after}\n", self.priority as u8, self.attempts);
        [line.as_bytes(), &self.payload].concat()
    }

    fn decode(value: &[u8]) -> Option<Self> {
        let (line, payload) = split(value)?;
        let mut words = line.split(' ');
        let priority = *Priority::ALL.get(words.next()?.parse::<usize>().ok()?)?;
        let (attempts, most) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let after = words.next()?.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
        let (created, modified) = (Revision(0), Revision(0));
        Some(Self { priority, attempts, most, after, payload: payload.to_vec(), created, modified })
    }

    /// How its payload begins.
    pub fn beginning(&self) -> String {
        String::from_utf8_lossy(&self.payload[..self.payload.len().min(64)]).into_owned()
    }

    /// What is kept of it when it is put aside.
    pub fn remains(&self, why: &str) -> Vec<u8> {
        [why.replace('\n', " ").as_bytes(), b"\n", &self.payload].concat()
    }
}

impl Dead {
    pub(super) fn decode(value: &[u8]) -> Self {
        let end = value.iter().position(|byte| *byte == b'\n').unwrap_or(value.len());
        let payload = value.get(end + 1..).unwrap_or_default().to_vec();
        Self { why: String::from_utf8_lossy(&value[..end]).into_owned(), payload }
    }
}

impl<B: Backend> Jobs<B> {
    pub(super) fn look(&self) -> Result<QueueSnapshot> {
        let (jobs, unreadable) = (BTreeMap::new(), BTreeMap::new());
        let (claims, done, dead) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut queue = QueueSnapshot { jobs, claims, unreadable, done, dead, at: Revision(0) };
        let prefix = format!("{}/", self.name);
        queue.at = self.store.range(&prefix, &mut |key, value, meta| {
            let Some((part, id)) = key.as_ref()[prefix.len()..].split_once('/') else { return };
            if id.contains('/') {
                // It is of another queue, of a longer name.
                return;
            }
            let id = id.to_owned();
            match part {
                "job" => {
                    let job = StoredJob::decode(value).filter(|_| check_id(&id).is_ok());
                    let (jobs, job) = match job {
                        Some(job) => (&mut queue.jobs, job),
                        None => (&mut queue.unreadable, StoredJob::of(&Job::new(&id, value))),
                    };
                    jobs.insert(id, StoredJob { created: meta.created, modified: meta.modified, ..job });
                }
                "claim" => {
                    queue.claims.insert(id, Owner::from_bytes(value));
                }
                "done" => {
                    queue.done.insert(id, meta.created);
                }
                "dead" => {
                    queue.dead.insert(id, meta.created);
                }
                _ => {}
            }
        })?;
        Ok(queue)
    }
}

impl QueueSnapshot {
    /// What is known of this id.
    pub fn state(&self, id: &str) -> Option<&'static str> {
        if self.claims.contains_key(id) {
            Some("running")
        } else if self.jobs.contains_key(id) {
            Some("waiting")
        } else if self.unreadable.contains_key(id) {
            Some("stored in a way that is none of ours")
        } else if self.done.contains_key(id) {
            Some("done")
        } else {
            self.dead.contains_key(id).then_some("dead")
        }
    }

    /// The most urgent first; inside a priority the one that came first.
    pub fn in_order(&self) -> Vec<&str> {
        let mut ids: Vec<_> = self.jobs.iter().map(|(id, job)| (job.priority, job.created, id.as_str())).collect();
        ids.sort_unstable();
        ids.into_iter().map(|(_, _, id)| id).collect()
    }

    /// Whether nothing is left to be done that it depends on. None of that is dead.
    pub fn can_run(&self, job: &StoredJob) -> bool {
        !job.after.iter().any(|id| self.jobs.contains_key(id) || self.unreadable.contains_key(id))
    }

    /// The oldest results beyond this many, without those that somebody waits for.
    pub fn beyond(&self, keep: usize) -> Vec<(&str, Revision)> {
        let mut done: Vec<_> = self.done.iter().map(|(id, created)| (id.as_str(), *created)).collect();
        done.sort_unstable_by_key(|(_, created)| *created);
        done.truncate(done.len().saturating_sub(keep));
        let is_waited_for = |id: &str| self.jobs.values().any(|job| job.after.iter().any(|after| after == id));
        done.retain(|(id, _)| !is_waited_for(id));
        done
    }
}

fn split(value: &[u8]) -> Option<(&str, &[u8])> {
    let end = value.iter().position(|byte| *byte == b'\n')?;
    Some((str::from_utf8(&value[..end]).ok()?, &value[end + 1..]))
}
