//! One leader a term, whoever else would like to be it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;

use slotguard::backend::{Backend, Op, Session};
use slotguard::conformance::{Mortal, Subject};
use slotguard::recipe::election::{Error, LeaderChange, Phase};
use slotguard::recipe::{self, Election};
use slotguard::{Deadline, Outcome, Token};

use crate::member::put_as_another;

const LONG: Duration = Duration::from_secs(60);

fn join<S: Subject>(subject: &S) -> Arc<Session<S::Store>> {
    recipe::join(&Arc::new(subject.client()), LONG).unwrap()
}

/// In source 2 whoever called the election won it: answers lacked its number, so nobody's candidacy was ever counted
/// (S2-11). In source 4 each looked at its own list of nodes (S4-2).
fn b14_of_many_candidates_at_once_each_leads_once_and_no_two_at_a_time(subject: &impl Subject) {
    let start = Barrier::new(12);
    let inside = AtomicU64::new(0);
    let terms = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for i in 0..12u8 {
            let (start, inside, terms) = (&start, &inside, &terms);
            scope.spawn(move || {
                let election = Election::new(&join(subject), "jobs").unwrap();
                start.wait();
                let lead = election.campaign(&[i], &Deadline::never()).unwrap();
                assert_eq!(inside.swap(lead.term().0, SeqCst), 0, "two lead at once");
                // The others' turn, if they are let in.
                (0..12).for_each(|_| thread::yield_now());
                // What one sees all see: the leader's term and what it proclaims.
                let seen = election.leader().unwrap().expect("a leader");
                assert_eq!((seen.term, seen.value), (lead.term(), vec![i]));
                terms.lock().unwrap().push(lead.term());
                inside.store(0, SeqCst);
                lead.resign().unwrap();
            });
        }
    });
    let terms = terms.into_inner().unwrap();
    assert_eq!(terms.len(), 12);
    assert!(terms.windows(2).all(|pair| pair[0] < pair[1]), "a term of its own for each, and they grow: {terms:?}");
}

/// In source 4 a newcomer with a smaller name deposed a healthy leader (S4-2).
fn b14_a_healthy_leader_is_not_deposed_by_a_newcomer(subject: &impl Subject) {
    let (zoe, adam) = (join(subject), join(subject));
    let election = Election::new(&zoe, "jobs").unwrap();
    let lead = election.campaign(b"zoe", &Deadline::now()).unwrap();
    let newcomer = Election::new(&adam, "jobs").unwrap();
    let error = newcomer.campaign(b"adam", &Deadline::now()).unwrap_err();
    let Error::InUse(in_use) = &error else { panic!("{error}") };
    assert_eq!((in_use.holders[0].token, in_use.ahead), (lead.term(), 1), "who leads is named");
    assert_eq!(newcomer.leader().unwrap().unwrap().value, b"zoe");
    assert!(lead.is_alive());
    let key = zoe.store().key("jobs/last").unwrap();
    assert!(matches!(lead.commit(&[Op::put(&key, b"1")]).unwrap(), Outcome::Committed(_)));
}

/// In source 4 a leader that was paused and woke up after another had been elected went on writing (S4-1).
fn b14_an_ex_leaders_write_is_refused(subject: &impl Subject) {
    let short = Duration::from_millis(200);
    let store = Arc::new(subject.client());
    let session = Session::manual(&store, "sessions/old", b"", short).unwrap().mine().unwrap();
    let old = Election::new(&Arc::new(session), "jobs").unwrap().campaign(b"old", &Deadline::now()).unwrap();
    let key = store.key("jobs/last").unwrap();
    old.commit(&[Op::put(&key, b"old")]).unwrap();
    subject.pass(short * 2);
    let election = Election::new(&join(subject), "jobs").unwrap();
    let new = election.campaign(b"new", &Deadline::never()).unwrap();
    new.commit(&[Op::put(&key, b"new")]).unwrap();
    assert!(new.term() > old.term());
    assert!(!old.is_alive());
    assert!(matches!(old.commit(&[Op::put(&key, b"late")]), Err(Error::Lost(_))));
    assert!(matches!(old.proclaim(b"I am"), Err(Error::Lost(_) | Error::Store(_))));
    assert!(matches!(old.renew(), Err(Error::Lost(_))));
    assert!(old.wait_lost(&Deadline::never()).unwrap());
    assert!(matches!(old.resign(), Err(Error::Lost(_))));
    let mut value = Vec::new();
    store.read(&key, &mut value).unwrap();
    assert_eq!(value, b"new");
    assert_eq!(election.leader().unwrap().unwrap().value, b"new");
}

fn the_phases_are_told_in_order(subject: &impl Subject) {
    let (one, two) = (join(subject), join(subject));
    let election = Election::new(&one, "jobs").unwrap();
    let mut observer = Election::new(&two, "jobs").unwrap().observe();
    assert_eq!(observer.next(&Deadline::now()).unwrap(), None, "no candidates, no leader");
    let never = Deadline::never();
    let lead = election.campaign(b"a", &Deadline::now()).unwrap();
    let first = lead.term();
    let Some(LeaderChange::Elected(leader)) = observer.next(&never).unwrap() else { panic!("somebody was elected") };
    assert_eq!((leader.term, leader.value.as_slice(), leader.owner.pid), (first, &b"a"[..], std::process::id()));
    lead.proclaim(b"b").unwrap();
    assert!(matches!(observer.next(&never).unwrap(), Some(LeaderChange::Proclaimed(leader)) if leader.value == b"b"));
    lead.resign().unwrap();
    assert_eq!(observer.next(&never).unwrap(), Some(LeaderChange::Resigned(first)));
    assert_eq!(observer.next(&Deadline::now()).unwrap(), None);
    let lead = election.campaign(b"c", &Deadline::now()).unwrap();
    let second = lead.term();
    assert!(matches!(observer.next(&never).unwrap(), Some(LeaderChange::Elected(leader)) if leader.term == second));
    // Without a word: that is no resignation.
    drop(lead);
    assert_eq!(observer.next(&never).unwrap(), Some(LeaderChange::Lost(second)));
    let lead = election.campaign(b"d", &Deadline::now()).unwrap();
    assert!(matches!(observer.next(&never).unwrap(), Some(LeaderChange::Elected(_))));
    // As when its process dies, where that can be proved.
    one.store().revoke(one.lease()).unwrap();
    assert_eq!(observer.next(&never).unwrap(), Some(LeaderChange::Lost(lead.term())));
}

fn who_stands_where_can_be_seen(subject: &impl Subject) {
    let (one, two) = (join(subject), join(subject));
    let election = Election::new(&one, "jobs").unwrap();
    let lead = election.campaign(b"one", &Deadline::now()).unwrap();
    thread::scope(|scope| {
        let second =
            scope.spawn(|| Election::new(&two, "jobs").unwrap().campaign(b"two", &Deadline::never()).unwrap().term());
        let standing = loop {
            let standing = election.candidates().unwrap();
            if standing.len() == 2 {
                break standing;
            }
            thread::yield_now();
        };
        let phases: Vec<_> = standing.iter().map(|(phase, _)| *phase).collect();
        assert_eq!(phases, [Phase::Elected, Phase::Candidate]);
        assert_eq!(standing[0].1.token, lead.term());
        lead.resign().unwrap();
        assert_eq!(second.join().unwrap(), standing[1].1.token, "the next in line is elected");
    });
}

fn a_deposed_leader_writes_nothing_more_and_the_next_leads(subject: &impl Subject) {
    let (one, two) = (join(subject), join(subject));
    let election = Election::new(&one, "jobs").unwrap();
    let lead = election.campaign(b"one", &Deadline::now()).unwrap();
    let others = Election::new(&two, "jobs").unwrap();
    let wrong = Token(lead.term().0 + 1);
    assert!(matches!(others.depose(wrong), Err(Error::NotLeader { term, .. }) if term == wrong));
    others.depose(lead.term()).unwrap();
    assert_eq!(election.leader().unwrap(), None);
    let key = one.store().key("jobs/last").unwrap();
    assert!(matches!(lead.commit(&[Op::put(&key, b"late")]), Err(Error::Lost(_))));
    assert!(!lead.is_alive());
    let next = others.campaign(b"two", &Deadline::now()).unwrap();
    assert!(matches!(others.depose(lead.term()), Err(Error::NotLeader { .. })), "that term is over");
    assert!(next.is_alive() && others.leader().unwrap().unwrap().term == next.term());
}

/// Nobody waits for the dead one's lead.
fn the_dead_do_not_lead_whoever_looks(subject: &impl Mortal) {
    let election = Election::new(&join(subject), "jobs").unwrap();
    let victim = subject.client();
    let (lease, term) = put_as_another(&victim, "jobs/t/x", b"w 1 0 victim");
    let said = format!("{} 1 0 victim\0me", term.0);
    let key = victim.key("jobs/leader").unwrap();
    victim.commit(&[Op::put_leased(&key, said.as_bytes(), lease)]).unwrap();
    assert_eq!(election.leader().unwrap().map(|leader| leader.term.0), Some(term.0));
    assert_eq!(election.candidates().unwrap().len(), 1);
    subject.kill(victim, &[lease]);
    assert_eq!(election.leader().unwrap(), None);
    assert!(election.candidates().unwrap().is_empty());
    assert!(matches!(election.depose(Token(term.0)), Err(Error::NotLeader { .. })));
}

crate::on_every_backend! {
    b14_of_many_candidates_at_once_each_leads_once_and_no_two_at_a_time,
    b14_a_healthy_leader_is_not_deposed_by_a_newcomer,
    b14_an_ex_leaders_write_is_refused,
    the_phases_are_told_in_order,
    who_stands_where_can_be_seen,
    a_deposed_leader_writes_nothing_more_and_the_next_leads,
    the_dead_do_not_lead_whoever_looks,
}
