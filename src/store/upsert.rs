//! Landing changed rows in a table.
