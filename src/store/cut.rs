//! Cuts: which versions one run published together.
