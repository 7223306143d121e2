//! What a watcher knows of a prefix, and whether what it is told can be true.

use std::collections::BTreeMap;

use slotguard::backend::{Event, Meta};

use super::{HALVES, Prefix, names};
use crate::anomaly::Anomaly;
use crate::value::{self, Evidence};
use harness::random::mix;

/// The entries of a prefix as a watcher was told of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    pub entries: BTreeMap<String, (Vec<u8>, Meta)>,
    /// The moment they are of.
    pub at: u64,
}

/// One batch, while it is being told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    pub events: u64,
    last: Option<String>,
    resync: bool,
    progress: Option<u64>,
    newest: u64,
    pub anomalies: Vec<Anomaly>,
}

impl View {
    /// Takes in one event, and notes what cannot be.
    pub fn take_in<K: AsRef<str>>(&mut self, batch: &mut Batch, event: Event<'_, K>) {
        batch.events += 1;
        if batch.progress.is_some() {
            batch.anomalies.push(Anomaly::Disorder);
        }
        match event {
            Event::Resync => {
                if batch.resync || batch.last.is_some() {
                    batch.anomalies.push(Anomaly::Disorder);
                }
                batch.resync = true;
                self.entries.clear();
            }
            Event::Put { key, value, meta } => {
                batch.name(key.as_ref());
                batch.newest = batch.newest.max(meta.modified.0);
                let known = self.entries.insert(key.as_ref().to_owned(), (value.to_vec(), meta));
                if !batch.resync && !self.is_news(known.map(|(_, meta)| meta), meta) {
                    batch.anomalies.push(Anomaly::OutOfOrder);
                }
            }
            Event::Delete { key } => {
                batch.name(key.as_ref());
                if batch.resync {
                    batch.anomalies.push(Anomaly::Disorder);
                }
                self.entries.remove(key.as_ref());
            }
            Event::Progress(revision) => {
                if revision.0 < self.at {
                    batch.anomalies.push(Anomaly::ProgressBack);
                }
                if batch.newest > revision.0 {
                    batch.anomalies.push(Anomaly::OutOfOrder);
                }
                batch.progress = Some(revision.0);
                self.at = revision.0;
            }
        }
    }

    /// A put is of later than what was known, and follows from it.
    fn is_news(&self, known: Option<Meta>, told: Meta) -> bool {
        let follows = match known {
            Some(known) if known.created == told.created => told.version > known.version,
            _ => told.created.0 > self.at,
        };
        follows && told.modified.0 > self.at
    }

    /// What of the view cannot be the state of one moment.
    pub fn contradictions(&self) -> Vec<Anomaly> {
        let mut found = Vec::new();
        let [left, right] = HALVES;
        let other = |name: &str| match name.strip_suffix(left) {
            Some(pair) => Some(format!("{pair}{right}")),
            None => name.strip_suffix(right).map(|pair| format!("{pair}{left}")),
        };
        for (name, (value, meta)) in &self.entries {
            let Some(other) = other(name) else {
                continue;
            };
            let half = self.entries.get(&other);
            if !half.is_some_and(|(same, of)| same == value && of.modified == meta.modified) {
                found.push(Anomaly::Split);
            }
        }
        found
    }

    /// How many changes the view shows; an error if some value is not whole.
    pub fn changes(&self, prefix: Prefix) -> Result<u64, Anomaly> {
        let mut sum = 0;
        for number in prefix.numbers() {
            let Some((value, meta)) = self.entries.get(&names(number)[0]) else {
                continue;
            };
            match Evidence::of(number, value) {
                Ok(evidence) if evidence.count == meta.version.0 => sum += evidence.count,
                Ok(_) => return Err(Anomaly::OtherVersion),
                Err(_) => return Err(Anomaly::Mixed),
            }
        }
        Ok(sum)
    }

    /// A digest of all that is known, for comparing views of different processes.
    pub fn digest(&self) -> u64 {
        self.entries.iter().fold(0, |digest, (name, (value, meta))| {
            let words = [
                value::fingerprint(name.as_bytes()),
                value::fingerprint(value),
                meta.created.0,
                meta.modified.0,
                meta.version.0,
            ];
            words.iter().fold(digest, |digest, word| mix(digest ^ word))
        })
    }
}

impl Batch {
    /// Names come in order, each once.
    fn name(&mut self, name: &str) {
        if self.last.as_deref().is_some_and(|last| last >= name) {
            self.anomalies.push(Anomaly::Disorder);
        }
        self.last = Some(name.to_owned());
    }

    /// A batch ends with its progress, which is what the watch answers.
    pub fn ends_with(&mut self, answered: Option<u64>) {
        if self.progress != answered {
            self.anomalies.push(Anomaly::Disorder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotguard::{Revision, Version};

    fn meta(created: u64, modified: u64, version: u64) -> Meta {
        let (created, modified) = (Revision(created), Revision(modified));
        Meta { created, modified, version: Version(version), lease: None }
    }

    fn put<'a>(name: &'a &'a str, value: &'a [u8], meta: Meta) -> Event<'a, &'a str> {
        Event::Put { key: name, value, meta }
    }

    fn told(view: &mut View, events: &[Event<'_, &str>]) -> Vec<Anomaly> {
        let mut batch = Batch::default();
        let progress = events.iter().find_map(|event| match event {
            Event::Progress(revision) => Some(revision.0),
            _ => None,
        });
        events.iter().for_each(|event| view.take_in(&mut batch, event.clone()));
        batch.ends_with(progress);
        batch.anomalies.extend(view.contradictions());
        batch.anomalies
    }

    const PAIR: [&str; 2] = ["pair/00/left", "pair/00/right"];

    fn a_view() -> View {
        let mut view = View::default();
        let both = [
            Event::Resync,
            put(&PAIR[0], b"1", meta(5, 5, 1)),
            put(&PAIR[1], b"1", meta(5, 5, 1)),
            Event::Progress(Revision(6)),
        ];
        assert_eq!(told(&mut view, &both), []);
        view
    }

    #[test]
    fn batches_that_follow_each_other_are_sound() {
        let mut view = a_view();
        let both =
            [put(&PAIR[0], b"2", meta(5, 7, 2)), put(&PAIR[1], b"2", meta(5, 7, 2)), Event::Progress(Revision(7))];
        assert_eq!(told(&mut view, &both), []);
        let gone = [Event::Delete { key: &PAIR[0] }, Event::Delete { key: &PAIR[1] }, Event::Progress(Revision(9))];
        assert_eq!(told(&mut view, &gone), []);
        assert_eq!((view.entries.len(), view.at), (0, 9));
    }

    #[test]
    fn half_a_commit_is_seen() {
        let half = [put(&PAIR[0], b"2", meta(5, 7, 2)), Event::Progress(Revision(7))];
        assert!(told(&mut a_view(), &half).contains(&Anomaly::Split));
        let half = [Event::Delete { key: &PAIR[1] }, Event::Progress(Revision(7))];
        assert!(told(&mut a_view(), &half).contains(&Anomaly::Split));
    }

    #[test]
    fn a_watch_that_runs_backwards_is_seen() {
        assert_eq!(told(&mut a_view(), &[Event::Progress(Revision(5))]), [Anomaly::ProgressBack]);
        let old =
            [put(&PAIR[0], b"1", meta(5, 5, 1)), put(&PAIR[1], b"1", meta(5, 5, 1)), Event::Progress(Revision(7))];
        assert!(told(&mut a_view(), &old).contains(&Anomaly::OutOfOrder));
        let later =
            [put(&PAIR[0], b"2", meta(5, 9, 2)), put(&PAIR[1], b"2", meta(5, 9, 2)), Event::Progress(Revision(8))];
        assert!(told(&mut a_view(), &later).contains(&Anomaly::OutOfOrder));
    }

    #[test]
    fn a_batch_that_is_none_is_seen() {
        let twice =
            [put(&PAIR[1], b"2", meta(5, 7, 2)), put(&PAIR[0], b"2", meta(5, 7, 2)), Event::Progress(Revision(7))];
        assert!(told(&mut a_view(), &twice).contains(&Anomaly::Disorder));
        let after = [Event::Progress(Revision(7)), Event::Resync];
        assert!(told(&mut a_view(), &after).contains(&Anomaly::Disorder));
        let endless: [Event<'_, &str>; 0] = [];
        let mut batch = Batch::default();
        endless.iter().for_each(|event| a_view().take_in(&mut batch, event.clone()));
        batch.ends_with(Some(4));
        assert_eq!(batch.anomalies, [Anomaly::Disorder]);
    }

    #[test]
    fn another_state_has_another_digest() {
        let mut view = a_view();
        let before = view.digest();
        view.entries.get_mut(PAIR[0]).expect("a half").1 = meta(5, 5, 2);
        assert_ne!(view.digest(), before);
        assert_eq!(a_view().digest(), before);
    }
}
