//! The signals that an agent may name, and what each does to a job.

use std::time::Duration;

use rustix::process::Signal;

use crate::shell::Order;

/// How long a job's processes are given once they are told to end.
const GRACE: Duration = Duration::from_secs(5);

/// A signal for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobSignal {
    name: &'static str,
    signal: Signal,
}

const SIGNALS: [JobSignal; 10] = [
    JobSignal { name: "TERM", signal: Signal::TERM },
    JobSignal { name: "KILL", signal: Signal::KILL },
    JobSignal { name: "INT", signal: Signal::INT },
    JobSignal { name: "HUP", signal: Signal::HUP },
    JobSignal { name: "QUIT", signal: Signal::QUIT },
    JobSignal { name: "USR1", signal: Signal::USR1 },
    JobSignal { name: "USR2", signal: Signal::USR2 },
    JobSignal { name: "STOP", signal: Signal::STOP },
    JobSignal { name: "CONT", signal: Signal::CONT },
    JobSignal { name: "WINCH", signal: Signal::WINCH },
];

impl JobSignal {
    /// The signal of this name, with or without `SIG`, in any case.
    pub fn named(name: &str) -> Option<Self> {
        let name = name.to_ascii_uppercase();
        let name = name.strip_prefix("SIG").unwrap_or(&name);
        SIGNALS.into_iter().find(|signal| signal.name == name)
    }

    /// All names, for those who gave a wrong one.
    pub fn names() -> String {
        SIGNALS.map(|signal| signal.name).join(", ")
    }

    /// Its name, as policies know it.
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Whether it tells a program that its terminal has another size.
    pub(crate) fn is_resize(self) -> bool {
        self.signal == Signal::WINCH
    }

    /// What the job is told. TERM and KILL end it whole, the shell that runs it included: TERM after a grace.
    pub(crate) fn order(self) -> Order {
        match self.signal {
            Signal::TERM => Order::Stop { grace: Some(GRACE) },
            Signal::KILL => Order::Stop { grace: None },
            signal => Order::Signal(signal),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_people_write() {
        for name in ["term", "SIGTERM", "TERM", "sigterm"] {
            assert_eq!(JobSignal::named(name).map(JobSignal::name), Some("TERM"), "{name}");
        }
        for name in ["", "SIG", "9", "STOPPED", "TERM "] {
            assert_eq!(JobSignal::named(name), None, "{name}");
        }
    }
}
