//! The numbers that order changes, each its own type so that they cannot be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<$name> for u64 {
            fn from(number: $name) -> u64 {
                number.0
            }
        }
    };
}

number! {
    /// How often one record has changed: 0 before the first change, then 1, 2, 3 … without a gap.
    ///
    /// Claims, their renewal and release, and failed attempts do not count.
    Version
}

number! {
    /// The place of a change among all changes of a segment: drawn from one fetch-add clock, from 1 on.
    ///
    /// A change that was acknowledged before another began has the smaller revision. There are holes; do no arithmetic.
    Revision
}

number! {
    /// The fencing token of a claim: the revision that created it, so a later claim has a larger token.
    ///
    /// Hand it to whatever the claim protects and let that refuse smaller ones.
    Token
}

number! {
    /// Names a lease: what an entry may be bound to so that it disappears when its owner does.
    ///
    /// Never given out twice within one store. 0 is no lease.
    Lease
}
