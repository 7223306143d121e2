//! placeholder front door
