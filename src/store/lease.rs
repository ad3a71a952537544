//! The writer lease: one process writes to a store at a time.
//!
//! An operating system's lock on `<control>.lock` keeps others out and ends with the process; the epoch in the control state rises with each holder, so
//! that one that was passed over (a lock that a network disk lost) commits nothing more.

use std::fs::{File, OpenOptions, TryLockError};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::params;

use crate::base::time::now;

use super::control::Micros;
use super::{Control, StoreError};

/// The right to write to the store, held by one process at a time (an OS file lock, released with the process, and an epoch that rises with each holder).
#[derive(Debug)]
pub struct Lease {
    pub epoch: i64,
    held: Arc<AtomicI64>,
    /// Closing it releases the lock.
    _lock: File,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.store(0, Ordering::SeqCst);
    }
}

impl Control {
    /// Takes the lease, or says who holds it.
    pub fn lease(&self) -> Result<Lease, StoreError> {
        let path = self.path().with_extension("lock");
        let io = |source| StoreError::ControlFile { path: path.clone(), source };
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(self.holder()?),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let epoch = self.write("cannot take the lease", |db| {
            db.query_row(
                "update lease set epoch = epoch + 1, pid = ?1, since = ?2 returning epoch",
                params![std::process::id(), Micros(now())],
                |row| row.get(0),
            )
        })?;
        self.held.store(epoch, Ordering::SeqCst);
        Ok(Lease { epoch, held: self.held.clone(), _lock: lock })
    }

    fn holder(&self) -> Result<StoreError, StoreError> {
        self.read("cannot read the lease", |db| {
            db.query_row("select pid, since from lease", [], |row| {
                Ok(StoreError::LeaseHeld { pid: row.get(0)?, since: row.get::<_, Micros>(1)?.0 })
            })
        })
    }

    /// Whether this process holds the lease and nobody took it since.
    pub(super) fn check_lease(&self) -> Result<(), StoreError> {
        let held = self.held.load(Ordering::SeqCst);
        let epoch: i64 =
            self.read("cannot read the lease", |db| db.query_row("select epoch from lease", [], |row| row.get(0)))?;
        if held != 0 && held == epoch { Ok(()) } else { Err(StoreError::NoLease) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Control {
        Control::open(&folder.path().join("deep/control.sqlite")).unwrap()
    }

    #[test]
    fn one_process_writes() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (open(&folder), open(&folder));
        assert!(matches!(first.check_lease(), Err(StoreError::NoLease)));
        let lease = first.lease().unwrap();
        assert_eq!(lease.epoch, 1);
        first.check_lease().unwrap();
        match second.lease() {
            Err(StoreError::LeaseHeld { pid, since }) => assert!(pid == i64::from(std::process::id()) && since <= now()),
            other => panic!("{other:?}"),
        }
        drop(lease);
        assert_eq!(second.lease().unwrap().epoch, 2);
        assert!(first.check_lease().is_err());
    }

    #[test]
    fn a_holder_that_was_passed_over_may_not_write() {
        let folder = tempfile::tempdir().unwrap();
        let control = open(&folder);
        let _lease = control.lease().unwrap();
        control.write("test", |db| db.execute("update lease set epoch = epoch + 1", [])).unwrap();
        assert!(matches!(control.check_lease(), Err(StoreError::NoLease)));
    }
}
