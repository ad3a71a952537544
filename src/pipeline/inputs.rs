//! Which systems a table depends on, and how fresh they are.
