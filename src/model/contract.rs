//! Fills contracts: the union of maps, with keys replaced by hub ids.
