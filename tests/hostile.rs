//! A peer that writes any bytes anywhere into the segment: operations may fail or read wrong bytes, and that is all. No
//! panic, no crash, no endless loop, no allocation beyond what a value needs.
#![cfg(not(loom))]

#[path = "support/forked.rs"]
mod forked;
#[path = "support/memory.rs"]
mod memory;

#[path = "hostile/battery.rs"]
mod battery;
#[path = "hostile/counters.rs"]
mod counters;
#[path = "hostile/damage.rs"]
mod damage;
#[path = "hostile/measure.rs"]
mod measure;
#[path = "hostile/nonsense.rs"]
mod nonsense;
#[path = "hostile/sweep.rs"]
mod sweep;

#[global_allocator]
static ALLOCATOR: measure::Counting = measure::Counting;
