//! Diff, plan, approve, apply, confirm, undo, recover.
