//! Files in a folder, read through the source.
