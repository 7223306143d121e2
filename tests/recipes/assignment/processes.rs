//! Many processes on one segment.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::{Session, SharedMemory};
use slotguard::recipe::assignment::Assignment;
use slotguard::recipe::{Owner, join};
use slotguard::{MAX_PARTICIPANTS, Segment};

use crate::alone::{Peer, answer_questions, with_peers};

const TTL: Duration = Duration::from_secs(600);

fn open(folder: &Path) -> Arc<SharedMemory> {
    Arc::new(SharedMemory::new(Segment::open(folder.join("app")).unwrap()).unwrap())
}

/// Answers `join <node>` by slot and generation, and keeps the session until it is killed or told to end.
fn serve(folder: &Path) {
    let store = open(folder);
    let slots = Assignment::open(&store, "nodes").unwrap();
    let mut sessions: Vec<Arc<Session<SharedMemory>>> = Vec::new();
    answer_questions(|words| match words {
        ["ready"] => Owner::me().pid.to_string(),
        ["join", node] => {
            sessions.push(join(&store, TTL).unwrap());
            match slots.join(sessions.last().unwrap(), node) {
                Ok(mine) => format!("{} {}", mine.slot(), mine.generation()),
                Err(error) => format!("failed: {error}"),
            }
        }
        other => panic!("{other:?}"),
    });
}

/// With source 1, of 100 nodes that joined at once 92 were told of success and 27 were there, and 8 slots had two owners
/// (S1-4); without its lock 44 gave up after five attempts (S1-5).
#[test]
fn b4_a_hundred_processes_that_join_at_once_get_a_hundred_slots() {
    with_peers(serve, |folder, stage| {
        const NODES: usize = 100;
        assert!(NODES < MAX_PARTICIPANTS as usize);
        let builder = Segment::builder().keys(1_000).participants(NODES as u32 + 2).lanes(3 * NODES as u32).payload(64);
        builder.create(folder.join("app")).unwrap();
        let store = open(folder);
        let slots = Assignment::open(&store, "nodes").unwrap();

        let mut peers: Vec<Peer> = (0..NODES).map(|_| stage.peer(&[])).collect();
        for peer in &mut peers {
            peer.ask("ready");
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.tell(&format!("join node-{n}"));
        }
        let mut told = BTreeMap::new();
        for (n, peer) in peers.iter_mut().enumerate() {
            let answer = peer.answer();
            let (slot, generation) = answer.split_once(' ').unwrap();
            let slot: u16 = slot.parse().unwrap_or_else(|_| panic!("node-{n} {answer}"));
            let before = told.insert(slot, (format!("node-{n}"), generation.to_owned()));
            assert_eq!(before, None, "slot {slot} was given twice");
        }
        assert_eq!(told.len(), NODES);
        // Audited afresh: who was told of success is there, and nobody else.
        let stats = slots.stats().unwrap();
        assert_eq!((usize::from(stats.taken), usize::from(stats.active)), (NODES, NODES));
        for (slot, (node, generation)) in &told {
            let place = slots.node_of(*slot).unwrap().unwrap();
            assert_eq!((&place.node, &place.generation.to_string()), (node, generation));
            assert_eq!(slots.lookup(node).unwrap(), Some(place));
        }
        assert_eq!(slots.integrity().unwrap(), []);

        // Those that are killed keep their slots, and are not alive.
        for peer in &mut peers {
            peer.kill();
        }
        store.reap().unwrap();
        let stats = slots.stats().unwrap();
        assert_eq!((usize::from(stats.taken), stats.active), (NODES, 0));
        let mut cleaner = slots.cleaner();
        assert_eq!(cleaner.release_stale(Duration::ZERO).unwrap().len(), NODES);
        assert_eq!(slots.stats().unwrap().free, slots.slots());
        std::mem::forget(peers);
    });
}
