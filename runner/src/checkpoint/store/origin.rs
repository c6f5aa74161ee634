//! Which Palisade it is: what two of them keep at one target lies in two places there, so that neither takes the other's for its own and
//! lets go of it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::checkpoint::CheckpointError;
use crate::shell::Nonce;

/// The file that holds the name, beside the stores.
const ORIGIN: &str = "origin";

/// The name of all stores below a directory, by which a target tells them from another machine's. It is made once, at random.
///
/// # Errors
/// It cannot be read or written.
pub(crate) fn origin(stores: &Path) -> Result<String, CheckpointError> {
    let path = stores.join(ORIGIN);
    let failed = |source| CheckpointError::Store { path: path.clone(), source };
    if !path.exists() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(stores).map_err(failed)?;
        begin(stores, &path).map_err(failed)?;
    }
    let name = fs::read_to_string(&path).map_err(failed)?;
    let is_whole = name.len() >= 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_whole { Ok(name) } else { Err(failed(io::Error::other("it is not as it was written"))) }
}

/// Makes the name, unless somebody else has meanwhile: it appears as a whole, and once.
fn begin(stores: &Path, path: &Path) -> io::Result<()> {
    let name = Nonce::new().map_err(|_| io::Error::other("there are no random bytes"))?;
    let beside = stores.join(format!("{ORIGIN}.{}", name.as_str()));
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&beside)?;
    let linked = file.write_all(name.as_str().as_bytes()).and_then(|()| file.sync_data()).and_then(|()| {
        match fs::hard_link(&beside, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        }
    });
    fs::remove_file(&beside).and(linked)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_is_another_elsewhere() {
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let stores = one.path().join("checkpoints");
        let together = std::thread::scope(|scope| {
            let began: Vec<_> = (0..8).map(|_| scope.spawn(|| origin(&stores).unwrap())).collect();
            began.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let name = origin(&stores).unwrap();
        assert!(together.iter().all(|one| *one == name), "{together:?}");
        assert_eq!(fs::read_dir(&stores).unwrap().count(), 1, "nothing else is left");
        assert_ne!(origin(other.path()).unwrap(), name);
        fs::write(stores.join(ORIGIN), "").unwrap();
        assert!(origin(&stores).is_err());
    }
}
