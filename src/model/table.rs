//! A table version as a table provider.
