//! Containers that share a segment: processes with other PIDs and other clocks, who must still agree on who is alive and
//! when a claim ends.
#![cfg(not(loom))]

#[path = "support/forked.rs"]
mod forked;

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use slotguard::backend::{Backend, Op, SharedMemory};
use slotguard::{Claim, Deadline, Error, ErrorKind, Lease, Life, Segment, Version};

use forked::fork;
use harness::isolated::isolated_in;
use harness::peer::{Peer, Peers, answer_questions, with_peers};

/// Longer than any test runs.
const LEASE: Duration = Duration::from_secs(600);
/// For waits that must not be in vain.
const PATIENCE_MS: u64 = 60_000;
const OWN_PIDS: &[&str] = &["--pid", "--fork", "--kill-child"];

/// What a peer does: attaches, and then what it is asked to.
fn serve(folder: &Path) {
    let segment = Segment::open(folder.join("segment")).unwrap();
    let mut claims: Vec<Claim<'_>> = Vec::new();
    let store = SharedMemory::new(segment.clone()).unwrap();
    let milliseconds = |word: &str| Duration::from_millis(word.parse().unwrap());
    answer_questions(|words| {
        let record = |word: &str| segment.record(word.parse().unwrap()).unwrap();
        let done = match words {
            ["claim", index, wait, lease] => {
                record(index).claim(Deadline::after(milliseconds(wait)), milliseconds(lease)).map(|claim| {
                    claims.push(claim);
                    String::from("claimed")
                })
            }
            ["grant", name, lease] => store.grant(milliseconds(lease)).and_then(|lease| {
                let key = store.key(name)?;
                store.commit(&[Op::put_leased(&key, b"leased", lease)]).map(|_| lease.to_string())
            }),
            ["renew", lease] => store.renew(Lease(lease.parse().unwrap())).map(|_| String::from("renewed")),
            ["there", name] => {
                let key = store.key(name).unwrap();
                store.read(&key, &mut Vec::new()).map(|(found, _)| found.is_some().to_string())
            }
            ["commit"] => claims.pop().unwrap().commit(b"peer").map(|stamp| format!("version {}", stamp.version)),
            ["update", index] => record(index)
                .update(|_, draft| draft.write(b"peer"))
                .map(|(_, stamp)| format!("version {}", stamp.version)),
            ["remaining", index] => {
                let remaining = |holder: slotguard::Holder| holder.remaining.as_millis().to_string();
                record(index).holder().map(|holder| holder.map_or(String::from("nobody"), remaining))
            }
            ["members"] => segment.participants().map(|members| {
                let one = |member: &slotguard::Participant| format!("{}:{:?}", member.pid, member.life);
                members.iter().map(one).collect::<Vec<_>>().join(" ")
            }),
            ["wait", index, version, wait] => {
                let began = Instant::now();
                let deadline = Deadline::after(milliseconds(wait));
                let found = record(index).wait_newer(Version(version.parse().unwrap()), deadline);
                found.map(|found| match found {
                    Some(version) => format!("version {version}"),
                    None => format!("nothing for {}", began.elapsed().as_millis()),
                })
            }
            ["pid"] => Ok(std::process::id().to_string()),
            ["clock"] => Ok(clock_gettime(ClockId::Monotonic).tv_sec.to_string()),
            other => panic!("{other:?}"),
        };
        done.unwrap_or_else(|error| error.kind().to_string())
    });
}

fn update(segment: &Segment, record: u32) -> Result<Version, ErrorKind> {
    let updated = segment.record(record).unwrap().update(|_, draft| draft.write(b"here"));
    updated.map(|(_, stamp)| stamp.version).map_err(|error| error.kind())
}

fn lives(segment: &Segment) -> Vec<(u32, Life)> {
    segment.participants().unwrap().iter().map(|member| (member.pid, member.life)).collect()
}

#[test]
fn who_is_alive_is_known_across_pid_namespaces_whatever_the_pids() {
    with_peers(serve, |folder, peers| {
        let segment =
            Segment::builder().records(8).keys(20).lanes(8).participants(8).create(folder.join("segment")).unwrap();
        let mut first = peers.start(OWN_PIDS);
        let mut second = peers.start(OWN_PIDS);
        // The same number twice, which here is somebody else who never dies.
        assert_eq!((first.ask("pid"), second.ask("pid")), (String::from("1"), String::from("1")));

        assert_eq!(first.ask("claim 0 0 600000"), "claimed");
        assert_eq!(second.ask("claim 1 0 600000"), "claimed");
        for record in [0, 1] {
            assert_eq!(update(&segment, record), Err(ErrorKind::Held));
            assert_eq!(segment.record(record).unwrap().holder().unwrap().unwrap().pid, 1);
        }
        assert_eq!((first.ask("update 1"), second.ask("update 0")), (String::from("Held"), String::from("Held")));
        let me = std::process::id();
        assert_eq!(first.ask("members").matches(":Alive").count(), 3, "also one whose number means nothing there");
        assert_eq!(second.ask("members").matches(&format!("{me}:Alive")).count(), 1);
        assert_eq!(lives(&segment).iter().filter(|member| **member == (1, Life::Alive)).count(), 2);

        // A kill is noticed by who waits, here and there, and by who looks.
        second.tell(&format!("claim 0 {PATIENCE_MS} 600000"));
        first.kill();
        assert_eq!(second.answer(), "claimed");
        segment.reap().unwrap();
        assert_eq!(lives(&segment).iter().filter(|member| **member == (1, Life::Alive)).count(), 1);
        assert_eq!(lives(&segment).len(), 2);
        for record in [0, 1] {
            assert_eq!(update(&segment, record), Err(ErrorKind::Held), "the other with that number lives on");
        }
        second.kill();
        for record in [0, 1] {
            let patience = Deadline::after(Duration::from_millis(PATIENCE_MS));
            segment.record(record).unwrap().claim(patience, LEASE).unwrap().commit(b"taken over").unwrap();
        }
        segment.reap().unwrap();
        assert_eq!(lives(&segment), [(me, Life::Alive)]);
        let audit = segment.audit().unwrap();
        assert_eq!((audit.missing, audit.doubled, audit.pending, audit.rows_taken), (0, 0, 0, 1));
    });
}

#[test]
fn a_peer_without_news_of_us_in_its_namespace_finds_our_death() {
    with_peers(serve, |folder, peers| {
        let segment =
            Segment::builder().records(8).keys(20).lanes(8).participants(8).create(folder.join("segment")).unwrap();
        let mut inside = peers.start(OWN_PIDS);
        let mut outside = peers.start(&[]);
        assert_eq!(outside.ask("claim 0 0 600000"), "claimed");
        assert_eq!(inside.ask("update 0"), "Held");
        inside.tell(&format!("claim 0 {PATIENCE_MS} 600000"));
        outside.kill();
        assert_eq!(inside.answer(), "claimed");
        assert_eq!(update(&segment, 0), Err(ErrorKind::Held));
        assert_eq!(inside.ask("commit"), "version 1");
    });
}

/// A peer whose clock is that many seconds ahead of ours, or behind.
fn peer_with_clock(peers: &Peers, ahead: i64) -> Peer {
    let ahead_words = ahead.to_string();
    let mut peer = peers.start(&["--time", "--monotonic", &ahead_words, "--fork", "--kill-child"]);
    let ours = clock_gettime(ClockId::Monotonic).tv_sec;
    let theirs: i64 = peer.ask("clock").parse().unwrap();
    assert!((theirs - ours).abs() >= ahead.abs() / 2, "its clock is another: {theirs}, ours {ours}");
    peer
}

/// Seconds by which the clocks of other namespaces differ: far ahead, and as far behind as the kernel allows for sure.
fn differences() -> [i64; 2] {
    let uptime = clock_gettime(ClockId::Monotonic).tv_sec;
    [1_000_000, -uptime / 2]
}

#[test]
fn a_lease_ends_at_the_same_moment_whatever_clock_it_is_read_by() {
    with_peers(serve, |folder, peers| {
        for (round, ahead) in differences().into_iter().enumerate() {
            let path = folder.join("segment");
            let segment = Segment::builder().records(8).keys(20).lanes(8).participants(8).create(&path).unwrap();
            let mut peer = peer_with_clock(peers, ahead);
            let record = |index| segment.record(index).unwrap();
            let lease_left = |remaining: u128| (1..=LEASE.as_millis()).contains(&remaining);

            // Ours, seen from there: not over early, not longer than it is.
            let ours = record(0).claim(Deadline::now(), LEASE).unwrap();
            assert_eq!(peer.ask("update 0"), "Held");
            assert_eq!(peer.ask("claim 0 0 1000"), "TimedOut");
            let remaining = peer.ask("remaining 0");
            assert!(lease_left(remaining.parse().unwrap()), "round {round}: {remaining} ms");
            ours.commit(b"here").unwrap();

            // Theirs, seen from here.
            assert_eq!(peer.ask("claim 1 0 600000"), "claimed");
            assert_eq!(update(&segment, 1), Err(ErrorKind::Held));
            let remaining = record(1).holder().unwrap().unwrap().remaining;
            assert!(lease_left(remaining.as_millis()), "round {round}: {remaining:?}");
            assert_eq!(peer.ask("commit"), "version 1");

            // A short one of ours is over when it is over.
            let short = Duration::from_millis(400);
            let began = Instant::now();
            let ours = record(2).claim(Deadline::now(), short).unwrap();
            assert_eq!(peer.ask(&format!("claim 2 {PATIENCE_MS} 600000")), "claimed");
            assert!(began.elapsed() >= short, "round {round}: taken after {:?} of {short:?}", began.elapsed());
            let lost = ours.commit(b"late").unwrap_err();
            assert!(matches!(lost, Error::LeaseLost { .. }), "{lost}");
            assert_eq!(peer.ask("commit"), "version 1");

            // And a short one of theirs.
            let began = Instant::now();
            assert_eq!(peer.ask("claim 3 0 400"), "claimed");
            let patience = Deadline::after(Duration::from_millis(PATIENCE_MS));
            let ours = record(3).claim(patience, LEASE).expect("it ends though its holder lives");
            assert!(began.elapsed() >= short, "round {round}: taken after {:?} of {short:?}", began.elapsed());
            assert_eq!(peer.ask("commit"), "LeaseLost");
            ours.commit(b"here").unwrap();
            Segment::remove(&path).unwrap();
        }
    });
}

#[test]
fn an_entry_lives_as_long_as_its_lease_whatever_clock_it_is_read_by() {
    with_peers(serve, |folder, peers| {
        for (round, ahead) in differences().into_iter().enumerate() {
            let path = folder.join("segment");
            let sizes = Segment::builder().records(1).keys(20).lanes(8).participants(8);
            let segment = sizes.create(&path).unwrap();
            let store = SharedMemory::new(segment.clone()).unwrap();
            let mut peer = peer_with_clock(peers, ahead);
            let key = |name| store.key(name).unwrap();
            let is_there = |name| store.read(&key(name), &mut Vec::new()).unwrap().0.is_some();

            // A long one of ours and of theirs, seen from the other side.
            let ours = store.grant(LEASE).unwrap();
            store.commit(&[Op::put_leased(&key("ours"), b"leased", ours)]).unwrap();
            assert_eq!(peer.ask("there ours"), "true", "round {round}");
            let theirs = peer.ask("grant theirs 600000");
            assert!(is_there("theirs"), "round {round}");
            assert_eq!(peer.ask(&format!("renew {theirs}")), "renewed");
            store.renew(Lease(theirs.parse().unwrap())).unwrap();
            assert_eq!(peer.ask(&format!("renew {ours}")), "renewed");
            assert_eq!((peer.ask("there ours"), is_there("theirs")), ("true".to_owned(), true));

            // A short one of theirs is over when it is over, and whoever waits for that is told.
            let (short, began) = (Duration::from_millis(400), Instant::now());
            let theirs = peer.ask("grant short 400");
            let (meta, revision) = store.read(&key("short"), &mut Vec::new()).unwrap();
            if meta.is_some() {
                assert!(store.wait(&key("short"), revision, &Deadline::never()).unwrap());
            }
            assert!(began.elapsed() >= short, "round {round}: over after {:?} of {short:?}", began.elapsed());
            assert!(!is_there("short"), "round {round}");
            assert_eq!(peer.ask(&format!("renew {theirs}")), "LeaseExpired");
            assert_eq!(peer.ask("there short"), "false");

            // And what a killed peer held is gone at once.
            drop(peer);
            let (meta, revision) = store.read(&key("theirs"), &mut Vec::new()).unwrap();
            if meta.is_some() {
                assert!(store.wait(&key("theirs"), revision, &Deadline::never()).unwrap());
            }
            assert!(!is_there("theirs") && is_there("ours"), "round {round}");
            Segment::remove(&path).unwrap();
        }
    });
}

#[test]
fn deadlines_of_waits_hold_whatever_the_clock() {
    with_peers(serve, |folder, peers| {
        for ahead in differences() {
            let path = folder.join("segment");
            let segment = Segment::builder().records(8).keys(20).lanes(8).participants(8).create(&path).unwrap();
            let mut peer = peer_with_clock(peers, ahead);
            let answer = peer.ask("wait 0 0 300");
            let waited: u64 = answer.strip_prefix("nothing for ").expect("nothing came").parse().unwrap();
            assert!(waited >= 300, "{waited} ms of 300");
            // A wake-up crosses as well.
            for version in 0..20 {
                peer.tell(&format!("wait 0 {version} {PATIENCE_MS}"));
                assert_eq!(update(&segment, 0), Ok(Version(version + 1)));
                assert_eq!(peer.answer(), format!("version {}", version + 1));
            }
            assert_eq!(peer.ask("update 1"), "version 1");
            assert_eq!(segment.record(1).unwrap().wait_newer(Version(0), Deadline::never()).unwrap(), Some(Version(1)));
            Segment::remove(&path).unwrap();
        }
    });
}

#[test]
fn who_has_asked_for_another_clock_and_not_entered_it_is_told_so() {
    isolated_in(&["--mount"], |folder| {
        let segment =
            Segment::builder().records(8).keys(20).lanes(8).participants(8).create(folder.join("segment")).unwrap();
        // In a child, whose only thread stands for the process.
        fork(|| {
            let before = segment.reopen().unwrap();
            // SAFETY: a plain system call; it affects the children of this process only.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWTIME) }, 0, "{}", std::io::Error::last_os_error());
            for result in [Segment::open(folder.join("segment")), segment.reopen()] {
                let error = result.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                assert!(error.to_string().contains("fork or exec first"), "{error}");
            }
            assert_eq!(before.participants().unwrap().len(), 2, "it took no row");
            assert_eq!(update(&before, 1), Ok(Version(1)), "whoever attached before goes on");
            fork(|| assert_eq!(update(&segment.reopen().unwrap(), 1), Ok(Version(2)))).join();
        })
        .join();
        assert_eq!(update(&segment, 1), Ok(Version(3)));
    });
}
