//! Cursors: where the next pull of a stream starts.
