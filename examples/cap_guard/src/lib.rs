//! One hot SQL row, many processes, five ways to change it, and a count of what each of them loses.
//!
//! Read [`guard`] first: it is the file to copy. [`modes`] holds the four other ways; the rest makes the comparison
//! honest.
//!
//! ```text
//! main ── options                       what is asked for
//!  │
//!  ├─ keeper ── server                  folders, PostgreSQL; cleared away however the program ends
//!  ├─ workers ── worker ── fault        N processes, killed at named points, replaced
//!  │               └─ modes ── guard    the code under test
//!  │                    └─ database     SQLite and PostgreSQL, the same SQL
//!  ├─ audit                             told against found
//!  └─ report                            table, JSON, verdict
//! ```
#![forbid(unsafe_code)]

pub mod audit;
pub mod customer;
pub mod database;
pub mod fault;
pub mod guard;
pub mod keeper;
pub mod modes;
pub mod options;
pub mod report;
pub mod run;
pub mod server;
pub mod worker;
pub mod workers;

/// Whatever went wrong, in words for the person who started the program.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
