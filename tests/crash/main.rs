//! SIGKILL and SIGSTOP at any instruction: nothing lost, nothing half done, nobody waiting, nothing left behind.
//!
//! | module              | what it shows                                                                               |
//! |---------------------|---------------------------------------------------------------------------------------------|
//! | `every_instruction` | each operation on a record killed after each of its instructions                            |
//! | `commits`           | commits over several records killed or stopped likewise, also where they meet               |
//! | `keys`              | operations on named entries and leases killed or stopped likewise                           |
//! | `recovery`          | recovery itself killed, or stopped, after each of its instructions                          |
//! | `stopped`           | a writer stopped after each of its instructions while others go on                          |
//! | `asleep`            | waiters whose waker is killed between the change and the wake                               |
//! | `creator`           | creation killed after each of its instructions                                              |
//! | `random`            | workers at full speed killed at random times                                                |
//! | `many_processes`    | many processes that attach, change something and are killed                                 |
//!
//! A sweep runs one child under single-stepping (`trace`) and notes after which instructions others could see a difference
//! (`diff`): in the segment's bytes or in the locks the kernel holds for its rows. Then it kills a child after each of
//! these, and after as many of the others as CRASH_KILLS allows: every one in a release build (`ci/crash`), a sample at
//! random in a debug build. Where there are more than that, the rounds of a loop that others cannot tell apart count twice
//! at most, and of what is copied word by word a sample is tried. Each time a survivor checks what it finds (`scenario`,
//! `sweep`, `fixture`, `store`). Breakpoints bring a child quickly to where it is to be killed (`tracee`); a child that took
//! another path, since the time or an address was another, is killed where it is and counted as diverged.
//!
//! CRASH_SEED repeats the random part of a run, SLOTGUARD_TEST_SECONDS sets after how many seconds a test counts as hung.

mod asleep;
mod commits;
mod creator;
mod diff;
mod entries;
mod every_instruction;
mod fixture;
mod keys;
mod many_processes;
mod operation;
mod random;
mod recovery;
mod scale;
mod scenario;
mod several;
mod shape;
mod shared_page;
mod stopped;
mod store;
mod sweep;
mod trace;
mod tracee;
mod value;
