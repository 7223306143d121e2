//! What a client's death does: for backends that can prove one.

use std::thread;

use super::asking::{Asking, fault};
use super::mirror::Mirror;
use super::subject::Mortal;
use crate::backend::{Backend, Op, When};
use crate::{Deadline, ErrorKind};

/// No time of theirs needs to pass: what lived by the dead client's leases goes, the rest stays, and the leases are over.
pub fn a_death_ends_the_leases_of_the_dead(subject: &impl Mortal) {
    let survivor = subject.client();
    let mine = survivor.long_lease();
    for _ in 0..5 {
        let mortal = subject.client();
        let leases = [mortal.long_lease(), mortal.long_lease()];
        let keys = ["d/a", "d/b", "d/c"].map(|name| mortal.named(name));
        mortal.apply(&[
            Op::put_leased(&keys[0], b"", leases[0]),
            Op::put_leased(&keys[1], b"", leases[1]),
            Op::put(&keys[2], b"the dead one's, for ever"),
        ]);
        survivor.apply(&[Op::put_leased(&survivor.named("d/d"), b"", mine)]);
        subject.kill(mortal, &leases);
        for name in ["d/a", "d/b"] {
            let key = survivor.named(name);
            while let Some(state) = survivor.state(&key) {
                survivor.wait_for_change(&key, state.meta.modified);
            }
        }
        assert!(survivor.contents("d/").0.keys().eq(["d/c", "d/d"]));
        for lease in leases {
            assert_eq!(fault(survivor.renew(lease)), ErrorKind::LeaseExpired);
            assert_eq!(fault(survivor.revoke(lease)), ErrorKind::LeaseExpired);
            let key = survivor.named("d/a");
            survivor.refuses(ErrorKind::LeaseExpired, &[Op::put_leased(&key, b"", lease)]);
        }
    }
}

/// Who waits for an entry of the dead, or watches it, is told.
pub fn a_death_is_a_change_to_those_who_wait(subject: &impl Mortal) {
    let (waiter, watcher) = (subject.client(), subject.client());
    for _ in 0..5 {
        let mortal = subject.client();
        let lease = mortal.long_lease();
        mortal.apply(&[Op::put_leased(&mortal.named("d/a"), b"", lease)]);
        let (mut mirror, mut watch) = Mirror::open(&watcher, "d/");
        let key = waiter.named("d/a");
        let seen = waiter.meta(&key).modified;
        thread::scope(|scope| {
            scope.spawn(|| waiter.wait_for_change(&key, seen));
            scope.spawn(|| {
                while !mirror.view.is_empty() {
                    assert!(mirror.follow(&mut watch, &Deadline::never()).expect("a batch"));
                }
            });
            subject.kill(mortal, &[lease]);
        });
        assert_eq!(waiter.state(&key), None);
        assert!(mirror.view.is_empty());
    }
}

/// Whoever finds the dead in the way need not wait, and is another: a commit that names the dead one loses.
pub fn the_work_of_the_dead_can_be_taken_over(subject: &impl Mortal) {
    let heir = subject.client();
    let mut last = None;
    for _ in 0..5 {
        let mortal = subject.client();
        let lease = mortal.long_lease();
        let token = mortal.apply(&[Op::put_leased(&mortal.named("job"), b"", lease).if_absent()]);
        assert!(Some(token) > last, "tokens grow from owner to owner");
        let (job, result) = (heir.named("job"), heir.named("result"));
        heir.loses(&[Op::put(&job, b"").if_absent()]);
        subject.kill(mortal, &[lease]);
        let taken = heir.apply(&[Op::put(&job, b"").if_absent()]);
        assert!(taken > token);
        heir.loses(&[Op::check(&job, When::CreatedAt(token)), Op::put(&result, b"")]);
        last = Some(heir.apply(&[Op::delete(&job).if_created_at(taken)]));
    }
}
