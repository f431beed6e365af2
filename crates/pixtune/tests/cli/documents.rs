//! Documents name files that exist.

use std::fs;

use crate::harness::root;

/// The paths in backticks: with a slash and an extension of a text file, without a pattern.
fn paths(document: &str) -> impl Iterator<Item = &str> {
    let code = document.split('`').skip(1).step_by(2);
    code.filter(|code| {
        let extension = code.rsplit_once('.').map_or("", |(_, extension)| extension);
        code.contains('/')
            && !code.contains([' ', '*', '$', '~'])
            && ["rs", "py", "md", "toml"].contains(&extension)
    })
}

#[test]
fn paths_in_documents_exist() {
    for name in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let document = fs::read_to_string(root().join(name)).unwrap();
        let from_root = |path: &&str| root().join(path.split('/').next().unwrap_or_default()).is_dir();
        for path in paths(&document).filter(from_root) {
            assert!(root().join(path).exists(), "{name}: `{path}` does not exist");
        }
    }
}
