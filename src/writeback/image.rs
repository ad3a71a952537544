//! Rows of table versions in canonical JSON.
