//! From files to a checked [`Project`].

use std::path::Path;

use super::{Project, ProjectError};

impl Project {
    /// Reads the project in `root` and checks all that can be checked without a connection. Collects every error of every file rather than stopping at the first.
    pub fn load(_root: &Path) -> Result<Self, Vec<ProjectError>> {
        todo!()
    }
}
