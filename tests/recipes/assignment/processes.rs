//! Many processes on one segment, or on one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::recipe::assignment::{Assigned, Assignment, Error, FileTable};
use slotguard::recipe::{Owner, join};
use slotguard::{MAX_PARTICIPANTS, Outcome, Segment};

use harness::peer::{Peer, answer_questions, with_peers};

const TTL: Duration = Duration::from_secs(600);

fn open(folder: &Path) -> Arc<SharedMemory> {
    Arc::new(SharedMemory::new(Segment::open(folder.join("app")).unwrap()).unwrap())
}

/// Answers `join <node>` by slot and generation, and keeps the session until it is killed or told to end; `mine?` by
/// whether it has the slot of its last join still, and `write <entry>` by whether it could.
fn serve(folder: &Path) {
    let store = open(folder);
    let slots = Assignment::open(&store, "nodes").unwrap();
    let mut sessions = Vec::new();
    let mut mine: Option<Assigned<SharedMemory>> = None;
    answer_questions(|words| match words {
        ["ready"] => Owner::me().pid.to_string(),
        ["join", node] => {
            sessions.push(join(&store, TTL).unwrap());
            match slots.join(sessions.last().unwrap(), node) {
                Ok(joined) => {
                    let joined = mine.insert(joined);
                    format!("{} {}", joined.slot(), joined.generation())
                }
                Err(error) => format!("failed: {error}"),
            }
        }
        ["mine?"] => match mine.as_ref().expect("a join").check() {
            Ok(()) => "yes".to_owned(),
            Err(Error::Evicted { now, .. }) => format!("no: {now:?}"),
            Err(error) => format!("failed: {error}"),
        },
        ["write", entry] => {
            let (mine, key) = (mine.as_ref().expect("a join"), store.key(entry).unwrap());
            let outcome = store.commit(&[mine.condition(), Op::put(&key, mine.node().as_bytes())]).unwrap();
            if outcome == Outcome::Conflict { "refused" } else { "written" }.to_owned()
        }
        other => panic!("{other:?}"),
    });
}

/// With source 1, of 100 nodes that joined at once 92 were told of success and 27 were there, and 8 slots had two owners
/// (S1-4); without its lock 44 gave up after five attempts (S1-5).
#[test]
fn b4_a_hundred_processes_that_join_at_once_get_a_hundred_slots() {
    with_peers(serve, |folder, peers| {
        const NODES: usize = 100;
        assert!(NODES < MAX_PARTICIPANTS as usize);
        let builder = Segment::builder().keys(1_000).participants(NODES as u32 + 2).lanes(3 * NODES as u32).payload(64);
        builder.create(folder.join("app")).unwrap();
        let store = open(folder);
        let slots = Assignment::open(&store, "nodes").unwrap();

        let mut peers: Vec<Peer> = (0..NODES).map(|_| peers.start(&[])).collect();
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

/// In source 1 a process whose slot another had given away was told its old one from a cache of its own: S1-9.
#[test]
fn d5_a_process_whose_slot_another_gave_away_is_told_and_refused() {
    with_peers(serve, |folder, peers| {
        Segment::builder().keys(100).participants(4).payload(64).create(folder.join("app")).unwrap();
        let slots = Assignment::open(&open(folder), "nodes").unwrap();
        let mut owner = peers.start(&[]);
        owner.ask("join node");
        assert_eq!((owner.ask("mine?"), owner.ask("write work")), ("yes".to_owned(), "written".to_owned()));
        // The same name again, so the same slot: in another process, and another generation.
        slots.release("node").unwrap();
        assert_eq!((owner.ask("mine?"), owner.ask("write work")), ("no: None".to_owned(), "refused".to_owned()));
        let mut heir = peers.start(&[]);
        let generation = heir.ask("join node").split_once(' ').unwrap().1.to_owned();
        let now = owner.ask("mine?");
        assert!(now.starts_with("no: Some") && now.contains("node") && now.contains(&generation), "{now}");
        assert_eq!((owner.ask("write work"), heir.ask("write work")), ("refused".to_owned(), "written".to_owned()));
    });
}

/// Answers `join <node> …` by the slots that the table in the file gives them.
fn serve_file(folder: &Path) {
    let file_table = FileTable::open(folder.join("table"), "nodes").unwrap();
    answer_questions(|words| match words {
        ["ready"] => Owner::me().pid.to_string(),
        ["join", nodes @ ..] => {
            let slots: Result<Vec<_>, _> = nodes.iter().map(|node| file_table.join(node)).collect();
            slots.map_or_else(|error| format!("failed: {error}"), |slots| format!("{slots:?}"))
        }
        other => panic!("{other:?}"),
    });
}

/// Source 1's managers were processes as well: 40 of them with four names each were told of 155 slots, of which 21 were
/// given twice and 118 not written down: S1-4.
#[test]
fn b4_a_hundred_processes_that_join_a_file_at_once_get_slots_of_their_own() {
    with_peers(serve_file, |folder, peers| {
        const PEERS: usize = 100;
        let file_table = FileTable::create(folder.join("table"), "nodes").unwrap();
        let mut peers: Vec<Peer> = (0..PEERS).map(|_| peers.start(&[])).collect();
        for peer in &mut peers {
            peer.ask("ready");
        }
        let names = |n| [format!("node-{n}"), format!("other-{n}")];
        // All of them are under way before the first can go on.
        let lock = File::options().write(true).open(folder.join("table.lock")).unwrap();
        lock.lock().unwrap();
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.tell(&format!("join {}", names(n).join(" ")));
        }
        lock.unlock().unwrap();
        let mut told = BTreeMap::new();
        for (n, peer) in peers.iter_mut().enumerate() {
            let answer = peer.answer();
            let slots = answer.trim_matches(['[', ']']).split(", ").map(|slot| slot.parse::<u16>());
            told.extend(names(n).into_iter().zip(slots.map(|slot| slot.unwrap_or_else(|_| panic!("{n}: {answer}")))));
        }
        assert_eq!(told.len(), 2 * PEERS);
        assert_eq!(told.values().collect::<BTreeSet<_>>().len(), 2 * PEERS, "a slot was given twice");
        let table = file_table.table().unwrap();
        let there: BTreeMap<_, _> = table.entries.into_iter().map(|(node, entry)| (node, entry.slot)).collect();
        assert_eq!(there, told, "a node that was told of success is not there");
        assert_eq!(table.version, 1 + 2 * PEERS as u64);
    });
}
