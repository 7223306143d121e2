//! Where the numbers come from: processor, cores, kernel, and how much of it other programs took meanwhile.

use std::fs;

use results::Machine;

/// Asks the kernel for it.
pub fn here() -> Machine {
    let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    Machine {
        cores: super::pin::cores().len(),
        model: model.to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
    }
}

/// Load averages over 1, 5 and 15 minutes now.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// Processor time used so far, in the kernel's ticks: by everybody, and by this process and the children it has seen end.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    all: u64,
    ours: u64,
    idle: u64,
}

impl Usage {
    /// What the kernel has counted until now; `None` where it does not say.
    pub fn now() -> Option<Self> {
        let everybody = fs::read_to_string("/proc/stat").ok()?;
        // user, nice, system, idle, waiting for a disk, interrupts, soft interrupts, stolen by the host
        let ticks = numbers(everybody.lines().next()?.strip_prefix("cpu")?);
        let [user, nice, system, idle, waiting, interrupts, soft, stolen, ..] = ticks[..] else {
            return None;
        };
        let own = fs::read_to_string("/proc/self/stat").ok()?;
        // After the name, which ends with the last parenthesis, and the state: fields 4 and on.
        let ticks = numbers(own.rsplit_once(')')?.1.trim_start().split_once(' ')?.1);
        Some(Self {
            all: user + nice + system + interrupts + soft + stolen,
            // Fields 14 to 17: in user mode and in the kernel, its own and its children's.
            ours: ticks.get(10..14)?.iter().sum(),
            idle: idle + waiting,
        })
    }

    /// The part of all cores that other programs, and the host, have used since `before`.
    pub fn others_since(&self, before: &Self) -> f64 {
        let (all, ours) = (self.all - before.all, self.ours - before.ours);
        let time = all + self.idle.saturating_sub(before.idle);
        all.saturating_sub(ours) as f64 / time.max(1) as f64
    }
}

fn numbers(text: &str) -> Vec<u64> {
    // Some of the fields are negative in some processes; none of those is one we look at.
    text.split_whitespace().map(|word| word.parse().unwrap_or(0)).collect()
}
