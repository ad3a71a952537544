//! How much a landing holds at once; everything that holds rows asks here.

/// What one landing may hold in memory. A pull lands one stream of a system at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Rows of a reading, or changed rows, up to this size stay in memory and can be sorted; larger ones go to files as they come.
    pub(super) rows_bytes: usize,
    /// A reading of at most so many rows is looked up in the table by its keys, otherwise the table is scanned.
    pub(super) probe_rows: usize,
    /// Keys and hashes of a join; what is more is spilled and joined piece by piece.
    pub(super) join_bytes: usize,
    /// New rows of a landing join a file below this size instead of making another small one.
    pub(super) small_file_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Some hundred thousand ordinary rows: an incremental pull of a day, in a process that is to stay below 300 MB.
            rows_bytes: 48 << 20,
            // 17 bytes each, twice while the set grows.
            probe_rows: 1 << 20,
            // 1.2 million rows on both sides together.
            join_bytes: 48 << 20,
            // Written anew by each pull that brings new rows: small, or a year of pulls is written many times over.
            small_file_bytes: 1 << 20,
        }
    }
}

impl Limits {
    /// Limits for a process that is to hold at most `memory_bytes` of rows: the defaults are for 512 MB and more.
    pub(super) fn within(memory_bytes: usize) -> Self {
        let all = Self::default();
        let share = (memory_bytes / 10).max(1 << 20);
        Self { rows_bytes: all.rows_bytes.min(share), join_bytes: all.join_bytes.min(share), ..all }
    }
}
