//! What watchers do: follow a prefix to the last word, and say so when what they are told cannot be.

use slotguard::backend::{Backend, SharedMemory, Watch};
use slotguard::{Deadline, Error, Revision};

use super::Prefix;
use super::view::{Batch, View};
use crate::client::Client;
use crate::history::{Kind, Outcome};

/// From a range and the watch after it, or from a watch that begins with everything, to the last word.
pub fn follow(store: &SharedMemory, prefix: Prefix, client: &mut Client<'_>) -> Result<(), Error> {
    let mut view = View::default();
    let mut from = Revision(0);
    if client.random.one_in(2) {
        let open = client.log.begin(Kind::Snapshot, prefix as u32);
        let revision = store.range(prefix.text(), &mut |key, value, meta| {
            view.entries.insert(key.as_ref().to_owned(), (value.to_vec(), meta));
        })?;
        view.at = revision.0;
        from = Revision(revision.0 + 1);
        open.looked(revision.0, view.entries.len() as u64, changes(&view, prefix, client));
    }
    let mut watch = store.watch(prefix.text(), from)?;
    let last_word = prefix.last_word();
    while !view.entries.contains_key(&last_word) {
        // The log may have no room now; what is told is looked at all the same.
        let open = client.may_log().then(|| client.log.begin(Kind::WatchBatch, prefix as u32));
        let mut batch = Batch::default();
        // No deadline: a wake-up that is lost is found by a watcher that never ends.
        let answered = watch.next(&Deadline::never(), &mut |event| view.take_in(&mut batch, event))?;
        batch.ends_with(answered.map(|revision| revision.0));
        let changes = changes(&view, prefix, client);
        for anomaly in batch.anomalies {
            client.anomaly(prefix as u32, view.at, anomaly);
        }
        if let Some(open) = open {
            open.with_extra(batch.events).looked(view.at, view.entries.len() as u64, changes);
        }
    }
    client.log.begin(Kind::LastView, prefix as u32).with_extra(view.digest()).finish(Outcome::Done, 0, view.at);
    Ok(())
}

/// How many changes a view shows; what cannot be in it is written down.
fn changes(view: &View, prefix: Prefix, client: &mut Client<'_>) -> u64 {
    client.log.count_read();
    for anomaly in view.contradictions() {
        client.anomaly(prefix as u32, view.at, anomaly);
    }
    view.changes(prefix).unwrap_or_else(|anomaly| {
        client.anomaly(prefix as u32, view.at, anomaly);
        u64::MAX
    })
}
