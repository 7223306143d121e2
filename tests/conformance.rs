//! Every promise of the contract of `slotguard::backend`, on every backend.
//!
//! The promises are written once, in `slotguard::conformance`; this names the backends.

#[cfg(not(feature = "conformance"))]
compile_error!("run it with --features conformance: in the repository the crate's dev-dependency on itself does so");

use slotguard::backend::Model;

slotguard::conformance_tests!(model, Model::new(), deaths, forgetting);

#[path = "conformance/shared_memory.rs"]
mod in_segment;
use in_segment::InSegment;

slotguard::conformance_tests!(shared_memory, InSegment::new(), deaths);
