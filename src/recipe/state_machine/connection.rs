//! The states of a connection and the thirteen transitions between them, ready to use or to add actions to.
//!
//! ```
//! use slotguard::backend::Model;
//! use slotguard::recipe;
//! use slotguard::recipe::state_machine::Machine;
//! use slotguard::recipe::state_machine::connection::{self, Connection};
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! # fn main() -> slotguard::recipe::Result<()> {
//! let session = recipe::join(&Arc::new(Model::new()), Duration::from_secs(10))?;
//! let upstream = Machine::new(&session, "upstream", connection::rules())?;
//! let _ = upstream.transition(Connection::Connecting)?;
//! assert_eq!(upstream.possible()?, [Connection::Connected, Connection::Failed]);
//!
//! let error = upstream.transition(Connection::Disconnecting).unwrap_err();
//! assert!(error.to_string().contains("from CONNECTING to DISCONNECTING"));
//! # Ok(())
//! # }
//! ```
//!
//! # The rules
//! | from | to |
//! |---|---|
//! | disconnected | connecting, reconnecting |
//! | connecting | connected, failed |
//! | connected | failed, disconnecting |
//! | failed | connecting, reconnecting, disconnected |
//! | reconnecting | connecting, connected, failed |
//! | disconnecting | disconnected |

use super::rules::Rules;

crate::states! {
    /// The state of a connection.
    pub enum Connection {
        /// Not connected. The initial state.
        Disconnected = "DISCONNECTED",
        /// A connection is being made.
        Connecting = "CONNECTING",
        /// Connected.
        Connected = "CONNECTED",
        /// The connection broke, or could not be made.
        Failed = "FAILED",
        /// The connection is being closed.
        Disconnecting = "DISCONNECTING",
        /// A connection is being made again.
        Reconnecting = "RECONNECTING",
    }
}

/// Makes the rules of the thirteen transitions, with [`Connection::Disconnected`] as the initial state.
pub fn rules() -> Rules<Connection> {
    use Connection::{Connected, Connecting, Disconnected, Disconnecting, Failed, Reconnecting};
    Rules::new(Disconnected)
        .allow(Disconnected, Connecting)
        .allow(Disconnected, Reconnecting)
        .allow(Connecting, Connected)
        .allow(Connecting, Failed)
        .allow(Connected, Failed)
        .allow(Connected, Disconnecting)
        .allow(Failed, Connecting)
        .allow(Failed, Reconnecting)
        .allow(Failed, Disconnected)
        .allow(Reconnecting, Connecting)
        .allow(Reconnecting, Connected)
        .allow(Reconnecting, Failed)
        .allow(Disconnecting, Disconnected)
}
