//! Named instants before and after each durable step, at which a test can kill the process.
//!
//! `LOOPLINE_FAILPOINT=name` (or `name:3` for the third time) makes the process say so on standard error and stand still there until it is
//! killed; unset, a failpoint costs one load. Names are `stage.step.before|after`, e.g. `pull.commit.before`.

use std::io::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

struct Armed {
    name: String,
    remaining: AtomicU64,
}

fn armed() -> Option<&'static Armed> {
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();
    ARMED
        .get_or_init(|| {
            let value = std::env::var("LOOPLINE_FAILPOINT").ok()?;
            let (name, count) = value.split_once(':').unwrap_or((&value, "1"));
            Some(Armed { name: name.into(), remaining: AtomicU64::new(count.parse().unwrap_or(1)) })
        })
        .as_ref()
}

/// Stands still here for ever if the environment named this failpoint, so that a test can kill the process at this instant.
pub fn hit(name: &str) {
    let Some(armed) = armed() else { return };
    if armed.name == name && armed.remaining.fetch_sub(1, Ordering::SeqCst) == 1 {
        // Whoever armed it reads this line; without standard error there is nobody to tell.
        let _ = writeln!(std::io::stderr(), "failpoint {name} reached");
        loop {
            std::thread::park();
        }
    }
}
