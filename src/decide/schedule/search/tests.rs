//! Property tests of the search.
