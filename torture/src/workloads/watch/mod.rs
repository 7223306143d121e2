use super::{Cast, Examined, Scenario};
use crate::{
    check::{Promise, Scene},
    hand::Hand,
    torment::Torment,
    torment::{Lives, Slot},
};
use serde::{Deserialize, Serialize};
use slotguard::{Error, Segment};
use std::{path::Path, time::Duration};
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub torment: Torment,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    A,
}
pub fn act(_: Role, _: &mut Hand<'_>) -> Result<(), Error> {
    Ok(())
}
impl Plan {
    pub fn of(seed: u64, _round: u64, length: Duration) -> Self {
        Self {
            torment: Torment {
                length,
                slots: vec![Slot { capacity: 9, ..Slot::of(Lives::Steady, &[Role::A]) }],
                lease: Duration::from_millis(9),
                seed,
            },
        }
    }
}
impl Scenario for Plan {
    fn torment(&self) -> &Torment {
        &self.torment
    }
    fn create(&self, path: &Path, payload: usize) -> Result<Segment, Error> {
        Segment::builder().payload(payload).create(path)
    }
    fn cast(&self, _: u32) -> Cast {
        Cast::Watch(vec![Role::A])
    }
    fn examine(&self, _: &Segment, _: &Scene<'_>) -> Result<Examined, Error> {
        Ok(Examined::default())
    }
    fn words(&self, _: Promise) -> Option<&'static str> {
        None
    }
}
