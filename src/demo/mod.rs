//! The demo plant: writes and advances real source databases.
