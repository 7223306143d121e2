//! (models go here)
#![cfg(loom)]
#![allow(dead_code, unused_imports)]
#[path = "../src/memory/mod.rs"]
mod memory;
#[path = "../src/mutant.rs"]
mod mutant;
