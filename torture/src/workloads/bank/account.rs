//! An account's value: who changed it last, how much is in it, and whether it is whole.

use crate::value::{self, Author, Evidence, Torn};
use harness::random::mix;

/// Bytes after the evidence: the balance, and a digest that ties it to the author.
const TAIL: usize = 16;

/// The shortest value of an account.
pub const SHORTEST: usize = value::SHORTEST + TAIL;

/// What an account's value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    pub evidence: Evidence,
    pub balance: u64,
}

impl Account {
    /// Before its first change.
    pub fn opened_with(balance: u64) -> Self {
        Self { evidence: Evidence::NONE, balance }
    }

    /// Reads the value of account `number`.
    pub fn of(number: u32, bytes: &[u8]) -> Result<Self, Torn> {
        let Some(at) = bytes.len().checked_sub(TAIL) else {
            return Err(Torn::Length);
        };
        let (evidence, tail) = bytes.split_at(at);
        let (words, _) = tail.as_chunks::<8>();
        let [balance, digest] = [words[0], words[1]].map(u64::from_le_bytes);
        let evidence = Evidence::of(number, evidence)?;
        match digest == digest_of(number, &evidence, balance) {
            true => Ok(Self { evidence, balance }),
            false => Err(Torn::Digest),
        }
    }

    /// The account with another balance, written by `author`; any length up to `longest`.
    pub fn write(&self, number: u32, balance: u64, author: Author, longest: usize) -> Vec<u8> {
        let length = value::length_of(author, longest.max(SHORTEST) - TAIL);
        let mut bytes = Vec::with_capacity(length + TAIL);
        let evidence = self.evidence.followed_by(author);
        evidence.write(number, length, &mut bytes);
        for word in [balance, digest_of(number, &evidence, balance)] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn digest_of(number: u32, evidence: &Evidence, balance: u64) -> u64 {
    mix(mix(balance ^ evidence.author) ^ evidence.chain ^ u64::from(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHOR: Author = Author { writer: 3, sequence: 9 };

    #[test]
    fn an_account_tells_its_balance_and_its_author() {
        let bytes = Account::opened_with(7).write(4, 7, AUTHOR, 200);
        let account = Account::of(4, &bytes).expect("a whole account");
        assert_eq!((account.balance, account.evidence.author, account.evidence.count), (7, AUTHOR.packed(), 1));
        assert_eq!(Account::of(5, &bytes), Err(Torn::Record));
        assert_eq!(Account::of(4, b"short"), Err(Torn::Length));
    }

    #[test]
    fn a_balance_of_one_value_in_another_is_torn() {
        let old = Account::opened_with(7).write(4, 7, AUTHOR, SHORTEST);
        let new = Account::of(4, &old).expect("an account").write(4, 8, Author { sequence: 10, ..AUTHOR }, SHORTEST);
        for cut in 1..old.len() {
            let mixed = [&new[..cut], &old[cut..]].concat();
            if mixed != new && mixed != old {
                assert!(Account::of(4, &mixed).is_err(), "cut at {cut}");
            }
        }
    }
}
