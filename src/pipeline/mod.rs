//! Plans and runs pipelines; the only orchestrator.
