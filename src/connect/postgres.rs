//! PostgreSQL, through its binary COPY.
