//! Waits until a record of one of several groups changes.

use std::sync::Arc;

use super::sleeper::{Pace, Sleeper, interrupt};
use crate::clock::{Deadline, Version};
use crate::edge::edge;
use crate::error::Result;
use crate::memory::layout::sections::GROUP;
use crate::memory::layout::word::WaitWord;
use crate::memory::liveness::attachment::Attachment;
use crate::memory::record::watch_groups::Groups;
use crate::memory::sync::atomics::Ordering::SeqCst;

impl Attachment {
    /// [`Segment::wait_any`](crate::Segment::wait_any).
    pub(crate) fn wait_any(self: &Arc<Self>, seen: &[(u32, Version)], deadline: &Deadline) -> Result<Option<u32>> {
        let mut groups = Groups::new(self.me);
        let mut all: Vec<u32> = seen.iter().map(|(record, _)| record / GROUP).collect();
        all.sort_unstable();
        all.dedup();
        self.wait_for_groups(&mut groups, deadline, |groups, _| {
            groups.arm(&self.arena, all.iter().copied());
            groups.looked();
            for (index, version) in seen {
                let now = self.arena.read(*index, None)?;
                if now.meta.version != version.0 {
                    return Ok(Some(*index));
                }
            }
            Ok(None)
        })
    }

    /// Looks until it has found something or the deadline has passed (`None`). `look` arms the groups it depends on before
    /// it looks; it is told whether a slice has ended since the last time. Sleeps on one of the watch words, which the
    /// groups' bit names to a writer that changes one of their records.
    pub(crate) fn wait_for_groups<T>(
        self: &Arc<Self>,
        groups: &mut Groups,
        deadline: &Deadline,
        mut look: impl FnMut(&mut Groups, bool) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        let bit = groups.bit();
        let watch = self.arena.watch_word(bit);
        let mut sleeper = Sleeper::new(self, deadline, Pace::Steady);
        let mut slice_ended = self.help_when_due();
        loop {
            self.check()?;
            if let Some(found) = look(groups, std::mem::take(&mut slice_ended))? {
                return Ok(Some(found));
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            let unmarked = || groups.are_unmarked(&self.arena);
            if self.spin_while(unmarked) {
                continue;
            }
            sleeper.listen(move |home| interrupt(home.arena.watch_word(bit)));
            let word = watch.fetch_or(WaitWord::WAITING, edge("watch.bit", SeqCst)) | WaitWord::WAITING;
            if !unmarked() {
                continue;
            }
            if sleeper.is_over()? {
                return Ok(None);
            }
            slice_ended = sleeper.sleep(watch, word, None);
        }
    }
}
