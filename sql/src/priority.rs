//! Threads of queries step back behind everybody else.

/// Of the scheduler's 40 steps: the lowest. Such a thread gets 1.5 % of a core that somebody else wants too, and all of one that nobody wants.
const STEPS: i32 = 19;

/// Lowers the priority of the calling thread, for good. A query may take all that is left of the machine; the pipeline goes first.
/// Where the system does not let us, nothing changes.
pub fn step_back() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(STEPS) {
        tracing::debug!(%error, "queries keep the priority of everybody else");
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn this_thread_alone() {
        let before = rustix::process::nice(0).unwrap();
        let other = std::thread::spawn(|| {
            super::step_back();
            rustix::process::nice(0).unwrap()
        });
        assert_eq!(other.join().unwrap(), (before + super::STEPS).min(19));
        assert_eq!(rustix::process::nice(0).unwrap(), before);
    }
}
