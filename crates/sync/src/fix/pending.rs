//! The output: written beside its place, renamed when whole. And a folder for what is passed between processes.

use super::FixError;
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file that does not have its name yet. Dropped before [`Pending::commit`], it is removed.
#[derive(Debug)]
pub(crate) struct Pending {
    target: PathBuf,
    temporary: PathBuf,
    committed: bool,
}

impl Pending {
    /// Creates the temporary file beside `target`, which must not be `input` by any name.
    pub(crate) fn create(input: &Path, target: &Path) -> Result<Self, FixError> {
        let fail = |why: String| FixError::Output { path: target.to_owned(), why };
        match std::fs::metadata(target) {
            Ok(m) if m.is_dir() => return Err(fail("is a folder; name a file in it".into())),
            Ok(m) if !m.is_file() => return Err(fail("is a device or a pipe; name a file".into())),
            Ok(m) => {
                let same = std::fs::metadata(input).is_ok_and(|i| (i.dev(), i.ino()) == (m.dev(), m.ino()));
                if same {
                    return Err(fail("is the input itself, which is never changed; choose another name".into()));
                }
            }
            Err(_) => {}
        }
        let name = target.file_name().ok_or_else(|| fail("is no file name".into()))?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", std::process::id()));
        if let Some(extension) = target.extension() {
            hidden.push(".");
            hidden.push(extension);
        }
        let temporary = target.with_file_name(hidden);
        // Never through a link that somebody put there.
        OpenOptions::new().write(true).create_new(true).open(&temporary).map_err(|e| {
            fail(format!("can't be written: {e}; choose a folder that exists and that you may write to"))
        })?;
        Ok(Self { target: target.to_owned(), temporary, committed: false })
    }

    /// Where to write.
    pub(crate) fn path(&self) -> &Path {
        &self.temporary
    }

    /// The name it will have.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the whole file its name, after its bytes are on the disk.
    pub(crate) fn commit(mut self) -> Result<(), FixError> {
        File::open(&self.temporary)
            .and_then(|f| f.sync_all())
            .and_then(|()| std::fs::rename(&self.temporary, &self.target))
            .map_err(|e| FixError::Output { path: self.target.clone(), why: format!("can't be finished: {e}") })?;
        self.committed = true;
        Ok(())
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.committed {
            // What fails here has an error of its own on the way already.
            std::fs::remove_file(&self.temporary).ok();
        }
    }
}

/// A folder in the temporary place that nobody else may look into; removed with all it holds when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn create() -> io::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let n = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("seehear-{}-{n}", std::process::id()));
            match DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self(path)),
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: what is left in the temporary place does no harm.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
