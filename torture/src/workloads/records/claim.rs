//! What a thread does with claims: claim, read, announce an intent, write or release, and be refused when late.

use std::time::Duration;

use slotguard::{Claim, Deadline, Error, Stamp};

use crate::client::Client;
use crate::history::{Entry, Kind, Outcome};
use crate::system;
use crate::value::Evidence;

/// How long a claimer waits: longer than any run lasts.
const PATIENCE: Duration = Duration::from_secs(30);

impl Client<'_> {
    /// Claims a record, holds it for a while, and ends the claim in one of several ways.
    pub fn claim_once(&mut self, index: u32, lease: Duration) -> Result<(), Error> {
        let lease_ns = lease.as_nanos() as u64;
        let open = self.log.begin(Kind::Grant, index).with_count(lease_ns);
        let record = self.record(index)?;
        let claim = match record.claim(Deadline::after(PATIENCE), lease) {
            Ok(claim) => claim,
            Err(error) => {
                self.refused(open, &error);
                return Ok(());
            }
        };
        let granted = system::now();
        self.log.set_holding(true);
        let abandoned = claim.abandoned().map_or(0, |intent| intent.token.0);
        let found = self.look(index, &claim);
        let version = found.map_or(Entry::UNKNOWN, |(stamp, _)| stamp.version.0);
        open.granted(granted, claim.token().0, version, abandoned);
        if let Some((_, before)) = found {
            self.hold(index, claim, &before, lease);
        }
        self.log.set_holding(false);
        Ok(())
    }

    /// Reads under the claim; `None` if the claim is lost already or the value was not whole.
    fn look(&mut self, index: u32, claim: &Claim<'_>) -> Option<(Stamp, Evidence)> {
        let mut bytes = Vec::new();
        let stamp = claim.read(&mut bytes).ok()?;
        let evidence = self.check(index, stamp, &bytes)?;
        Some((stamp, evidence))
    }

    fn hold(&mut self, index: u32, mut claim: Claim<'_>, before: &Evidence, lease: Duration) {
        let token = claim.token().0;
        if self.random.one_in(8) {
            let lease_ns = lease.as_nanos() as u64;
            let open = self.log.begin(Kind::Renew, index).with_extra(token);
            let open = open.with_count(lease_ns);
            match claim.renew(lease) {
                Ok(()) => open.finish(Outcome::Done, 0, 0),
                Err(error) => {
                    self.refused(open, &error);
                }
            }
        }
        // The commit is the entry after the intent, whose value names it as author.
        let intends = self.random.one_in(2);
        let value = self.value_after(u64::from(intends), index, before);
        if intends {
            let open = self.log.begin(Kind::Intend, index).with_extra(token);
            open.attempt(before.author, before.count + 1);
            match claim.intend(&value) {
                Ok(intent) => open.finish(Outcome::Done, 0, intent.token.0),
                Err(error) => {
                    self.refused(open, &error);
                }
            }
        }
        self.linger();
        match self.random.below(16) {
            0 => {
                let open = self.log.begin(Kind::Drop, index).with_extra(token);
                drop(claim);
                open.finish(Outcome::Done, 0, 0);
            }
            1 | 2 => {
                let open = self.log.begin(Kind::Release, index).with_extra(token);
                match claim.release() {
                    Ok(()) => open.finish(Outcome::Done, 0, 0),
                    Err(error) => {
                        self.refused(open, &error);
                    }
                }
            }
            _ => {
                let open = self.log.begin(Kind::Commit, index).with_extra(token);
                open.attempt(before.author, before.count + 1);
                let answer = claim.commit(&value);
                self.close_change(open, index, Outcome::Done, answer);
            }
        }
    }

    /// Pauses, mostly not at all and sometimes as long as a call to a database takes.
    fn linger(&mut self) {
        let ms = Duration::from_millis;
        match self.random.below(8) {
            0 => std::thread::sleep(self.random.between(ms(5), ms(25))),
            1..=3 => std::thread::sleep(self.random.between(Duration::ZERO, ms(1))),
            _ => {}
        }
    }
}
