//! SIGKILL and SIGSTOP at any instruction: nothing lost, nothing half done, nobody waiting, nothing left behind.
//!
//! | module              | what it shows                                                                          |
//! |---------------------|----------------------------------------------------------------------------------------|
//! | `every_instruction` | each operation killed after each of its instructions                                   |
//! | `recovery`          | recovery itself killed after each of its instructions                                  |

mod alone;
mod asleep;
mod board;
mod creator;
mod crowd;
mod deed;
mod every_instruction;
mod puppet;
mod random;
mod recovery;
mod scale;
mod scene;
mod stopped;
mod sweep;
mod value;
mod walk;
mod watch;
