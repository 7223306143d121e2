//! When everybody has left: that the segment has room for as many names as on its first day, and not one more.

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Error, ErrorKind, Outcome};

use crate::check::Findings;
use crate::examine;

/// How many names are deleted by one commit.
const AT_ONCE: usize = 8;

type Key = <SharedMemory as Backend>::Key;

/// Deletes whatever there is, fills the segment to the last name, and empties it again; answers how many fitted.
pub fn to_the_limit(store: &SharedMemory, findings: &mut Findings) -> Result<u64, Error> {
    empty(store, findings)?;
    let limit = u64::from(store.segment().keys());
    let mut fitted = 0;
    let refused = loop {
        match create(store, fitted) {
            Ok(true) => fitted += 1,
            Ok(false) => break None,
            Err(error) => break Some(error),
        }
    };
    let is_full = |error: Option<&Error>| error.is_some_and(|error| error.kind() == ErrorKind::Full);
    findings.expect(fitted == limit && is_full(refused.as_ref()), || {
        format!("{fitted} names fit into a segment for {limit}; the next was answered {refused:?}")
    });
    // One place is freed, taken again, and that was all.
    store.commit(&[Op::delete(&store.key(&name(0))?)])?;
    let (again, more) = (create(store, fitted), create(store, fitted + 1));
    findings.expect(matches!(again, Ok(true)) && is_full(more.as_ref().err()), || {
        format!("after one of {fitted} names was deleted, the next two were answered {again:?}, {more:?}")
    });
    empty(store, findings)?;
    let counted = examine::count(store.segment())?;
    findings.expect(counted.missing == 0 && counted.doubled == 0 && counted.placed == counted.blocks, || {
        format!("after the last name was deleted: {counted:?}")
    });
    Ok(fitted)
}

fn name(number: u64) -> String {
    format!("fill/{number:08}")
}

fn create(store: &SharedMemory, number: u64) -> Result<bool, Error> {
    let key = store.key(&name(number))?;
    let made = store.commit(&[Op::put(&key, &number.to_le_bytes()).if_absent()])?;
    Ok(made != Outcome::Conflict)
}

/// Deletes everything, and looks whether everything is gone.
fn empty(store: &SharedMemory, findings: &mut Findings) -> Result<(), Error> {
    let keys = names(store)?;
    for some in keys.chunks(AT_ONCE) {
        let ops: Vec<_> = some.iter().map(|key| Op::delete(key).if_exists()).collect();
        let deleted = store.commit(&ops)?;
        findings
            .expect(deleted != Outcome::Conflict, || format!("some of {some:?} are in a range and cannot be deleted"));
    }
    let left = names(store)?;
    findings.expect(left.is_empty(), || format!("{} names are left after all were deleted: {:?}", left.len(), left[0]));
    Ok(())
}

fn names(store: &SharedMemory) -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    store.range("", &mut |key, _, _| keys.push(key))?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotguard::Segment;

    fn store() -> SharedMemory {
        let segment = Segment::builder().records(1).keys(40).payload(64).anonymous().expect("a segment");
        SharedMemory::new(segment).expect("keys")
    }

    #[test]
    fn a_segment_with_all_its_room_is_sound() {
        let store = store();
        for number in [3, 9, 27] {
            assert!(create(&store, number).expect("a name"));
        }
        let mut findings = Findings::default();
        assert_eq!(to_the_limit(&store, &mut findings).expect("a look"), 40);
        assert_eq!(findings.violations, 0, "{:?}", findings.examples);
    }

    #[test]
    fn room_that_is_taken_by_what_no_range_shows_is_seen() {
        let store = store();
        // A lease has no name, and takes the place of one.
        let _lease = store.grant(std::time::Duration::from_secs(3_600)).expect("a lease");
        let mut findings = Findings::default();
        to_the_limit(&store, &mut findings).expect("a look");
        assert!(findings.examples[0].contains("39 names fit into a segment for 40"), "{:?}", findings.examples);
    }
}
