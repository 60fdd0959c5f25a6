//! Finding the files that come with the program.

use anyhow::{Context, bail};
use std::path::{Path, PathBuf};

/// A file of the checkout or the installation, by its path there: in the present folder, in any folder above the
/// program (which is how a build finds its checkout), or in `../share/seehear` of the program's folder.
pub(crate) fn find(relative: &Path) -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("where is this program?")?;
    let tried = places(relative, &program);
    if let Some(found) = tried.iter().find(|p| p.is_file()) {
        return Ok(found.clone());
    }
    let places: Vec<String> = tried.iter().map(|p| p.display().to_string()).collect();
    bail!("looked for {}", places.join(", "))
}

/// Where to look, the first choice first.
fn places(relative: &Path, program: &Path) -> Vec<PathBuf> {
    let above = program.ancestors().skip(1).map(|dir| dir.join(relative));
    let installed = program.parent().map(|bin| bin.join("../share/seehear").join(relative));
    std::iter::once(relative.to_owned()).chain(above).chain(installed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_folder_comes_first_and_the_installation_last() {
        let places = places("engines/e.toml".as_ref(), "/a/bin/seehear".as_ref());
        let want = [
            "engines/e.toml",
            "/a/bin/engines/e.toml",
            "/a/engines/e.toml",
            "/engines/e.toml",
            "/a/bin/../share/seehear/engines/e.toml",
        ];
        assert_eq!(places, want.map(PathBuf::from));
    }

    #[test]
    fn what_is_nowhere_is_an_error_that_says_where_it_was_looked_for() {
        assert!(find("Cargo.toml".as_ref()).is_ok());
        let error = find("no/such.file".as_ref()).unwrap_err().to_string();
        assert!(error.starts_with("looked for no/such.file, /"), "{error}");
    }
}
