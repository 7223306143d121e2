//! Where the numbers come from: processor, cores, kernel, and how busy the machine was already.

use std::fs;

/// A description of this machine, for people to read beside the numbers.
#[derive(Debug)]
pub struct Machine {
    /// Cores this process may use.
    pub cores: usize,
    /// The processor's name as the kernel gives it.
    pub model: String,
    /// The kernel's release.
    pub kernel: String,
    /// The machine's architecture.
    pub architecture: &'static str,
    /// Load averages over 1, 5 and 15 minutes when the run began.
    pub load: String,
}

impl Machine {
    /// Reads it from the kernel.
    pub fn here() -> Self {
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processor
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
            .map_or("unknown", |(_, name)| name.trim());
        Self {
            cores: super::pin::cores().len(),
            model: model.to_owned(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            architecture: std::env::consts::ARCH,
            load: load(),
        }
    }

    /// One line of it.
    pub fn in_a_line(&self) -> String {
        format!(
            "{} cores, {}, {}, Linux {}, load before {}",
            self.cores, self.model, self.architecture, self.kernel, self.load
        )
    }
}

/// Load averages over 1, 5 and 15 minutes now.
pub fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
