//! The key that heads of the record are signed with: where it lies, who may hold it, and what a signature is over.
//!
//! It is made at the first start, lies in the record's own directory, which no session can see, and is read by its owner
//! alone. Whoever has its public half from elsewhere can tell a record that this machine wrote from one that was written
//! anew by someone who could change the files and not read the key.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use serde::{Serialize, Serializer};

use super::chain::SIGNATURE;
use super::hex;

/// Its name in the record's directory.
const FILE: &str = "signing.key";

/// What every signed text begins with, so that a signature of a record is none of anything else.
const PURPOSE: &[u8] = b"palisade record v1\n";

/// The secret half: signs what this machine puts on record.
pub(super) struct RecordKey(SigningKey);

impl RecordKey {
    /// The key of a record's directory, made if it is not there.
    pub(super) fn open(directory: &OwnedFd, path: &Path) -> Result<Self, KeyError> {
        match read(directory, path) {
            Err(KeyError::Read { cause: Errno::NOENT, .. }) => {
                make(directory, path)?;
                read(directory, path)
            }
            done => done,
        }
    }

    /// A key made of these bytes.
    pub(super) fn of(secret: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(secret))
    }

    /// Its public half.
    pub(super) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The signature of a text.
    pub(super) fn sign(&self, text: &[u8]) -> Signature {
        Signature(self.0.sign(&purposed(text)).to_bytes())
    }

    /// Puts the signature of a JSON object into it, as its last field.
    pub(super) fn sign_line(&self, line: &mut Vec<u8>) {
        let signature = self.sign(line);
        line.pop();
        line.extend_from_slice(SIGNATURE.as_bytes());
        line.extend_from_slice(signature.to_string().as_bytes());
        line.extend_from_slice(b"\"}");
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.public())
    }
}

fn purposed(text: &[u8]) -> Vec<u8> {
    [PURPOSE, text].concat()
}

fn read(directory: &OwnedFd, path: &Path) -> Result<RecordKey, KeyError> {
    let path = path.join(FILE);
    let failed = |cause| KeyError::Read { path: path.clone(), cause };
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = fs::openat(directory, FILE, flags, Mode::empty()).map_err(failed)?;
    let stat = fs::fstat(&file).map_err(failed)?;
    let ours = rustix::process::geteuid().as_raw();
    if fs::FileType::from_raw_mode(stat.st_mode) != fs::FileType::RegularFile {
        return Err(KeyError::NotKey { path });
    }
    if stat.st_uid != ours || stat.st_mode & 0o077 != 0 {
        return Err(KeyError::Shared { path, owner: stat.st_uid, mode: stat.st_mode & 0o7777 });
    }
    // One byte more than a key has, so that a longer file is seen to be none.
    let mut text = [0; 66];
    let mut length = 0;
    while let Some(rest) = text.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut *rest)).map_err(failed)? {
            0 => break,
            more => length += more,
        }
    }
    let text = text.get(..length).and_then(|text| str::from_utf8(text).ok());
    let secret = text.and_then(|text| text.strip_suffix('\n')).and_then(hex::decode);
    secret.map(|secret| RecordKey::of(&secret)).ok_or(KeyError::NotKey { path })
}

/// Makes a key. It gets its name when it is whole and on disk; of several processes at a first start one makes it.
fn make(directory: &OwnedFd, path: &Path) -> Result<(), KeyError> {
    let failed = |cause| KeyError::Make { path: path.join(FILE), cause };
    let mut secret = [0; 32];
    rustix::rand::getrandom(&mut secret, rustix::rand::GetRandomFlags::empty()).map_err(failed)?;
    let new = format!("{FILE}.{}.new", std::process::id());
    // Left by a process of this number that died here.
    let _ = fs::unlinkat(directory, &new, AtFlags::empty());
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = fs::openat(directory, &new, flags, Mode::RUSR | Mode::WUSR).map_err(failed)?;
    let text = hex::encode(&secret) + "\n";
    let made = write_all(&file, text.as_bytes())
        .and_then(|()| fs::fsync(&file))
        .and_then(|()| fs::linkat(directory, &new, directory, FILE, AtFlags::empty()))
        // Another process was quicker: its key is the one.
        .or_else(|cause| if cause == Errno::EXIST { Ok(()) } else { Err(cause) });
    let _ = fs::unlinkat(directory, &new, AtFlags::empty());
    made.and_then(|()| fs::fsync(directory)).map_err(failed)
}

/// Writes all of it.
pub(super) fn write_all(file: &impl AsFd, mut rest: &[u8]) -> Result<(), Errno> {
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, rest))?;
        rest = rest.get(written..).filter(|_| written > 0).ok_or(Errno::IO)?;
    }
    Ok(())
}

/// Why there is no key to sign with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key cannot be read.
    #[error("the signing key `{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// The key cannot be made.
    #[error("the signing key `{}` cannot be made", path.display())]
    Make {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: Errno,
    },
    /// Others can read or change it.
    #[error("the signing key `{}` belongs to uid {owner} and has mode {mode:04o}", path.display())]
    Shared {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds something else.
    #[error("`{}` is not a signing key", path.display())]
    NotKey {
        /// The file.
        path: PathBuf,
    },
}

/// The public half of a key; text form: 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// Whether the holder of the key signed this text.
    pub(super) fn signed(&self, text: &[u8], signature: &Signature) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        // Strictly: no second signature of one text, and no key that fits to any.
        VerifyingKey::from_bytes(&self.0).is_ok_and(|key| key.verify_strict(&purposed(text), &signature).is_ok())
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = PublicKeyError;

    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        hex::decode(text).map(Self).ok_or(PublicKeyError)
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A text is no [`PublicKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key is 64 digits from `0` to `9` and `a` to `f`")]
pub struct PublicKeyError;

/// A signature; text form: 128 lower-case hex digits.
#[derive(Clone, Copy)]
pub(super) struct Signature([u8; 64]);

impl Signature {
    /// What its text form says; `None` for any other text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        hex::decode(text).map(Self)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(&self.0))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn open(directory: &Path) -> Result<RecordKey, KeyError> {
        let opened = std::fs::File::open(directory).unwrap();
        RecordKey::open(&opened.into(), directory)
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let made = open(home.path()).unwrap().public();
        let file = home.path().join(FILE);
        assert_eq!(file.metadata().unwrap().mode() & 0o7777, 0o600);
        assert_eq!(open(home.path()).unwrap().public(), made);
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
        assert_eq!(made.to_string().parse(), Ok(made));

        let other = tempfile::tempdir().unwrap();
        assert_ne!(open(other.path()).unwrap().public(), made);
    }

    #[test]
    fn several_first_starts_at_once_agree_on_a_key() {
        let home = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| open(home.path()))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // Threads of one process share the name of the new file, so one of them may be refused; none gets another key.
        let kept = open(home.path()).unwrap().public();
        assert!(keys.iter().flatten().all(|key| key.public() == kept));
    }

    #[test]
    fn a_key_that_others_can_have_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(FILE);
        open(home.path()).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o700 | 0o1] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(open(home.path()), Err(KeyError::Shared { .. })), "{mode:o}");
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let away = home.path().join("away");
        std::fs::rename(&file, &away).unwrap();
        symlink(&away, &file).unwrap();
        assert!(matches!(open(home.path()), Err(KeyError::Read { cause: Errno::LOOP, .. })));
    }

    #[test]
    fn what_is_not_whole_is_no_key() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(FILE);
        open(home.path()).unwrap();
        let whole = std::fs::read_to_string(&file).unwrap();
        for text in [
            String::new(),
            whole.trim_end().to_owned(),
            whole.clone() + "\n",
            format!("0{whole}"),
            whole.replacen(|_: char| true, "g", 1),
        ] {
            std::fs::write(&file, &text).unwrap();
            assert!(matches!(open(home.path()), Err(KeyError::NotKey { .. })), "{text:?}");
        }
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        assert!(matches!(open(home.path()), Err(KeyError::NotKey { .. })));
    }

    #[test]
    fn a_signature_is_of_one_text_by_one_key() {
        let (one, other) = (RecordKey::of(&[1; 32]), RecordKey::of(&[2; 32]));
        let signature = one.sign(b"text");
        assert!(one.public().signed(b"text", &signature));
        assert!(!one.public().signed(b"texts", &signature));
        assert!(!other.public().signed(b"text", &signature));
        let parsed = Signature::parse(&signature.to_string()).unwrap();
        assert!(one.public().signed(b"text", &parsed));
        // The neutral element as a key, with a signature that fits to every text where nobody looks.
        let mut weak = [0; 32];
        weak[0] = 1;
        let mut empty = [0; 64];
        empty[0] = 1;
        assert!(!PublicKey(weak).signed(b"text", &Signature(empty)));
    }
}
