//! What every backend refuses before it looks at its store.

use super::{Act, Limits, Op};
use crate::error::{Error, NameFault, Result};

/// Refuses what is no name.
pub(crate) fn check_name(name: &str, limits: &Limits) -> Result<()> {
    let why = if name.is_empty() {
        NameFault::Empty
    } else if name.len() > limits.name {
        NameFault::TooLong { length: name.len(), limit: limits.name }
    } else if let Some(at) = name.bytes().position(|byte| byte == 0) {
        NameFault::Nul { at }
    } else {
        return Ok(());
    };
    Err(Error::BadName { name: name.chars().take(64).collect(), why })
}

/// Refuses commits that are too many, name a key twice or write nothing, and values that fit nowhere.
pub(crate) fn check_ops<K: Ord + AsRef<str>>(ops: &[Op<'_, K>], limits: &Limits, value_limit: usize) -> Result<()> {
    if ops.len() > limits.ops {
        return Err(Error::TooManyOps { ops: ops.len(), limit: limits.ops });
    }
    for (at, op) in ops.iter().enumerate() {
        if ops[..at].iter().any(|earlier| earlier.key == op.key) {
            return Err(Error::NamedTwice { name: format!("key {:?}", op.key.as_ref()) });
        }
    }
    if ops.iter().all(|op| op.act == Act::Check) {
        return Err(Error::NothingToWrite { checks: ops.len() });
    }
    for op in ops {
        if let Act::Put { value, .. } = op.act
            && value.len() > value_limit
        {
            return Err(Error::TooLarge { length: value.len(), limit: value_limit });
        }
    }
    Ok(())
}
